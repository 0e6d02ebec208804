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
