//! Tasks that come, go and move, in both modes, checked by HAProxy or not.

use std::sync::Arc;

use haproxy::diff::{Op, Reason};
use haproxy::model::{Admin, Weight};

use crate::lab::{Lab, Spec, exchange, soon};
use crate::origin::Origin;

/// Every kind of backend: both modes, with and without checks.
fn specs() -> [Spec; 4] {
    [
        Spec::new("/http", "http"),
        Spec::new("/tcp", "tcp"),
        Spec::new("/http-checked", "http").checked(),
        Spec::new("/tcp-checked", "tcp").checked(),
    ]
}

#[tokio::test]
async fn a_task_that_comes_moves_and_goes_needs_no_reload() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let specs = specs();
    let mut lab = Lab::started(specs.iter().map(|spec| spec.with(&[])).collect()).await;
    for spec in &specs {
        assert!(["HTTP/1.1 503 Service Unavailable", ""].contains(&spec.ask().await.as_str()));
    }
    let apps = |tasks: &[_]| specs.iter().map(|spec| spec.with(tasks)).collect::<Vec<_>>();
    lab.change(apps(&[one.addr])).await;
    for spec in &specs {
        assert_eq!(spec.all().await, ["one"]);
    }
    lab.change(apps(&[one.addr, two.addr])).await;
    for spec in &specs {
        assert_eq!(spec.all().await, ["one", "two"]);
    }
    lab.change(apps(&[two.addr])).await;
    for spec in &specs {
        assert_eq!(spec.all().await, ["two"]);
    }
    lab.drained().await;
    assert!(lab.verified().await == haproxy::diff::Plan::Unchanged);
    assert!(!lab.by_hand("show servers state").await.contains(&one.addr.port().to_string()), "deleted");
    lab.change(apps(&[])).await;
    lab.drained().await;
    lab.change(apps(&[one.addr])).await;
    for spec in &specs {
        assert_eq!(spec.all().await, ["one"]);
    }
}

#[tokio::test]
async fn a_task_at_another_address_under_its_name_is_moved() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    for spec in specs() {
        let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
        let backend = lab.wanted.backends.values_mut().next().unwrap();
        Arc::make_mut(backend).servers[0].addr = two.addr;
        let ops = lab.converge().await;
        assert!(matches!(ops[..], [Op::Move { .. }]), "{ops:?}");
        assert_eq!(spec.all().await, ["two"]);
    }
}

#[tokio::test]
async fn weights_and_states_are_set_while_it_runs() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    for spec in specs() {
        let mut lab = Lab::started(vec![spec.with(&[one.addr, two.addr])]).await;
        let names = lab.wanted.backends.values().next().unwrap().servers.clone();
        let at = names.iter().position(|server| server.addr == one.addr).unwrap();
        let set = |lab: &mut Lab, weight: u16, admin| {
            let server = &mut Arc::make_mut(lab.wanted.backends.values_mut().next().unwrap()).servers[at];
            (server.weight, server.admin) = (Weight::new(weight).unwrap(), admin);
        };
        for (weight, admin, expected) in [
            (0, Admin::Ready, &["two"][..]),
            (256, Admin::Ready, &["one", "two"]),
            (1, Admin::Drain, &["two"]),
            (1, Admin::Ready, &["one", "two"]),
            (1, Admin::Maint, &["two"]),
            (1, Admin::Ready, &["one", "two"]),
        ] {
            set(&mut lab, weight, admin);
            assert!(!lab.converge().await.is_empty());
            let mut seen = Vec::new();
            for _ in 0..if weight == 256 { 40 } else { 1 } {
                seen.extend(spec.all().await);
            }
            seen.sort();
            seen.dedup();
            assert_eq!(seen, expected, "{weight} {admin:?}");
            assert_eq!(lab.verified().await, haproxy::diff::Plan::Unchanged);
        }
    }
}

#[tokio::test]
async fn what_was_loaded_in_drain_or_maintenance_is_as_if_it_had_been_put_there() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    for spec in specs() {
        for admin in [Admin::Drain, Admin::Maint] {
            let mut lab = Lab::started(vec![spec.with(&[one.addr, two.addr])]).await;
            for server in &mut Arc::make_mut(lab.wanted.backends.values_mut().next().unwrap()).servers {
                server.admin = if server.addr == one.addr { admin } else { Admin::Ready };
            }
            lab.reload().await;
            assert_eq!(spec.all().await, ["two"], "{admin:?}");
            assert_eq!(lab.verified().await, haproxy::diff::Plan::Unchanged, "{admin:?}");
            for server in &mut Arc::make_mut(lab.wanted.backends.values_mut().next().unwrap()).servers {
                server.admin = Admin::Ready;
            }
            lab.converge().await;
            assert_eq!(spec.all().await, ["one", "two"], "{admin:?}");
            assert_eq!(lab.verified().await, haproxy::diff::Plan::Unchanged, "{admin:?}");
        }
    }
}

