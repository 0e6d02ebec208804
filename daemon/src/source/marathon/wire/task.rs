//! One task: where it is, which ports it has, what Mesos and the health checks say.

use std::net::IpAddr;

use haproxy::app::{Health, Instance, Networking, TaskState};
use serde_json::Value;

use super::MAX_PORTS;
use super::field::{self, Object, Wrong};
use super::notes::Notes;
use super::ports::Layout;

/// Reads a task of an app with this port layout. None when it cannot be reached: without a host,
/// or without an address of its own where the network gives it one. That is an issue only if it
/// runs; a task that starts or is lost has neither, by nature.
pub(super) fn read(value: &Value, layout: &Layout, notes: &mut Notes<'_>) -> Option<Instance> {
    let result = value.as_object().ok_or(BadTask::NoObject).and_then(|task| one(task, layout));
    match result {
        Ok(instance) => instance,
        Err(bad) => {
            let id = value.get("id").and_then(Value::as_str).unwrap_or("without id");
            notes.add(format!("task {id} is left out: {bad}"));
            None
        }
    }
}

fn one(task: &Object, layout: &Layout) -> Result<Option<Instance>, BadTask> {
    let id = field::text(task, "id")?.filter(|id| !id.is_empty()).ok_or(BadTask::NoId)?;
    let state = state(field::text(task, "state")?);
    let expected = |missing: BadTask| if state == TaskState::Running { Err(missing) } else { Ok(None) };

    let host = field::text(task, "host")?.unwrap_or_default();
    if host.is_empty() {
        return expected(BadTask::NoHost);
    }
    if host.len() > 253 || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b)) {
        return Err(BadTask::Host);
    }
    let addr = match layout.networking {
        Networking::Host | Networking::Bridge => host.parse::<IpAddr>().ok(),
        Networking::Container => match own_address(task)? {
            None => return expected(BadTask::NoAddress),
            some => some,
        },
    };
    Ok(Some(Instance {
        id: id.to_owned(),
        host: host.to_owned(),
        addr,
        ports: layout.task_ports(&host_ports(task)?),
        state,
        health: health(task)?,
    }))
}

#[derive(Debug, thiserror::Error)]
enum BadTask {
    #[error(transparent)]
    Wrong(#[from] Wrong),
    #[error("it is no object")]
    NoObject,
    #[error("it has no id")]
    NoId,
    #[error("it runs but has no host")]
    NoHost,
    #[error("its host is no host name")]
    Host,
    #[error("it runs but has no address on its container network")]
    NoAddress,
    #[error("{0:?} is no IP address")]
    Address(String),
}

fn state(text: Option<&str>) -> TaskState {
    match text.map(|text| text.strip_prefix("TASK_").unwrap_or(text)) {
        Some("STAGING" | "STARTING") => TaskState::Starting,
        Some("KILLING") => TaskState::Killing,
        Some("UNREACHABLE" | "LOST") => TaskState::Unreachable,
        Some("KILLED" | "FINISHED" | "FAILED" | "ERROR" | "DROPPED" | "GONE" | "GONE_BY_OPERATOR" | "UNKNOWN") => {
            TaskState::Ended
        }
        Some(_) | None => TaskState::Running,
    }
}

/// The first address of the task; Mesos lists the main network first.
fn own_address(task: &Object) -> Result<Option<IpAddr>, BadTask> {
    let entries = field::list(task, "ipAddresses")?.iter().filter_map(Value::as_object);
    for entry in entries {
        if let Some(text) = field::text(entry, "ipAddress")?.filter(|text| !text.is_empty()) {
            return text.parse().map(Some).map_err(|_| BadTask::Address(text.to_owned()));
        }
    }
    Ok(None)
}

/// Host ports in definition order; what is no port stays as a gap.
fn host_ports(task: &Object) -> Result<Vec<Option<u16>>, Wrong> {
    let ports = field::list(task, "ports")?.iter().take(MAX_PORTS);
    Ok(ports.map(|value| field::as_port(value).filter(|port| *port != 0)).collect())
}

/// Any passing check makes a task alive; entries without a verdict say nothing.
fn health(task: &Object) -> Result<Health, Wrong> {
    let results = field::list(task, "healthCheckResults")?.iter();
    let mut verdicts = results.filter_map(|result| result.get("alive")?.as_bool()).peekable();
    Ok(match (verdicts.peek().is_some(), verdicts.any(|alive| alive)) {
        (false, _) => Health::Unknown,
        (true, true) => Health::Alive,
        (true, false) => Health::Dead,
    })
}
