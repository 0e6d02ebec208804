//! Deployments: plans carried out step by step, and keeping apps at their number of instances.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::config::Personality;
use super::super::event::Event;
use super::super::instance::{Condition, Instance};
use super::super::path::PathId;
use super::super::plan::{self, Action, Step, Verb};
use super::super::rejection::Rejection;
use super::super::root::Root;
use super::super::stamp::Stamp;
use super::change::{Accepted, Request};
use super::{Timer, World};

/// A plan under way.
#[derive(Debug)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// Of the change.
    pub version: Stamp,
    /// What is to be done.
    pub steps: Vec<Step>,
    /// Before.
    pub original: Root,
    /// After.
    pub target: Root,
    /// The apps it holds.
    pub affected: BTreeSet<PathId>,
    /// The step under way.
    pub step: usize,
    begun: bool,
    plan: Option<Value>,
}

impl Deployment {
    /// A deployment that has not begun.
    #[must_use]
    pub fn new(id: String, version: Stamp, steps: Vec<Step>, original: Root, target: Root) -> Self {
        let affected = plan::affected(&steps);
        Self { id, version, steps, original, target, affected, step: 0, begun: false, plan: None }
    }
}

/// A replacement of tasks under way.
#[derive(Debug, Default)]
pub(super) struct Rolling {
    begun: bool,
    credited: BTreeSet<String>,
}

impl World {
    /// The running deployments.
    #[must_use]
    pub fn deployments(&self) -> &[Deployment] {
        &self.deployments
    }

    /// Ends a deployment where it stands.
    pub fn cancel(&mut self, id: &str, reason: &str, now: Stamp) -> bool {
        let Some(at) = self.deployments.iter().position(|deployment| deployment.id == id) else { return false };
        let deployment = self.deployments.remove(at);
        let mut fields = json!({"id": id, "plan": self.plan_of(&deployment)});
        if self.config.personality >= Personality::V1_8 {
            fields["reason"] = reason.into();
        }
        self.emit(Event::new("deployment_failed", now, fields));
        self.release(&deployment);
        true
    }

    /// Cancels a deployment and deploys the way back.
    ///
    /// # Errors
    /// 404 for an unknown deployment.
    pub fn roll_back(&mut self, id: &str, now: Stamp) -> Result<Accepted, Rejection> {
        let Some(deployment) = self.deployments.iter().find(|deployment| deployment.id == id) else {
            return Err(Rejection::NotFound(format!("DeploymentPlan {id} does not exist")));
        };
        let before: Vec<_> =
            deployment.affected.iter().map(|app| (app.clone(), deployment.original.apps.get(app).cloned())).collect();
        let groups = deployment.original.groups.clone();
        let request = Request { force: true, group: PathId::root(), posted: None };
        let accepted = self.change(&request, now, |draft| {
            for (app, def) in &before {
                draft.revert(app, def.as_deref())?;
            }
            let apps: Vec<PathId> = draft.root.apps.keys().cloned().collect();
            draft.root.groups.retain(|id, _| groups.contains_key(id) || apps.iter().any(|app| app.is_below(id)));
            Ok(())
        })?;
        self.cancel(id, "The upgrade has been cancelled", now);
        Ok(accepted)
    }

    /// The deployments that hold any of `apps`.
    pub(super) fn holders(&self, apps: &BTreeSet<PathId>) -> Vec<String> {
        let holds = |deployment: &&Deployment| !deployment.affected.is_disjoint(apps);
        self.deployments.iter().filter(holds).map(|deployment| deployment.id.clone()).collect()
    }

    pub(super) fn begin(&mut self, deployment: Deployment) {
        self.deployments.push(deployment);
    }

    /// Carries on: apps towards their numbers, deployments towards their end.
    pub(super) fn pump(&mut self, now: Stamp) {
        loop {
            while let Some(app) = self.dirty.pop_first() {
                self.reconcile(&app, now);
            }
            let mut moved = false;
            for at in (0..self.deployments.len()).rev() {
                moved |= self.advance(at, now);
            }
            if !moved && self.dirty.is_empty() {
                return;
            }
        }
    }

