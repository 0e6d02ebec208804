//! The world in virtual time: hours pass in a loop, nothing listens.

use serde_json::{Value, json};

use super::super::agent::Loss;
use super::super::config::{Config, Personality};
use super::super::def::Protocol;
use super::super::instance::Condition;
use super::super::path::PathId;
use super::super::stamp::Stamp;
use super::change::Request;
use super::{Out, World};

/// A world, its clock, and how its tasks answer checks.
struct Virtual {
    world: World,
    now: Stamp,
    healthy: bool,
    events: Vec<(i64, String)>,
}

impl Virtual {
    fn new(personality: Personality) -> Self {
        let now = Stamp(1_549_876_445_000);
        let config = Config { max_deployments: 1000, ..Config::new(personality) };
        Self { world: World::new(config, now), now, healthy: true, events: Vec::new() }
    }

    fn put(&mut self, id: &str, doc: Value) {
        let id = PathId::from_url(id);
        let request = Request { force: true, group: id.parent(), posted: None };
        let doc = doc.as_object().unwrap().clone();
        self.world.change(&request, self.now, |draft| draft.put(&id, &doc, true)).unwrap();
    }

    /// Lets `seconds` pass, stopping at every timer.
    fn pass(&mut self, seconds: i64) {
        let end = Stamp(self.now.0 + seconds * 1000);
        loop {
            self.settle();
            match self.world.deadline() {
                Some(due) if due <= end => self.now = due.max(self.now),
                _ => break,
            }
        }
        self.now = end;
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            self.world.settle(self.now);
            let todo = self.world.drain();
            if todo.is_empty() {
                return;
            }
            for out in todo {
                match out {
                    Out::Start(instance) => self.world.started(&instance.id, self.now),
                    Out::Stop(_) => (),
                    Out::Probe(job) => {
                        assert_ne!(job.protocol, Protocol::Command);
                        let result = if self.healthy { Ok(()) } else { Err("503 Service Unavailable".to_owned()) };
                        self.world.probed(&job, result, self.now);
                    }
                    Out::Event(event) => {
                        let condition = event.body["condition"].as_str().unwrap_or_default();
                        self.events.push((event.stamp.0, format!("{} {condition}", event.kind)));
                    }
                }
            }
        }
    }

    fn conditions(&self, app: &str) -> Vec<Condition> {
        let mut all: Vec<_> = self.world.instances_of(&PathId::from_url(app)).map(|i| i.condition).collect();
        all.sort();
        all
    }

    fn ids(&self, app: &str) -> Vec<String> {
        self.world.instances_of(&PathId::from_url(app)).map(|i| i.id.clone()).collect()
    }
}

#[test]
fn an_unreachable_task_is_replaced_and_forgotten_when_its_strategy_says() {
    let mut v = Virtual::new(Personality::V1_8);
    v.put(
        "/web",
        json!({"cmd": "x", "unreachableStrategy": {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600}}),
    );
    v.pass(10);
    let host = v.world.instances_of(&PathId::from_url("/web")).next().unwrap().host.clone();
    assert!(v.world.lose_agent(&host, Loss::Dead, v.now));
    v.pass(299);
    assert_eq!(v.conditions("/web"), [Condition::Unreachable]);
    v.pass(2);
    assert_eq!(v.conditions("/web"), [Condition::Running, Condition::UnreachableInactive]);
    v.pass(298);
    assert_eq!(v.conditions("/web").len(), 2);
    v.pass(2);
    assert_eq!(v.conditions("/web"), [Condition::Running]);
}

#[test]
fn an_agent_that_returns_in_time_keeps_its_task_and_old_timers_do_nothing() {
    let mut v = Virtual::new(Personality::V1_4);
    v.put(
        "/web",
        json!({"cmd": "x", "unreachableStrategy": {"inactiveAfterSeconds": 300, "expungeAfterSeconds": 600}}),
    );
    v.pass(10);
    let (before, host) = (v.ids("/web"), v.world.instances_of(&PathId::from_url("/web")).next().unwrap().host.clone());
    for _ in 0..2 {
        assert!(v.world.lose_agent(&host, Loss::Partitioned, v.now));
        v.pass(200);
        assert!(v.world.return_agent(&host, v.now));
        v.pass(50);
        assert_eq!((v.ids("/web"), v.conditions("/web")), (before.clone(), vec![Condition::Running]));
    }
    v.pass(2000);
    assert_eq!(v.ids("/web"), before);
}

