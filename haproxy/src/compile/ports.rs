//! Which ports of which apps are served, and under which number.
//!
//! The first step of `compile`: labels are parsed here, groups and switches decided, and service
//! ports invented for container-network apps that have none.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::app::{App, AppId, Networking, Port};
use crate::issue::Issue;
use crate::labels;
use crate::labels::options::PortOptions;
use crate::model::BackendId;

use super::{Policy, backend_id};

/// A port that is served.
#[derive(Debug)]
pub(super) struct ServicePort {
    /// Its app.
    pub(super) app: Arc<App>,
    /// The app's labels for it: the `{n}`.
    pub(super) index: usize,
    /// The number it is served under.
    pub(super) port: u16,
    /// Its name.
    pub(super) backend: BackendId,
    /// What its labels say.
    pub(super) options: PortOptions,
}

impl ServicePort {
    /// An issue with the port's label `name`.
    pub(super) fn issue(&self, name: &str, problem: impl Into<String>) -> Issue {
        Issue::label(&self.app.id, format!("HAPROXY_{}_{name}", self.index), problem)
    }
}

/// The ports of `app` that are served under `policy`, by index, given the [`numbers`] of all its ports.
pub(super) fn served(
    app: &Arc<App>,
    numbers: &[Option<u16>],
    policy: &Policy,
    issues: &mut Vec<Issue>,
) -> Vec<ServicePort> {
    if policy.own_app.as_ref() == Some(&app.id) {
        return Vec::new();
    }
    let asks = policy.invented_ports.as_ref().and_then(|_| asks(app));
    if asks.is_some_and(|asked| asked.iter().zip(numbers).any(|(task, service)| task.is_some() && service.is_none())) {
        issues.push(Issue::app(
            &app.id,
            "no service port left for it: widen [marathon] min_service_port_ip_per_task and max_service_port_ip_per_task",
        ));
    }
    let (options, found) = labels::parse(&app.id, &app.labels, numbers.len());
    issues.extend(found);
    let mut ports = Vec::new();
    for (index, (number, options)) in numbers.iter().zip(options.ports).enumerate() {
        if options.refused.is_some()
            || !policy.groups.serve(&options.groups)
            || !options.enabled.unwrap_or(!policy.strict)
        {
            continue;
        }
        let Some(port) = options.port.or(*number) else {
            if policy.invented_ports.is_some() && app.networking == Networking::Container && app.instances.is_empty() {
                // Suspended: its first task tells which ports to invent.
                continue;
            }
            issues.push(Issue::app(
                &app.id,
                format!("port {index} has no service port and is not served: give it one, or HAPROXY_{index}_PORT"),
            ));
            continue;
        };
        let backend = backend_id(&app.id, port);
        ports.push(ServicePort { app: Arc::clone(app), index, port, backend, options });
    }
    ports
}

/// The service ports that an app says it has, by index, 0 counting as none.
pub(super) fn given(app: &App) -> Vec<Option<u16>> {
    app.ports.iter().map(number).collect()
}

fn number(port: &Port) -> Option<u16> {
    port.service_port.filter(|number| *number != 0)
}

/// The task ports for which an app needs service ports invented: those of its first task.
pub(super) fn asks(app: &App) -> Option<&[Option<u16>]> {
    let asks = app.networking == Networking::Container && app.ports.iter().all(|port| number(port).is_none());
    app.instances.first().filter(|_| asks).map(|first| first.ports.as_slice())
}

/// Gives container-network apps service ports out of a range (marathon-lb's rule, so the numbers
/// stay those that people know).
pub(super) struct Inventor {
    range: RangeInclusive<u16>,
    used: BTreeSet<u16>,
}

impl Inventor {
    /// Nothing given yet.
    pub(super) fn new(range: RangeInclusive<u16>) -> Self {
        Self { range, used: BTreeSet::new() }
    }

    /// Service ports for the `task_ports` of `app`; to be asked in the order of the apps.
    pub(super) fn invent(&mut self, app: &AppId, task_ports: &[Option<u16>]) -> Vec<Option<u16>> {
        task_ports.iter().map(|port| port.and_then(|port| self.assign(app, port))).collect()
    }

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
