//! How to get from one root to another: ordered steps of actions on apps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::path::PathId;
use super::root::Root;

/// What a step does with an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Kill everything, forget the app.
    Stop,
    /// Register a new app, with no instances.
    Start,
    /// Bring it to its number of instances.
    Scale,
    /// Replace its tasks by ones of the new definition.
    Restart,
}

impl Verb {
    /// As written in plans.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "StopApplication",
            Self::Start => "StartApplication",
            Self::Scale => "ScaleApplication",
            Self::Restart => "RestartApplication",
        }
    }
}

/// One action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Action {
    /// What to do.
    pub verb: Verb,
    /// With which app.
    pub app: PathId,
}

impl Action {
    /// As written in plans.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"action": self.verb.name(), "app": self.app.as_str()})
    }
}

/// Actions that run side by side.
pub type Step = Vec<Action>;

/// Stops, then registrations, then one step per depth of dependency; empty steps are dropped.
///
/// `None` when the dependencies of `target` form a circle.
#[must_use]
pub fn plan(original: &Root, target: &Root) -> Option<Vec<Step>> {
    let depths = target.depths()?;
    let action = |verb: Verb, app: &PathId| Action { verb, app: app.clone() };
    let gone = original.apps.keys().filter(|id| !target.apps.contains_key(*id));
    let new = target.apps.keys().filter(|id| !original.apps.contains_key(*id));
    let mut layers: BTreeMap<usize, Step> = BTreeMap::new();
    for (id, def) in &target.apps {
        let verb = match original.apps.get(id) {
            None => Verb::Scale,
            Some(before) if before.generation != def.generation => Verb::Restart,
            Some(before) if before.facts.instances != def.facts.instances => Verb::Scale,
            Some(_) => continue,
        };
        layers.entry(depths.get(id).copied().unwrap_or(0)).or_default().push(action(verb, id));
    }
    let mut steps = vec![
        gone.map(|id| action(Verb::Stop, id)).collect::<Step>(),
        new.map(|id| action(Verb::Start, id)).collect::<Step>(),
    ];
    steps.extend(layers.into_values());
    steps.retain(|step| !step.is_empty());
    Some(steps)
}

/// The apps that a plan touches.
#[must_use]
pub fn affected(steps: &[Step]) -> BTreeSet<PathId> {
    steps.iter().flatten().map(|action| action.app.clone()).collect()
}

/// As written in plans.
#[must_use]
pub fn step_json(step: &[Action]) -> Value {
    json!({"actions": step.iter().map(Action::to_json).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::config::Personality;
    use super::super::def::{AppDef, Rules};
    use super::*;

    fn root(apps: &[(&str, &[&str], u32)]) -> Root {
        let rules = Rules { personality: Personality::V1_8, default_network: None, strict_constraints: true };
        let mut root = Root::default();
        for (id, needs, instances) in apps {
            let doc = json!({"cmd": "x", "dependencies": needs, "instances": instances});
            let id = PathId::from_url(id);
            let def = AppDef::build(&id, doc.as_object().unwrap(), None, &rules).unwrap();
            root.apps.insert(id, Arc::new(def));
        }
        root
    }

    fn check(from: &Root, to: &Root, expected: Option<&[&[&str]]>) {
        let written = |step: &Step| step.iter().map(|a| format!("{} {}", a.verb.name(), a.app)).collect::<Vec<_>>();
        let steps = plan(from, to).map(|steps| steps.iter().map(written).collect::<Vec<_>>());
        let expected =
            expected.map(|steps| steps.iter().map(|s| s.iter().map(ToString::to_string).collect()).collect());
        assert_eq!(steps, expected);
    }

    #[test]
    fn stops_then_starts_then_one_step_per_depth() {
        let from = root(&[("/old", &[], 1), ("/g/db", &[], 1)]);
        let to = root(&[("/web", &["/g"], 1), ("/g/db", &[], 2), ("/g/cache", &["db"], 1), ("/alone", &[], 1)]);
        check(
            &from,
            &to,
            Some(&[
                &["StopApplication /old"],
                &["StartApplication /alone", "StartApplication /g/cache", "StartApplication /web"],
                &["ScaleApplication /alone", "ScaleApplication /g/db"],
                &["ScaleApplication /g/cache"],
                &["ScaleApplication /web"],
            ]),
        );
        check(&to, &to, Some(&[]));
    }

    #[test]
    fn a_circle_has_no_plan() {
        check(&Root::default(), &root(&[("/a", &["/b"], 1), ("/b", &["/c"], 1), ("/c", &["/a"], 1)]), None);
    }
}