#[test]
fn back_off_grows_by_its_factor_up_to_its_limit() {
    let mut v = Virtual::new(Personality::V1_8);
    v.put("/web", json!({"cmd": "x", "backoffSeconds": 2, "backoffFactor": 3, "maxLaunchDelaySeconds": 20}));
    v.pass(10);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let id = v.ids("/web").remove(0);
        let failed_at = v.now.0;
        v.world.failed(&id, Condition::Failed, "", v.now);
        v.settle();
        while v.conditions("/web") != [Condition::Running] {
            v.now = v.world.deadline().unwrap();
            v.settle();
        }
        waits.push((v.now.0 - failed_at) / 1000);
    }
    assert_eq!(waits, [2, 6, 18, 20]);
}

#[test]
fn kill_selection_decides_who_goes() {
    for (selection, kept) in [("YOUNGEST_FIRST", 0), ("OLDEST_FIRST", 1)] {
        let mut v = Virtual::new(Personality::V1_8);
        v.put("/web", json!({"cmd": "x", "killSelection": selection}));
        v.pass(10);
        let first = v.ids("/web").remove(0);
        v.put("/web", json!({"instances": 2}));
        v.pass(10);
        let both = v.ids("/web");
        let second = both.iter().find(|id| **id != first).unwrap().clone();
        v.put("/web", json!({"instances": 1}));
        v.pass(10);
        assert_eq!(v.ids("/web"), [[first, second][kept].clone()], "{selection}");
    }
}

#[test]
fn checks_wait_for_their_grace_and_kill_after_so_many_failures() {
    let mut v = Virtual::new(Personality::V1_8);
    v.healthy = false;
    let check =
        json!([{"protocol": "HTTP", "gracePeriodSeconds": 100, "intervalSeconds": 10, "maxConsecutiveFailures": 3}]);
    v.put("/web", json!({"cmd": "x", "healthChecks": check}));
    v.pass(1);
    let (first, born) = (v.ids("/web"), v.now.0);
    v.pass(100);
    assert_eq!(v.ids("/web"), first, "within grace");
    v.pass(60);
    assert_ne!(v.ids("/web"), first);
    let kill = v.events.iter().find(|(_, kind)| kind.starts_with("unhealthy_instance_kill_event")).unwrap();
    let after = (kill.0 - born) / 1000;
    assert!((120..=130).contains(&after), "three failures after 100 s of grace, one each 10 s: {after}");
    assert_eq!(v.world.deployments().len(), 1, "never healthy, never deployed");
}

#[test]
fn task_life_is_announced_in_the_order_of_the_generation() {
    for (personality, expected) in [
        (Personality::V1_4, vec!["Created", "Starting", "Running", "Killing", "Killed"]),
        (Personality::V1_8, vec!["Scheduled", "Provisioned", "Starting", "Running", "Killing", "Killed"]),
    ] {
        let mut v = Virtual::new(personality);
        v.put("/web", json!({"cmd": "x"}));
        v.pass(5);
        v.put("/web", json!({"instances": 0}));
        v.pass(5);
        let changed: Vec<&str> =
            v.events.iter().filter_map(|(_, kind)| kind.strip_prefix("instance_changed_event ")).collect();
        assert_eq!(changed, expected);
        let before = |condition: &str| {
            let at =
                v.events.iter().position(|(_, kind)| *kind == format!("instance_changed_event {condition}")).unwrap();
            v.events[at - 1].1.trim().to_owned()
        };
        for condition in ["Starting", "Running", "Killing", "Killed"] {
            assert_eq!(before(condition), "status_update_event", "Mesos speaks first");
        }
    }
}
