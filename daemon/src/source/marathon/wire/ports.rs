//! The ports of an app and how each of its tasks serves them, for every networking mode.
//!
//! Port n of the core is entry n of the definition list, with or without a service port, so that
//! label index, task ports and check index all count in the same list. No port is no server: a
//! service port never stands in for a task's port.

use haproxy::app::{Networking, Port};
use serde_json::Value;

use super::MAX_PORTS;
use super::field::{self, Object, Wrong};
use super::notes::Notes;

/// The ports of one app.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) networking: Networking,
    pub(super) ports: Vec<Port>,
    /// Container network only: where a task listens for each port.
    container: Vec<ContainerPort>,
}

/// Where a task with its own address listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContainerPort {
    Fixed(u16),
    /// `containerPort: 0`: the same number as the host port, which is `ports[n]` of the task.
    Host(usize),
    None,
}

impl Layout {
    /// The ports of a task that was given these host ports.
    pub(super) fn task_ports(&self, host_ports: &[Option<u16>]) -> Vec<Option<u16>> {
        let given = |n: usize| host_ports.get(n).copied().flatten();
        match self.networking {
            Networking::Host | Networking::Bridge => host_ports.to_vec(),
            Networking::Container => self
                .container
                .iter()
                .map(|port| match *port {
                    ContainerPort::Fixed(number) => Some(number),
                    ContainerPort::Host(n) => given(n),
                    ContainerPort::None => None,
                })
                .collect(),
        }
    }
}

/// Reads the ports of an app.
pub(super) fn read(app: &Object, notes: &mut Notes<'_>) -> Result<Layout, BadPorts> {
    let container = field::object(app, "container")?;
    let docker = container.map(|c| field::object(c, "docker")).transpose()?.flatten();
    let ip_address = field::object(app, "ipAddress")?;
    let networking = networking(app, docker, ip_address)?;

    let mappings = match (docker, container) {
        (Some(docker), _) if !field::list(docker, "portMappings")?.is_empty() => field::list(docker, "portMappings")?,
        (_, Some(container)) => field::list(container, "portMappings")?,
        _ => &[],
    };
    let mappings = if networking == Networking::Host { &[] } else { mappings };
    let discovery = discovered(ip_address)?;
    let defined = definitions(app, notes)?;

    let longest = [mappings.len(), discovery.len(), defined.len()].into_iter().max().unwrap_or(0);
    if longest > MAX_PORTS {
        return Err(BadPorts::TooMany(longest));
    }
    let mut ports: Vec<Port> = mappings
        .iter()
        .map(|mapping| Port { service_port: mapping.as_object().and_then(|m| usable(m, "servicePort", notes)) })
        .collect();
    if ports.iter().all(|port| port.service_port.is_none()) {
        // No service port among the mappings: an old Marathon has them, in the same order, here.
        let length = if mappings.is_empty() { longest } else { mappings.len() };
        ports = (0..length).map(|n| defined.get(n).copied().unwrap_or_default()).collect();
    }
    let container = match networking {
        Networking::Host | Networking::Bridge => Vec::new(),
        Networking::Container if discovery.is_empty() => container_ports(mappings, notes),
        Networking::Container => discovery,
    };
    Ok(Layout { networking, ports, container })
}

/// Why the ports of an app cannot be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPorts {
    #[error(transparent)]
    Wrong(#[from] Wrong),
    #[error("the networking mode {0:?} is not host, container/bridge or container")]
    Networking(String),
    #[error("it has {0} ports, allowed are {MAX_PORTS}")]
    TooMany(usize),
}

fn networking(app: &Object, docker: Option<&Object>, ip_address: Option<&Object>) -> Result<Networking, BadPorts> {
    if let Some(network) = field::list(app, "networks")?.iter().find_map(Value::as_object) {
        return match field::text(network, "mode")? {
            None | Some("container") => Ok(Networking::Container),
            Some("container/bridge") => Ok(Networking::Bridge),
            Some("host") => Ok(Networking::Host),
            Some(other) => Err(BadPorts::Networking(other.to_owned())),
        };
    }
    match docker.map(|d| field::text(d, "network")).transpose()?.flatten() {
        Some("BRIDGE") => Ok(Networking::Bridge),
        Some("USER") => Ok(Networking::Container),
        Some("HOST") => Ok(Networking::Host),
        Some(other) => Err(BadPorts::Networking(other.to_owned())),
        None if ip_address.is_some() => Ok(Networking::Container),
        None => Ok(Networking::Host),
    }
}

/// `portDefinitions`, else the older `ports`: service ports both.
fn definitions(app: &Object, notes: &mut Notes<'_>) -> Result<Vec<Port>, Wrong> {
    let definitions = field::list(app, "portDefinitions")?;
    if definitions.is_empty() {
        let ports = field::list(app, "ports")?.iter();
        return Ok(ports.map(|value| Port { service_port: number(value, "ports", notes) }).collect());
    }
    let port = |value: &Value| value.as_object().and_then(|definition| usable(definition, "port", notes));
    Ok(definitions.iter().map(port).map(|service_port| Port { service_port }).collect())
}

/// Marathon ≤ 1.4, address per task without Docker.
fn discovered(ip_address: Option<&Object>) -> Result<Vec<ContainerPort>, Wrong> {
    let discovery = ip_address.map(|ip| field::object(ip, "discovery")).transpose()?.flatten();
    let ports = discovery.map_or(Ok(&[][..]), |discovery| field::list(discovery, "ports"))?;
    let number = |value: &Value| value.as_object().and_then(|port| field::port(port, "number").ok().flatten());
    Ok(ports.iter().map(|value| number(value).filter(|n| *n != 0)).map(fixed).collect())
}

fn fixed(number: Option<u16>) -> ContainerPort {
    number.map_or(ContainerPort::None, ContainerPort::Fixed)
}

/// A task's `ports` hold host ports only for the mappings that ask for one.
fn container_ports(mappings: &[Value], notes: &mut Notes<'_>) -> Vec<ContainerPort> {
    let mut with_host_port = 0;
    let mut port = |value: &Value| {
        let Some(mapping) = value.as_object() else { return ContainerPort::None };
        let rank = with_host_port;
        let has_host_port = mapping.get("hostPort").is_some_and(|port| !port.is_null());
        with_host_port += usize::from(has_host_port);
        match field::port(mapping, "containerPort") {
            Ok(Some(0)) if has_host_port => ContainerPort::Host(rank),
            Ok(number) => fixed(number.filter(|n| *n != 0)),
            Err(wrong) => {
                notes.add(format!("{wrong}; that port gets no servers"));
                ContainerPort::None
            }
        }
    };
    mappings.iter().map(&mut port).collect()
}

/// A service port; 0 and absent are none.
fn usable(object: &Object, member: &'static str, notes: &mut Notes<'_>) -> Option<u16> {
    let port = field::port(object, member).unwrap_or_else(|wrong| {
        notes.add(format!("{wrong}; that port has no service port"));
        None
    });
    port.filter(|port| *port != 0)
}

fn number(value: &Value, member: &str, notes: &mut Notes<'_>) -> Option<u16> {
    let port = field::as_port(value);
    if port.is_none() && !value.is_null() {
        notes.add(format!("an entry of `{member}` is no port number; that port has no service port"));
    }
    port.filter(|port| *port != 0)
}
