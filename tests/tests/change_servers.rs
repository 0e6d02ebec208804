//! Servers of apps that HAProxy knows: what happens to tasks reaches traffic without a reload, where the version allows.
//!
//! Each test sees where requests go, and what it cost: reloads, and calls of `haproxy -c`.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod plane;
mod scene;

use std::time::Duration;

use e2e::lab::client::get;
use e2e::sim::Mode;
use plane::{Cost, Plane, app, plane, plane_of, plane_of_a_file, until, watch::watching};
use scene::answering;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const WEB: &str = "http://127.0.0.1:10001/";
const APPS: &[(&str, u16)] = &[("/web", 10_001)];

/// An app with a task that answers, and all of it in the files.
async fn deployed(plane: &Plane, app: &Value, tasks: usize) {
    plane.sim.post_app(app).unwrap();
    assert_eq!(answering(WEB, tasks).await.len(), tasks);
    plane.settled().await;
}

#[test]
fn a_task_that_moves_is_followed_and_no_request_fails() {
    plane(|plane| async move {
        deployed(&plane, &app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 3), 3).await;
        plane
            .costs(Cost::RunTime, "three moves", async {
                let seen = watching(&[WEB], async {
                    for _ in 0..3 {
                        let old = plane.sim.move_task("/web").unwrap();
                        assert!(plane.sim.wait_settled(Duration::from_secs(10)).await);
                        plane.converged(APPS).await;
                        assert!(!answering(WEB, 3).await.contains(&old));
                    }
                });
                seen.await.all_answered("moving");
            })
            .await;
        plane.reproduced().await;
    });
}

#[test]
fn an_app_is_scaled_up_and_down_to_nothing_and_back_without_a_reload() {
    plane(|plane| async move {
        deployed(&plane, &app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 1), 1).await;
        plane
            .costs(Cost::RunTime, "scaling", async {
                let seen = watching(&[WEB], async {
                    for count in [4, 2] {
                        plane.sim.put_app("/web", &json!({"instances": count})).unwrap();
                        assert!(plane.sim.wait_settled(Duration::from_secs(10)).await);
                        plane.converged(APPS).await;
                        assert_eq!(answering(WEB, count).await.len(), count);
                    }
                });
                seen.await.all_answered("scaling");
            })
            .await;
        let vhost = [("host", "web.example.com")];
        plane
            .costs(Cost::RunTime, "suspended", async {
                plane.sim.put_app("/web", &json!({"instances": 0})).unwrap();
                assert_eq!(until(WEB, &[], |a| a.status == 503).await.status, 503);
                assert_eq!(get("http://127.0.0.1/", &vhost).await.status, 503);
            })
            .await;
        plane
            .costs(Cost::RunTime, "resumed", async {
                plane.sim.put_app("/web", &json!({"instances": 2})).unwrap();
                assert_eq!(answering(WEB, 2).await.len(), 2);
                assert_eq!(get("http://127.0.0.1/", &vhost).await.status, 200);
            })
            .await;
    });
}

#[test]
fn a_suspended_app_of_mode_tcp_closes_and_is_resumed_without_a_reload() {
    plane(|plane| async move {
        deployed(&plane, &app("/web", 10_001, &[("HAPROXY_0_MODE", "tcp")], 1), 1).await;
        plane
            .costs(Cost::RunTime, "suspended and resumed", async {
                plane.sim.put_app("/web", &json!({"instances": 0})).unwrap();
                // The listener stays: it accepts and closes.
                let closed = until(WEB, &[], |a| a.status == 0).await;
                assert!(!closed.body.contains("ConnectionRefused"), "{}", closed.body);
                plane.sim.put_app("/web", &json!({"instances": 1})).unwrap();
                assert_eq!(answering(WEB, 1).await.len(), 1);
            })
            .await;
    });
}

