//! Events as Marathon words them; the world makes them, the hub sends them.

use serde_json::{Value, json};

use super::config::Personality;
use super::def::Doc;
use super::instance::{Condition, Instance};
use super::stamp::Stamp;

/// One event, ready to be sent.
#[derive(Debug, Clone)]
pub struct Event {
    /// `eventType`.
    pub kind: &'static str,
    /// When the world decided it.
    pub stamp: Stamp,
    /// The fields, `eventType` and `timestamp` included.
    pub body: Value,
}

impl Event {
    /// Adds the two common fields to `fields` (a JSON object).
    #[must_use]
    pub fn new(kind: &'static str, stamp: Stamp, fields: Value) -> Self {
        let mut body = match fields {
            Value::Object(body) => body,
            _ => Doc::new(),
        };
        body.insert("eventType".to_owned(), kind.into());
        body.insert("timestamp".to_owned(), stamp.full().into());
        Self { kind, stamp, body: body.into() }
    }

    /// `status_update_event`: what Mesos said about a task.
    #[must_use]
    pub fn status_update(instance: &Instance, message: &str, stamp: Stamp) -> Self {
        let running = instance.condition == Condition::Running;
        let fields = json!({
            "slaveId": instance.agent_id,
            "taskId": instance.task_id,
            "taskStatus": instance.condition.task_state(),
            "message": message,
            "appId": instance.def.id.as_str(),
            "host": instance.host,
            "ipAddresses": if running { instance.addresses() } else { json!([]) },
            "ports": instance.ports,
            "version": instance.def.version.full(),
        });
        Self::new("status_update_event", stamp, fields)
    }

    /// `instance_changed_event`: the condition changed.
    #[must_use]
    pub fn instance_changed(instance: &Instance, condition: Condition, stamp: Stamp) -> Self {
        let placed = condition != Condition::Scheduled;
        let fields = json!({
            "instanceId": instance.id,
            "condition": format!("{condition:?}"),
            "runSpecId": instance.def.id.as_str(),
            "agentId": placed.then_some(&instance.agent_id),
            "host": placed.then_some(&instance.host),
            "runSpecVersion": instance.def.version.full(),
        });
        Self::new("instance_changed_event", stamp, fields)
    }

    /// `instance_health_changed_event`; `None` = unknown again.
    #[must_use]
    pub fn instance_health(instance: &Instance, healthy: Option<bool>, stamp: Stamp) -> Self {
        let fields = json!({
            "instanceId": instance.id,
            "runSpecId": instance.def.id.as_str(),
            "healthy": healthy,
            "runSpecVersion": instance.def.version.full(),
        });
        Self::new("instance_health_changed_event", stamp, fields)
    }

    /// `health_status_changed_event`: of checks that Marathon itself runs.
    #[must_use]
    pub fn health_status(instance: &Instance, alive: bool, stamp: Stamp) -> Self {
        let fields = json!({
            "appId": instance.def.id.as_str(),
            "instanceId": instance.id,
            "version": instance.def.version.full(),
            "alive": alive,
        });
        Self::new("health_status_changed_event", stamp, fields)
    }

    /// `failed_health_check_event`; newer Marathons misname the instance id.
    #[must_use]
    pub fn failed_check(instance: &Instance, check: &Value, personality: Personality, stamp: Stamp) -> Self {
        let mut fields = json!({"appId": instance.def.id.as_str(), "healthCheck": check});
        let key = if personality >= Personality::V1_8 { "taskId" } else { "instanceId" };
        fields[key] = instance.id.as_str().into();
        Self::new("failed_health_check_event", stamp, fields)
    }

    /// `unhealthy_instance_kill_event`.
    #[must_use]
    pub fn unhealthy_kill(instance: &Instance, reason: &str, stamp: Stamp) -> Self {
        let fields = json!({
            "appId": instance.def.id.as_str(),
            "taskId": instance.task_id,
            "instanceId": instance.id,
            "version": instance.def.version.full(),
            "reason": reason,
            "host": instance.host,
            "slaveId": instance.agent_id,
        });
        Self::new("unhealthy_instance_kill_event", stamp, fields)
    }

    /// `unknown_instance_terminated_event`: a task ended that Marathon had given up.
    #[must_use]
    pub fn unknown_terminated(instance: &Instance, condition: Condition, stamp: Stamp) -> Self {
        let fields = json!({
            "instanceId": instance.id,
            "runSpecId": instance.def.id.as_str(),
            "condition": format!("{condition:?}"),
        });
        Self::new("unknown_instance_terminated_event", stamp, fields)
    }
}
