//! Which tasks of a port get traffic, and what their server lines say.
//!
//! Part of `compile`. Unknown is not dead: what was never seen healthy waits, what has no port or
//! no address is no server, and nothing else is inferred.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::app::{Health, Instance, TaskState};
use crate::issue::Issue;
use crate::model::{Admin, Server, Weight};
use crate::names;

use super::Policy;
use super::ports::ServicePort;

/// The servers of `port`, ordered by host and port.
pub(super) fn of(port: &ServicePort, policy: &Policy, issues: &mut Vec<Issue>) -> Vec<Server> {
    let gate = policy.health_check && !port.app.checks.is_empty();
    let serving = |killed: bool| {
        let there = port.app.instances.iter().filter(move |task| serves(task, gate, killed));
        there.filter_map(|task| Some((task.host.as_str(), task.ports.get(port.index).copied()??, task)))
    };
    let mut tasks: Vec<(&str, u16, &Instance)> = serving(false).collect();
    if tasks.is_empty() {
        // The successor may be a moment behind; until then whoever is told to end answers better than nobody.
        tasks = serving(true).collect();
    }
    tasks.sort_by_key(|(host, number, task)| (*host, *number, task.addr));

    let check_index = check_index(port, issues);
    let mut ids = BTreeSet::new();
    let mut servers: Vec<Server> = Vec::with_capacity(tasks.len());
    let mut names = BTreeSet::new();
    for (host, number, task) in tasks {
        let Some(addr) = task.addr else {
            issues.push(Issue::app(
                &port.app.id,
                format!("task {}: its host {host:?} cannot be resolved; it waits for an address", task.id),
            ));
            continue;
        };
        let name = names::server(host, addr, number);
        if !names.insert(name.clone()) {
            issues.push(Issue::app(
                &port.app.id,
                format!("task {}: another task is at {addr} port {number} too; one server stands for both", task.id),
            ));
            continue;
        }
        let check_port = check_index.and_then(|index| task.ports.get(index).copied().flatten());
        let id = names::server_id(&name, &mut ids);
        let addr = SocketAddr::new(addr, number);
        servers.push(Server { id, name, addr, check_port, weight: Weight::default(), admin: Admin::Ready });
    }
    servers
}

/// Whether a task gets traffic; `killed`: of those that were told to end.
fn serves(task: &Instance, gate: bool, killed: bool) -> bool {
    let there = match task.state {
        TaskState::Running | TaskState::Unreachable => !killed,
        TaskState::Killing => killed,
        TaskState::Starting | TaskState::Ended => false,
    };
    there && (!gate || task.health == Health::Alive)
}

/// The index of the port that checks go to, where the label names one that exists.
fn check_index(port: &ServicePort, issues: &mut Vec<Issue>) -> Option<usize> {
    let index = port.options.check_port_index?;
    if index < port.app.ports.len() {
        return Some(index);
    }
    issues.push(port.issue(
        "BACKEND_HEALTHCHECK_PORT_INDEX",
        format!("the app has {} ports; checks go to the port itself", port.app.ports.len()),
    ));
    None
}