#[test]
fn a_server_outlives_those_who_wait_to_try_it_again() {
    plane_of_a_file(|plane| async move {
        plane.sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert!(plane.sim.wait_settled(Duration::from_secs(10)).await);
        plane.say("/web", 10_001, &[]);
        assert_eq!(answering(WEB, 1).await.len(), 1);
        plane.settled().await;
        // Nothing listens there any more, and HAProxy tries again for some seconds.
        plane.sim.put_app("/web", &json!({"instances": 0})).unwrap();
        assert!(plane.sim.wait_settled(Duration::from_secs(10)).await);
        let mut clients = JoinSet::new();
        for _ in 0..40 {
            clients.spawn(get(WEB, &[]));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        plane.say("/web", 10_001, &[]);
        for answer in clients.join_all().await {
            assert_eq!(answer.status, 503, "{answer:?}\n{}", plane.baton.log());
        }
        let deleted = |_: &Value| plane.baton.log().contains("Server deleted.");
        plane.baton.until("it goes in the end", deleted).await.unwrap();
        let log = plane.baton.log();
        let (before, after) = log.split_once("Server deleted.").unwrap();
        assert_eq!((before.matches("<NOSRV>").count(), after.matches("<NOSRV>").count()), (40, 0), "{log}");
        assert_eq!(plane.counts().await.restarts, 0, "{log}");
    });
}

#[test]
fn the_health_that_marathon_finds_lets_a_task_in_and_out_without_a_reload() {
    // Slow enough that Marathon does not kill the unhealthy task meanwhile.
    let checks = json!([{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 5,
        "gracePeriodSeconds": 5, "maxConsecutiveFailures": 0}]);
    plane(move |plane| async move {
        let mut checked = app("/web", 10_001, &[], 2);
        checked["healthChecks"] = checks;
        deployed(&plane, &checked, 2).await;
        let task = plane.sim.instances("/web")[0].task_id.clone();
        plane
            .costs(Cost::RunTime, "unhealthy", async {
                plane.sim.set_task_mode(&task, Mode::Unhealthy);
                let left = answering(WEB, 1).await;
                assert!(left.len() == 1 && !left.contains(&task));
                plane.converged(APPS).await;
            })
            .await;
        plane
            .costs(Cost::RunTime, "healthy again", async {
                plane.sim.set_task_mode(&task, Mode::Healthy);
                assert!(answering(WEB, 2).await.contains(&task));
                plane.converged(APPS).await;
            })
            .await;
    });
}

/// Whether `add server` takes a cookie: since 3.0, and 2.8 has it carried back.
async fn cookies_at_run_time(plane: &Plane) -> bool {
    let status = plane.baton.status().await.unwrap();
    !status["haproxy"]["version"].as_str().unwrap().starts_with("2.6.")
}

#[test]
fn a_sticky_app_gets_tasks_by_reload_where_the_version_refuses_the_cookie_and_loses_them_without() {
    plane(|plane| async move {
        deployed(&plane, &app("/web", 10_001, &[("HAPROXY_0_STICKY", "true")], 1), 1).await;
        let cost = if cookies_at_run_time(&plane).await { Cost::RunTime } else { Cost::Reload };
        let answer = get(WEB, &[]).await;
        let (task, cookie) = (answer.json()["task"].clone(), answer.header("set-cookie").unwrap().to_owned());
        let cookie = cookie.split(';').next().unwrap().to_owned();
        plane
            .costs(cost, "one more", async {
                plane.sim.put_app("/web", &json!({"instances": 2})).unwrap();
                // Without the cookie both are met.
                assert_eq!(answering(WEB, 2).await.len(), 2);
            })
            .await;
        for _ in 0..6 {
            assert_eq!(get(WEB, &[("cookie", &cookie)]).await.json()["task"], task, "sticks over the change");
        }
        plane
            .costs(Cost::RunTime, "one less", async {
                plane.sim.put_app("/web", &json!({"instances": 1})).unwrap();
                assert!(plane.sim.wait_settled(Duration::from_secs(10)).await);
                plane.converged(APPS).await;
                assert_eq!(answering(WEB, 1).await.len(), 1);
            })
            .await;
        plane.reproduced().await;
    });
}

#[test]
fn a_static_balance_takes_tasks_by_reload_and_gives_them_up_without() {
    plane(|plane| async move {
        deployed(&plane, &app("/web", 10_001, &[("HAPROXY_0_BALANCE", "static-rr")], 1), 1).await;
        plane
            .costs(Cost::Reload, "one more", async {
                plane.sim.put_app("/web", &json!({"instances": 2})).unwrap();
                assert_eq!(answering(WEB, 2).await.len(), 2);
            })
            .await;
        plane
            .costs(Cost::RunTime, "one less", async {
                plane.sim.put_app("/web", &json!({"instances": 1})).unwrap();
                assert_eq!(answering(WEB, 1).await.len(), 1);
            })
            .await;
    });
}

#[test]
fn a_task_that_dies_without_notice_is_out_at_once_and_another_comes_in() {
    plane_of(
        |config| config.task_killing = false,
        "",
        |plane| async move {
            deployed(&plane, &app("/web", 10_001, &[], 3), 3).await;
            plane
                .costs(Cost::RunTime, "a crash", async {
                    let task = plane.sim.instances("/web")[0].task_id.clone();
                    assert!(plane.sim.crash_task(&task));
                    plane.converged(APPS).await;
                    let now = answering(WEB, 3).await;
                    assert!(now.len() == 3 && !now.contains(&task));
                })
                .await;
        },
    );
}
