//! What HAProxy accepts although it takes traffic from others never reaches it.
//!
//! Listeners that meet, hosts and paths taken twice, rules in what everybody shares. The real HAProxy
//! shows that it would accept them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is test code")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::process::Command;

use common::{app, compiled, policy, rendered, settings};
use haproxy::bundle::{Bind, Draft};
use haproxy::labels::templates::TEMPLATES;
use haproxy::render::Renderer;
use haproxy::render::settings::Settings;
use proptest::prelude::*;

fn labels(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, value)| (format!("HAPROXY_{name}"), (*value).to_owned())).collect()
}

/// Whether a connection may reach either, by the kernel's rules; an oracle apart from `compile`'s.
fn meet(a: &Bind, b: &Bind) -> bool {
    let covers = |wide: &Bind, ip: IpAddr| match (wide.addr.ip, ip) {
        (IpAddr::V4(wide), IpAddr::V4(_)) => wide.is_unspecified(),
        (IpAddr::V6(six), IpAddr::V6(_)) => six.is_unspecified(),
        (IpAddr::V6(six), IpAddr::V4(_)) => six.is_unspecified() && !wide.addr.v6only,
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    };
    a.port == b.port && (a.addr.ip == b.addr.ip || covers(a, b.addr.ip) || covers(b, a.addr.ip))
}

fn check(draft: &Draft) {
    for (at, a) in draft.binds.iter().enumerate() {
        for b in &draft.binds[at + 1..] {
            assert!(!meet(a, b), "{a:?} and {b:?}");
        }
    }
    for (name, map) in &draft.maps {
        let keys: Vec<_> = map.lines().filter_map(|line| line.split(' ').next()).collect();
        let once: BTreeSet<_> = keys.iter().collect();
        assert_eq!(keys.len(), once.len(), "{}: {map}", name.as_str());
    }
}

/// Labels of one app with two ports.
fn any_app() -> impl Strategy<Value = BTreeMap<String, String>> {
    let port = proptest::sample::select(vec!["80", "443", "9090", "9091", "10000", "10001"]);
    let addr = proptest::sample::select(vec!["*", "0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::1"]);
    let options = proptest::sample::select(vec!["", "v6only", "v4v6", "accept-proxy", "interface lo"]);
    let host = proptest::sample::select(vec!["a.com", "b.com,a.com", "*.a.com", "x.a.com"]);
    let path = proptest::sample::select(vec!["", "/", "/api", "/api/v2 /x", "-i /API"]);
    let weight = proptest::sample::select(vec!["", "0", "3"]);
    let one = (port, addr, options, host, path, weight);
    proptest::collection::vec(one, 2).prop_map(|ports| {
        let each = ports.into_iter().enumerate().flat_map(|(n, (port, addr, options, host, path, weight))| {
            [
                ("PORT", port),
                ("BIND_ADDR", addr),
                ("BIND_OPTIONS", options),
                ("VHOST", host),
                ("PATH", path),
                ("BACKEND_WEIGHT", weight),
            ]
            .map(|(name, value)| (format!("HAPROXY_{n}_{name}"), value.to_owned()))
        });
        each.filter(|(_, value)| !value.is_empty()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_listeners_meet_and_no_route_is_taken_twice(apps in proptest::collection::vec(any_app(), 1..5)) {
        let apps = apps.into_iter().enumerate().map(|(n, labels)| app(&format!("/app-{n}"), 2, labels)).collect();
        for ipv6 in [false, true] {
            let (state, _) = compiled(Vec::clone(&apps), &haproxy::compile::Policy { ipv6, ..policy() });
            let settings = Settings { ipv6, ..settings() };
            check(&Renderer::new().unwrap().render(&state, &settings).unwrap());
        }
    }
}

/// What the real HAProxy says to a configuration; none where it is not installed.
fn accepts(config: &str, draft: &Draft) -> Option<bool> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in &draft.maps {
        std::fs::write(dir.path().join(name.as_str()), text).unwrap();
    }
    // Certificates are not what this is about.
    let plain = config.lines().map(|line| line.split(" ssl crt ").next().unwrap_or_default());
    let file = dir.path().join("haproxy.cfg");
    std::fs::write(&file, plain.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    match Command::new("haproxy").arg("-c").arg("-f").arg(&file).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: no haproxy is installed");
            None
        }
        output => Some(output.unwrap().status.success()),
    }
}

#[test]
fn haproxy_itself_accepts_listeners_that_meet() {
    let apart = compiled(vec![app("/a", 1, BTreeMap::new()), app("/b", 1, labels(&[("0_PORT", "10001")]))], &policy());
    let draft = rendered(&apart.0);
    let bind = "bind *:10001,[::]:10001 v6only";
    assert!(draft.config.contains(bind), "{}", draft.config);
    // The same port, one address of it, and a port of ours.
    for taken in ["bind *:10000,[::]:10000 v6only", "bind 127.0.0.1:10000", "bind *:80", "bind *:9090"] {
        let config = draft.config.replace(bind, taken);
        let Some(accepted) = accepts(&config, &draft) else { return };
        assert!(accepted, "{taken}: HAProxy would see to it");
    }
    for taken in [vec![], vec![("0_BIND_ADDR", "127.0.0.1")], vec![("0_PORT", "80")], vec![("0_PORT", "9090")]] {
        let (state, issues) = compiled(vec![app("/a", 1, BTreeMap::new()), app("/b", 1, labels(&taken))], &policy());
        assert_eq!((state.frontends.len(), issues.len()), (1, 1), "{taken:?} {issues:?}");
        assert_eq!(issues[0].app, "/b");
    }
}

/// Lines that take everybody's traffic, leave a condition open or run what they please.
const LINES: &[&str] = &[
    "  use_backend evil",
    "  default_backend evil",
    "  http-request redirect location http://evil.test/",
    "  http-request deny",
    "  use_backend evil if TRUE",
    ".if 0",
    "global\n  lua-load /tmp/x.lua",
];

#[test]
fn no_label_brings_lines_of_its_own() {
    let bare = |more: BTreeMap<String, String>| {
        let (state, issues) =
            compiled(vec![app("/a", 1, more), app("/evil", 1, labels(&[("0_PORT", "1")]))], &policy());
        (rendered(&state).config, issues)
    };
    let (expected, none) = bare(BTreeMap::new());
    assert_eq!(none, []);
    let value_too = |name: &str| name == "HTTP_BACKEND_REDIR";
    for template in TEMPLATES.iter().filter(|template| !value_too(template.name)) {
        for line in LINES {
            for key in [format!("HAPROXY_0_{}", template.name), format!("HAPROXY_{}", template.name)] {
                let (config, issues) = bare(BTreeMap::from([(key.clone(), (*line).to_owned())]));
                assert_eq!(config, expected, "{key}: {line}");
                assert_eq!(issues.iter().map(|issue| issue.label.as_deref()).collect::<Vec<_>>(), [Some(&*key)]);
            }
        }
    }
    // Brought in, HAProxy would take the first of them as they stand.
    let draft = rendered(&compiled(vec![app("/evil", 1, BTreeMap::new())], &policy()).0);
    for line in &LINES[2..4] {
        let everybodys = "frontend marathon_http_in\n";
        let config = draft.config.replace(everybodys, &format!("{everybodys}{line}\n"));
        let Some(accepted) = accepts(&config, &draft) else { return };
        assert!(accepted, "{line}: HAProxy would see to it");
    }
}
