//! Whatever app owners write, haproxy.cfg has the lines that the model asks for and no others.
//!
//! The labels are biased towards what has broken load balancers before: newlines, section
//! keywords, quotes, comments, log-format and environment expansions.

mod common;

use std::collections::BTreeMap;

use common::{app, compiled, policy, rendered};
use haproxy::labels::options::Mode;
use haproxy::model::LbState;
use proptest::prelude::*;

/// The section headers that `state` asks for, in order.
fn expected_headers(state: &LbState) -> Vec<String> {
    let mut headers: Vec<String> = ["global", "defaults", "listen stats"].map(str::to_owned).to_vec();
    let users = state.backends.iter().filter(|(_, b)| b.auth.is_some());
    headers.extend(users.map(|(id, _)| format!("userlist user_{id}")));
    headers.push("frontend marathon_http_appid_in".to_owned());
    headers.push("frontend marathon_http_in".to_owned());
    headers.push("frontend marathon_https_in".to_owned());
    headers.extend(state.frontends.keys().map(|id| format!("frontend {id}")));
    headers.extend(state.backends.keys().map(|id| format!("backend {id}")));
    headers
}

/// How many lines the section of each backend has, as its options say.
fn expected_backend_lines(state: &LbState) -> Vec<usize> {
    let lines = |b: &haproxy::model::Backend| {
        let http = b.mode == Mode::Http;
        let acl = b.network_allowed.len();
        let mut lines = 3 + acl + usize::from(acl > 0) + b.servers.len();
        if http {
            lines += 3;
            lines += usize::from(b.redirect_to_https) + usize::from(b.auth.is_some()) + usize::from(b.hsts);
            lines += b.redirect_root.as_ref().map_or(0, |_| b.hosts.len() + 1);
            let exact = b.hosts.iter().any(|host| !host.is_wildcard());
            lines += b.proxypass_path.as_ref().map_or(0, |_| 1 + usize::from(exact));
            lines += usize::from(b.revproxy_path.is_some()) + usize::from(b.sticky);
        }
        lines + b.check.as_ref().and_then(|check| check.http.as_ref()).map_or(0, |_| 2)
    };
    state.backends.values().map(|backend| lines(backend)).collect()
}

fn check(labels: BTreeMap<String, String>) {
    let (state, _) = compiled(vec![app("/a", 3, labels)], &policy());
    let config = rendered(&state).config;
    assert!(config.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{config}");

    let mut headers = Vec::new();
    let mut lengths = Vec::new();
    for section in config.split("\n\n") {
        let mut lines = section.trim_end().lines();
        headers.push(lines.next().unwrap_or_default().to_owned());
        let mut rest = lines.peekable();
        assert!(rest.peek().is_some(), "an empty section: {section}");
        lengths.push(rest.inspect(|line| assert!(line.starts_with("  "), "{line:?}")).count() + 1);
    }
    assert_eq!(headers, expected_headers(&state));
    let backends = lengths.split_off(lengths.len() - state.backends.len());
    assert_eq!(backends, expected_backend_lines(&state), "{config}");
}

fn name() -> impl Strategy<Value = String> {
    let known = [
        "VHOST",
        "PATH",
        "BACKEND_WEIGHT",
        "MODE",
        "PORT",
        "BIND_ADDR",
        "BIND_OPTIONS",
        "SSL_CERT",
        "AUTH",
        "REDIRECT_TO_HTTPS",
        "USE_HSTS",
        "STICKY",
        "ENABLED",
        "GROUP",
        "BALANCE",
        "BACKEND_NETWORK_ALLOWED_ACL",
        "HTTP_BACKEND_PROXYPASS_PATH",
        "HTTP_BACKEND_REVPROXY_PATH",
        "HTTP_BACKEND_REDIR",
        "BACKEND_HEALTHCHECK_PORT_INDEX",
        "BACKEND_HEAD",
        "NO_SUCH_LABEL",
    ];
    prop_oneof![
        8 => (0_usize..4, proptest::sample::select(known.to_vec())).prop_map(|(n, name)| format!("HAPROXY_{n}_{name}")),
        1 => Just("HAPROXY_GROUP".to_owned()),
        1 => "HAPROXY_[A-Z0-9_]{0,12}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    let nasty = [
        "a.com\nglobal\n  lua-load /tmp/x",
        "a.com\r\nlisten x",
        "a\u{0}b",
        "a\u{a0}.com",
        "-m found",
        "a.com,b c.com",
        "\"${HOME}\"",
        "%[env(HOME)]",
        ".if 0",
        "x #",
        "\\",
        "'",
        "/a b",
        "/a\n/b",
        "-i /API /v1",
        "9999999999",
        "-1",
        "roundrobin\n  server x 1.1.1.1:80",
        "10.0.0.0/8 if TRUE",
        "ssl crt /etc/passwd\n",
        "realm:user:pass\nword",
    ];
    let good = [
        "true",
        "false",
        "a.com",
        "*.b.com,c.com",
        "/api",
        "/api /v2",
        "tcp",
        "http",
        "8080",
        "3",
        "127.0.0.1",
        "accept-proxy",
        "/etc/ssl/a.pem",
        "My realm:joe:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0",
        "leastconn",
        "uri depth 2",
        "10.0.0.0/8 192.0.2.1",
        "external",
        "",
    ];
    prop_oneof![
        3 => proptest::sample::select(nasty.map(str::to_owned).to_vec()),
        6 => proptest::sample::select(good.map(str::to_owned).to_vec()),
        2 => any::<String>(),
        1 => Just("x".repeat(65_536)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_label_adds_a_line(labels in proptest::collection::btree_map(name(), value(), 0..12)) {
        check(labels);
    }
}

#[test]
fn the_classics() {
    for (name, value) in [
        ("HAPROXY_0_VHOST", "a.com\nglobal\n  lua-load /tmp/x.lua"),
        ("HAPROXY_0_BALANCE", "roundrobin\n  server evil 10.9.9.9:80"),
        ("HAPROXY_0_BIND_OPTIONS", "accept-proxy\n  stats enable"),
        ("HAPROXY_0_AUTH", "r:u:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0\nglobal"),
        ("HAPROXY_0_BACKEND_HEAD", "backend x\n  server y 1.1.1.1:80"),
    ] {
        check(BTreeMap::from([(name.to_owned(), value.to_owned())]));
    }
}
