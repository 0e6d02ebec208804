//! What the templates make of a state; the whole file is covered by the golden tests.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::app::{App, AppId, Instance, Networking, Port, Snapshot};
use crate::compile::{Groups, Policy, compile};
use crate::render::settings::*;
use crate::text::{BindAddr, Word};

pub(crate) fn settings() -> Settings {
    let word = |text| Word::parse(text).unwrap();
    let listen = |port| Listen { addr: BindAddr::Any, port };
    let s = Duration::from_secs;
    Settings {
        log: vec![Line::parse("/dev/log local0").unwrap()],
        maxconn: 50_000,
        proxy_maxconn: 10_000,
        backlog: 10_000,
        hard_stop_after: s(3700),
        stats_socket: None,
        timeouts: Timeouts {
            connect: s(3),
            client: s(30),
            server: s(30),
            tunnel: s(3600),
            http_keep_alive: s(1),
            http_request: s(15),
            queue: s(30),
            tarpit: s(60),
        },
        options: ["dontlognull", "http-server-close", "redispatch"].map(word).to_vec(),
        vhosts: Some(Vhosts {
            http: listen(80),
            https: listen(443),
            certs: vec![word("default.pem")],
            alpn: word("h2,http/1.1"),
        }),
        app_id: listen(9091),
        stats: Stats { listen: listen(9090), allow: Vec::new(), auth: None, prometheus: true },
        tls: Tls {
            min_version: word("TLSv1.2"),
            ciphers: word("ECDHE-ECDSA-AES128-GCM-SHA256"),
            ciphersuites: word("TLS_AES_128_GCM_SHA256"),
        },
    }
}

#[test]
fn speed() {
    let n = 5000;
    let mut apps = BTreeMap::new();
    for i in 0..n {
        let id = AppId::parse(&format!("/group/app-{i:05}")).unwrap();
        let instances = (0..5u8)
            .map(|t| Instance {
                id: format!("group_app-{i}.{t}"),
                host: format!("10.0.{}.{}", t, i % 250),
                addr: Some(IpAddr::V4(Ipv4Addr::new(10, 0, t, (i % 250) as u8))),
                ports: vec![Some(20000 + (i / 250) as u16)],
                state: Default::default(),
                health: crate::app::Health::Alive,
            })
            .collect();
        apps.insert(
            id.clone(),
            App {
                id,
                labels: BTreeMap::from([
                    ("HAPROXY_GROUP".to_owned(), "external".to_owned()),
                    ("HAPROXY_0_VHOST".to_owned(), format!("app{i}.example.com")),
                ]),
                networking: Networking::Host,
                ports: vec![Port { service_port: Some(10000 + i as u16) }],
                checks: vec![],
                instances,
                wanted: 5,
            },
        );
    }
    let snapshot = Snapshot { apps, ..Snapshot::default() };
    let policy = Policy { groups: Groups::All, vhosts: true, reserved: reserved(&settings()), ..Policy::default() };
    let renderer = Renderer::new().unwrap();
    for _ in 0..5 {
        let t = std::time::SystemTime::now();
        let (state, issues) = compile(&snapshot, &policy);
        let a = t.elapsed().unwrap();
        let out = renderer.render(&state, &settings()).unwrap();
        println!("{a:?} {:?} {} {}", t.elapsed().unwrap(), out.config.len(), issues.len());
        std::fs::write("/tmp/t/haproxy.cfg", &out.config).unwrap();
        for (name, map) in &out.maps {
            std::fs::write(format!("/tmp/t/{name}"), map).unwrap();
        }
    }
}
