//! What labels become, label by label, and what a mistake is told and costs.

use std::collections::BTreeMap;

use super::options::{AppOptions, Deployment, Mode, PortOptions};
use super::table::{Scope, TABLE};
use super::*;
use crate::text::{BindAddr, Word};

/// Two ports; the labels in the order given.
fn read(labels: &[(&str, &str)]) -> (AppOptions, Vec<String>) {
    let labels: BTreeMap<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let (options, issues) = parse(&AppId::parse("/shop/web").unwrap(), &labels, 2);
    assert_eq!(options.ports.len(), 2);
    (options, issues.iter().map(ToString::to_string).collect())
}

/// The first port of an app whose labels are all good.
fn good(labels: &[(&str, &str)]) -> PortOptions {
    let (mut options, issues) = read(labels);
    assert_eq!(issues, [""; 0], "{labels:?}");
    options.ports.swap_remove(0)
}

/// The first port and the only issue, without the app and its label.
fn bad(key: &str, value: &str) -> (PortOptions, String) {
    let (mut options, issues) = read(&[(key, value)]);
    let [issue] = issues.as_slice() else { panic!("{key} {value:?}: {issues:#?}") };
    let problem = issue.strip_prefix(&format!("/shop/web: {key}: ")).unwrap().to_owned();
    (options.ports.swap_remove(0), problem)
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn no_labels_are_the_defaults() {
    assert_eq!(good(&[]), PortOptions::default());
    assert_eq!(good(&[("TRAEFIK_0_VHOST", "x"), ("haproxy_0_vhost", "x"), ("", "")]), PortOptions::default());
}

#[test]
fn the_example_of_every_label_is_good_and_has_an_effect() {
    for label in TABLE {
        let key = match label.scope() {
            Scope::App => format!("HAPROXY_{}", label.name),
            Scope::Port => format!("HAPROXY_1_{}", label.name),
        };
        let (options, issues) = read(&[(&key, label.example), ("HAPROXY_1_VHOST", "x.example")]);
        assert_eq!(issues, [""; 0], "{key}");
        let (without, _) = read(&[("HAPROXY_1_VHOST", "x.example")]);
        assert!(options != without || label.name == table::VHOST, "{key}");
    }
}

#[test]
fn labels_go_to_their_port() {
    let (options, issues) = read(&[("HAPROXY_0_PORT", "8080"), ("HAPROXY_1_PORT", "8081"), ("HAPROXY_2_PORT", "8082")]);
    assert_eq!((options.ports[0].port, options.ports[1].port), (Some(8080), Some(8081)));
    assert_eq!(
        issues,
        ["/shop/web: HAPROXY_2_PORT: there is no port \"2\"; the app has 2 ports, index 0 to 1; ignored"]
    );
}

#[test]
fn booleans() {
    for (text, want) in [
        ("true", true),
        ("T", true),
        ("Yes", true),
        ("y", true),
        (" TRUE\t", true),
        ("false", false),
        ("f", false),
        ("NO", false),
        ("n", false),
        ("0", false),
        ("off", false),
        ("", false),
        ("  ", false),
    ] {
        assert_eq!(good(&[("HAPROXY_0_STICKY", text)]).sticky, want, "{text:?}");
        assert_eq!(good(&[("HAPROXY_0_USE_HSTS", text)]).use_hsts, want, "{text:?}");
        assert_eq!(good(&[("HAPROXY_0_REDIRECT_TO_HTTPS", text)]).redirect_to_https, want, "{text:?}");
        assert_eq!(good(&[("HAPROXY_0_ENABLED", text)]).enabled, Some(want), "{text:?}");
    }
    for text in ["1", "on", "tru", "true\n", "\u{a0}true", "yes please"] {
        let (port, problem) = bad("HAPROXY_0_STICKY", text);
        assert!(!port.sticky);
        assert!(
            problem
                .ends_with("is neither true nor false; accepted: true t yes y, or false f no n 0 off; false is used")
        );
        let (port, problem) = bad("HAPROXY_0_ENABLED", text);
        assert_eq!(port.refused.as_deref(), Some("HAPROXY_0_ENABLED"));
        assert!(problem.ends_with("; out of service until mended"));
    }
}

#[test]
fn numbers() {
    assert_eq!(good(&[("HAPROXY_0_BACKEND_WEIGHT", "0")]).weight, Some(0));
    assert_eq!(good(&[("HAPROXY_0_BACKEND_WEIGHT", " -5 ")]).weight, Some(-5));
    assert_eq!(good(&[("HAPROXY_0_BACKEND_WEIGHT", "2147483647")]).weight, Some(i32::MAX));
    assert_eq!(good(&[("HAPROXY_0_PORT", "65535")]).port, Some(65535));
    assert_eq!(good(&[("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", "1")]).check_port_index, Some(1));
    for (key, values) in [
        ("HAPROXY_0_BACKEND_WEIGHT", &["2147483648", "1.5", "high", "1 2", "0x10", "1\n2"][..]),
        ("HAPROXY_0_PORT", &["0", "65536", "-1", "http", "80 443"]),
        ("HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX", &["-1", "99999999999999999999999", "one"]),
    ] {
        for value in values {
            let (port, problem) = bad(key, value);
            assert_eq!(port, PortOptions::default(), "{key} {value:?}");
            assert!(problem.contains("; accepted: "), "{problem}");
        }
    }
}

#[test]
fn virtual_hosts() {
    let port = good(&[("HAPROXY_0_VHOST", " A.example , *.b.example,a.example ,bücher.example")]);
    assert_eq!(texts(&port.hosts), ["a.example", "*.b.example", "xn--bcher-kva.example"]);
    assert_eq!(good(&[("HAPROXY_0_VHOST", " ")]).hosts, []);
}

#[test]
fn a_bad_host_costs_only_itself() {
    for host in ["https://b.example/x", "-m found", "b\u{a0}c", "b..c", "%[src]", "\"b\"", "b\nlua-load x", ""] {
        let (port, problem) = bad("HAPROXY_0_VHOST", &format!("a.example,{host},c.example"));
        assert_eq!(texts(&port.hosts), ["a.example", "c.example"], "{host:?}");
        assert!(problem.starts_with(&value::shown(host)), "{problem}");
        assert!(problem.ends_with("; this host is left out"), "{problem}");
    }
}

#[test]
fn paths() {
    let vhost = ("HAPROXY_0_VHOST", "a.example");
    let port = good(&[vhost, ("HAPROXY_0_PATH", "/api  /static /api")]);
    assert_eq!((port.paths.ignore_case, texts(&port.paths.prefixes)), (false, vec!["/api".into(), "/static".into()]));
    let port = good(&[vhost, ("HAPROXY_0_PATH", " -i /Api ")]);
    assert_eq!((port.paths.ignore_case, texts(&port.paths.prefixes)), (true, vec!["/Api".into()]));
    assert_eq!(texts(&good(&[vhost, ("HAPROXY_0_PATH", "")]).hosts), ["a.example"]);
}

#[test]
fn a_bad_prefix_never_widens_the_others() {
    let read = |path| {
        let (mut options, issues) = read(&[("HAPROXY_0_VHOST", "a.example"), ("HAPROXY_0_PATH", path)]);
        (options.ports.swap_remove(0), issues)
    };
    let (port, issues) = read("/a api -m /b");
    assert_eq!(
        (texts(&port.paths.prefixes), texts(&port.hosts)),
        (vec!["/a".into(), "/b".into()], vec!["a.example".into()])
    );
    assert_eq!(issues.len(), 2);
    assert!(issues[0].starts_with("/shop/web: HAPROXY_0_PATH: \"api\": must start with /; accepted: prefixes between"));

    for path in ["api", "-i", "-i api", "/a\n/b", "/\u{a0}", "/a\"b"] {
        let (port, issues) = read(path);
        assert_eq!(port, PortOptions::default(), "{path:?}");
        assert_eq!(issues.len(), 2, "{issues:?}");
        assert!(
            issues[1].contains("no prefix is left, so the virtual hosts of this port are not routed"),
            "{issues:?}"
        );
    }
}

#[test]
fn a_path_needs_a_host() {
    let (port, problem) = bad("HAPROXY_0_PATH", "/api");
    assert_eq!((port, problem.as_str()), (PortOptions::default(), "needs VHOST on the same port; ignored"));
    let (options, issues) = read(&[("HAPROXY_0_VHOST", "a b"), ("HAPROXY_0_PATH", "/api")]);
    assert_eq!((options.ports[0].clone(), issues.len()), (PortOptions::default(), 1));
}

#[test]
fn modes_and_addresses() {
    assert_eq!(good(&[("HAPROXY_0_MODE", "HTTP")]).mode, Some(Mode::Http));
    assert_eq!(good(&[("HAPROXY_0_MODE", " tcp ")]).mode, Some(Mode::Tcp));
    assert_eq!(bad("HAPROXY_0_MODE", "htpt").1, "\"htpt\" is no mode; accepted: tcp or http; the default is used");
    assert_eq!(good(&[("HAPROXY_0_BIND_ADDR", "*")]).bind_addr, BindAddr::Any);
    assert_eq!(good(&[("HAPROXY_0_BIND_ADDR", "::1")]).bind_addr.to_string(), "[::1]");
    assert_eq!(good(&[("HAPROXY_0_BIND_ADDR", "")]).bind_addr, BindAddr::Any);
}

#[test]
fn algorithms_fall_back_to_round_robin() {
    assert_eq!(good(&[("HAPROXY_0_BALANCE", "hdr(X-User)")]).balance.to_string(), "hdr(X-User)");
    let (port, problem) = bad("HAPROXY_0_BALANCE", "source\n  mode tcp");
    assert_eq!(port.balance.to_string(), "roundrobin");
    assert!(
        problem.starts_with("\"source\\u{a}  mode tcp\" is no algorithm that can be used here; accepted: roundrobin,")
    );
    assert!(problem.ends_with("; roundrobin is used"), "{problem}");
}

#[test]
fn url_paths() {
    let port = good(&[
        ("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", "/a"),
        ("HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH", " /b/ "),
        ("HAPROXY_0_HTTP_BACKEND_REDIR", "/c"),
    ]);
    assert_eq!(
        texts(&[port.proxypass_path, port.revproxy_path, port.redirect_root].map(Option::unwrap)),
        ["/a", "/b/", "/c"]
    );
    for label in ["PROXYPASS_PATH", "REVPROXY_PATH", "REDIR"] {
        for value in ["a", "/a b", "/a\"", "/%[src] x", "/{", "/\\1", "/a\r"] {
            let (port, problem) = bad(&format!("HAPROXY_0_HTTP_BACKEND_{label}"), value);
            assert_eq!(port, PortOptions::default());
            assert!(problem.ends_with("; ignored"), "{problem}");
        }
    }
}

#[test]
fn authentication() {
    let port = good(&[("HAPROXY_0_AUTH", " My shop:anna:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0")]);
    let auth = port.auth.unwrap();
    assert_eq!((auth.realm.as_str(), auth.user.as_str()), ("My shop", "anna"));
    assert_eq!(auth.hash.as_str(), "$1$abcdefgh$irWbblnpmw.5z7wgBnprh0");
}

#[test]
fn networks() {
    let port =
        good(&[("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.1.2.3/8  127.0.0.1 fd00::/8\t10.0.0.0/255.255.0.0")]);
    assert_eq!(texts(&port.network_allowed), ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "10.0.0.0/16"]);
}

