//! HAProxy's runtime socket answers rubbish, late or not at all: what runs is read back, and a reload settles the rest.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod plane;
mod scene;

use std::time::Duration;

use e2e::lab::client::get;
use plane::meddler::{Meddler, Spoil};
use plane::watch::watching;
use plane::{Plane, app, plane, until};
use scene::answering;
use serde_json::json;

const WEB: &str = "http://127.0.0.1:10001/";
const APPS: &[(&str, u16)] = &[("/web", 10_001)];

/// `/web` with three tasks and a vhost, and all of it in the files.
async fn deployed(plane: &Plane) {
    plane.sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 3)).unwrap();
    assert_eq!(answering(WEB, 3).await.len(), 3);
    plane.settled().await;
}

/// The app gets two more tasks in one change while conversations are spoilt so many times; how many reloads that took.
async fn spoilt(plane: &Plane, spoil: Spoil, times: usize, instances: usize) -> u64 {
    let before = plane.counts().await.reloads;
    let meddler = Meddler::step_in(plane.baton.dir());
    let seen = watching(&[WEB], async {
        meddler.spoil(spoil, times);
        plane.sim.put_app("/web", &json!({"instances": instances})).unwrap();
        assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
        // What was ordered is over before anybody else looks through the same socket.
        for _ in 0..2_000 {
            if meddler.spoilt() > 0 && plane.baton.status().await.is_ok_and(|s| s["applied"]["servers"] == instances) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(meddler.spoilt() > 0, "{spoil:?}: nothing was spoilt\n{}", plane.journal());
        meddler.spoil(Spoil::Nothing, 0);
        plane.converged(APPS).await;
        plane.settled().await;
        assert_eq!(answering(WEB, instances).await.len(), instances);
    });
    seen.await.all_answered(&format!("{spoil:?}"));
    drop(meddler);
    plane.settled().await;
    plane.counts().await.reloads - before
}

#[test]
fn what_was_done_though_nobody_said_so_needs_no_reload() {
    plane(|plane| async move {
        deployed(&plane).await;
        for (spoil, instances) in
            [(Spoil::GarbleReplies, 5), (Spoil::CutReplies, 3), (Spoil::DelayReplies(Duration::from_secs(3)), 5)]
        {
            assert_eq!(spoilt(&plane, spoil, 1, instances).await, 0, "{spoil:?}\n{}", plane.journal());
        }
        plane.sound(APPS).await;
    });
}

#[test]
fn a_socket_that_answers_only_rubbish_is_passed_by_through_the_master() {
    plane(|plane| async move {
        deployed(&plane).await;
        assert_eq!(spoilt(&plane, Spoil::GarbleAll, usize::MAX, 5).await, 0, "{}", plane.journal());
        plane.sound(APPS).await;
    });
}

#[test]
fn what_was_done_in_part_is_read_back_and_completed() {
    plane(|plane| async move {
        deployed(&plane).await;
        let reloads = spoilt(&plane, Spoil::CutCommands, 1, 6).await;
        // What is missing is known once it was read back; a reload is for what cannot be.
        assert!(reloads <= 1, "{reloads}\n{}", plane.journal());
        plane.sound(APPS).await;
    });
}

#[test]
fn what_cannot_be_read_back_is_settled_by_a_reload() {
    plane(|plane| async move {
        deployed(&plane).await;
        let reloads = spoilt(&plane, Spoil::CutCommandsAndReading, usize::MAX, 6).await;
        assert!((1..=2).contains(&reloads), "{reloads}\n{}", plane.journal());
        plane.sound(APPS).await;
    });
}

#[test]
fn haproxy_that_dies_in_the_middle_of_a_batch_has_all_of_it_when_it_is_back() {
    plane(|plane| async move {
        deployed(&plane).await;
        for (victim, instances) in [("worker", 6), ("master", 3)] {
            let meddler = Meddler::step_in(plane.baton.dir());
            let status = plane.baton.until("a pid", |s| s["haproxy"]["pid"].is_u64()).await.unwrap();
            let master = i32::try_from(status["haproxy"]["pid"].as_i64().unwrap()).unwrap();
            let killed = if victim == "master" { master } else { worker(master) };
            meddler.spoil(Spoil::Kill(killed), 1);
            plane.sim.put_app("/web", &json!({"instances": instances})).unwrap();
            let another = |s: &serde_json::Value| s["haproxy"]["pid"].as_i64().is_some_and(|p| p != i64::from(master));
            plane.baton.until("another HAProxy", another).await.unwrap();
            assert_eq!(meddler.spoilt(), 1);
            drop(meddler);
            assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
            let took = plane.converged(APPS).await;
            println!("{victim} killed in the middle of a batch: as wanted {} ms after both ran", took.as_millis());
            assert_eq!(answering(WEB, instances).await.len(), instances);
        }
        let host = [("host", "web.example.com")];
        assert_eq!(until("http://127.0.0.1/", &host, |a| a.status == 200).await.status, 200);
        assert_eq!(get(WEB, &[]).await.status, 200);
        plane.sound(APPS).await;
    });
}

/// The youngest child of a master.
fn worker(master: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).next_back().unwrap()
}
