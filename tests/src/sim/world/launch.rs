//! The life of a task: scheduled, placed, started, running, killed or failed.

use std::net::Ipv4Addr;

use serde_json::json;

use super::super::agent::Agent;
use super::super::config::Personality;
use super::super::def::{AppDef, HostPort, Network};
use super::super::event::Event;
use super::super::instance::{Backing, Condition, Findings, Instance};
use super::super::path::PathId;
use super::super::stamp::Stamp;
use super::{Out, Timer, World, millis};

impl World {
    /// Wants one more instance of `app`; [`World::place_scheduled`] finds it an agent.
    pub(super) fn schedule(&mut self, app: &PathId, now: Stamp) {
        let newer = self.config.personality >= Personality::V1_8;
        let uuid = self.rng.instance_uuid();
        let Some(runtime) = self.runtimes.get_mut(app) else { return };
        let Some(def) = runtime.applied.clone() else { return };
        let prefix = app.task_prefix();
        let (id, incarnation) = match runtime.failed.pop() {
            Some((id, incarnation)) if newer => (id, incarnation + 1),
            _ if newer => (format!("{prefix}.instance-{uuid}"), 1),
            _ => (format!("{prefix}.marathon-{uuid}"), 1),
        };
        let task_id = if newer { format!("{id}._app.{incarnation}") } else { format!("{prefix}.{uuid}") };
        let instance = Instance {
            id: id.clone(),
            task_id,
            incarnation,
            findings: vec![Findings::default(); def.facts.checks.len()],
            def,
            host: String::new(),
            address: Ipv4Addr::UNSPECIFIED,
            agent_id: String::new(),
            ports: Vec::new(),
            container_address: None,
            condition: Condition::Scheduled,
            staged_at: now,
            started_at: None,
            unreachable_since: None,
            backing: Backing::Real,
        };
        runtime.instances.insert(id.clone());
        if newer {
            self.emit(Event::instance_changed(&instance, Condition::Scheduled, now));
        }
        self.instances.insert(id, instance);
    }

    /// Finds agents for the scheduled instances of `app`; what finds none stays scheduled and is tried again.
    pub(super) fn place_scheduled(&mut self, app: &PathId, now: Stamp) {
        let waiting: Vec<String> =
            self.instances_of(app).filter(|i| i.condition == Condition::Scheduled).map(|i| i.id.clone()).collect();
        for id in waiting {
            if !self.place(&id, now) {
                let due = now.plus(self.seconds(1.0).max(1));
                return self.after(due, Timer::Reconcile(app.clone()));
            }
        }
    }

    fn place(&mut self, id: &str, now: Stamp) -> bool {
        let Some(def) = self.instances.get(id).map(|instance| instance.def.clone()) else { return true };
        let Some((agent, ports)) = self.allocate(&def) else { return false };
        let Some((address, agent_id)) = self.agents.get(&agent).map(|a| (a.address, a.id.clone())) else {
            return false;
        };
        let container_address = match def.facts.network {
            Network::Host => Some(address),
            Network::Bridge => {
                let last = u8::try_from(self.rng.below(250)).unwrap_or(0);
                Some(Ipv4Addr::new(172, 17, 0, last.saturating_add(2)))
            }
            Network::Container => {
                self.added_containers += 1;
                Some(nth(self.config.container_pool, self.added_containers - 1))
            }
        };
        let newer = self.config.personality >= Personality::V1_8;
        let Some(instance) = self.instances.get_mut(id) else { return true };
        instance.host = agent;
        instance.address = address;
        instance.agent_id = agent_id;
        instance.ports = ports;
        instance.container_address = container_address;
        instance.condition = if newer { Condition::Provisioned } else { Condition::Created };
        instance.staged_at = now;
        let (event, incarnation) = (Event::instance_changed(instance, instance.condition, now), instance.incarnation);
        self.emit(event);
        self.after(now.plus(millis(self.config.staging)), Timer::Starting(id.to_owned(), incarnation));
        true
    }

    /// An agent and ports on it: the least loaded that satisfies the constraints; a new one when ports run out.
    pub(super) fn allocate(&mut self, def: &AppDef) -> Option<(String, Vec<u16>)> {
        let mut fitting: Vec<(usize, u64, String)> = Vec::new();
        for agent in self.agents.values().filter(|agent| agent.lost.is_none()) {
            if self.satisfies(def, agent) {
                fitting.push((agent.load(), self.rng.draw(), agent.name.clone()));
            }
        }
        fitting.sort();
        for (_, _, name) in fitting {
            let ports = self.agents.get_mut(&name)?.allocate(&def.facts.ports, &mut self.rng);
            if let Some(ports) = ports {
                return Some((name, ports));
            }
        }
        let fixed = def.facts.ports.iter().any(|port| matches!(port.host, HostPort::Fixed(_)));
        let pool = self.config.agent_pool.filter(|_| !fixed && def.facts.constraints.is_empty())?;
        if !self.agents.values().any(|agent| agent.lost.is_none()) {
            return None;
        }
        let name = loop {
            let address = nth(pool, self.added_agents);
            self.added_agents += 1;
            if self.add_agent(address.to_string(), address) {
                break address.to_string();
            }
        };
        let ports = self.agents.get_mut(&name)?.allocate(&def.facts.ports, &mut self.rng)?;
        Some((name, ports))
    }

    fn satisfies(&self, def: &AppDef, agent: &Agent) -> bool {
        let mut hosts = self.instances_of(&def.id).filter(|i| i.condition != Condition::Scheduled).map(|i| &i.host);
        def.facts.constraints.iter().filter(|c| c.first().is_some_and(|field| field == "hostname")).all(|constraint| {
            let value = constraint.get(2).map(String::as_str).unwrap_or_default();
            match constraint.get(1).map(String::as_str) {
                Some("UNIQUE") => hosts.all(|host| *host != agent.name),
                Some("CLUSTER" | "IS") if value.is_empty() => hosts.all(|host| *host == agent.name),
                Some("CLUSTER" | "IS" | "LIKE") => agent.name == value,
                Some("UNLIKE") => agent.name != value,
                _ => true,
            }
        })
    }