#[test]
fn groups_of_the_app_hold_where_the_port_has_none() {
    let (options, issues) = read(&[("HAPROXY_GROUP", "external , internal"), ("HAPROXY_1_GROUP", "internal")]);
    assert_eq!(issues, [""; 0]);
    let groups: Vec<Vec<_>> = options.ports.iter().map(|port| port.groups.iter().cloned().collect()).collect();
    assert_eq!(groups, [vec!["external", "internal"], vec!["internal"]]);
}

#[test]
fn a_bad_app_group_refuses_the_ports_without_their_own() {
    let (options, issues) = read(&[("HAPROXY_GROUP", "a,,b"), ("HAPROXY_1_GROUP", "c"), ("HAPROXY_1_AUTH", "x")]);
    let refused: Vec<_> = options.ports.iter().map(|port| port.refused.as_deref()).collect();
    assert_eq!(refused, [Some("HAPROXY_GROUP"), Some("HAPROXY_1_AUTH")]);
    assert_eq!(issues.len(), 2, "{issues:?}");
}

#[test]
fn what_protects_a_port_fails_closed() {
    let secret = "realm:anna:secret-in-plain-text";
    for (name, values) in [
        ("AUTH", &["", " ", "a:b", "a:b:c:d", secret, "r\n:u:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0"][..]),
        ("BACKEND_NETWORK_ALLOWED_ACL", &["", "10.0.0.0/33", "10.0.0.0/8 office", "10.0.0.0/8,fd00::/8", "10.0.0.1\n"]),
        ("SSL_CERT", &["cert.pem", "/etc/../x.pem", "/a b.pem", "/a.pem\nbind :1"]),
        ("BIND_ADDR", &["eth0", "10.0.0.1:80", "10.0.0.1\n", "unix@/run/x.sock", "10.0.0.1,10.0.0.2"]),
        ("BIND_OPTIONS", &["level admin", "ssl", "crt", "verify required", "crt /a\nuser root", "sl crt /x.pem"]),
        ("GROUP", &["", "a b", "a,", "a\u{a0}", "a\nb", "\u{7}"]),
        ("ENABLED", &["1", "ja"]),
    ] {
        for value in values {
            let key = format!("HAPROXY_0_{name}");
            let (port, problem) = bad(&key, value);
            assert_eq!(port, PortOptions { refused: Some(key.clone()), ..PortOptions::default() }, "{key} {value:?}");
            assert!(problem.ends_with("; out of service until mended"), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}

#[test]
fn an_empty_value_is_no_value_where_nothing_opens_up() {
    for label in TABLE.iter().filter(|label| label.empty == Empty::Absent) {
        let key = match label.scope() {
            Scope::App => format!("HAPROXY_{}", label.name),
            Scope::Port => format!("HAPROXY_0_{}", label.name),
        };
        for value in ["", "  ", "\t"] {
            let (options, issues) = read(&[(&key, value)]);
            assert_eq!((options.ports[0].clone(), options.deployment, issues), Default::default(), "{key}");
        }
    }
}

#[test]
fn ssl_takes_its_certificate_from_either_label() {
    let words = |port: PortOptions| port.bind_options.iter().map(Word::to_string).collect::<Vec<_>>().join(" ");
    assert_eq!(words(good(&[("HAPROXY_0_BIND_OPTIONS", "ssl crt /x.pem")])), "ssl crt /x.pem");
    let both = [("HAPROXY_0_BIND_OPTIONS", "ssl alpn h2"), ("HAPROXY_0_SSL_CERT", "/x.pem")];
    assert_eq!(words(good(&both)), "ssl alpn h2");
}

#[test]
fn deployments() {
    let (options, issues) = read(&[
        ("HAPROXY_DEPLOYMENT_GROUP", "shop/web"),
        ("HAPROXY_DEPLOYMENT_STARTED_AT", "2026-11-21T05:15:26"),
        ("HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "5"),
        ("HAPROXY_DEPLOYMENT_NEW_INSTANCES", "0"),
        ("HAPROXY_DEPLOYMENT_ALT_PORT", "10001"),
        ("HAPROXY_DEPLOYMENT_COLOUR", "blue"),
        ("HAPROXY_APP_ID", "/shop/web"),
    ]);
    let word = |text| Some(Word::parse(text).unwrap());
    let want = Deployment {
        group: word("shop/web"),
        started_at: word("2026-11-21T05:15:26"),
        target_instances: Some(5),
        new_instances: Some(0),
        alt_port: Some(10001),
        colour: word("blue"),
        app_id: word("/shop/web"),
    };
    assert_eq!((options.deployment, issues.len()), (want, 0));
    for (name, value) in [
        ("DEPLOYMENT_GROUP", "a//b"),
        ("DEPLOYMENT_GROUP", "a b"),
        ("DEPLOYMENT_STARTED_AT", "21 Nov"),
        ("DEPLOYMENT_TARGET_INSTANCES", "-1"),
        ("DEPLOYMENT_NEW_INSTANCES", "4294967296"),
        ("DEPLOYMENT_ALT_PORT", "0"),
        ("DEPLOYMENT_COLOUR", "blue\n"),
        ("APP_ID", "/"),
    ] {
        let key = format!("HAPROXY_{name}");
        let (options, issues) = read(&[(&key, value)]);
        assert_eq!((options, issues.len()), (read(&[]).0, 1), "{key} {value:?}");
    }
}

#[test]
fn issues_are_bounded_and_the_grave_ones_come_first() {
    let mut labels: BTreeMap<_, _> = (0..10_000).map(|n| (format!("HAPROXY_{n}_AAA"), "x".repeat(100))).collect();
    labels.insert("HAPROXY_0_VHOST".into(), "a b,".repeat(16_384));
    labels.insert("HAPROXY_1_AUTH".into(), "x".repeat(65_536));
    let (options, issues) = parse(&AppId::parse("/a").unwrap(), &labels, 2);
    assert_eq!(issues.len(), report::MOST + 1);
    assert_eq!(issues[0].label.as_deref(), Some("HAPROXY_1_AUTH"));
    // 10,000 names, 16,384 hosts and the empty one after the last comma, less the 49 shown.
    assert_eq!(issues.last().unwrap().to_string(), "/a: … and 26336 more label problems");
    assert_eq!(options.ports[1].refused.as_deref(), Some("HAPROXY_1_AUTH"));
}

#[test]
fn messages_keep_what_is_accepted_however_long_the_text() {
    for label in TABLE.iter().filter(|label| label.scope() == Scope::Port) {
        let key = format!("HAPROXY_0_{}", label.name);
        for value in
            ["x\u{a0}".repeat(32_768), "\n".repeat(65_536), "global\n lua-load /x".to_owned(), ".if 0\n".to_owned()]
        {
            let (_, issues) = read(&[(&key, &value)]);
            assert!(issues[0].contains(label.cost()), "{issues:?}");
        }
    }
}
