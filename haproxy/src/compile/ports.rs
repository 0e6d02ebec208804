//! Which ports of which apps are served, and under which number.
//!
//! The first step of `compile`: labels are parsed here, groups and switches decided, and service
//! ports invented for container-network apps that have none.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::app::{App, AppId, Networking, Snapshot};
use crate::issue::Issue;
use crate::labels;
use crate::labels::options::PortOptions;
use crate::model::BackendId;

use super::{Policy, backend_id};

/// A port that is served.
pub(super) struct ServicePort<'a> {
    /// Its app.
    pub(super) app: &'a App,
    /// The app's labels for it: the `{n}`.
    pub(super) index: usize,
    /// The number it is served under.
    pub(super) port: u16,
    /// Its name.
    pub(super) backend: BackendId,
    /// What its labels say.
    pub(super) options: PortOptions,
}

impl ServicePort<'_> {
    /// An issue with the port's label `name`.
    pub(super) fn issue(&self, name: &str, problem: impl Into<String>) -> Issue {
        Issue::label(&self.app.id, format!("HAPROXY_{}_{name}", self.index), problem)
    }
}

/// The ports served under `policy`, ordered by app id and index.
pub(super) fn served<'a>(snapshot: &'a Snapshot, policy: &Policy, issues: &mut Vec<Issue>) -> Vec<ServicePort<'a>> {
    let mut inventor = policy.invented_ports.clone().map(|range| Inventor { range, used: BTreeSet::new() });
    let mut ports = Vec::new();
    for app in snapshot.apps.values() {
        if policy.own_app.as_ref() == Some(&app.id) {
            continue;
        }
        let numbers = numbers(app, inventor.as_mut(), issues);
        let (options, found) = labels::parse(&app.id, &app.labels, numbers.len());
        issues.extend(found);
        for (index, (number, options)) in numbers.into_iter().zip(options.ports).enumerate() {
            if options.refused.is_some()
                || !policy.groups.serve(&options.groups)
                || !options.enabled.unwrap_or(!policy.strict)
            {
                continue;
            }
            let Some(port) = options.port.or(number) else {
                if inventor.is_some() && app.networking == Networking::Container && app.instances.is_empty() {
                    // Suspended: its first task tells which ports to invent.
                    continue;
                }
                issues.push(Issue::app(
                    &app.id,
                    format!("port {index} has no service port and is not served: give it one, or HAPROXY_{index}_PORT"),
                ));
                continue;
            };
            ports.push(ServicePort { app, index, port, backend: backend_id(&app.id, port), options });
        }
    }
    ports
}

/// The service ports of an app by index, 0 counting as none.
fn numbers(app: &App, inventor: Option<&mut Inventor>, issues: &mut Vec<Issue>) -> Vec<Option<u16>> {
    let given: Vec<_> = app.ports.iter().map(|port| port.service_port.filter(|p| *p != 0)).collect();
    let (Some(inventor), Some(first)) = (inventor, app.instances.first()) else {
        return given;
    };
    if app.networking != Networking::Container || given.iter().any(Option::is_some) {
        return given;
    }
    let invented: Vec<_> =
        first.ports.iter().map(|task_port| task_port.and_then(|port| inventor.assign(&app.id, port))).collect();
    if first.ports.iter().zip(&invented).any(|(task, service)| task.is_some() && service.is_none()) {
        issues.push(Issue::app(
            &app.id,
            "no service port left for it: widen [marathon] min_service_port_ip_per_task and max_service_port_ip_per_task",
        ));
    }
    invented
}

/// Gives container-network apps service ports out of a range (marathon-lb's rule, so the numbers
/// stay those that people know).
struct Inventor {
    range: RangeInclusive<u16>,
    used: BTreeSet<u16>,
}

impl Inventor {
    fn assign(&mut self, app: &AppId, task_port: u16) -> Option<u16> {
        let (min, max) = (*self.range.start(), *self.range.end());
        let size = u32::from(max.checked_sub(min)?) + 1;
        let hashed = (0..HASHED_TRIES).map(|attempt| {
            let digest = sha1_smol::Sha1::from(format!("{app}-{task_port}-{attempt}")).digest().bytes();
            let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
            u16::try_from(u32::from(min) + first % size).unwrap_or(max)
        });
        let free = hashed.chain(min..=max).find(|port| !self.used.contains(port))?;
        self.used.insert(free);
        Some(free)
    }
}

/// How many hashes are tried before the range is searched from its start.
const HASHED_TRIES: u32 = 50;
