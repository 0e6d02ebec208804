//! The facts of an app that decide what its tasks do.
//!
//! Read from either personality's canonical document, after validation: anything odd falls back to a default.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::path::PathId;
use super::{Doc, strings};

/// How tasks reach the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// Ports of the agent itself.
    #[default]
    Host,
    /// A bridge on the agent with mapped host ports.
    Bridge,
    /// An address of its own.
    Container,
}

/// Which port on the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPort {
    /// Any of the offer.
    Any,
    /// This one.
    Fixed(u16),
    /// None at all (container networks).
    None,
}

/// One definition or mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Service port; 0 before assignment.
    pub service: u16,
    /// Port on the agent.
    pub host: HostPort,
    /// Port inside the container.
    pub container: Option<u16>,
    /// `tcp`, `udp` or `udp,tcp`.
    pub protocol: String,
    /// Name, if given.
    pub name: Option<String>,
}

/// What a health check speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// GET, 200–399 is well.
    Http,
    /// Connect: the simulator does not speak TLS.
    Https,
    /// Connect.
    Tcp,
    /// Run by Mesos; assumed well.
    Command,
}

/// One health check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether the agent runs it (`MESOS_*`, `COMMAND`).
    pub by_mesos: bool,
    /// Path of the GET.
    pub path: String,
    /// Index into the app's ports.
    pub port_index: Option<usize>,
    /// Fixed port; wins.
    pub port: Option<u16>,
    /// Seconds.
    pub interval: f64,
    /// Seconds.
    pub timeout: f64,
    /// Seconds.
    pub grace: f64,
    /// Failures in a row before the task is killed; 0 = never.
    pub max_failures: u32,
    /// As written, for events.
    pub doc: Value,
}

/// What happens when the agent is lost, in seconds; `None` = nothing ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unreachable {
    /// After which a replacement starts.
    pub inactive_after: f64,
    /// After which the task is forgotten.
    pub expunge_after: f64,
}

