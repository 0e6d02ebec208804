//! Marathon misbehaves in every way that the simulator knows: traffic goes on, and once it is well again nothing is missing.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod plane;
mod scene;

use std::time::Duration;

use e2e::sim::{Fault, Loss, Mode, Order};
use nix::sys::signal::Signal;
use plane::watch::watching;
use plane::{Plane, app, plane, plane_behind_a_login, plane_of};
use scene::answering;
use serde_json::{Value, json};

const WEB: &str = "http://127.0.0.1:10001/";
const APPS: &[(&str, u16)] = &[("/web", 10_001), ("/other", 10_002)];

async fn deployed(plane: &Plane) {
    for (id, port) in APPS {
        plane.sim.post_app(&app(id, *port, &[], 3)).unwrap();
    }
    assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
    plane.converged(APPS).await;
    plane.settled().await;
    assert_eq!(answering(WEB, 3).await.len(), 3);
}

fn number(status: &Value, at: &str) -> u64 {
    status.pointer(at).and_then(Value::as_u64).unwrap_or_default()
}

/// Begins `fault`, has all apps fetched again and one scaled, ends it, and sees all of it right; nobody notices.
async fn survives(plane: &Plane, what: &str, begin: impl FnOnce(), end: impl FnOnce(), instances: usize) {
    let reloads = plane.counts().await.reloads;
    let seen = watching(&[WEB], async {
        begin();
        plane.sim.cut_streams(None, instances.is_multiple_of(2));
        plane.sim.put_app("/other", &json!({"instances": instances})).unwrap();
        assert!(plane.sim.wait_settled(Duration::from_secs(20)).await, "{what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        end();
        plane.converged(APPS).await;
    });
    seen.await.all_answered(what);
    plane.baton.until("well again", |s| s["source"]["stale"] == false).await.unwrap();
    assert_eq!(plane.counts().await.reloads, reloads, "{what}");
}

#[test]
fn every_wrong_answer_leaves_traffic_alone_and_is_forgotten_once_it_is_over() {
    plane(|plane| async move {
        deployed(&plane).await;
        let faults = [
            Fault::EmptyList,
            Fault::PartialList { drop: 0.5 },
            Fault::NotUtf8,
            Fault::Huge { bytes: 2_000_000 },
            Fault::Unavailable,
            Fault::EmptyBody,
            Fault::BadGateway,
            Fault::Garbage,
            Fault::Truncated,
            Fault::Slow { ms: 400 },
            Fault::Close,
            Fault::Unauthorized,
        ];
        for (fault, instances) in faults.into_iter().zip([2, 5].into_iter().cycle()) {
            let what = format!("{fault:?}");
            let begin = || plane.sim.fault(Order::of(fault.clone()));
            survives(&plane, &what, begin, || plane.sim.clear_faults(), instances).await;
        }
        plane.sound(APPS).await;
    });
}

#[test]
fn tokens_that_end_are_replaced_and_no_event_is_lost_on_it() {
    plane_behind_a_login(Duration::from_secs(1), |plane| async move {
        deployed(&plane).await;
        let logins = || number(&plane.sim.state(), "/members/0/requests/login");
        // By age, and all at once as a restart of the login service has it; the stream goes on or has to be made anew.
        let before = logins();
        for instances in [5, 2, 5] {
            tokio::time::sleep(Duration::from_secs(2)).await;
            plane.sim.put_app("/other", &json!({"instances": instances})).unwrap();
            assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
            plane.converged(APPS).await;
        }
        assert!(logins() >= before + 3, "{}", plane.sim.state());
        for instances in [2, 5] {
            plane.sim.expire_tokens();
            survives(&plane, "tokens end", || plane.sim.expire_tokens(), || (), instances).await;
        }
        plane.sound(APPS).await;
    });
}

#[test]
fn an_app_with_wrong_types_costs_at_most_itself_and_is_back_once_they_are_right() {
    plane(|plane| async move {
        deployed(&plane).await;
        let wrong = Fault::WrongTypes { app: Some("/other".to_owned()) };
        let begin = || plane.sim.fault(Order::of(wrong.clone()));
        survives(&plane, "wrong types", begin, || plane.sim.clear_faults(), 2).await;
        plane.sound(APPS).await;
    });
}

#[test]
fn a_member_that_hangs_holds_up_no_other_request() {
    plane(|plane| async move {
        deployed(&plane).await;
        let seen = watching(&[WEB], async {
            // All apps are asked for, and nobody answers; what events name is asked for beside that.
            plane.sim.fault_next(Fault::Hang, 1);
            plane.baton.signal(Signal::SIGHUP).unwrap();
            for _ in 0..1_000 {
                if plane.sim.state()["faults"] == json!([]) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(plane.sim.state()["faults"], json!([]), "somebody hangs");
            for instances in [5, 2] {
                plane.sim.put_app("/other", &json!({"instances": instances})).unwrap();
                assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
                plane.converged(APPS).await;
            }
        });
        seen.await.all_answered("hanging");
        plane.sound(APPS).await;
    });
}

#[test]
fn members_that_refuse_end_streams_keep_silent_or_lose_the_lead_are_followed_again() {
    plane_of(
        |config| *config = config.clone().members(3),
        "",
        |plane| async move {
            deployed(&plane).await;
            let sim = &plane.sim;
            survives(&plane, "the leader refuses", || sim.refuse(0, true), || sim.clear_faults(), 5).await;
            let everybody = |refuse| (0..3).for_each(|member| sim.refuse(member, refuse));
            survives(&plane, "all refuse", || everybody(true), || everybody(false), 2).await;
            survives(&plane, "a change of leader", || sim.flip_leader(None), || (), 5).await;
            survives(&plane, "no leader", || sim.no_leader(), || sim.flip_leader(Some(0)), 2).await;
            survives(&plane, "forgotten health", || sim.forget_health(), || (), 5).await;
            survives(&plane, "half an event", || assert!(sim.cut_streams(None, true) > 0), || (), 2).await;
            plane.sound(APPS).await;
        },
    );
}

#[test]
fn silence_on_the_stream_is_made_up_for_by_the_next_fetch_of_all() {
    plane(|plane| async move {
        deployed(&plane).await;
        let seen = watching(&[WEB], async {
            plane.sim.silence_streams(None);
            plane.sim.put_app("/other", &json!({"instances": 5})).unwrap();
            assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
            // Half a minute of it makes the stream a dead one; an operator is quicker.
            plane.baton.signal(Signal::SIGHUP).unwrap();
            plane.converged(APPS).await;
            plane.sim.clear_faults();
            plane.sim.put_app("/other", &json!({"instances": 2})).unwrap();
            plane.converged(APPS).await;
        });
        seen.await.all_answered("silence");
        plane.sound(APPS).await;
    });
}

#[test]
fn agents_that_are_lost_or_cut_off_and_tasks_that_crash_or_fall_ill_cost_only_themselves() {
    plane(|plane| async move {
        let checks = json!([{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 5,
            "gracePeriodSeconds": 5, "maxConsecutiveFailures": 3}]);
        for (id, port) in APPS {
            let mut checked = app(id, *port, &[], 3);
            checked["healthChecks"] = checks.clone();
            plane.sim.post_app(&checked).unwrap();
        }
        assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
        plane.converged(APPS).await;
        let sim = &plane.sim;
        let before = plane.counts().await.reloads;
        for mode in [Mode::Unhealthy, Mode::Closing, Mode::Slow(50)] {
            assert!(sim.set_task_mode(&sim.instances("/other")[0].task_id, mode), "{mode:?}");
            let seen = watching(&[WEB], tokio::time::sleep(Duration::from_millis(300)));
            seen.await.all_answered(&format!("{mode:?}"));
            assert!(sim.wait_settled(Duration::from_secs(20)).await);
            plane.converged(APPS).await;
        }
        assert!(sim.crash_task(&sim.instances("/other")[0].task_id));
        plane.converged(APPS).await;
        for loss in [Loss::Partitioned, Loss::Dead] {
            let lost = sim.instances("/other")[0].host.clone();
            assert!(sim.lose_agent(&lost, loss));
            assert_eq!(answering(WEB, 3).await.len(), 3, "{loss:?}");
            assert!(sim.wait_settled(Duration::from_secs(20)).await);
            plane.converged(APPS).await;
            assert!(sim.return_agent(&lost));
            assert!(sim.wait_settled(Duration::from_secs(20)).await);
            plane.converged(APPS).await;
        }
        assert_eq!(plane.counts().await.reloads, before);
        assert_eq!(number(&plane.baton.status().await.unwrap(), "/haproxy/restarts"), 0);
        plane.sound(APPS).await;
    });
}
