//! The ground state: what a source says about apps, as plain values.
//!
//! Written by the daemon's sources, read by `labels` and `compile`. No JSON here and no opinion:
//! which instance gets traffic is `compile`'s business.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::issue::Issue;

/// All apps at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The apps by id. An app that did not change is the same value as in the snapshot before.
    pub apps: BTreeMap<AppId, Arc<App>>,
    /// What the source could not read; those apps (or parts of them) are not in `apps`.
    pub issues: Vec<Issue>,
    /// Counts up with every snapshot that a source publishes.
    pub revision: u64,
}

/// An absolute Marathon path id: `/group/app`. Segments hold only `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppId(Arc<str>);

impl Ord for AppId {
    fn cmp(&self, other: &Self) -> Ordering {
        same_first(&self.0, &other.0)
    }
}

impl PartialOrd for AppId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of two texts; of one and the same without a look at it, which is what walks over two
/// maps mostly meet.
pub(crate) fn same_first(a: &Arc<str>, b: &Arc<str>) -> Ordering {
    if Arc::ptr_eq(a, b) { Ordering::Equal } else { a.cmp(b) }
}

impl AppId {
    /// Reads an id; a missing leading slash is added (Marathon ≤ 0.7).
    ///
    /// # Errors
    /// When a segment is empty or holds another character, or the id is longer than 1,024 bytes.
    pub fn parse(text: &str) -> Result<Self, BadAppId> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let segment = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if path.len() > 1024 || !path.split('/').all(segment) {
            return Err(BadAppId);
        }
        Ok(Self(format!("/{path}").into()))
    }

    /// The id with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no app id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an app id is a path of segments of A-Z a-z 0-9 . _ - such as /group/app")]
pub struct BadAppId;

/// One Marathon app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// All its labels, `HAPROXY_…` or not.
    pub labels: BTreeMap<String, String>,
    /// How its tasks are reached.
    pub networking: Networking,
    /// Its ports in definition order: the index is the `{n}` of `HAPROXY_{n}_…`.
    pub ports: Vec<Port>,
    /// Its health checks, in Marathon's order.
    pub checks: Vec<Check>,
    /// Its tasks, in Marathon's order.
    pub instances: Vec<Instance>,
    /// The number of tasks wanted.
    pub wanted: u32,
}

/// Marathon's networking modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Networking {
    /// `host`: tasks listen on the agent's ports.
    #[default]
    Host,
    /// `container/bridge`: host ports are forwarded to the task.
    Bridge,
    /// `container`: each task has its own address.
    Container,
}

/// One port of an app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Port {
    /// The service port, if Marathon gave it one.
    pub service_port: Option<u16>,
}

/// One entry of `healthChecks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// How it probes.
    pub protocol: CheckProtocol,
    /// The URL path of an HTTP kind; none = `/`.
    pub path: Option<String>,
    /// What is probed.
    pub target: CheckTarget,
    /// `intervalSeconds`.
    pub interval: Duration,
    /// `timeoutSeconds`.
    pub timeout: Duration,
    /// `maxConsecutiveFailures`.
    pub max_consecutive_failures: u32,
}

/// Which port a check probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckTarget {
    /// `portIndex`: the port at that index of the app's list.
    Index(usize),
    /// `port`: this number on every task.
    Port(u16),
    /// A COMMAND check: no port at all.
    None,
}

/// Marathon's check protocols, as far as they differ for a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckProtocol {
    /// `HTTP`.
    Http,
    /// `MESOS_HTTP`: as HTTP, but does not turn an undecided port into mode http.
    MesosHttp,
    /// `HTTPS`.
    Https,
    /// `MESOS_HTTPS`.
    MesosHttps,
    /// `TCP` or `MESOS_TCP`.
    Tcp,
    /// `COMMAND`: run by Mesos, nothing to probe from outside.
    Command,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Marathon's task id.
    pub id: String,
    /// The agent's host name or address as Marathon prints it; part of the server's name.
    pub host: String,
    /// Where its ports are reached; none while the host has never been resolved.
    pub addr: Option<IpAddr>,
    /// `ports[n]` serves the app's port n; shorter, longer or with gaps while versions mix.
    pub ports: Vec<Option<u16>>,
    /// What Mesos says about it.
    pub state: TaskState,
    /// What the health checks say about it.
    pub health: Health,
}

/// Task states, as far as they differ for a load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskState {
    /// Running, or a state that no Marathon known today has, or none given (Marathon ≤ 0.15).
    #[default]
    Running,
    /// `TASK_UNREACHABLE` or `TASK_LOST`: its agent is out of touch, it may well serve.
    Unreachable,
    /// `TASK_STAGING`, `TASK_STARTING`: not there yet.
    Starting,
    /// `TASK_KILLING`: going.
    Killing,
    /// Finished, failed, killed, gone, dropped or unknown to Mesos.
    Ended,
}

/// The verdict of Marathon's health checks on one task; any passing check makes it alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// At least one check passes, or did when last heard of.
    Alive,
    /// Results exist and none passes.
    Dead,
    /// Never heard of: results absent or empty, and no earlier verdict.
    #[default]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_are_absolute_paths_of_harmless_segments() {
        assert_eq!(AppId::parse("/a/b.c-d_e").unwrap().as_str(), "/a/b.c-d_e");
        assert_eq!(AppId::parse("a").unwrap().as_str(), "/a");
        for bad in ["", "/", "/a//b", "/a/", "/a b", "/a\n", "/é", "/a{b}"] {
            assert_eq!(AppId::parse(bad), Err(BadAppId), "{bad:?}");
        }
    }
}