/// What the simulator acts upon.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "named as in Marathon's API")]
pub struct Facts {
    pub instances: u32,
    pub network: Network,
    pub ports: Vec<Port>,
    pub require_ports: bool,
    pub checks: Vec<Check>,
    pub dependencies: Vec<PathId>,
    pub minimum_health: f64,
    pub over_capacity: f64,
    pub unreachable: Option<Unreachable>,
    pub oldest_first: bool,
    pub backoff_seconds: f64,
    pub backoff_factor: f64,
    pub max_delay_seconds: f64,
    pub constraints: Vec<Vec<String>>,
    pub env: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl Facts {
    /// Reads a canonical document; `group` encloses the app.
    #[must_use]
    pub fn read(doc: &Doc, group: &PathId) -> Self {
        let network = Self::network(doc);
        let upgrade = doc.get("upgradeStrategy");
        let require_ports = doc.get("requirePorts").and_then(Value::as_bool).unwrap_or(false);
        Self {
            instances: number(doc.get("instances"), 1),
            ports: ports(doc, &network, require_ports),
            network,
            require_ports,
            checks: list(doc.get("healthChecks")).map(check).collect(),
            dependencies: list(doc.get("dependencies"))
                .filter_map(Value::as_str)
                .map(|id| PathId::resolve(id, group))
                .collect(),
            minimum_health: float(upgrade.and_then(|u| u.get("minimumHealthCapacity")), 1.0),
            over_capacity: float(upgrade.and_then(|u| u.get("maximumOverCapacity")), 1.0),
            unreachable: doc.get("unreachableStrategy").filter(|s| s.as_str() != Some("disabled")).map(|s| {
                Unreachable {
                    inactive_after: float(s.get("inactiveAfterSeconds"), 0.0),
                    expunge_after: float(s.get("expungeAfterSeconds"), 0.0),
                }
            }),
            oldest_first: doc.get("killSelection").and_then(Value::as_str) == Some("OLDEST_FIRST"),
            backoff_seconds: float(doc.get("backoffSeconds"), 1.0),
            backoff_factor: float(doc.get("backoffFactor"), 1.15),
            max_delay_seconds: float(doc.get("maxLaunchDelaySeconds"), 300.0),
            constraints: list(doc.get("constraints"))
                .map(|c| list(Some(c)).map(|word| word.as_str().unwrap_or_default().to_owned()).collect())
                .collect(),
            env: strings(doc.get("env")),
            labels: strings(doc.get("labels")),
        }
    }

    /// The network mode, from either spelling.
    #[must_use]
    pub fn network(doc: &Doc) -> Network {
        let mode = doc.get("networks").and_then(|list| list.get(0)).map(|n| n.get("mode").and_then(Value::as_str));
        if let Some(mode) = mode {
            return match mode {
                Some("host") => Network::Host,
                Some("container/bridge") => Network::Bridge,
                _ => Network::Container,
            };
        }
        let docker = doc.get("container").and_then(|c| c.get("docker")).and_then(|d| d.get("network"));
        match docker.and_then(Value::as_str) {
            Some("BRIDGE") => Network::Bridge,
            Some("USER") => Network::Container,
            Some(_) => Network::Host,
            None if doc.get("ipAddress").is_some_and(Value::is_object) => Network::Container,
            None => Network::Host,
        }
    }
}

fn ports(doc: &Doc, network: &Network, require: bool) -> Vec<Port> {
    if *network == Network::Host {
        return list(doc.get("portDefinitions"))
            .map(|entry| {
                let service = number(entry.get("port"), 0);
                let host = if require && service != 0 { HostPort::Fixed(service) } else { HostPort::Any };
                Port { service, host, container: None, protocol: text(entry, "protocol", "tcp"), name: name(entry) }
            })
            .collect();
    }
    let container = doc.get("container");
    let mappings = container
        .and_then(|c| c.get("portMappings").or_else(|| c.get("docker").and_then(|d| d.get("portMappings"))))
        .filter(|mappings| mappings.is_array());
    let Some(mappings) = mappings else {
        let discovery = doc.get("ipAddress").and_then(|ip| ip.get("discovery")).and_then(|d| d.get("ports"));
        return list(discovery)
            .map(|entry| Port {
                service: 0,
                host: HostPort::None,
                container: Some(number(entry.get("number"), 0)),
                protocol: text(entry, "protocol", "tcp"),
                name: name(entry),
            })
            .collect();
    };
    list(Some(mappings))
        .map(|entry| Port {
            service: number(entry.get("servicePort"), 0),
            host: match entry.get("hostPort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()) {
                Some(0) => HostPort::Any,
                Some(port) => HostPort::Fixed(port),
                None => HostPort::None,
            },
            container: Some(number(entry.get("containerPort"), 0)),
            protocol: text(entry, "protocol", "tcp"),
            name: name(entry),
        })
        .collect()
}

fn check(doc: &Value) -> Check {
    let spoken = text(doc, "protocol", "HTTP");
    Check {
        protocol: match spoken.trim_start_matches("MESOS_") {
            "TCP" => Protocol::Tcp,
            "HTTPS" => Protocol::Https,
            "COMMAND" => Protocol::Command,
            _ => Protocol::Http,
        },
        by_mesos: spoken.starts_with("MESOS_") || spoken == "COMMAND",
        path: text(doc, "path", "/"),
        port_index: doc.get("portIndex").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok()),
        port: doc.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()),
        interval: float(doc.get("intervalSeconds"), 60.0),
        timeout: float(doc.get("timeoutSeconds"), 20.0),
        grace: float(doc.get("gracePeriodSeconds"), 300.0),
        max_failures: number(doc.get("maxConsecutiveFailures"), 3),
        doc: doc.clone(),
    }
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn float(value: Option<&Value>, default: f64) -> f64 {
    value.and_then(Value::as_f64).unwrap_or(default)
}

fn number<T: TryFrom<u64>>(value: Option<&Value>, default: T) -> T {
    value.and_then(Value::as_u64).and_then(|n| T::try_from(n).ok()).unwrap_or(default)
}

fn text(value: &Value, key: &str, default: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or(default).to_owned()
}

fn name(entry: &Value) -> Option<String> {
    entry.get("name").and_then(Value::as_str).map(str::to_owned)
}
