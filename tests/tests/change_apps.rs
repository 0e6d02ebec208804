//! Apps that come, go and change what they are: one reload where HAProxy has no other way, none elsewhere.
//!
//! Each test sees where requests go, and what it cost: reloads, and calls of `haproxy -c`.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod plane;
mod scene;

use std::time::Duration;

use e2e::lab::client::{Answer, get};
use plane::watch::watching;
use plane::{Cost, Plane, app, plane, plane_of, plane_of_a_file, until};
use scene::answering;
use serde_json::{Value, json};

const WEB: &str = "http://127.0.0.1:10001/";
const NEW: &str = "http://127.0.0.1:10002/";

/// `/web` with two tasks and a vhost, and all of it in the files.
async fn deployed(plane: &Plane) {
    plane.sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 2)).unwrap();
    assert_eq!(answering(WEB, 2).await.len(), 2);
    plane.settled().await;
}

#[test]
fn a_new_app_is_one_reload_and_a_deleted_one_none() {
    plane(|plane| async move {
        deployed(&plane).await;
        let host = [("host", "new.example.com")];
        let seen = watching(&[WEB], async {
            plane
                .costs(Cost::CheckedReload, "a new app", async {
                    plane.sim.post_app(&app("/new", 10_002, &[("HAPROXY_0_VHOST", "new.example.com")], 2)).unwrap();
                    assert_eq!(answering(NEW, 2).await.len(), 2);
                    assert_eq!(until("http://127.0.0.1/", &host, |a| a.status == 200).await.json()["app"], "/new");
                })
                .await;
            plane
                .costs(Cost::RunTime, "deleted", async {
                    plane.sim.delete_app("/new").unwrap();
                    assert_eq!(until(NEW, &[], |a| a.status == 503).await.status, 503, "no task, the port is there");
                    assert_eq!(until("http://127.0.0.1/", &host, |a| a.status == 503).await.status, 503);
                })
                .await;
            plane
                .costs(Cost::RunTime, "posted again before the next reload", async {
                    plane.sim.post_app(&app("/new", 10_002, &[("HAPROXY_0_VHOST", "new.example.com")], 1)).unwrap();
                    assert_eq!(answering(NEW, 1).await.len(), 1);
                })
                .await;
            plane.sim.delete_app("/new").unwrap();
            until(NEW, &[], |a| a.status == 503).await;
            plane
                .costs(Cost::Reload, "the next reload, for another app", async {
                    plane.sim.post_app(&app("/other", 10_003, &[], 1)).unwrap();
                    assert_eq!(answering("http://127.0.0.1:10003/", 1).await.len(), 1);
                    assert_eq!(until(NEW, &[], |a| a.status == 0).await.status, 0, "closes the port");
                })
                .await;
        });
        seen.await.all_answered("while apps come and go");
        plane.reproduced().await;
    });
}

#[test]
fn a_burst_of_new_apps_is_few_reloads() {
    plane_of(
        |_| (),
        // Long enough for Marathon to start all of them.
        "settle = \"200ms\"\n",
        |plane| async move {
            deployed(&plane).await;
            plane
                .costs(Cost::CheckedReload, "eight apps", async {
                    for port in 10_002..10_010 {
                        plane.sim.post_app(&app(&format!("/new-{port}"), port, &[], 1)).unwrap();
                    }
                    for port in 10_002..10_010 {
                        let answer = until(&format!("http://127.0.0.1:{port}/"), &[], |a| a.status == 200).await;
                        assert_eq!(answer.json()["app"], format!("/new-{port}"));
                    }
                })
                .await;
        },
    );
}

/// Gives `/web` these labels and nothing else, and sees the difference at its port.
async fn one_reload(plane: &Plane, what: &str, labels: &[(&str, &str)], seen: impl Fn(&Answer) -> bool) {
    plane
        .costs(Cost::CheckedReload, what, async {
            plane.say("/web", 10_001, labels);
            let answer = until(WEB, &[], &seen).await;
            assert!(seen(&answer), "{what}: {answer:?}");
        })
        .await;
}

