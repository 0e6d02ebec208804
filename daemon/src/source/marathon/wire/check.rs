//! Health check definitions.
//!
//! A check that cannot be read stays in the list as one that nobody probes from outside: its app
//! still counts as one with health checks, so its unhealthy tasks stay out.

use std::time::Duration;

use haproxy::app::{Check, CheckProtocol, CheckTarget};

use super::field::{self, Object, Wrong};
use super::notes::Notes;

/// Reads the list; `null` and `{}` are no checks.
pub(super) fn read(app: &Object, notes: &mut Notes<'_>) -> Result<Vec<Check>, Wrong> {
    let list = field::list(app, "healthChecks")?.iter();
    let real = list.filter(|value| !value.is_null() && value.as_object().is_none_or(|check| !check.is_empty()));
    Ok(real
        .map(|value| {
            let check = value.as_object().ok_or(BadCheck::NoObject).and_then(one);
            check.unwrap_or_else(|bad| {
                notes.add(format!("a health check is not understood and not probed: {bad}"));
                unprobed()
            })
        })
        .collect())
}

fn one(check: &Object) -> Result<Check, BadCheck> {
    let protocol = match field::text(check, "protocol")? {
        None | Some("HTTP") => CheckProtocol::Http,
        Some("MESOS_HTTP") => CheckProtocol::MesosHttp,
        Some("HTTPS") => CheckProtocol::Https,
        Some("MESOS_HTTPS") => CheckProtocol::MesosHttps,
        Some("TCP" | "MESOS_TCP") => CheckProtocol::Tcp,
        Some("COMMAND") => CheckProtocol::Command,
        Some(other) => return Err(BadCheck::Protocol(other.to_owned())),
    };
    let target = match (protocol, field::port(check, "port")?, field::count(check, "portIndex")) {
        (CheckProtocol::Command, ..) => CheckTarget::None,
        (_, Some(port), _) if port != 0 => CheckTarget::Port(port),
        (_, _, index) => CheckTarget::Index(usize::try_from(index?.unwrap_or(0)).unwrap_or(usize::MAX)),
    };
    Ok(Check {
        protocol,
        path: field::text(check, "path")?.map(str::to_owned),
        target,
        interval: seconds(field::count(check, "intervalSeconds")?, INTERVAL),
        timeout: seconds(field::count(check, "timeoutSeconds")?, TIMEOUT),
        max_consecutive_failures: field::count(check, "maxConsecutiveFailures")?.unwrap_or(FAILURES),
    })
}

#[derive(Debug, thiserror::Error)]
enum BadCheck {
    #[error(transparent)]
    Wrong(#[from] Wrong),
    #[error("protocol {0:?} is unknown")]
    Protocol(String),
    #[error("it is no object")]
    NoObject,
}

fn unprobed() -> Check {
    Check {
        protocol: CheckProtocol::Command,
        path: None,
        target: CheckTarget::None,
        interval: INTERVAL,
        timeout: TIMEOUT,
        max_consecutive_failures: FAILURES,
    }
}

fn seconds(given: Option<u32>, default: Duration) -> Duration {
    given.map_or(default, |n| Duration::from_secs(n.into()))
}

/// Marathon's own defaults.
const INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(20);
const FAILURES: u32 = 3;
