//! What goes wrong after the check: failed loads, dead masters, crashes, reloads by others.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haproxy::bundle::{Bundle, Draft};
use haproxy::child::{Event, Supervisor};
use haproxy::disk::Found;
use haproxy::features::Features;
use haproxy::reload::{Outcome, ReloadError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::{Lab, assert_applied, binary, free_port, setup};

/// A bundle whose listeners the pre-flight does not know, so that it fails in HAProxy itself.
fn unannounced(lab: &Lab, ports: &[u16]) -> Arc<Bundle> {
    let honest = lab.bundle_on("unannounced", "", ports);
    let config = honest.config().replace(&honest.digest().to_string(), "@DIGEST@");
    Arc::new(Bundle::seal(Draft { config, maps: honest.maps().clone(), ..Draft::default() }).unwrap())
}

#[tokio::test]
async fn a_failed_load_is_noticed_by_its_count_and_reverted() {
    let mut lab = Lab::started().await;
    let first = lab.disk.confirmed();
    let before = lab.processes().await;
    let taken = free_port();
    let _holder = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let bad = unannounced(&lab, &[lab.port, taken]);
    let began = Instant::now();
    let outcome = lab.apply(&bad).await;
    // HAProxy itself retries for two seconds; our time limit is eight.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let Outcome::Reverted { to, because: ReloadError::LoadFailed, said, .. } = &outcome else { panic!("{outcome:?}") };
    // From 2.7 on the reason comes with the answer.
    let answers = Features::probe(&binary()).await.unwrap().answers_reload();
    assert_eq!(said.iter().any(|said| said.text.contains(&taken.to_string()) && said.line.is_some()), answers);
    assert_eq!((*to, lab.disk.current(), lab.disk.confirmed()), (first, first, first));
    let after = lab.processes().await;
    assert_eq!((after.failed, after.workers[0].pid), (1, before.workers[0].pid));
    assert_eq!(lab.get().await, "first");
    let good = lab.bundle("good", "");
    assert_applied(&lab.apply(&good).await);
    assert_eq!((lab.get().await.as_str(), lab.processes().await.failed), ("good", 0));
}

#[tokio::test]
async fn a_killed_master_is_started_again_at_once_and_serves() {
    let mut lab = Lab::started().await;
    let pid = lab.supervisor.pid().unwrap();
    kill_hard(pid);
    let Event::Ended { pid: ended, restart_in, status, .. } = lab.event().await else { panic!() };
    assert_eq!((ended, restart_in, status.unwrap().code()), (pid, Duration::ZERO, None));
    let Event::Started { pid: new, from: Found::Confirmed(_) } = lab.event().await else { panic!() };
    assert_ne!(new, pid);
    assert_eq!(lab.get().await, "first");
    // And the stale state does not disturb the next reload.
    let second = lab.bundle("second", "");
    assert_applied(&lab.apply(&second).await);
}

#[tokio::test]
async fn a_master_that_dies_during_a_reload_is_said_to_be_gone_and_the_old_bundle_is_started() {
    let mut lab = Lab::started().await;
    let first = lab.disk.confirmed();
    let taken = free_port();
    let _holder = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let bad = unannounced(&lab, &[lab.port, taken]);
    let pid = lab.supervisor.pid().unwrap();
    // HAProxy tries to bind for two seconds: time enough to kill it in the middle.
    let killing = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        kill_hard(pid);
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = lab.apply(&bad) => outcome,
        () = killing => unreachable!(),
    };
    let Outcome::Failed { error: ReloadError::MasterGone, undo: None } = outcome else { panic!("{outcome:?}") };
    while !matches!(lab.events.last(), Some(Event::Started { .. })) {
        let event = lab.event().await;
        lab.events.push(event);
    }
    assert_eq!((lab.disk.current(), lab.get().await.as_str()), (first, "first"));
}

#[tokio::test]
async fn after_a_crash_between_write_and_reload_the_confirmed_bundle_is_started() {
    let mut lab = Lab::started().await;
    let confirmed = lab.disk.confirmed().unwrap();
    let never = lab.bundle("never", "");
    lab.disk.write(&never).unwrap();
    lab.disk.select(never.digest()).unwrap();
    lab.supervisor.stop().await;
    lab.supervisor = Supervisor::new(setup(&binary(), &lab.disk, lab.dir.path()));
    let Event::Started { from, .. } = lab.event().await else { panic!() };
    assert_eq!(from, Found::FellBack { to: confirmed, from: Some(never.digest()) });
    assert_eq!(lab.get().await, "first");
}

#[tokio::test]
async fn after_a_crash_between_reload_and_confirmation_nothing_is_reloaded() {
    let mut lab = Lab::started().await;
    let second = lab.bundle("second", "");
    lab.disk.write(&second).unwrap();
    lab.disk.select(second.digest()).unwrap();
    lab.master.reload(Duration::from_secs(5)).await.unwrap();
    while lab.master.running().await.ok().flatten() != Some(second.digest()) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = lab.processes().await;
    assert!(matches!(lab.apply(&second).await, Outcome::Unchanged { .. }));
    assert_eq!(lab.processes().await.workers[0].pid, before.workers[0].pid);
    assert_eq!((lab.disk.current(), lab.disk.confirmed()), (Some(second.digest()), Some(second.digest())));
}

#[tokio::test]
async fn reloads_by_others_at_the_same_time_do_not_lose_the_newest_bundle() {
    let mut lab = Lab::started().await;
    let master = Pid::from_raw(i32::try_from(lab.supervisor.pid().unwrap()).unwrap());
    for round in 0..5 {
        let newest = lab.bundle(&format!("round{round}"), "");
        // An operator's `kill -USR2`, a moment before and in the middle of ours.
        kill(master, Signal::SIGUSR2).unwrap();
        let disturbing = async {
            tokio::time::sleep(Duration::from_millis(35 + 10 * round)).await;
            kill(master, Signal::SIGUSR2).unwrap();
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = lab.apply(&newest) => outcome,
            () = disturbing => unreachable!(),
        };
        assert_applied(&outcome);
        // The last disturbance may be under way still: until the master is back it does not answer.
        let asked = async {
            while lab.master.running().await.ok().flatten() != Some(newest.digest()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), asked).await.unwrap();
    }
}

#[tokio::test]
async fn two_bundles_back_to_back_end_with_the_newest() {
    let mut lab = Lab::started().await;
    for round in 0..5 {
        let (older, newer) = (lab.bundle(&format!("old{round}"), ""), lab.bundle(&format!("new{round}"), ""));
        assert_applied(&lab.apply(&older).await);
        assert_applied(&lab.apply(&newer).await);
        assert_eq!(lab.get().await, format!("new{round}"));
    }
}

#[tokio::test]
async fn without_a_master_the_disk_is_left_alone() {
    let mut lab = Lab::started().await;
    let confirmed = lab.disk.confirmed();
    lab.supervisor.stop().await;
    let quick = haproxy::reload::Times { busy: Duration::from_millis(200), ..crate::lab::times() };
    let socket = lab.master.socket().to_owned();
    let mut reloader = haproxy::reload::Reloader::new(binary(), lab.disk.clone(), socket, quick);
    let second = lab.bundle("second", "");
    let Outcome::Failed { error: ReloadError::Master(_), undo: None } = reloader.apply(&second).await else { panic!() };
    assert_eq!((lab.disk.current(), lab.disk.confirmed()), (confirmed, confirmed));
}

fn kill_hard(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}
