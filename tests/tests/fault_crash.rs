//! Daemon and HAProxy die at any instant, and reloads come in between: routing ends as Marathon wants it, and so do the files.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]
#![allow(clippy::disallowed_methods, reason = "measures real processes")]

mod plane;
mod scene;

use std::time::{Duration, Instant};

use e2e::lab::client::get;
use e2e::sim::Sim;
use e2e::sim::rng::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plane::picture::Picture;
use plane::watch::watching;
use plane::{Plane, app, plane, until};
use scene::answering;
use serde_json::json;

const STEADY: &str = "http://127.0.0.1:10001/";
const APPS: [(&str, u16); 5] = [("/steady", 10_001), ("/a", 10_002), ("/b", 10_003), ("/c", 10_004), ("/late", 10_005)];

/// Four apps with two tasks each, and all of it in the files. `/late` may come and go.
async fn deployed(plane: &Plane) {
    for (id, port) in &APPS[..4] {
        plane.sim.post_app(&app(id, *port, &[("HAPROXY_0_VHOST", &format!("h{port}.example.com"))], 2)).unwrap();
    }
    assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
    plane.converged(&APPS).await;
    plane.settled().await;
    assert_eq!(answering(STEADY, 2).await.len(), 2);
}

/// Something happens in Marathon, to any app but `/steady`.
fn happens(sim: &Sim, rng: &mut Rng) {
    let (id, port) = APPS[1 + rng.below(3)];
    match rng.below(6) {
        0..=2 => drop(sim.move_task(id)),
        3 => drop(sim.put_app(id, &json!({"instances": 1 + rng.below(4)}))),
        4 => drop(sim.put_app(id, &json!({"labels": plane::labelled(&[("HAPROXY_0_VHOST", &format!("h{port}-{}.example.com", rng.below(3)))])}))),
        _ if sim.instances("/late").is_empty() => drop(sim.post_app(&app("/late", 10_005, &[], 1))),
        _ => drop(sim.delete_app("/late")),
    }
}

async fn pass(ms: usize) {
    tokio::time::sleep(Duration::from_millis(ms as u64)).await;
}

fn longest(times: &[Duration]) -> String {
    let mut times: Vec<_> = times.iter().map(Duration::as_millis).collect();
    times.sort_unstable();
    format!("median {} ms, longest {} ms", times[times.len() / 2], times[times.len() - 1])
}

/// Waits until routing is as wanted, counted from when nothing happens in Marathon any more.
async fn wanted(plane: &Plane) -> Duration {
    assert!(plane.sim.wait_settled(Duration::from_secs(20)).await, "the cluster itself");
    plane.converged(&APPS).await
}

#[test]
fn a_daemon_killed_at_any_instant_leaves_traffic_alone_and_the_next_one_finishes_its_work() {
    plane(|mut plane| async move {
        deployed(&plane).await;
        let mut rng = Rng::new(4);
        let mut times = Vec::new();
        for _ in 0..8 {
            let seen = watching(&[STEADY], async {
                for _ in 0..=rng.below(3) {
                    happens(&plane.sim, &mut rng);
                    pass(rng.below(60)).await;
                }
                pass(rng.below(400)).await;
            });
            seen.await.all_answered("before the daemon is killed");
            plane = plane.killed().await;
            assert_eq!(get(STEADY, &[]).await.status, 200);
            times.push(wanted(&plane).await);
        }
        println!("8 daemons killed: as wanted {}", longest(&times));
        plane.sound(&APPS).await;
    });
}

#[test]
fn both_killed_between_a_change_at_run_time_and_its_files_come_back_with_the_change() {
    plane(|mut plane| async move {
        deployed(&plane).await;
        for round in 0..3 {
            plane.settled().await;
            let old = Picture::filed(plane.baton.dir()).unwrap();
            let moved = plane.sim.move_task("/a").unwrap();
            // At once after traffic can see it.
            let began = Instant::now();
            while Picture::running(plane.baton.dir()).await.unwrap().difference(&old).is_none() {
                assert!(began.elapsed() < Duration::from_secs(20));
                pass(1).await;
            }
            plane = plane.killed_with(round != 0).await;
            if began.elapsed() < Duration::from_millis(250) {
                println!("round {round}: killed {} ms after the move", began.elapsed().as_millis());
            }
            let took = wanted(&plane).await;
            println!("round {round}: as wanted {} ms after both ran", took.as_millis());
            assert!(!answering("http://127.0.0.1:10002/", 2).await.contains(&moved));
        }
        plane.sound(&APPS).await;
    });
}

