//! What is served in the place of what is refused.

use std::net::IpAddr;

use haproxy::app::{App, AppId, Networking, Port, Snapshot};
use haproxy::compile::{Groups, Policy, compile};
use nix::errno::Errno;

use super::*;

/// One app with one port, its listener on `addr`.
fn state(addr: &str) -> LbState {
    let app = App {
        id: AppId::parse("/a").unwrap(),
        labels: BTreeMap::from([("HAPROXY_0_BIND_ADDR".to_owned(), addr.to_owned())]),
        networking: Networking::Host,
        ports: vec![Port { service_port: Some(10_000) }],
        checks: Vec::new(),
        instances: Vec::new(),
        wanted: 0,
    };
    let snapshot = Snapshot { apps: BTreeMap::from([(app.id.clone(), Arc::new(app))]), ..Snapshot::default() };
    compile(&snapshot, &Policy { groups: Groups::All, ..Policy::default() }).0
}

/// What is left of the listener when `refused` cannot be bound, and what is said about it.
fn left(addr: &str, ipv6: bool, refused: &[&str]) -> (Option<String>, String) {
    let state = state(addr);
    let id = state.frontends.keys().next().unwrap().clone();
    let mut left_out = LeftOut::default();
    for ip in refused {
        let bind = Bind { addr: ip.parse::<IpAddr>().unwrap().into(), port: 10_000, owner: None };
        left_out.unbindable(id.clone(), &Unbindable { bind, errno: Errno::EADDRINUSE, holder: None });
    }
    let mut issues = Vec::new();
    let rest = left_out.apply(state, ipv6, &mut issues);
    let words = |frontend: &Frontend| {
        let options = frontend.options.iter().map(|word| format!(" {word}"));
        format!("{}{}", frontend.addr, options.collect::<String>())
    };
    (rest.frontends.get(&id).map(words), issues[0].problem.clone())
}

#[test]
fn a_listener_goes_on_with_the_family_that_is_not_refused() {
    let case = |addr, ipv6, refused: &[&str], expected: Option<&str>, said: &str| {
        let (left, problem) = left(addr, ipv6, refused);
        assert_eq!(left.as_deref(), expected, "{addr} without {refused:?}");
        assert!(problem.starts_with(said), "{problem}");
    };
    case("*", true, &["::"], Some("0.0.0.0"), "port 0 listens on IPv4 only: ");
    case("*", true, &["0.0.0.0"], Some("[::] v6only"), "port 0 listens on IPv6 only: ");
    case("*", true, &["0.0.0.0", "::"], None, "port 0 has no listener: ");
    case("*", false, &["0.0.0.0"], None, "port 0 has no listener: ");
    case("::", true, &["::"], None, "port 0 has no listener: ");
}
