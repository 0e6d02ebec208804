//! The source against the simulated Marathon: what changes is fetched and nothing else, and
//! whatever goes wrong meanwhile, what is published ends as what Marathon has.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod source;

use std::time::Duration;

use e2e::sim::rng::Rng;
use e2e::sim::{Config, Fault, Order, Personality, Sim};
use serde_json::json;
use source::{Source, app, config, deploy, named, truth};

const BOTH: [Personality; 2] = [Personality::V1_4, Personality::V1_8];

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test]
async fn task_churn_fetches_single_apps_and_never_all() {
    for personality in BOTH {
        let sim = Sim::start(Config::for_test(personality)).await.unwrap();
        let apps = deploy(&sim, 20, 3).await;
        let mut source = Source::start(&sim, None);
        source.until_apps(20).await;
        source.quiet().await;
        let (lists, singles) = (sim.requests(None, "apps"), sim.requests(None, "app"));
        assert_eq!((lists, singles), (1, 0), "attached, then fetched once");
        let bytes_of_all = source.status().fetch.bytes;

        const MOVES: u64 = 60;
        for n in 0..MOVES {
            sim.move_task(&apps[usize::try_from(n * 7 % 20).unwrap()]).unwrap();
            pass(10).await;
        }
        assert!(sim.wait_settled(Duration::from_secs(10)).await);
        source.until_equal(&sim, &apps).await;
        source.quiet().await;
        assert_eq!(source.picture(), truth(&sim, &apps));

        let status = source.status();
        assert_eq!(sim.requests(None, "apps"), 1, "{:?}", status.fetch.reasons);
        assert_eq!(sim.requests(None, "app"), status.single.ok);
        assert!(status.single.ok <= MOVES * 3, "{} requests for {MOVES} moves", status.single.ok);
        assert_eq!((status.single.failed, status.fetch.failed.len()), (0, 0));
        assert!(status.single.bytes / MOVES < bytes_of_all / 3, "{} bytes", status.single.bytes);
        sim.stop().await;
    }
}