    /// Moves one deployment by at most one step; whether it moved.
    fn advance(&mut self, at: usize, now: Stamp) -> bool {
        let Some(deployment) = self.deployments.get(at) else { return false };
        let Some(step) = deployment.steps.get(deployment.step).cloned() else {
            let deployment = self.deployments.remove(at);
            let plan = self.plan_of(&deployment);
            self.emit(Event::new("deployment_success", now, json!({"id": deployment.id, "plan": plan})));
            self.release(&deployment);
            return true;
        };
        if !deployment.begun {
            self.announce(at, "deployment_info", &step, now);
            self.deployments[at].begun = true;
            for action in &step {
                self.start_action(at, action, now);
            }
            return true;
        }
        if !step.iter().all(|action| self.is_done(action)) {
            return false;
        }
        for action in step.iter().filter(|action| action.verb == Verb::Stop) {
            if self.config.personality >= Personality::V1_8 {
                self.emit(Event::new("app_terminated_event", now, json!({"appId": action.app.as_str()})));
            }
            self.runtimes.retain(|id, runtime| *id != action.app || !runtime.instances.is_empty());
        }
        self.announce(at, "deployment_step_success", &step, now);
        let deployment = &mut self.deployments[at];
        deployment.step += 1;
        deployment.begun = false;
        true
    }

    fn announce(&mut self, at: usize, kind: &'static str, step: &[Action], now: Stamp) {
        let plan = match &self.deployments[at].plan {
            Some(plan) => plan.clone(),
            None => self.plan_of(&self.deployments[at]),
        };
        self.deployments[at].plan = Some(plan.clone());
        self.emit(Event::new(kind, now, json!({"plan": plan, "currentStep": plan::step_json(step)})));
    }

    fn plan_of(&self, deployment: &Deployment) -> Value {
        deployment.plan.clone().unwrap_or_else(|| self.plan_json(deployment))
    }

    fn start_action(&mut self, at: usize, action: &Action, now: Stamp) {
        let target = self.deployments[at].target.apps.get(&action.app).cloned();
        let runtime = self.runtimes.entry(action.app.clone()).or_default();
        match action.verb {
            Verb::Start => return,
            Verb::Stop => {
                (runtime.applied, runtime.rolling) = (None, None);
            }
            Verb::Scale => {
                (runtime.applied, runtime.rolling) = (target, None);
            }
            Verb::Restart => {
                runtime.applied = target;
                runtime.rolling = Some(Rolling::default());
                (runtime.failures, runtime.not_before) = (0, now);
                runtime.failed.clear();
            }
        }
        self.reconcile(&action.app, now);
        if action.verb == Verb::Stop && self.config.personality < Personality::V1_8 {
            self.emit(Event::new("app_terminated_event", now, json!({"appId": action.app.as_str()})));
        }
    }

    fn is_done(&self, action: &Action) -> bool {
        let Some(runtime) = self.runtimes.get(&action.app) else { return true };
        match action.verb {
            Verb::Start => true,
            Verb::Stop => self.config.personality < Personality::V1_8 || runtime.instances.is_empty(),
            Verb::Scale | Verb::Restart => {
                let Some(def) = &runtime.applied else { return true };
                let active = |i: &&Instance| i.condition != Condition::UnreachableInactive;
                let all: Vec<&Instance> = self.instances_of(&action.app).filter(active).collect();
                all.len() == def.facts.instances as usize
                    && all.iter().all(|i| i.is_ready())
                    && (action.verb == Verb::Scale || all.iter().all(|i| i.def.generation == def.generation))
            }
        }
    }

    /// Lets go of the apps of an ended deployment: they are kept at what is asked for now.
    fn release(&mut self, deployment: &Deployment) {
        for app in &deployment.affected {
            let wanted = self.root.apps.get(app).cloned();
            if wanted.is_none() && self.runtimes.get(app).is_none_or(|runtime| runtime.instances.is_empty()) {
                self.runtimes.remove(app);
                continue;
            }
            let held = self.deployments.iter().any(|other| other.affected.contains(app));
            let runtime = self.runtimes.entry(app.clone()).or_default();
            if !held {
                (runtime.applied, runtime.rolling) = (wanted, None);
            }
            self.dirty.insert(app.clone());
        }
    }

