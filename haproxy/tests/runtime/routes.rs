//! Virtual hosts and app ids that come, go and change hands.

use haproxy::diff::{MapChange, Op, Plan, Reason};

use crate::lab::{Lab, Spec, get};
use crate::origin::Origin;

#[tokio::test]
async fn a_host_is_added_to_changed_in_and_taken_from_what_runs() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let (a, b) = (Spec::new("/a", "http"), Spec::new("/b", "http"));
    let host = |spec: &Spec, host: &str| spec.clone().label("HAPROXY_0_VHOST", host);
    let mut lab = Lab::started(vec![a.with(&[one.addr]), b.with(&[two.addr])]).await;
    let nobody = "HTTP/1.1 503 Service Unavailable";
    assert_eq!(lab.by_host("www.example", "/").await, nobody);
    lab.change(vec![host(&a, "www.example").with(&[one.addr]), b.with(&[two.addr])]).await;
    assert_eq!(lab.by_host("www.example", "/x").await, "one");
    let ops = lab.change(vec![a.with(&[one.addr]), host(&b, "www.example").with(&[two.addr])]).await;
    assert!(matches!(ops[..], [Op::Map { change: MapChange::Set { .. }, .. }]), "{ops:?}");
    assert_eq!(lab.by_host("WWW.example:80", "/").await, "two");
    // A path may hold what ends a command on the command line.
    let path = host(&a, "www.example").label("HAPROXY_0_PATH", "/p;v=1");
    lab.change(vec![path.with(&[one.addr]), host(&b, "www.example").with(&[two.addr])]).await;
    assert_eq!(lab.by_host("www.example", "/p;v=1/x").await, "one");
    assert_eq!(lab.by_host("www.example", "/p").await, "two");
    assert_eq!(lab.verified().await, Plan::Unchanged);
    lab.change(vec![a.with(&[one.addr]), b.with(&[two.addr])]).await;
    assert_eq!(lab.by_host("www.example", "/p;v=1/x").await, nobody);
    assert_eq!(lab.verified().await, Plan::Unchanged);
}

#[tokio::test]
async fn many_hosts_change_hands_in_one_step() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let hosts: Vec<_> = (0..500).map(|n| format!("h{n}.example")).collect();
    let with = |spec: &Spec, hosts: &[String]| spec.clone().label("HAPROXY_0_VHOST", &hosts.join(","));
    let (a, b) = (Spec::new("/a", "http"), Spec::new("/b", "http"));
    let mut lab = Lab::started(vec![with(&a, &hosts).with(&[one.addr]), b.with(&[two.addr])]).await;
    let ops = lab.change(vec![a.with(&[one.addr]), with(&b, &hosts).with(&[two.addr])]).await;
    let swapped = ops.iter().any(|op| matches!(op, Op::Map { change: MapChange::Swap { .. }, .. }));
    assert_eq!(swapped, !lab.features.indexed_maps(), "{} operations", ops.len());
    for n in [0, 250, 499] {
        assert_eq!(lab.by_host(&format!("h{n}.example"), "/").await, "two");
    }
    assert_eq!(lab.verified().await, Plan::Unchanged);
}

#[tokio::test]
async fn an_app_that_vanishes_is_emptied_and_may_come_back() {
    let one = Origin::new("one");
    let (a, b) = (Spec::new("/a", "http").label("HAPROXY_0_VHOST", "a.example"), Spec::new("/b", "http"));
    let mut lab = Lab::started(vec![a.with(&[one.addr]), b.with(&[one.addr])]).await;
    let by_id = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Marathon-App-Id: {}\r\n", "/A");
    assert_eq!(get(lab.settings.app_id.port, &by_id).await, "one");
    lab.change(vec![b.with(&[one.addr])]).await;
    let nobody = "HTTP/1.1 503 Service Unavailable";
    assert_eq!([lab.by_host("a.example", "/").await, a.ask().await], [nobody, nobody]);
    assert_eq!(get(lab.settings.app_id.port, &by_id).await, nobody);
    lab.drained().await;
    assert_eq!(lab.running.retired(&lab.wanted), 1);
    assert_eq!(lab.verified().await, Plan::Unchanged);
    lab.change(vec![a.with(&[one.addr]), b.with(&[one.addr])]).await;
    assert_eq!([lab.by_host("a.example", "/").await, a.ask().await], ["one", "one"]);
    assert_eq!(get(lab.settings.app_id.port, &by_id).await, "one");
}

#[tokio::test]
async fn the_first_wildcard_and_paths_that_ignore_case_are_a_reload() {
    let one = Origin::new("one");
    let a = Spec::new("/a", "http");
    let wild = |host: &str| a.clone().label("HAPROXY_0_VHOST", host);
    let mut lab = Lab::started(vec![a.with(&[one.addr])]).await;
    assert_eq!(lab.refusal(vec![wild("*.example").with(&[one.addr])]), Some(Reason::Wildcards));
    lab.reload().await;
    assert_eq!(lab.by_host("x.example", "/").await, "one");
    lab.change(vec![wild("www.example").with(&[one.addr])]).await;
    assert_eq!(lab.by_host("x.example", "/").await, "HTTP/1.1 503 Service Unavailable");
    lab.change(vec![wild("*.test").with(&[one.addr])]).await;
    assert_eq!(lab.by_host("x.test", "/").await, "one");
    let folded = wild("www.example").label("HAPROXY_0_PATH", "-i /Path");
    assert_eq!(lab.refusal(vec![folded.with(&[one.addr])]), Some(Reason::CaseRules));
}