#[tokio::test]
async fn deployments_and_deletions_arrive_in_both_generations() {
    for personality in BOTH {
        let sim = Sim::start(Config::for_test(personality)).await.unwrap();
        let mut apps = deploy(&sim, 3, 2).await;
        let source = Source::start(&sim, None);
        source.until_equal(&sim, &apps).await;
        sim.put_app(&apps[0], &json!({"instances": 5})).unwrap();
        sim.put_app(&apps[1], &json!({"labels": {"HAPROXY_GROUP": "other"}})).unwrap();
        sim.post_app(&app("/new/one", 1)).unwrap();
        sim.delete_app(&apps[2]).unwrap();
        apps[2] = "/new/one".to_owned();
        assert!(sim.wait_settled(Duration::from_secs(10)).await);
        source.until_equal(&sim, &apps).await;
        let label = source.snapshots.borrow().apps[&named(&apps[1])].labels.get("HAPROXY_GROUP").cloned();
        assert_eq!(label.as_deref(), Some("other"));
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_killed_task_drains_before_it_dies_and_is_gone_with_its_event() {
    for personality in BOTH {
        let mut setup = Config::for_test(personality);
        setup.killing = Duration::from_millis(400);
        let sim = Sim::start(setup).await.unwrap();
        let apps = deploy(&sim, 1, 2).await;
        let mut follow = config(&sim);
        // No fetch can be what tells.
        follow.timing.apps.trailing = Duration::from_secs(60);
        let source = Source::start_with(follow, None);
        source.until_equal(&sim, &apps).await;
        let from = sim.event_position();
        let old = sim.move_task(&apps[0]).unwrap();
        let state = |source: &Source| {
            let picture = source.picture();
            picture[&apps[0]].iter().find(|(id, ..)| *id == old).map(|(_, _, killing)| *killing)
        };
        let killing = sim.wait_event(from, |e| e.body["taskStatus"] == "TASK_KILLING", Duration::from_secs(5)).await;
        pass(100).await;
        assert_eq!(state(&source), Some(true), "draining");
        let killed = sim.wait_event(from, |e| e.body["taskStatus"] == "TASK_KILLED", Duration::from_secs(5)).await;
        pass(50).await;
        assert_eq!(state(&source), None, "gone");
        assert!(killing.unwrap().at < killed.unwrap().at);
        sim.stop().await;
    }
}

#[tokio::test]
async fn health_survives_a_leader_change_though_only_single_apps_are_fetched() {
    for personality in BOTH {
        let sim = Sim::start(Config::for_test(personality).members(3)).await.unwrap();
        let mut checked = app("/web", 2);
        checked["healthChecks"] = json!([{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 5}]);
        sim.post_app(&checked).unwrap();
        assert!(sim.wait_settled(Duration::from_secs(10)).await);
        let source = Source::start(&sim, None);
        source.until_equal(&sim, &["/web".to_owned()]).await;
        let alive = |source: &Source| {
            let snapshot = source.snapshots.borrow();
            snapshot.apps[&named("/web")].instances.iter().filter(|i| i.health == haproxy::app::Health::Alive).count()
        };
        assert_eq!(alive(&source), 2);
        sim.flip_leader(None);
        for _ in 0..60 {
            pass(10).await;
            assert_eq!(alive(&source), 2);
        }
        sim.stop().await;
    }
}

/// Changes, faults and leader changes at random; when all is quiet, nothing is missing or too much.
async fn anything_goes(personality: Personality, seed: u64) {
    let mut setup = Config::for_test(personality).members(3);
    setup.seed = seed;
    let sim = Sim::start(setup).await.unwrap();
    let mut apps = deploy(&sim, 6, 2).await;
    let source = Source::start(&sim, None);
    source.until_equal(&sim, &apps).await;
    let mut rng = Rng::new(seed);
    for round in 0..60 {
        let at = rng.below(apps.len());
        match rng.below(14) {
            0..=2 => drop(sim.move_task(&apps[at])),
            3 => drop(sim.instances(&apps[at]).first().map(|task| sim.crash_task(&task.task_id))),
            4 => drop(sim.put_app(&apps[at], &json!({"instances": rng.below(4)}))),
            5 => {
                let id = format!("/new/{round}");
                sim.post_app(&app(&id, 1)).unwrap();
                apps.push(id);
            }
            6 if apps.len() > 3 => drop(sim.delete_app(&apps.remove(at))),
            7 => sim.fault_next(Fault::Slow { ms: 300 }, 2),
            8 => sim.fault_next([Fault::Unavailable, Fault::EmptyBody, Fault::Close][rng.below(3)].clone(), 3),
            9 => sim.fault_next([Fault::Garbage, Fault::Truncated, Fault::BadGateway][rng.below(3)].clone(), 2),
            10 => sim.fault_next([Fault::EmptyList, Fault::PartialList { drop: 0.6 }][rng.below(2)].clone(), 1),
            11 => drop(sim.cut_streams(None, rng.below(2) == 0)),
            12 if rng.below(3) == 0 => sim.flip_leader(None),
            _ => (),
        }
        pass(u64::try_from(rng.below(60)).unwrap()).await;
    }
    sim.clear_faults();
    assert!(sim.wait_settled(Duration::from_secs(20)).await, "the cluster itself");
    source.until_equal(&sim, &apps).await;
    source.quiet().await;
    assert_eq!(source.picture(), truth(&sim, &apps), "{personality:?} {seed}: {:#?}", source.status());
    sim.stop().await;
}

#[tokio::test]
async fn whatever_happens_in_1_4_the_end_is_what_marathon_has() {
    for seed in 1..=4 {
        anything_goes(Personality::V1_4, seed).await;
    }
}

#[tokio::test]
async fn whatever_happens_in_1_8_the_end_is_what_marathon_has() {
    for seed in 5..=8 {
        anything_goes(Personality::V1_8, seed).await;
    }
}

#[tokio::test]
async fn an_app_that_cannot_be_read_alone_is_read_with_all() {
    let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
    let apps = deploy(&sim, 3, 1).await;
    let source = Source::start(&sim, None);
    source.until_equal(&sim, &apps).await;
    source.quiet().await;
    sim.fault(Order { path: Some("/v2/apps/".to_owned()), ..Order::of(Fault::BadGateway) });
    sim.move_task(&apps[0]).unwrap();
    assert!(sim.wait_settled(Duration::from_secs(10)).await);
    source.until_equal(&sim, &apps).await;
    let status = source.status();
    assert!(status.single.failed > 0 && status.fetch.reasons["app_failed"] > 0, "{status:#?}");
    sim.stop().await;
}
