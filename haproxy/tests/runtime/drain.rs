//! The end of a task that is not wanted any more.

use std::collections::BTreeSet;
use std::time::Duration;

use haproxy::diff::{Op, Plan};
use haproxy::features::Version;
use haproxy::runtime::drains::Drains;

use crate::lab::{Lab, Spec, Tcp, get, soon};
use crate::origin::Origin;

/// Waits until a server has a request.
async fn under_way(lab: &Lab) {
    let backends: BTreeSet<_> = lab.wanted.backends.keys().cloned().collect();
    soon("a request is under way", async || {
        let sessions = lab.client.sessions(&lab.worker, &backends).await.unwrap();
        sessions.values().any(|count| *count > 0)
    })
    .await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_new_ones_go_elsewhere() {
    for checked in [false, true] {
        let (one, two) = (Origin::new("one"), Origin::new("two"));
        let spec = Spec::new("/a", "http");
        let spec = if checked { spec.checked() } else { spec };
        let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
        let port = spec.port;
        let slow = tokio::spawn(async move { get(port, "GET /slow HTTP/1.1\r\nHost: x\r\n").await });
        under_way(&lab).await;
        lab.change(vec![spec.with(&[two.addr])]).await;
        assert_eq!(spec.all().await, ["two"]);
        lab.look().await.unwrap();
        assert_eq!(lab.drains.draining(), 1, "it has a request still");
        one.release();
        assert_eq!(slow.await.unwrap(), "one");
        lab.drained().await;
        assert_eq!((lab.drains.draining(), lab.verified().await), (0, Plan::Unchanged));
    }
}

#[tokio::test]
async fn a_connection_without_end_is_cut_when_its_time_is_up() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let spec = Spec::new("/a", "tcp");
    let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    lab.drains = Drains::new(Duration::from_secs(3));
    let mut held = Tcp::open(spec.port).await;
    assert_eq!(held.ask().await, "one");
    lab.change(vec![spec.with(&[two.addr])]).await;
    lab.look().await.unwrap();
    assert_eq!((held.ask().await.as_str(), spec.ask().await.as_str()), ("one", "two"));
    lab.drained().await;
    assert_eq!((held.ask().await.as_str(), spec.ask().await.as_str()), ("", "two"));
    assert_eq!(lab.verified().await, Plan::Unchanged);
}

#[tokio::test]
async fn a_task_that_comes_back_while_it_drains_is_enabled_again() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    for spec in [Spec::new("/a", "tcp"), Spec::new("/b", "tcp").checked()] {
        let mut lab = Lab::started(vec![spec.with(&[one.addr, two.addr])]).await;
        let mut held = Tcp::open(spec.port).await;
        let name = held.ask().await;
        let (it, other) = if name == "one" { (one.addr, two.addr) } else { (two.addr, one.addr) };
        lab.change(vec![spec.with(&[other])]).await;
        lab.look().await.unwrap();
        let ops = lab.change(vec![spec.with(&[other, it])]).await;
        assert!(matches!(ops[..], [Op::Let { .. }]), "{ops:?}");
        assert_eq!(lab.drains.deadline(), None);
        assert_eq!((held.ask().await, spec.all().await.len()), (name, 2));
        assert_eq!(lab.verified().await, Plan::Unchanged);
    }
}

/// Idle connections kept for the next request would keep the server from being deleted.
#[tokio::test]
async fn idle_connections_do_not_keep_a_server() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let spec = Spec::new("/a", "http");
    let mut lab = Lab::started(vec![spec.with(&[one.addr, two.addr])]).await;
    lab.settings.options.clear();
    lab.reload().await;
    for _ in 0..4 {
        spec.ask().await;
    }
    lab.change(vec![spec.with(&[two.addr])]).await;
    assert!(lab.drained().await <= 3);
    // In maintenance already when the request ends, and with an idle connection after it.
    lab.change(vec![spec.with(&[one.addr])]).await;
    lab.drained().await;
    lab.reload().await;
    let port = spec.port;
    let slow = tokio::spawn(async move { get(port, "GET /slow HTTP/1.1\r\nHost: x\r\n").await });
    under_way(&lab).await;
    lab.change(vec![spec.with(&[two.addr])]).await;
    let leaving = lab.running.leaving().next().unwrap();
    lab.by_hand(&format!("set server {leaving} state maint")).await;
    one.release();
    assert_eq!(slow.await.unwrap(), "one");
    // HAProxy 3.0 closes idle connections for it.
    if lab.features.version < (Version { major: 3, minor: 0, patch: 0 }) {
        assert!(lab.by_hand(&format!("del server {leaving}")).await.contains("still has connections"));
    }
    assert!(lab.drained().await <= 3);
}
