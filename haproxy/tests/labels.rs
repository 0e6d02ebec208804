//! Properties of `labels::parse`, whatever app owners write.

#![allow(clippy::unwrap_used, reason = "all of this is test code")]

use std::collections::BTreeMap;

use haproxy::app::AppId;
use haproxy::issue::Issue;
use haproxy::labels::options::{AppOptions, Paths, PortOptions};
use haproxy::labels::parse;
use haproxy::labels::table::{Label, Scope, TABLE};
use haproxy::labels::templates::TEMPLATES;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

type Labels = BTreeMap<String, String>;

fn read(labels: &Labels, ports: usize) -> (AppOptions, Vec<Issue>) {
    parse(&AppId::parse("/a/b").unwrap(), labels, ports)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_labels_give_options_that_are_safe_to_print(
        labels in proptest::collection::btree_map(key(), value(), 0..12),
        ports in 0_usize..4,
    ) {
        let (options, issues) = read(&labels, ports);
        prop_assert_eq!(options.ports.len(), ports);
        prop_assert_eq!(&read(&labels, ports), &(options.clone(), issues.clone()));
        for text in texts(&options) {
            prop_assert!(!text.is_empty() && !text.chars().any(|c| c.is_control() || c.is_whitespace()), "{:?}", text);
        }
        for port in &options.ports {
            for text in rendered(port) {
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\#{}`".contains(&b)), "{:?}", text);
            }
            if let Some(auth) = &port.auth {
                prop_assert!(auth.realm.as_str().bytes().all(|b| b == b' ' || b.is_ascii_graphic() && b != b'"'));
            }
            prop_assert_ne!(port.port, Some(0));
            prop_assert!(port.paths.prefixes.is_empty() || !port.hosts.is_empty());
        }
        prop_assert!(issues.len() <= 51);
        for issue in &issues {
            prop_assert!(!issue.to_string().chars().any(char::is_control), "{:?}", issue);
        }
    }

    #[test]
    fn a_bad_label_changes_nothing_but_what_it_is_about(
        good in subsequence(port_labels(), 0..=port_labels().len()),
        bad in any::<Index>(),
        value in bad_value(),
        app_groups in any::<bool>(),
    ) {
        let bad = TABLE[bad.index(TABLE.len())];
        let mut labels: Labels =
            good.iter().filter(|label| !same(label, &bad)).map(|label| (key_of(label), label.example.to_owned())).collect();
        if app_groups && bad.name != "GROUP" {
            labels.insert("HAPROXY_GROUP".to_owned(), "external".to_owned());
        }
        labels.insert("HAPROXY_1_PORT".to_owned(), "8081".to_owned());
        let vhost = labels.contains_key("HAPROXY_0_VHOST");
        prop_assume!(vhost || !labels.contains_key("HAPROXY_0_PATH") || bad.name == "VHOST");

        let (mut want, issues) = read(&labels, 2);
        prop_assert!(issues.iter().all(|issue| issue.label.as_deref() == Some("HAPROXY_0_PATH")), "{:?}", issues);
        labels.insert(key_of(&bad), value);
        let (have, issues) = read(&labels, 2);
        prop_assert!(issues.iter().any(|issue| issue.label == Some(key_of(&bad))), "{:?}", issues);

        for (n, port) in want.ports.iter_mut().enumerate() {
            let own_group = n == 0 && labels.contains_key("HAPROXY_0_GROUP");
            let concerned = match bad.scope() {
                Scope::App => !own_group,
                Scope::Port => n == 0,
            };
            if concerned && bad.fails_closed() {
                port.refused = Some(key_of(&bad));
            }
            match bad.name {
                "GROUP" if concerned => port.groups.clear(),
                // Without a good prefix the hosts would get every path.
                "PATH" if n == 0 => port.hosts.clear(),
                "VHOST" if n == 0 => port.paths = Paths::default(),
                _ => {}
            }
        }
        prop_assert_eq!(have, want);
    }
}

/// The port labels of the table.
fn port_labels() -> Vec<Label> {
    TABLE.iter().filter(|label| label.scope() == Scope::Port).copied().collect()
}