    pub(super) fn starting(&mut self, id: &str, incarnation: u32, now: Stamp) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if instance.incarnation != incarnation || instance.condition > Condition::Provisioned {
            return;
        }
        instance.condition = Condition::Starting;
        let events =
            [Event::status_update(instance, "", now), Event::instance_changed(instance, Condition::Starting, now)];
        self.out.extend(events.map(Out::Event));
        self.after(now.plus(millis(self.config.starting)), Timer::Running(id.to_owned(), incarnation));
    }

    /// Asks the shell to let the task listen; it answers with [`World::started`] or [`World::failed`].
    pub(super) fn run(&mut self, id: &str, incarnation: u32) {
        let due = self.instances.get(id).filter(|i| i.incarnation == incarnation && i.condition == Condition::Starting);
        if let Some(instance) = due {
            self.out.push_back(Out::Start(Box::new(instance.clone())));
        }
    }

    /// The task listens.
    pub fn started(&mut self, id: &str, now: Stamp) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        if instance.condition != Condition::Starting {
            return;
        }
        instance.condition = Condition::Running;
        instance.started_at = Some(now);
        let app = instance.def.id.clone();
        let events =
            [Event::status_update(instance, "", now), Event::instance_changed(instance, Condition::Running, now)];
        self.out.extend(events.map(Out::Event));
        self.first_checks(id, now);
        self.dirty.insert(app);
    }

    /// Stops an instance: `TASK_KILLING` where announced, `TASK_KILLED` after the kill delay.
    pub fn kill(&mut self, id: &str, now: Stamp) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        match instance.condition {
            Condition::Killing => return,
            Condition::Scheduled | Condition::Unreachable | Condition::UnreachableInactive => {
                self.forget(id);
                return;
            }
            _ => (),
        }
        instance.condition = Condition::Killing;
        let app = instance.def.id.clone();
        if self.config.task_killing {
            let events =
                [Event::status_update(instance, "", now), Event::instance_changed(instance, Condition::Killing, now)];
            self.out.extend(events.map(Out::Event));
        }
        self.dirty.insert(app);
        self.after(now.plus(millis(self.config.killing)), Timer::Killed(id.to_owned()));
    }

    pub(super) fn killed(&mut self, id: &str, now: Stamp) {
        if self.instances.get(id).is_some_and(|instance| instance.condition == Condition::Killing) {
            self.end(id, Condition::Killed, "Command terminated with signal Terminated", now);
        }
    }

    /// The task ended by itself, or could not start: vanishes, and is launched again after the back-off.
    pub fn failed(&mut self, id: &str, condition: Condition, message: &str, now: Stamp) {
        let Some(instance) = self.instances.get(id) else { return };
        let (app, killing, since) =
            (instance.def.id.clone(), instance.condition == Condition::Killing, instance.started_at);
        let (host, task, version) = (instance.host.clone(), instance.task_id.clone(), instance.def.version);
        let (agent, incarnation) = (instance.agent_id.clone(), instance.incarnation);
        let facts = instance.def.facts.clone();
        if let Some(runtime) = self.runtimes.get_mut(&app).filter(|_| !killing) {
            #[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation, reason = "counts of failures")]
            let delay = (facts.backoff_seconds * facts.backoff_factor.powi(runtime.failures as i32))
                .min(facts.max_delay_seconds);
            runtime.failures += 1;
            let wait = self.config.second.as_secs_f64() * 1000.0 * delay;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let wait = wait.clamp(0.0, 1e12) as u64;
            if since.is_some_and(|since| now >= since.plus(wait.saturating_mul(2).max(1000))) {
                runtime.failures = 1;
            }
            runtime.not_before = now.plus(wait);
            runtime.failed.push((id.to_owned(), incarnation));
            let written = match self.config.personality {
                Personality::V1_4 => (version.full(), now.full()),
                Personality::V1_8 => (version.trimmed(), now.trimmed()),
            };
            runtime.last_failure = Some(json!({
                "appId": app.as_str(), "host": host, "message": message, "state": condition.task_state(),
                "taskId": task, "timestamp": written.1, "version": written.0, "slaveId": agent,
            }));
        }
        self.end(id, condition, message, now);
    }

    fn end(&mut self, id: &str, condition: Condition, message: &str, now: Stamp) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        instance.condition = condition;
        let events = [Event::status_update(instance, message, now), Event::instance_changed(instance, condition, now)];
        self.out.push_back(Out::Stop(id.to_owned()));
        self.out.extend(events.map(Out::Event));
        self.forget(id);
    }

    /// Drops an instance and gives its ports back.
    pub(super) fn forget(&mut self, id: &str) {
        let Some(instance) = self.instances.remove(id) else { return };
        if let Some(agent) = self.agents.get_mut(&instance.host) {
            agent.release(&instance.ports);
        }
        let app = instance.def.id.clone();
        if let Some(runtime) = self.runtimes.get_mut(&app) {
            runtime.instances.remove(id);
            let gone = runtime.instances.is_empty() && runtime.applied.is_none();
            let held = self.deployments.iter().any(|deployment| deployment.affected.contains(&app));
            if gone && !held && !self.root.apps.contains_key(&app) {
                self.runtimes.remove(&app);
            }
        }
        self.dirty.insert(app);
    }
}

/// The `n`th address from `first` on.
fn nth(first: Ipv4Addr, n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits().wrapping_add(n))
}
