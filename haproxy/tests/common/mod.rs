//! What the integration tests of this crate share: apps, a policy and settings.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use haproxy::app::{App, AppId, Health, Instance, Networking, Port, Snapshot, TaskState};
use haproxy::bundle::Draft;
use haproxy::compile::{Groups, Policy, compile};
use haproxy::issue::Issue;
use haproxy::model::LbState;
use haproxy::render::settings::{Line, Listen, Settings, Stats, Timeouts, Tls, Vhosts};
use haproxy::render::{Renderer, reserved};
use haproxy::text::{BindAddr, Word};

/// An app with two tasks and `ports` ports from 10000 on.
pub(crate) fn app(id: &str, ports: u16, labels: BTreeMap<String, String>) -> App {
    let task = |n: u8| Instance {
        id: format!("task.{n}"),
        host: format!("10.0.0.{n}"),
        addr: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))),
        ports: (0..ports).map(|port| Some(31_000 + port)).collect(),
        state: TaskState::Running,
        health: Health::Alive,
    };
    App {
        id: AppId::parse(id).unwrap(),
        labels,
        networking: Networking::Host,
        ports: (0..ports).map(|port| Port { service_port: Some(10_000 + port) }).collect(),
        checks: Vec::new(),
        instances: vec![task(1), task(2)],
        wanted: 2,
    }
}

/// Serves everything.
pub(crate) fn policy() -> Policy {
    Policy { groups: Groups::All, vhosts: true, reserved: reserved(&settings()), ipv6: true, ..Policy::default() }
}

/// The state that `apps` want.
pub(crate) fn compiled(apps: Vec<App>, policy: &Policy) -> (LbState, Vec<Issue>) {
    let apps = apps.into_iter().map(|app| (app.id.clone(), Arc::new(app))).collect();
    compile(&Snapshot { apps, ..Snapshot::default() }, policy)
}

/// The configuration for `state`.
pub(crate) fn rendered(state: &LbState) -> Draft {
    Renderer::new().unwrap().render(state, &settings()).unwrap()
}

/// The defaults of the daemon, with a certificate beside the configuration.
pub(crate) fn settings() -> Settings {
    let word = |text| Word::parse(text).unwrap();
    let listen = |port| Listen { addr: BindAddr::Any, port };
    let s = Duration::from_secs;
    Settings {
        log: vec![Line::parse("/dev/log local0").unwrap()],
        maxconn: None,
        fd_hard_limit: 100_000,
        proxy_maxconn: 10_000,
        backlog: 10_000,
        hard_stop_after: s(3_660),
        max_old_workers: 50,
        stats_socket: None,
        server_state: None,
        timeouts: Timeouts {
            connect: s(3),
            client: s(30),
            server: s(30),
            tunnel: s(3_600),
            http_keep_alive: s(1),
            http_request: s(15),
            queue: s(30),
            tarpit: s(60),
        },
        options: ["dontlognull", "http-server-close", "redispatch"].map(word).to_vec(),
        vhosts: Some(Vhosts {
            http: listen(80),
            https: listen(443),
            certs: vec![haproxy::certs::Source::File(word("default.pem"))],
            alpn: word("h2,http/1.1"),
        }),
        app_id: listen(9091),
        stats: Stats { listen: listen(9090), allow: Vec::new(), auth: None, prometheus: true },
        tls: Tls {
            min_version: word("TLSv1.2"),
            ciphers: word("ECDHE-ECDSA-AES128-GCM-SHA256"),
            ciphersuites: word("TLS_AES_128_GCM_SHA256"),
        },
        ipv6: true,
        floating: BTreeSet::new(),
        certs: BTreeMap::new(),
        dynamic: haproxy::model::Dynamic::default(),
        own_names: false,
    }
}