fn same(a: &Label, b: &Label) -> bool {
    (a.name, a.scope()) == (b.name, b.scope())
}

fn key_of(label: &Label) -> String {
    match label.scope() {
        Scope::App => format!("HAPROXY_{}", label.name),
        Scope::Port => format!("HAPROXY_0_{}", label.name),
    }
}

/// Keys, mostly ours.
fn key() -> impl Strategy<Value = String> {
    let names: Vec<&str> = TABLE.iter().map(|label| label.name).chain(TEMPLATES.iter().map(|t| t.name)).collect();
    prop_oneof![
        8 => (0_usize..4, select(names.clone())).prop_map(|(n, name)| format!("HAPROXY_{n}_{name}")),
        4 => select(names).prop_map(|name| format!("HAPROXY_{name}")),
        1 => "HAPROXY_[0-9]{0,25}_?[A-Z_]{0,20}",
        1 => "HAPROXY_\\PC{0,8}",
        1 => any::<String>(),
    ]
}

/// Values: good ones, hostile ones, good ones with something hostile in them, and anything.
fn value() -> impl Strategy<Value = String> {
    let example = select(TABLE).prop_map(|label| label.example.to_owned());
    let joined = (example.clone(), select(HOSTILE), any::<Index>()).prop_map(|(mut text, hostile, at)| {
        text.insert_str(at.index(text.len() + 1), hostile);
        text
    });
    prop_oneof![
        4 => example,
        3 => joined,
        2 => select(HOSTILE).prop_map(str::to_owned),
        2 => "[-/.:,*%$ a-z0-9\n]{0,40}",
        1 => any::<String>(),
        1 => select(HOSTILE).prop_map(|text| text.repeat(65_536 / text.len())),
    ]
}

/// Values that no label takes.
fn bad_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\n".to_owned()),
        Just("\u{a0}".to_owned()),
        "[a-z ]{0,8}\n[a-z ]{0,8}".prop_map(|text| format!("x{text}x")),
        Just("global\n lua-load x".to_owned()),
        Just("x\0y".to_owned()),
        "x{0,200}\u{2003}y",
    ]
}

const HOSTILE: &[&str] = &[
    "\n",
    "\r",
    "\0",
    "\t",
    "\u{a0}",
    "\u{2028}",
    " ",
    "\"",
    "'",
    "\\",
    "#",
    "$HOME",
    "${HOME}",
    "%[src]",
    "{",
    "}",
    ".if 0",
    "-i",
    "-m found",
    "-f /etc/passwd",
    "global\n lua-load /x.lua",
    "\nlisten x\n bind :1",
    ",",
    ":",
    "*",
    "é",
    "💥",
];

/// Every token of the result that was made of a label's text.
fn texts(options: &AppOptions) -> Vec<String> {
    let deployment = &options.deployment;
    let words = [&deployment.group, &deployment.started_at, &deployment.colour, &deployment.app_id];
    let mut texts: Vec<String> = words.into_iter().flatten().map(ToString::to_string).collect();
    for port in &options.ports {
        texts.extend(port.groups.iter().cloned());
        texts.extend(port.refused.clone());
        texts.extend(port.auth.iter().map(|auth| auth.hash.to_string()));
        texts.extend(rendered(port));
    }
    texts
}

/// The tokens that reach a line of haproxy.cfg or a map as they are.
fn rendered(port: &PortOptions) -> Vec<String> {
    let mut texts = vec![port.bind_addr.to_string()];
    texts.extend(port.hosts.iter().map(ToString::to_string));
    texts.extend(port.paths.prefixes.iter().map(ToString::to_string));
    texts.extend(port.bind_options.iter().map(ToString::to_string));
    texts.extend(port.ssl_cert.iter().map(ToString::to_string));
    texts.extend(port.auth.iter().map(|auth| auth.user.to_string()));
    texts.extend(port.balance.to_string().split(' ').map(str::to_owned));
    texts.extend(port.network_allowed.iter().map(ToString::to_string));
    let paths = [&port.proxypass_path, &port.revproxy_path, &port.redirect_root];
    texts.extend(paths.into_iter().flatten().map(ToString::to_string));
    texts
}