/// HAProxy adds a server without switching its checks on: dead tasks would get traffic for ever.
#[tokio::test]
async fn a_server_that_was_added_is_checked_and_goes_down_and_up() {
    for spec in [Spec::new("/http", "http").checked(), Spec::new("/tcp", "tcp").checked()] {
        let (one, two) = (Origin::new("one"), Origin::new("two"));
        let mut lab = Lab::started(vec![spec.with(&[])]).await;
        lab.change(vec![spec.with(&[one.addr, two.addr])]).await;
        let addr = one.addr;
        drop(one);
        soon("it is down", async || down(&lab).await == 1).await;
        assert_eq!(spec.all().await, ["two"]);
        // The task's own address again, by a listener that answers like it.
        let again = std::net::TcpListener::bind(addr).unwrap();
        let answering = std::thread::spawn(move || {
            for stream in again.incoming().take(8) {
                use std::io::{Read as _, Write as _};
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 512]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        soon("it is up again", async || down(&lab).await == 0).await;
        drop(answering);
    }
}

async fn down(lab: &Lab) -> usize {
    lab.by_hand("show stat").await.lines().filter(|line| line.contains(",DOWN,") && !line.contains(",BACKEND,")).count()
}

#[tokio::test]
async fn a_sticky_backend_takes_servers_where_haproxy_can_give_them_cookies() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    let spec = Spec::new("/sticky", "http").label("HAPROXY_0_STICKY", "true");
    let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    let backend = lab.wanted.backends.keys().next().unwrap().clone();
    if !lab.features.dynamic_cookies() {
        assert_eq!(lab.refusal(vec![spec.with(&[one.addr, two.addr])]), Some(Reason::Cookie(backend)));
        let said = lab.by_hand("add server sticky_1/x 127.0.0.1:1 cookie x").await;
        assert!(!said.contains("registered"));
        return;
    }
    lab.change(vec![spec.with(&[one.addr, two.addr])]).await;
    let mut cookie = String::new();
    soon("the added server gives its cookie", async || {
        let answer = exchange(spec.port, "GET / HTTP/1.1\r\nHost: x\r\n").await;
        let value = answer.split("mesosphere_server_id=").nth(1).and_then(|rest| rest.split(';').next());
        cookie = value.unwrap_or_default().to_owned();
        answer.ends_with("two")
    })
    .await;
    assert_eq!(cookie.len(), 10);
    for _ in 0..6 {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: mesosphere_server_id={cookie}\r\n");
        assert!(exchange(spec.port, &head).await.ends_with("two"));
    }
}

#[tokio::test]
async fn a_static_algorithm_takes_no_servers_but_lets_them_go() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    for balance in ["source", "static-rr", "uri"] {
        let spec = Spec::new("/static", "http").label("HAPROXY_0_BALANCE", balance);
        let mut lab = Lab::started(vec![spec.with(&[one.addr, two.addr])]).await;
        let backend = lab.wanted.backends.keys().next().unwrap().clone();
        let said = lab.by_hand(&format!("add server {backend}/x 127.0.0.1:1")).await;
        assert!(said.contains("dynamic load balancing"), "{balance}: {said}");
        lab.change(vec![spec.with(&[two.addr])]).await;
        assert_eq!(spec.all().await, ["two"], "{balance}");
        lab.drained().await;
        assert_eq!(spec.all().await, ["two"], "{balance}");
        assert_eq!(lab.refusal(vec![spec.with(&[one.addr, two.addr])]), Some(Reason::StaticBalance(backend)));
    }
}

#[tokio::test]
async fn every_dynamic_algorithm_takes_servers() {
    let (one, two) = (Origin::new("one"), Origin::new("two"));
    for balance in ["roundrobin", "leastconn", "first", "random", "random(3)"] {
        let spec = Spec::new("/dynamic", "http").label("HAPROXY_0_BALANCE", balance);
        let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
        lab.change(vec![spec.with(&[two.addr])]).await;
        assert_eq!(spec.all().await, ["two"], "{balance}");
    }
}