#[test]
fn a_daemon_killed_between_the_files_and_the_reload_has_it_done_by_the_next() {
    plane(|mut plane| async move {
        deployed(&plane).await;
        let current = plane.baton.dir().join("state/current");
        for (app_, url) in [(APPS[4], "http://127.0.0.1:10005/"), (("/later", 10_006), "http://127.0.0.1:10006/")] {
            let before = std::fs::read_link(&current).unwrap();
            plane.sim.post_app(&app(app_.0, app_.1, &[], 1)).unwrap();
            let began = Instant::now();
            while std::fs::read_link(&current).unwrap() == before {
                assert!(began.elapsed() < Duration::from_secs(20));
                pass(1).await;
            }
            plane = plane.killed().await;
            let answer = until(url, &[], |a| a.status == 200).await;
            assert_eq!(answer.json()["app"], app_.0, "{answer:?}\n{}", plane.journal());
            assert_eq!(plane.baton.masters(), 1, "the one that was reloading is taken over\n{}", plane.journal());
        }
        let all: Vec<_> = APPS.iter().copied().chain([("/later", 10_006)]).collect();
        plane.sound(&all).await;
    });
}

#[test]
fn haproxy_killed_at_any_instant_is_brought_to_what_is_wanted() {
    plane(|plane| async move {
        deployed(&plane).await;
        let mut rng = Rng::new(7);
        let mut times = Vec::new();
        for round in 0..6 {
            let pid =
                plane.baton.until("a pid", |s| s["haproxy"]["pid"].is_u64()).await.unwrap()["haproxy"]["pid"].clone();
            for _ in 0..=rng.below(3) {
                happens(&plane.sim, &mut rng);
                pass(rng.below(40)).await;
            }
            match round % 2 {
                0 => plane.baton.kill_haproxy(),
                _ => worker_dies(pid.as_i64().unwrap()),
            }
            happens(&plane.sim, &mut rng);
            plane.baton.until("another", |s| s["haproxy"]["pid"].is_u64() && s["haproxy"]["pid"] != pid).await.unwrap();
            times.push(wanted(&plane).await);
            assert_eq!(until(STEADY, &[], |a| a.status == 200).await.status, 200);
        }
        println!("6 HAProxys killed: as wanted {}", longest(&times));
        plane.sound(&APPS).await;
    });
}

#[test]
fn a_reload_by_somebody_else_from_files_that_are_behind_is_noticed_and_made_up_for() {
    plane(|plane| async move {
        deployed(&plane).await;
        let pid = plane.baton.until("a pid", |s| s["haproxy"]["pid"].is_u64()).await.unwrap()["haproxy"]["pid"].clone();
        let old = Picture::filed(plane.baton.dir()).unwrap();
        plane.sim.put_app("/a", &json!({"instances": 4})).unwrap();
        let began = Instant::now();
        while Picture::running(plane.baton.dir()).await.unwrap().difference(&old).is_none() {
            assert!(began.elapsed() < Duration::from_secs(20));
            pass(1).await;
        }
        kill(Pid::from_raw(i32::try_from(pid.as_i64().unwrap()).unwrap()), Signal::SIGUSR2).unwrap();
        println!("reloaded by somebody else: as wanted {} ms after", wanted(&plane).await.as_millis());
        // Also when the new worker is up.
        for _ in 0..50 {
            pass(20).await;
            wanted(&plane).await;
        }
        plane.sound(&APPS).await;
    });
}

/// Kills the youngest worker of a master, which ends with it.
fn worker_dies(master: i64) {
    let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
    if let Some(pid) = children.split_whitespace().filter_map(|pid| pid.parse().ok()).next_back() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

#[test]
fn reloads_while_tasks_move_fail_no_request_and_lose_no_change() {
    plane(|plane| async move {
        deployed(&plane).await;
        let mut rng = Rng::new(11);
        let before = plane.counts().await.reloads;
        let churn = async {
            for round in 0..12 {
                let (id, port) = APPS[1 + rng.below(3)];
                // One of two tasks moves at a time, or there is none for a moment.
                answering(&format!("http://127.0.0.1:{port}/"), 2).await;
                plane.sim.move_task(id);
                pass(rng.below(50)).await;
                plane.baton.signal(Signal::SIGUSR1).unwrap();
                pass(rng.below(50)).await;
                if round % 4 == 3 {
                    let enough = before + 1 + round / 4;
                    let reloads = |s: &serde_json::Value| s["applied"]["reloads"].as_u64().unwrap();
                    plane.baton.until("reloaded", |s| reloads(s) >= enough).await.unwrap();
                }
            }
            wanted(&plane).await;
        };
        let urls = [STEADY, "http://127.0.0.1:10002/", "http://127.0.0.1:10003/", "http://127.0.0.1:10004/"];
        watching(&urls, churn).await.all_answered("reloads while tasks move");
        plane.sound(&APPS).await;
    });
}