    /// Kills what is too much and launches what is missing.
    fn reconcile(&mut self, app: &PathId, now: Stamp) {
        let Some(runtime) = self.runtimes.get(app) else { return };
        let Some(def) = runtime.applied.clone() else {
            let stopping = !self.root.apps.contains_key(app);
            if stopping {
                for id in runtime.instances.clone() {
                    self.kill(&id, now);
                }
            }
            return;
        };
        let wanted = def.facts.instances as usize;
        let live: Vec<String> =
            self.instances_of(app).filter(|i| i.condition.is_live()).map(|i| i.id.clone()).collect();
        if runtime.rolling.is_some() {
            return self.roll(app, wanted, now);
        }
        if live.len() > wanted {
            let mut order: Vec<&Instance> = live.iter().filter_map(|id| self.instances.get(id)).collect();
            order.sort_by_key(|i| {
                let rank = if i.condition == Condition::Unreachable { Condition::Scheduled } else { i.condition };
                let age = if def.facts.oldest_first { i.staged_at.0 } else { -i.staged_at.0 };
                (rank, age)
            });
            let surplus: Vec<String> = order.iter().take(live.len() - wanted).map(|i| i.id.clone()).collect();
            for id in surplus {
                self.kill(&id, now);
            }
        } else {
            self.launch_missing(app, wanted - live.len(), now);
        }
        self.place_scheduled(app, now);
    }

    fn roll(&mut self, app: &PathId, wanted: usize, now: Stamp) {
        let Some(runtime) = self.runtimes.get(app) else { return };
        let (Some(def), Some(rolling)) = (runtime.applied.clone(), &runtime.rolling) else { return };
        let (minimum, capacity) = bounds(wanted, def.facts.minimum_health, def.facts.over_capacity);
        let is_new = |i: &&Instance| i.def.generation == def.generation;
        let live = |i: &&Instance| i.condition.is_live();
        let new: Vec<&Instance> = self.instances_of(app).filter(is_new).filter(live).collect();
        let mut old: Vec<&Instance> = self.instances_of(app).filter(|i| !is_new(i)).filter(live).collect();
        old.sort_by_key(|i| (i.condition == Condition::Running, -i.staged_at.0));
        let ready: Vec<String> = new.iter().filter(|i| i.is_ready()).map(|i| i.id.clone()).collect();
        let fresh: Vec<String> = ready.iter().filter(|id| !rolling.credited.contains(*id)).cloned().collect();
        let mut kills = fresh.len();
        if !rolling.begun {
            kills += old.len().saturating_sub(minimum);
        }
        if ready.len() >= wanted {
            kills = old.len();
        }
        let doomed: Vec<String> = old.iter().take(kills).map(|i| i.id.clone()).collect();
        let surplus: Vec<String> = new.iter().skip(wanted).map(|i| i.id.clone()).collect();
        let missing = wanted.saturating_sub(new.len());
        if let Some(rolling) = self.runtimes.get_mut(app).and_then(|runtime| runtime.rolling.as_mut()) {
            rolling.begun = true;
            rolling.credited.extend(fresh);
        }
        for id in doomed.into_iter().chain(surplus) {
            self.kill(&id, now);
        }
        let active = |i: &&Instance| i.condition != Condition::UnreachableInactive;
        let total = self.instances_of(app).filter(active).count();
        let capacity = if minimum == capacity && capacity <= old_total(self, app, def.generation) {
            capacity + 1
        } else {
            capacity
        };
        self.launch_missing(app, missing.min(capacity.saturating_sub(total)), now);
        self.place_scheduled(app, now);
    }

    fn launch_missing(&mut self, app: &PathId, count: usize, now: Stamp) {
        let Some(runtime) = self.runtimes.get(app) else { return };
        if count == 0 {
            return;
        }
        if runtime.not_before > now {
            let due = runtime.not_before;
            return self.after(due, Timer::Reconcile(app.clone()));
        }
        for _ in 0..count {
            self.schedule(app, now);
        }
    }
}

/// How few may be healthy and how many may run during a replacement.
fn bounds(wanted: usize, minimum_health: f64, over_capacity: f64) -> (usize, usize) {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small counts"
    )]
    let scaled = |factor: f64, round: fn(f64) -> f64| round(wanted as f64 * factor) as usize;
    (scaled(minimum_health, f64::ceil), scaled(1.0 + over_capacity, f64::floor))
}

fn old_total(world: &World, app: &PathId, generation: Stamp) -> usize {
    world.instances_of(app).filter(|i| i.def.generation != generation).count()
}
