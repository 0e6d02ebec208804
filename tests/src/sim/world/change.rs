//! Taking a change over: versions, locks, the plan, and the events that announce it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::def::{AppDef, render};
use super::super::draft::Draft;
use super::super::event::Event;
use super::super::path::PathId;
use super::super::plan::{self, Step};
use super::super::rejection::{LOCKED, Rejection};
use super::super::root::Root;
use super::super::stamp::Stamp;
use super::World;
use super::deploy::Deployment;

/// How many roots are remembered for roll-backs (`zk_max_versions`).
const REMEMBERED: usize = 50;

/// Who asked for what.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whether running deployments are cancelled instead of refusing.
    pub force: bool,
    /// The group that `group_change_success` names.
    pub group: PathId,
    /// For `api_post_event`: client address, URI and the app.
    pub posted: Option<(String, String, PathId)>,
}

/// What a change became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Of the change.
    pub version: Stamp,
    /// The deployment that brings it about.
    pub deployment: String,
}

impl World {
    /// Edits a copy of the root and, if that is well, makes it the root and starts its deployment.
    ///
    /// # Errors
    /// What the edit refuses; cyclic dependencies; a lock.
    pub fn change(
        &mut self,
        request: &Request,
        now: Stamp,
        edit: impl FnOnce(&mut Draft) -> Result<(), Rejection>,
    ) -> Result<Accepted, Rejection> {
        let (version, draft, steps) = self.drafted(now, edit)?;
        let affected = plan::affected(&steps);
        let holders = self.holders(&affected);
        if !holders.is_empty() && !request.force {
            let fields = json!({"groupId": request.group.as_str(), "version": version.full(), "reason": LOCKED});
            self.emit(Event::new("group_change_failed", now, fields));
            return Err(Rejection::Locked(holders));
        }
        let most = self.config.max_deployments;
        if self.config.personality >= super::Personality::V1_8 && self.deployments().len() >= most && !request.force {
            return Err(Rejection::Forbidden(format!(
                "Max number ({most}) of running deployments is achieved. Wait for existing deployments to complete or cancel one using force=true parameter."
            )));
        }
        let target = draft.root;
        if let Some((client, uri, app)) = &request.posted
            && let Some(def) = target.apps.get(app)
        {
            let definition = render::app(def, self.config.personality);
            let fields = json!({"clientIp": client, "uri": uri, "appDefinition": definition});
            self.emit(Event::new("api_post_event", now, fields));
        }
        let fields = json!({"groupId": request.group.as_str(), "version": version.full()});
        self.emit(Event::new("group_change_success", now, fields));
        let original = std::mem::replace(&mut self.root, target);
        self.announce_checks(&original, &affected, now);
        self.remember(original.clone());
        let deployment = self.rng.deployment_uuid();
        let target = self.root.clone();
        self.begin(Deployment::new(deployment.clone(), version, steps, original, target));
        for id in holders {
            self.cancel(&id, "The upgrade has been cancelled", now);
        }
        Ok(Accepted { version, deployment })
    }

    /// The steps that a change would take (`dryRun`).
    ///
    /// # Errors
    /// As [`World::change`], without locks.
    pub fn rehearse(
        &mut self,
        now: Stamp,
        edit: impl FnOnce(&mut Draft) -> Result<(), Rejection>,
    ) -> Result<Vec<Step>, Rejection> {
        self.drafted(now, edit).map(|(_, _, steps)| steps)
    }

    /// An earlier definition of an app.
    #[must_use]
    pub fn app_version(&self, id: &PathId, version: Stamp) -> Option<Arc<AppDef>> {
        let all = self.history.iter().map(Arc::as_ref).chain([&self.root]);
        all.filter_map(|root| root.apps.get(id)).find(|def| def.version == version).cloned()
    }

    /// The versions of an app, newest first.
    #[must_use]
    pub fn app_versions(&self, id: &PathId) -> Vec<Stamp> {
        let all = self.history.iter().map(Arc::as_ref).chain([&self.root]);
        let versions: BTreeSet<Stamp> = all.filter_map(|root| root.apps.get(id)).map(|def| def.version).collect();
        versions.into_iter().rev().collect()
    }

    /// An earlier root.
    #[must_use]
    pub fn root_version(&self, version: Stamp) -> Option<Root> {
        let all = self.history.iter().map(Arc::as_ref).chain([&self.root]);
        all.rev().find(|root| root.version == version).cloned()
    }

    /// The remembered versions of the root, newest first.
    #[must_use]
    pub fn root_versions(&self) -> Vec<Stamp> {
        let all = self.history.iter().map(Arc::as_ref).chain([&self.root]);
        all.map(|root| root.version).collect::<BTreeSet<_>>().into_iter().rev().collect()
    }

    fn drafted(
        &mut self,
        now: Stamp,
        edit: impl FnOnce(&mut Draft) -> Result<(), Rejection>,
    ) -> Result<(Stamp, Draft, Vec<Step>), Rejection> {
        let version = now.max(self.root.version.plus(1));
        let mut draft = Draft::new(&self.root, version, self.rules(), self.config.service_ports.clone());
        edit(&mut draft)?;
        let Some(steps) = plan::plan(&self.root, &draft.root) else {
            return Err(Rejection::invalid("/dependencies", "Dependency graph has cyclic dependencies."));
        };
        Ok((version, draft, steps))
    }

    fn remember(&mut self, root: Root) {
        self.history.push_back(Arc::new(root));
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
    }

    fn announce_checks(&mut self, original: &Root, affected: &BTreeSet<PathId>, now: Stamp) {
        let mut events = Vec::new();
        for id in affected {
            let (old, new) = (original.apps.get(id), self.root.apps.get(id));
            let old_checks = old.map(|def| def.facts.checks.as_slice()).unwrap_or_default();
            let new_checks = new.map(|def| def.facts.checks.as_slice()).unwrap_or_default();
            if old_checks == new_checks && old.map(|def| def.generation) == new.map(|def| def.generation) {
                continue;
            }
            for _ in old_checks {
                events.push(Event::new("remove_health_check_event", now, json!({"appId": id.as_str()})));
            }
            for check in new_checks {
                let version: Option<String> = new.map(|def| def.version.full());
                let fields = json!({"appId": id.as_str(), "version": version, "healthCheck": check.doc});
                events.push(Event::new("add_health_check_event", now, fields));
            }
        }
        self.out.extend(events.into_iter().map(super::Out::Event));
    }

    /// The plan as events carry it: light in 1.8, with both roots in 1.4.
    pub(super) fn plan_json(&self, deployment: &Deployment) -> Value {
        let steps: Vec<Value> = deployment.steps.iter().map(|step| plan::step_json(step)).collect();
        let mut plan = json!({"id": deployment.id, "steps": steps, "version": deployment.version.full()});
        if self.config.personality < super::Personality::V1_8 {
            plan["original"] = deployment.original.heavy(self.config.personality);
            plan["target"] = deployment.target.heavy(self.config.personality);
        }
        plan
    }
}
