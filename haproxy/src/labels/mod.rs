//! What app owners ask for: `HAPROXY_*` labels to typed options.
//!
//! `parse` is called by `compile` for every app. One bad label costs that label only and becomes
//! an [`Issue`]; the labels whose loss would open something up fail closed instead.

pub mod options;

use std::collections::BTreeMap;

use crate::app::AppId;
use crate::issue::Issue;
use options::{AppOptions, PortOptions};

/// stub until the table lands
pub fn parse(_id: &AppId, _labels: &BTreeMap<String, String>, ports: usize) -> (AppOptions, Vec<Issue>) {
    (AppOptions { ports: vec![PortOptions { hosts: vec![crate::text::Host::parse(&_labels["HAPROXY_0_VHOST"]).unwrap()], ..PortOptions::default() }; ports], ..AppOptions::default() }, Vec::new())
}
