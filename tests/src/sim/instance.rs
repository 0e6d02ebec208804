//! One instance of an app: where it runs, how far it is, what its health checks found.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::config::Personality;
use super::def::{AppDef, Doc, HostPort, Network};
use super::stamp::Stamp;

/// How far an instance is, in Marathon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Wanted, no agent yet; has no task.
    Scheduled,
    /// On an agent, nothing heard yet (≤ 1.7).
    Created,
    /// On an agent, nothing heard yet (≥ 1.8).
    Provisioned,
    /// The agent prepares it.
    Starting,
    /// It runs.
    Running,
    /// It was told to stop.
    Killing,
    /// Its agent is lost.
    Unreachable,
    /// Its agent is lost for good: replaced, no ports any more.
    UnreachableInactive,
    /// It was stopped.
    Killed,
    /// It ended by itself, well.
    Finished,
    /// It ended by itself, not well.
    Failed,
}

impl Condition {
    /// As in `task.state` and `taskStatus`.
    #[must_use]
    pub fn task_state(self) -> &'static str {
        match self {
            Self::Scheduled | Self::Created | Self::Provisioned => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Unreachable | Self::UnreachableInactive => "TASK_UNREACHABLE",
            Self::Killed => "TASK_KILLED",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
        }
    }

    /// Whether the instance counts towards the app's instances.
    #[must_use]
    pub fn is_live(self) -> bool {
        self <= Self::Running || self == Self::Unreachable
    }
}

/// What one health check found so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Whether anything was reported.
    pub reported: bool,
    /// Failures in a row.
    pub consecutive: u32,
    /// First success.
    pub first_success: Option<Stamp>,
    /// Last success.
    pub last_success: Option<Stamp>,
    /// Last counted failure.
    pub last_failure: Option<Stamp>,
    /// Why it failed last.
    pub cause: Option<String>,
}

impl Findings {
    /// Whether there is a success and no later failure.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.last_success.is_some_and(|success| self.last_failure.is_none_or(|failure| success >= failure))
            && self.consecutive == 0
    }
}

/// What stands behind a task's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Listeners or a process of its own.
    Real,
    /// Nothing; health is taken for granted.
    Assumed,
}

/// One instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Instance id.
    pub id: String,
    /// Id of its task.
    pub task_id: String,
    /// 1 and up: relaunches of the same instance.
    pub incarnation: u32,
    /// What it was started from.
    pub def: Arc<AppDef>,
    /// Host name of the agent; empty while scheduled.
    pub host: String,
    /// Address of the agent.
    pub address: Ipv4Addr,
    /// Mesos id of the agent.
    pub agent_id: String,
    /// Host ports, in definition order.
    pub ports: Vec<u16>,
    /// Address of the container, where it has one.
    pub container_address: Option<Ipv4Addr>,
    /// How far it is.
    pub condition: Condition,
    /// One per health check of `def`.
    pub findings: Vec<Findings>,
    /// When it was launched.
    pub staged_at: Stamp,
    /// When it ran.
    pub started_at: Option<Stamp>,
    /// Since when its agent is lost.
    pub unreachable_since: Option<Stamp>,
    /// What stands behind its ports.
    pub backing: Backing,
}

impl Instance {
    /// Whether it runs and passes its checks.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition == Condition::Running && self.findings.iter().all(|f| f.reported && f.alive())
    }

    /// All reported checks well (`None` = nothing reported).
    #[must_use]
    pub fn healthy(&self) -> Option<bool> {
        let mut reported = self.findings.iter().filter(|f| f.reported).peekable();
        reported.peek()?;
        Some(reported.all(Findings::alive))
    }

    /// The addresses Mesos reports.
    #[must_use]
    pub fn addresses(&self) -> Value {
        match self.container_address {
            Some(address) if self.condition >= Condition::Running => {
                json!([{"ipAddress": address.to_string(), "protocol": "IPv4"}])
            }
            _ => json!([]),
        }
    }

    /// The port on the agent, or the container's own address and port, that check `index` probes.
    #[must_use]
    pub fn probe_target(&self, index: usize) -> Option<(Ipv4Addr, u16)> {
        let check = self.def.facts.checks.get(index)?;
        let own = (self.def.facts.network == Network::Container).then_some(self.container_address).flatten();
        if let Some(port) = check.port {
            return Some((own.unwrap_or(self.address), port));
        }
        self.endpoint(check.port_index.unwrap_or(0))
    }

    /// Where port `index` of the definition is reached.
    #[must_use]
    pub fn endpoint(&self, index: usize) -> Option<(Ipv4Addr, u16)> {
        let ports = &self.def.facts.ports;
        let port = ports.get(index)?;
        if port.host != HostPort::None {
            let rank = ports[..index].iter().filter(|port| port.host != HostPort::None).count();
            return Some((self.address, *self.ports.get(rank)?));
        }
        Some((self.container_address?, port.container?))
    }

    /// As an element of `tasks`; `service_ports` only in `/v2/tasks`.
    #[must_use]
    pub fn to_json(&self, personality: Personality, service_ports: bool) -> Value {
        let mut doc = Doc::new();
        let mut put = |key: &str, value: Value| doc.insert(key.to_owned(), value);
        let newer = personality >= Personality::V1_8;
        let active = self.condition != Condition::UnreachableInactive;
        put("id", self.task_id.as_str().into());
        put("appId", self.def.id.as_str().into());
        put("host", self.host.as_str().into());
        put("slaveId", self.agent_id.as_str().into());
        put("state", self.condition.task_state().into());
        if active {
            put("ports", self.ports.clone().into());
            put("stagedAt", self.staged_at.full().into());
            put("version", self.def.version.full().into());
            if self.started_at.is_some() || !newer {
                put("startedAt", self.started_at.map(Stamp::full).into());
            }
        } else if newer {
            put("ports", json!([]));
        }
        let addresses = self.addresses();
        if newer || addresses != json!([]) {
            put("ipAddresses", addresses);
        }
        let results: Vec<Value> = self.findings.iter().filter(|f| f.reported).map(|f| self.result(f, newer)).collect();
        if newer || !results.is_empty() {
            put("healthCheckResults", results.into());
        }
        if newer {
            put("localVolumes", json!([]));
        }
        if service_ports {
            put("servicePorts", self.def.facts.ports.iter().map(|port| port.service).collect());
        } else if newer {
            put("servicePorts", json!([]));
        }
        doc.into()
    }

    fn result(&self, findings: &Findings, newer: bool) -> Value {
        let mut doc = Doc::new();
        doc.insert("alive".to_owned(), findings.alive().into());
        doc.insert("consecutiveFailures".to_owned(), findings.consecutive.into());
        doc.insert("instanceId".to_owned(), self.id.as_str().into());
        for (key, value) in [
            ("firstSuccess", findings.first_success.map(Stamp::full)),
            ("lastSuccess", findings.last_success.map(Stamp::full)),
            ("lastFailure", findings.last_failure.map(Stamp::full)),
            ("lastFailureCause", findings.cause.clone()),
        ] {
            if value.is_some() || !newer {
                doc.insert(key.to_owned(), value.into());
            }
        }
        doc.into()
    }
}
