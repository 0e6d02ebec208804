//! How long it takes. The figures are printed and not asserted: `--nocapture` shows them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use haproxy::diff::{Op, Plan, diff};
use haproxy::model::{BackendId, LbState};

use crate::lab::{Lab, Spec};
use crate::origin::Origin;

#[tokio::test]
async fn a_thousand_operations_in_one_batch() {
    let one = Origin::new("one");
    let spec = Spec::new("/a", "http").checked();
    let mut lab = Lab::started(vec![spec.with(&[one.addr])]).await;
    let many: Vec<SocketAddr> = (0..1_000).map(|n| SocketAddr::new(loopback(n), 9)).chain([one.addr]).collect();
    let apps = vec![spec.with(&many)];
    timed("add 1,000 servers with checks", async { lab.change(apps).await.len() }).await;
    lab.client.apply(&lab.worker, &[]).await.unwrap();
    timed("begin to drain 1,000 servers", async { lab.change(vec![spec.with(&[one.addr])]).await.len() }).await;
    timed("delete them", async { lab.drained().await }).await;
    assert_eq!(lab.verified().await, Plan::Unchanged);
    let hosts: Vec<_> = (0..1_000).map(|n| format!("h{n}.example")).collect();
    let routed = spec.clone().label("HAPROXY_0_VHOST", &hosts.join(","));
    timed("add 1,000 map entries", async { lab.change(vec![routed.with(&[one.addr])]).await.len() }).await;
    timed("remove 1,000 map entries", async { lab.change(vec![spec.with(&[one.addr])]).await.len() }).await;
    timed("read everything back", async { usize::from(lab.verified().await == Plan::Unchanged) }).await;
}

#[tokio::test]
async fn one_moved_task_among_many_backends() {
    for backends in sizes() {
        let (one, two) = (Origin::new("one"), Origin::new("two"));
        let spec = Spec::new("/moving", "http");
        let mut apps = vec![spec.with(&[one.addr])];
        let others: Vec<SocketAddr> = (0..5).map(|n| SocketAddr::new(loopback(n), 9)).collect();
        apps.extend((1..backends).map(|n| {
            let mut app = spec.with(&others);
            app.id = haproxy::app::AppId::parse(&format!("/app{n}")).unwrap();
            // Reached by host only: no listener of its own.
            app.labels.insert("HAPROXY_0_VHOST".into(), format!("app{n}.example"));
            app.labels.insert("HAPROXY_0_PORT".into(), "1".into());
            app
        }));
        let mut lab = many(apps, &spec).await;
        let mut waits = Vec::new();
        let mut diffs = Vec::new();
        for round in 0..40 {
            let to = if round % 2 == 0 { two.addr } else { one.addr };
            let name = if round % 2 == 0 { "two" } else { "one" };
            move_task(&mut lab.wanted, &spec, to);
            let started = Instant::now();
            let Plan::Runtime(ops) = diff(&lab.running, &lab.wanted, &lab.features) else { panic!() };
            diffs.push(started.elapsed());
            lab.client.apply(&lab.worker, &ops).await.unwrap();
            assert_eq!(spec.ask().await, name);
            waits.push(started.elapsed());
            assert!(matches!(ops[..], [Op::Add { .. }, Op::Drain { .. }]), "{ops:?}");
            lab.running.applied(&ops, &lab.wanted);
            lab.drains.note(&ops, Instant::now());
            lab.drained().await;
        }
        let (diffs, waits) = (Spread::of(diffs), Spread::of(waits));
        println!("moved task at {backends} backends: diff {diffs}, diff + apply + first answer {waits}");
    }
}

/// `FIGURES=1` measures at sizes that take their time to compile and check.
fn sizes() -> Vec<u16> {
    if std::env::var_os("FIGURES").is_some() { vec![100, 1_000, 5_000] } else { vec![100] }
}

/// HAProxy with more backends than ports.
async fn many(apps: Vec<haproxy::app::App>, spec: &Spec) -> Lab {
    let mut lab = Lab::started(vec![apps[0].clone()]).await;
    let moving = lab.wanted.clone();
    for (n, app) in apps.into_iter().enumerate().skip(1) {
        let mut app = app;
        app.labels.insert("HAPROXY_0_PORT".into(), (usize::from(spec.port) % 20_000 + n).to_string());
        let state = lab.compiled(vec![app]);
        lab.wanted.backends.extend(state.backends);
        Arc::make_mut(&mut lab.wanted.routes).extend(Arc::unwrap_or_clone(state.routes));
        Arc::make_mut(&mut lab.wanted.app_ids).extend(Arc::unwrap_or_clone(state.app_ids));
    }
    assert_eq!(lab.wanted.frontends, moving.frontends);
    lab.reload().await;
    lab
}

fn move_task(wanted: &mut LbState, spec: &Spec, to: SocketAddr) {
    let id: BackendId =
        wanted.backends.keys().find(|id| id.as_str().ends_with(&format!("moving_{}", spec.port))).unwrap().clone();
    let server = &mut Arc::make_mut(wanted.backends.get_mut(&id).unwrap()).servers[0];
    server.addr = to;
    server.name = haproxy::names::server("127.0.0.1", to.ip(), to.port());
    server.id = haproxy::names::server_id(&server.name, &mut std::collections::BTreeSet::new());
}

fn loopback(n: u32) -> IpAddr {
    Ipv4Addr::from(0x7f01_0000 + n).into()
}

async fn timed(what: &str, work: impl Future<Output = usize>) {
    let started = Instant::now();
    let count = work.await;
    println!("{what} ({count}): {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}

/// Median and the slowest of a hundred.
struct Spread(Vec<Duration>);

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |at: usize| self.0[at.min(self.0.len() - 1)].as_secs_f64() * 1e3;
        write!(f, "{:.2} / {:.2} ms", ms(self.0.len() / 2), ms(self.0.len() * 99 / 100))
    }
}
