//! From Marathon's health checks to HAProxy's, and the mode that follows from them.
//!
//! Part of `compile`. HAProxy's own checks find a dead server faster than Marathon does; they
//! never replace Marathon's verdict.

use std::time::Duration;

use crate::app::{Check as AppCheck, CheckProtocol, CheckTarget};
use crate::issue::Issue;
use crate::labels::options::Mode;
use crate::model::{Check, HttpCheck};
use crate::text::CheckUri;

use super::ports::ServicePort;

/// The mode of `port` and the check of its servers.
pub(super) fn of(port: &ServicePort, issues: &mut Vec<Issue>) -> (Mode, Option<Check>) {
    let own = port.app.checks.iter().find(|check| concerns(check, port.index));
    let borrowed = match (own, port.options.check_port_index) {
        (None, Some(index)) => port.app.checks.iter().find(|check| check.target == CheckTarget::Index(index)),
        _ => None,
    };
    let mode = mode(port, own, borrowed);
    (mode, own.or(borrowed).map(|check| translate(check, mode, port, issues)))
}

/// A check with a `port` of its own concerns every port; else the index decides.
fn concerns(check: &AppCheck, index: usize) -> bool {
    match check.target {
        CheckTarget::Port(_) => true,
        CheckTarget::Index(of) => of == index,
        CheckTarget::None => false,
    }
}

/// marathon-lb's order: an HTTP check suggests http, the label decides, a borrowed HTTP check
/// decides again, and what is still open follows from having a virtual host.
fn mode(port: &ServicePort, own: Option<&AppCheck>, borrowed: Option<&AppCheck>) -> Mode {
    use CheckProtocol::{Http, Https, MesosHttp, MesosHttps};
    if borrowed.is_some_and(|check| matches!(check.protocol, Http | Https | MesosHttp | MesosHttps)) {
        return Mode::Http;
    }
    if let Some(mode) = port.options.mode {
        return mode;
    }
    if own.is_some_and(|check| check.protocol == Http) || !port.options.hosts.is_empty() {
        return Mode::Http;
    }
    Mode::Tcp
}

fn translate(check: &AppCheck, mode: Mode, port: &ServicePort, issues: &mut Vec<Issue>) -> Check {
    use CheckProtocol::{Command, Http, Https, MesosHttp, MesosHttps, Tcp};
    let tls = match check.protocol {
        Http | MesosHttp => Some(false),
        Https | MesosHttps => Some(true),
        Tcp | Command => None,
    };
    let path = check.path.as_deref().unwrap_or("/");
    let http = match (mode, tls, CheckUri::parse(path)) {
        (Mode::Http, Some(tls), Ok(uri)) => Some(HttpCheck { uri, timeout: at_least_one(check.timeout), tls }),
        (Mode::Http, Some(_), Err(why)) => {
            issues.push(Issue::app(
                &port.app.id,
                format!("health check path {path:?}: {why}; HAProxy only checks that it can connect"),
            ));
            None
        }
        _ => None,
    };
    Check {
        http,
        interval: at_least_one(check.interval),
        fall: check.max_consecutive_failures.saturating_add(1).min(MAX_FALL),
        port: match check.target {
            CheckTarget::Port(port) => Some(port),
            CheckTarget::Index(_) | CheckTarget::None => None,
        },
    }
}

/// HAProxy refuses times of zero, and of more than 24 days.
fn at_least_one(time: Duration) -> Duration {
    time.clamp(Duration::from_secs(1), Duration::from_secs(24 * 86_400))
}

/// Keeps `fall` far from HAProxy's signed counters.
const MAX_FALL: u32 = 1_000_000;
