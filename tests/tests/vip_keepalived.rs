//! The story that every mixed pair goes through, told by two keepalived: what the other tests expect is what it does.

mod vip;

use std::time::Duration;

use e2e::lab::router::Router;

use crate::vip::{Case, Kind, play};

#[test]
fn over_multicast_at_100_ms() {
    play(&Case::new(Router::new(0, &[ADDRESS])), PAIR);
}

#[test]
fn over_multicast_at_10_ms() {
    play(&Case::new(Router { interval: Duration::from_millis(10), ..Router::new(0, &[ADDRESS]) }), PAIR);
}

#[test]
fn over_unicast_ipv6() {
    play(&Case { unicast: true, ..Case::new(Router::new(0, &["fe80::100/64", "fd77::100/64"])) }, PAIR);
}

#[test]
fn over_unicast() {
    play(&Case { unicast: true, ..Case::new(Router::new(0, &[ADDRESS])) }, PAIR);
}

#[test]
fn of_version_2_with_a_password() {
    let router = Router { version: 2, interval: SECOND, ..Router::new(0, &[ADDRESS]) };
    play(&Case::new(Router { auth_pass: Some("secret".to_owned()), ..router }), PAIR);
}

#[test]
fn over_ipv6() {
    play(&Case::new(Router::new(0, &["fe80::100/64", "fd77::100/64"])), PAIR);
}

#[test]
fn that_does_not_preempt() {
    play(&Case::new(Router { preempt: false, ..Router::new(0, &[ADDRESS]) }), PAIR);
}

const PAIR: [Kind; 2] = [Kind::Keepalived; 2];
const ADDRESS: &str = "10.77.0.100/24";
const SECOND: Duration = Duration::from_secs(1);
