//! The last verdict on each task, so that "no word" is not taken for "dead".
//!
//! Marathon keeps the results of its own checks in the leader's memory: after a leader change they
//! are all missing until the next check. A task of which nothing is said keeps what was last said.

use std::collections::{BTreeMap, HashMap};

use haproxy::app::{App, AppId, Health};

/// Verdicts by task id.
#[derive(Debug, Default)]
pub struct HealthMemory {
    verdicts: HashMap<String, Health>,
}

impl HealthMemory {
    /// Remembers what these apps' tasks were last known to be.
    pub fn of(apps: &BTreeMap<AppId, App>) -> Self {
        let instances = apps.values().flat_map(|app| &app.instances);
        let known = instances.filter(|instance| instance.health != Health::Unknown);
        Self { verdicts: known.map(|instance| (instance.id.clone(), instance.health)).collect() }
    }

    /// Gives tasks of unknown health their last verdict and learns from the others. Tasks that are
    /// not listed any more are forgotten.
    pub fn recall(&mut self, apps: &mut BTreeMap<AppId, App>) {
        let mut verdicts = HashMap::with_capacity(self.verdicts.len());
        for instance in apps.values_mut().flat_map(|app| &mut app.instances) {
            if instance.health == Health::Unknown {
                instance.health = self.verdicts.get(&instance.id).copied().unwrap_or_default();
            }
            if instance.health != Health::Unknown {
                verdicts.insert(instance.id.clone(), instance.health);
            }
        }
        self.verdicts = verdicts;
    }
}

#[cfg(test)]
mod tests {
    use haproxy::app::{Instance, Networking};

    use super::*;

    fn apps(tasks: &[(&str, Health)]) -> BTreeMap<AppId, App> {
        let instance = |(id, health): &(&str, Health)| Instance {
            id: (*id).to_owned(),
            host: "10.0.0.1".to_owned(),
            addr: None,
            ports: vec![],
            state: Default::default(),
            health: *health,
        };
        let id = AppId::parse("/a").unwrap();
        let app = App {
            id: id.clone(),
            labels: BTreeMap::new(),
            networking: Networking::Host,
            ports: vec![],
            checks: vec![],
            instances: tasks.iter().map(instance).collect(),
            wanted: 1,
        };
        BTreeMap::from([(id, app)])
    }

    #[test]
    fn silence_keeps_the_last_verdict_until_the_task_is_gone() {
        use Health::{Alive, Dead, Unknown};
        let mut memory = HealthMemory::default();
        for (told, want) in [
            (&[("t", Unknown)][..], &[("t", Unknown)][..]),
            (&[("t", Alive), ("u", Dead)], &[("t", Alive), ("u", Dead)]),
            (&[("t", Unknown), ("u", Unknown)], &[("t", Alive), ("u", Dead)]),
            (&[("t", Unknown), ("u", Alive)], &[("t", Alive), ("u", Alive)]),
            (&[("u", Unknown)], &[("u", Alive)]),
            (&[("t", Unknown), ("u", Unknown)], &[("t", Unknown), ("u", Alive)]),
            (&[("u", Dead)], &[("u", Dead)]),
            (&[("u", Unknown)], &[("u", Dead)]),
        ] {
            let mut have = apps(told);
            memory.recall(&mut have);
            assert_eq!(have, apps(want), "{told:?}");
        }
    }
}
