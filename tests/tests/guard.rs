//! The guard against the simulated Marathon: a new leader that lists little is not believed at once.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod source;

use std::time::Duration;

use baton::source::SourceCommand;
use e2e::sim::{Config, Fault, Order, Personality, Sim};
use source::{Source, config, deploy};

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Twelve apps with a task each, followed with a confirmation after `confirm` milliseconds.
async fn twelve(personality: Personality, confirm: u64) -> (Sim, Vec<String>, Source) {
    let sim = Sim::start(Config::for_test(personality).members(2)).await.unwrap();
    let apps = deploy(&sim, 12, 1).await;
    let mut follow = config(&sim);
    follow.guard.confirm = Duration::from_millis(confirm);
    let source = Source::start_with(follow, None);
    source.until_equal(&sim, &apps).await;
    (sim, apps, source)
}

#[tokio::test]
async fn a_new_leader_that_lists_little_is_asked_again() {
    for personality in [Personality::V1_4, Personality::V1_8] {
        let (sim, apps, mut source) = twelve(personality, 1_500).await;
        sim.fault(Order::of(Fault::PartialList { drop: 0.8 }));
        sim.flip_leader(None);
        let status = source.until_status(|status| status.guard.held.is_some()).await;
        let why = status.guard.held.clone().unwrap().text;
        assert_eq!(why, "Marathon lists 10 of 12 endpoints no more; what is served stays until a second list agrees");
        assert!(status.is_stale() && status.unconfirmed.len() == 10);
        source.until_equal(&sim, &apps).await;
        // The leader has loaded its state by now.
        sim.clear_faults();
        let status = source.until_status(|status| status.guard.held.is_none()).await;
        assert_eq!((status.guard.holds > 0, status.guard.confirmed, status.unconfirmed.len()), (true, 0, 0));
        source.until_equal(&sim, &apps).await;
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_second_list_that_says_the_same_is_believed() {
    let (sim, _, mut source) = twelve(Personality::V1_8, 700).await;
    sim.fault(Order::of(Fault::PartialList { drop: 0.8 }));
    sim.flip_leader(None);
    source.until_status(|status| status.guard.held.is_some()).await;
    assert_eq!(source.snapshots.borrow().apps.len(), 12);
    source.until_apps(2).await;
    assert_eq!(source.status().guard.confirmed, 1);
    assert!(source.status().fetch.reasons["confirm"] >= 1);
    sim.stop().await;
}

#[tokio::test]
async fn an_empty_list_is_held_at_any_time_and_other_lists_only_after_a_reconnect() {
    let (sim, apps, mut source) = twelve(Personality::V1_8, 400).await;
    sim.fault_next(Fault::EmptyList, 1);
    source.commands.send(SourceCommand::Refetch).await.unwrap();
    source.until_status(|status| status.guard.holds == 1).await;
    source.until_status(|status| status.guard.held.is_none()).await;
    source.until_equal(&sim, &apps).await;
    sim.fault(Order::of(Fault::EmptyList));
    source.commands.send(SourceCommand::Refetch).await.unwrap();
    source.until_apps(0).await;
    assert_eq!(source.status().guard.confirmed, 1);
    sim.stop().await;
}

#[tokio::test]
async fn events_and_single_apps_are_never_held() {
    let (sim, mut apps, mut source) = twelve(Personality::V1_8, 60_000).await;
    sim.fault(Order::of(Fault::PartialList { drop: 0.8 }));
    sim.flip_leader(None);
    source.until_status(|status| status.guard.held.is_some()).await;
    // The streams may still be on their way back.
    source.until_status(|status| status.stream.attached_at.is_some() && status.stream.attached > 1).await;
    let gone = apps.remove(0);
    sim.delete_app(&gone).unwrap();
    sim.move_task(&apps[3]).unwrap();
    assert!(sim.wait_settled(Duration::from_secs(10)).await);
    source.until_equal(&sim, &apps).await;
    assert!(source.status().guard.held.is_some());
    sim.stop().await;
}

#[tokio::test]
async fn deleting_everything_does_not_wait_for_the_guard() {
    let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
    let apps = deploy(&sim, 2, 1).await;
    let mut follow = config(&sim);
    follow.guard.confirm = Duration::from_secs(60);
    let mut source = Source::start_with(follow, None);
    source.until_equal(&sim, &apps).await;
    for app in &apps {
        sim.delete_app(app).unwrap();
    }
    source.until_apps(0).await;
    source.until_status(|status| status.guard.held.is_none()).await;
    pass(100).await;
    assert!(!source.status().is_stale());
    sim.stop().await;
}
