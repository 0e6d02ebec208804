//! What the API shows: apps with counts and tasks, deployments, the state for assertions.

use serde_json::{Value, json};

use super::super::config::Personality;
use super::super::def::{AppDef, Doc, render};
use super::super::instance::{Condition, Instance};
use super::super::path::PathId;
use super::super::plan::{self, Action};
use super::super::stamp::Stamp;
use super::World;

/// What is embedded in an app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, clippy::struct_excessive_bools, reason = "one flag per value of `embed`")]
pub struct Embed {
    pub tasks: bool,
    pub counts: bool,
    pub deployments: bool,
    pub readiness: bool,
    pub last_failure: bool,
    pub stats: bool,
}

impl World {
    /// An app with what `embed` asks for.
    #[must_use]
    pub fn app_json(&self, def: &AppDef, embed: Embed) -> Doc {
        let mut doc = render::app(def, self.config.personality);
        let mut put = |key: &str, value: Value| doc.insert(key.to_owned(), value);
        if embed.counts {
            for (key, count) in self.counts(&def.id) {
                put(key, count.into());
            }
        }
        if embed.deployments {
            let holds = self.deployments.iter().filter(|deployment| deployment.affected.contains(&def.id));
            put("deployments", holds.map(|deployment| json!({"id": deployment.id})).collect());
        }
        if embed.readiness {
            put("readinessCheckResults", json!([]));
        }
        if embed.tasks {
            put("tasks", self.tasks_of(&def.id).into());
        }
        let failure = self.runtimes.get(&def.id).and_then(|runtime| runtime.last_failure.as_ref());
        if let (true, Some(failure)) = (embed.last_failure, failure) {
            put("lastTaskFailure", failure.clone());
        }
        if embed.stats {
            put("taskStats", json!({}));
        }
        doc
    }

    /// `tasksStaged`, `tasksRunning`, `tasksHealthy`, `tasksUnhealthy`.
    fn counts(&self, app: &PathId) -> [(&'static str, usize); 4] {
        let count = |matching: &dyn Fn(&Instance) -> bool| self.instances_of(app).filter(|i| matching(i)).count();
        let running = |i: &Instance| i.condition == Condition::Running;
        let staged = |i: &Instance| (Condition::Created..=Condition::Starting).contains(&i.condition);
        [
            ("tasksStaged", count(&staged)),
            ("tasksRunning", count(&running)),
            ("tasksHealthy", count(&|i| running(i) && i.healthy() == Some(true))),
            ("tasksUnhealthy", count(&|i| running(i) && i.healthy() == Some(false))),
        ]
    }

    /// The tasks of an app; scheduled instances have none.
    #[must_use]
    pub fn tasks_of(&self, app: &PathId) -> Vec<Value> {
        let placed = self.instances_of(app).filter(|i| i.condition != Condition::Scheduled);
        placed.map(|i| i.to_json(self.config.personality, false)).collect()
    }

    /// The instance that owns task `id`.
    #[must_use]
    pub fn by_task(&self, id: &str) -> Option<&Instance> {
        let (head, _) = id.split_once("._app.").unwrap_or((id, ""));
        if let Some(instance) = self.instances.get(head) {
            return (instance.task_id == id).then_some(instance);
        }
        let (prefix, uuid) = id.rsplit_once('.')?;
        self.instances.get(&format!("{prefix}.marathon-{uuid}"))
    }

    /// `GET /v2/deployments`.
    #[must_use]
    pub fn deployments_json(&self) -> Value {
        self.deployments
            .iter()
            .map(|deployment| {
                let current = deployment.steps.get(deployment.step).map(Vec::as_slice).unwrap_or_default();
                let current: Vec<Value> = current
                    .iter()
                    .map(|action: &Action| {
                        let mut action = action.to_json();
                        action["readinessCheckResults"] = json!([]);
                        action
                    })
                    .collect();
                json!({
                    "id": deployment.id,
                    "version": self.written(deployment.version),
                    "affectedApps": deployment.affected.iter().map(PathId::as_str).collect::<Vec<_>>(),
                    "affectedPods": [],
                    "steps": deployment.steps.iter().map(|step| plan::step_json(step)).collect::<Vec<_>>(),
                    "currentActions": current,
                    "currentStep": deployment.step + 1,
                    "totalSteps": deployment.steps.len(),
                })
            })
            .collect()
    }

    /// A date of an app, group or deployment, as this personality writes it.
    #[must_use]
    pub fn written(&self, stamp: Stamp) -> String {
        match self.config.personality {
            Personality::V1_4 => stamp.full(),
            Personality::V1_8 => stamp.trimmed(),
        }
    }

    /// Agents and tasks, for assertions.
    #[must_use]
    pub fn state_json(&self) -> Value {
        let agents: Vec<Value> = self
            .agents
            .values()
            .map(|agent| {
                json!({"name": agent.name, "address": agent.address.to_string(), "id": agent.id,
                    "lost": agent.lost.is_some(), "ports": agent.load()})
            })
            .collect();
        let tasks: Vec<Value> = self
            .instances
            .values()
            .map(|i| {
                json!({"id": i.task_id, "instance": i.id, "app": i.def.id.as_str(), "host": i.host,
                    "ports": i.ports, "condition": format!("{:?}", i.condition), "healthy": i.healthy()})
            })
            .collect();
        json!({"agents": agents, "tasks": tasks, "apps": self.root.apps.len(), "deployments": self.deployments.len()})
    }
}
