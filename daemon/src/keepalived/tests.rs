//! Nothing is dropped in silence, and what comes out is always a configuration: properties.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use proptest::prelude::*;

use super::{Import, import};
use crate::config::Config;

/// What becomes of `text`, which must be accepted by Baton in any case.
fn imported(text: &[u8]) -> Import {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keepalived.conf");
    fs::write(&file, text).unwrap();
    let made = import(&file, None).unwrap();
    let whole = format!("{}\n[marathon]\nurls = [\"http://a:1\"]\ngroups = [\"x\"]\n", made.toml);
    let config: Config = Figment::from(Toml::string(&whole)).extract().unwrap_or_else(|why| panic!("{why}\n{whole}"));
    config.validate().unwrap_or_else(|why| panic!("{why}\n{whole}"));
    assert_eq!(config.vrrp.len(), made.routers);
    made
}

/// Lines of which every `%` becomes a word that occurs nowhere else.
const LINES: &[&str] = &[
    "vrrp_instance % {",
    "vrrp_instance % %",
    "vrrp_sync_group % {",
    "vrrp_script % {",
    "global_defs {",
    "virtual_server % 80 {",
    "}",
    "}",
    "}",
    "{",
    "%",
    "% {",
    "% weight 3 %",
    "% weight -3",
    "interface %",
    "interface % % { % }",
    "virtual_router_id 7",
    "virtual_router_id %",
    "priority 200 %",
    "state MASTER %",
    "version 3 %",
    "advert_int 0.5 %",
    "nopreempt %",
    "preempt_delay 3 %",
    "virtual_ipaddress {",
    "virtual_ipaddress % { %",
    "192.0.2.1/24",
    "192.0.2.1/24 label % dev %",
    "192.0.2.2 { % }",
    "virtual_ipaddress_excluded {",
    "unicast_peer {",
    "192.0.2.3 min_ttl %",
    "unicast_src_ip 192.0.2.4 %",
    "authentication {",
    "auth_type PASS %",
    "auth_type % { % }",
    "track_interface {",
    "track_script {",
    "group {",
    "script \"/bin/% '%' %\"",
    "script \"killall -0 haproxy %\"",
    "interval 2 %",
    "rise 2 { % }",
    "user %",
    "notify \"/bin/% a\" %",
    "notify_master /bin/% { % }",
    "notify_fault \"% | %\"",
    "use_vmac %",
    "router_id %",
    "vrrp_version 3 %",
    "default_interface %",
    "garp_master_delay %",
    "include %",
    "@% priority 7",
    "% \"% {",
    "% \\",
    "%_%{%}",
];

/// Instances and groups that can be, with some of `LINES` among them.
fn soup() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof![
        8 => prop::sample::select(LINES).prop_map(str::to_owned),
        3 => (1..4u8).prop_map(|n| format!(
            "vrrp_instance VI_{n} {{\ninterface eth0\nvirtual_router_id {n}\nvirtual_ipaddress {{ 192.0.2.1{n}/24 }}\n\
             notify_stop /bin/%"
        )),
        1 => (1..4u8).prop_map(|n| format!("vrrp_sync_group % {{ group {{ VI_{n} VI_2\n % }}\nnotify \"/bin/%\" }}")),
        1 => Just("vrrp_script chk { script /bin/%\n }".to_owned()),
        1 => Just("track_script { chk weight 4\n }".to_owned()),
    ];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n").lines().map(str::to_owned).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_word_is_translated_or_its_line_is_listed(lines in soup()) {
        let mut words = Vec::new();
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            for part in line.split_inclusive('%') {
                text.push_str(part.trim_end_matches('%'));
                if part.ends_with('%') {
                    let word = format!("w{}q", words.len());
                    text.push_str(&word);
                    words.push((word, number + 1));
                }
            }
            text.push('\n');
        }
        let made = imported(text.as_bytes());
        for (word, line) in words {
            let listed = made.notes.iter().any(|note| {
                // A note of a whole block speaks for all of it, any other for the words it shows.
                let whole = note.text.ends_with("{…}") && !note.why.contains("is not closed");
                whole && (note.place.line..=note.last).contains(&line)
            });
            prop_assert!(listed || made.toml.contains(&word), "{word} of line {line} is gone:\n{text}\n{}", made.toml);
        }
        for (number, line) in text.lines().enumerate() {
            let place = format!(":{}", number + 1);
            let listed = made.notes.iter().any(|note| (note.place.line..=note.last).contains(&(number + 1)));
            let said = line.split_whitespace().any(|word| word.len() > 2 && made.toml.contains(word.trim_matches('"')));
            let structure = line.chars().all(|c| "{} ".contains(c)) || line.ends_with('{') || TRANSLATED.contains(&line.trim());
            prop_assert!(listed || said || structure, "{place} {line:?} is gone:\n{text}\n{}", made.toml);
        }
    }

    #[test]
    fn no_input_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        imported(&bytes);
    }

    #[test]
    fn no_text_is_too_odd(text in "([a-z_ ]{0,12}|[\\\\{}\"'!#@$=.0-9/\n\u{0}-\u{ff}]|vrrp_instance|virtual_ipaddress){0,60}") {
        imported(text.as_bytes());
    }
}

/// Lines whose effect does not show by a word of theirs.
const TRANSLATED: &[&str] = &["virtual_router_id 7", "version 3", "advert_int 0.5", "interval 2"];

#[test]
fn a_deep_file_is_no_burden() {
    imported("{".repeat(100_000).as_bytes());
    imported("a {\n".repeat(20_000).as_bytes());
    imported(&b"a\\\n".repeat(20_000));
}

#[test]
fn passwords_are_not_shown() {
    for text in [
        "auth_pass hunter2\n",
        "vrrp_instance x {\nauthentication {\nauth_pass hunter2\n}\n",
        "@x auth_pass hunter2\n",
        "vrrp_instance x {\nauthentication {\nauth_pass \"hunter2\n}\n}\n",
    ] {
        let made = imported(text.as_bytes());
        assert!(made.notes.iter().all(|note| !note.to_string().contains("hunter2")), "{:?}", made.notes);
        assert!(!made.notes.is_empty());
    }
}