#[test]
fn options_of_a_backend_are_one_reload_each() {
    plane_of_a_file(|plane| async move {
        plane.sim.post_app(&app("/web", 10_001, &[], 2)).unwrap();
        assert!(plane.sim.wait_settled(Duration::from_secs(10)).await);
        plane.say("/web", 10_001, &[]);
        assert_eq!(answering(WEB, 2).await.len(), 2);
        plane.settled().await;
        let cookie = |answer: &Answer| answer.status == 200 && answer.header("set-cookie").is_some();
        one_reload(&plane, "sticky", &[("HAPROXY_0_STICKY", "true")], cookie).await;
        let none = |answer: &Answer| answer.status == 200 && answer.header("set-cookie").is_none();
        one_reload(&plane, "sticky no more", &[], none).await;
        // With source every request of one client goes to one task.
        plane
            .costs(Cost::CheckedReload, "balance", async {
                plane.say("/web", 10_001, &[("HAPROXY_0_BALANCE", "source")]);
                assert_eq!(answering(WEB, 1).await.len(), 1);
            })
            .await;
        let closed = |answer: &Answer| answer.status == 403;
        let networks = [("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", "10.1.2.3")];
        one_reload(&plane, "who may use it", &networks, closed).await;
        let open = |answer: &Answer| answer.status == 200;
        one_reload(&plane, "mode", &[("HAPROXY_0_MODE", "tcp")], open).await;
        assert!(!get(WEB, &[]).await.body.to_lowercase().contains("x-forwarded"), "no header is added in mode tcp");
        let closed = |answer: &Answer| answer.status == 0;
        one_reload(&plane, "another port", &[("HAPROXY_0_PORT", "10007")], closed).await;
        assert_eq!(answering("http://127.0.0.1:10007/", 2).await.len(), 2);
        plane.reproduced().await;
    });
}

#[test]
fn another_health_check_is_one_reload() {
    let check = |path: &str| json!([{"protocol": "HTTP", "path": path, "portIndex": 0, "intervalSeconds": 60}]);
    plane(move |plane| async move {
        let mut checked = app("/web", 10_001, &[], 1);
        checked["healthChecks"] = check("/one");
        plane.sim.post_app(&checked).unwrap();
        assert_eq!(answering(WEB, 1).await.len(), 1);
        plane.settled().await;
        // A new version of the app has new tasks, which come and go at run time.
        plane
            .costs(Cost::CheckedReload, "another path", async {
                plane.sim.put_app("/web", &json!({"healthChecks": check("/two")})).unwrap();
                assert!(plane.sim.wait_settled(Duration::from_secs(20)).await);
                plane.converged(&[("/web", 10_001)]).await;
                let asks = |a: &str| plane.baton.haproxy_cfg().contains(a);
                for _ in 0..1_000 {
                    if asks("/two") && !asks("/one") {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                panic!("checks the old path:\n{}", plane.baton.haproxy_cfg());
            })
            .await;
        assert_eq!(get(WEB, &[]).await.status, 200);
    });
}

#[test]
fn what_does_not_change_traffic_costs_nothing() {
    plane(|plane| async move {
        deployed(&plane).await;
        plane
            .costs(Cost::Nothing, "an app that is not served, and all apps again", async {
                plane.sim.post_app(&app("/dark", 10_009, &[("HAPROXY_0_ENABLED", "false")], 1)).unwrap();
                assert!(plane.sim.wait_settled(Duration::from_secs(10)).await);
                let fetches = |status: &Value| status["source"]["fetches"].as_u64().unwrap();
                let before = fetches(&plane.baton.status().await.unwrap());
                plane.sim.cut_streams(None, false);
                plane.baton.until("fetched", |status| fetches(status) > before).await.unwrap();
            })
            .await;
    });
}
