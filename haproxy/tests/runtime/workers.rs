//! Which process answers: after reloads, through the master, and when the socket leads nowhere.

use std::time::Duration;

use haproxy::diff::Plan;
use haproxy::master::Master;
use haproxy::runtime::{Client, RuntimeError};

use crate::lab::{Lab, Spec, Tcp, soon};
use crate::origin::Origin;

#[tokio::test]
async fn the_worker_of_before_a_reload_is_not_taken_for_the_current_one() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let spec = Spec::new("/a", "tcp");
    let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    let mut held = Tcp::open(spec.port).await;
    assert_eq!(held.ask().await, "one");
    let (before, running) = (lab.worker, lab.running.clone());
    lab.reload().await;
    lab.wanted = lab.compiled(vec![spec.with(&[two.addr])]);
    let Plan::Runtime(ops) = haproxy::diff::diff(&running, &lab.wanted, &lab.features) else { panic!() };
    let error = lab.client.apply(&before, &ops).await.unwrap_err();
    assert!(matches!(error, RuntimeError::OtherWorker { .. }), "{error:?}");
    assert_eq!((spec.ask().await.as_str(), held.ask().await.as_str()), ("one", "one"), "nothing was done");
    assert!(matches!(lab.verified().await, Plan::Runtime(_)));
    lab.converge().await;
    assert_eq!(spec.ask().await, "two");
}

/// An open connection to the runtime socket would keep an old worker alive.
#[tokio::test]
async fn no_conversation_outlives_its_batch() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let spec = Spec::new("/a", "http");
    let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    lab.change(vec![spec.with(&[one.addr, two.addr])]).await;
    lab.look().await.unwrap();
    lab.reload().await;
    let master = Master::new(lab.dir.path().join("m"), Duration::from_secs(20));
    soon("the old worker has ended", async || master.processes().await.unwrap().old_workers.is_empty()).await;
}

/// What a reload that failed leaves on some releases: a socket that leads nowhere.
#[tokio::test]
async fn without_its_socket_the_worker_is_reached_through_the_master() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    for spec in [Spec::new("/a", "http"), Spec::new("/b", "tcp").checked()] {
        let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
        let master = lab.dir.path().join("m");
        lab.client = Client::new(lab.dir.path().join("nowhere"), &master, Duration::from_secs(20));
        lab.change(vec![spec.with(&[two.addr])]).await;
        assert_eq!(spec.all().await, ["two"]);
        lab.drained().await;
        assert_eq!(lab.verified().await, Plan::Unchanged);
        let hosts: Vec<_> = (0..300).map(|n| format!("h{n}.example")).collect();
        if spec.port != 0 && lab.wanted.backends.keys().next().unwrap().as_str().starts_with('a') {
            let spec = spec.clone().label("HAPROXY_0_VHOST", &hosts.join(","));
            lab.change(vec![spec.with(&[two.addr])]).await;
            assert_eq!(lab.by_host("h299.example", "/").await, "two");
            assert_eq!(lab.verified().await, Plan::Unchanged);
        }
    }
}

#[tokio::test]
async fn nobody_at_either_socket_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let client = Client::new(dir.path().join("s"), dir.path().join("m"), Duration::from_secs(1));
    let error = client.worker().await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error:?}");
}
