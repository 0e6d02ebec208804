//! What fails half way, what somebody changed by hand, and what is read back.

use std::collections::BTreeSet;

use haproxy::diff::{Op, Place, Plan};
use haproxy::runtime::RuntimeError;

use crate::lab::{Lab, Spec};
use crate::origin::Origin;

#[tokio::test]
async fn an_operation_that_fails_in_the_middle_is_told_and_the_rest_is_found_by_reading_back() {
    let (one, two, three) = (Origin::new("one"), Origin::new("two"), Origin::new("three"));
    let spec = Spec::new("/a", "http").checked();
    let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    lab.wanted = lab.compiled(vec![spec.with(&[two.addr, three.addr])]);
    let Plan::Runtime(mut ops) = lab.plan() else { panic!() };
    let Op::Add { backend, .. } = &ops[0] else { panic!("{ops:?}") };
    let nobody = Place { backend: backend.clone(), server: "nobody".into() };
    ops.insert(1, Op::Drain { place: nobody.clone() });
    let error = lab.client.apply(&lab.worker, &ops).await.unwrap_err();
    let RuntimeError::Refused { command, said } = &error else { panic!("{error:?}") };
    assert_eq!((command.as_str(), said.as_str()), (&*format!("set server {nobody} state drain"), "No such server."));
    // The burst was on its way: what HAProxy could do it did.
    let Plan::Unchanged = lab.verified().await else { panic!("{:?}", lab.plan()) };
    assert_eq!(spec.all().await, ["three", "two"]);
    lab.drained().await;
    assert_eq!(lab.verified().await, Plan::Unchanged);
}

#[tokio::test]
async fn a_batch_repeated_is_refused_and_reading_back_shows_that_all_is_well() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let spec = Spec::new("/a", "http");
    let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    lab.wanted = lab.compiled(vec![spec.with(&[one.addr, two.addr])]);
    let Plan::Runtime(ops) = lab.plan() else { panic!() };
    lab.client.apply(&lab.worker, &ops).await.unwrap();
    let error = lab.client.apply(&lab.worker, &ops).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Refused { .. }), "{error:?}");
    assert_eq!(lab.verified().await, Plan::Unchanged);
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_found_and_mended() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let spec = Spec::new("/a", "http").checked().label("HAPROXY_0_VHOST", "a.example");
    let mut lab = Lab::started(vec![spec.with(&[one.addr, two.addr])]).await;
    let backend = lab.wanted.backends.keys().next().unwrap().clone();
    let server = format!("{backend}/{}", lab.wanted.backends[&backend].servers[0].name);
    for by_hand in [
        format!("set server {server} state maint"),
        format!("set server {server} state drain"),
        format!("set server {server} weight 7"),
        format!("set server {server} addr 127.0.0.9 port 9"),
        format!("disable health {server}"),
        format!("disable server {server}; del server {server}"),
        format!("add server {backend}/stranger 127.0.0.1:9; enable server {backend}/stranger"),
        "set map routes.map a.example/ nobody".to_owned(),
        "del map routes.map a.example/".to_owned(),
        "add map routes.map b.example/ nobody".to_owned(),
    ] {
        lab.by_hand(&by_hand).await;
        let plan = lab.verified().await;
        assert!(matches!(plan, Plan::Runtime(_)), "{by_hand}: {plan:?}");
        lab.converge().await;
        lab.drained().await;
        assert_eq!(lab.verified().await, Plan::Unchanged, "{by_hand}");
        assert_eq!(lab.by_host("b.example", "/").await, "HTTP/1.1 503 Service Unavailable", "{by_hand}");
        let seen = BTreeSet::from([lab.by_host("a.example", "/").await, lab.by_host("a.example", "/").await]);
        assert_eq!(seen.len(), 2, "{by_hand}: {seen:?}");
    }
}

#[tokio::test]
async fn a_command_longer_than_haproxy_takes_is_not_sent() {
    let one = Origin::new("one");
    let spec = Spec::new("/a", "http");
    let lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    let (backend, state) = lab.wanted.backends.iter().next().unwrap();
    let mut server = state.servers[0].clone();
    server.name = "x".repeat(15_000);
    let add =
        Op::Add { backend: backend.clone(), words: format!("{} 127.0.0.1:1", server.name), server, checked: false };
    let error = lab.client.apply(&lab.worker, &[add]).await.unwrap_err();
    assert!(matches!(error, RuntimeError::TooLong { .. }), "{error:?}");
    assert_eq!(spec.ask().await, "one");
}
