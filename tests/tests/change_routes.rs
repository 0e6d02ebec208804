//! Routes of apps that HAProxy knows: vhosts, paths and their precedence change without a reload.
//!
//! Each test sees where requests go, and what it cost: reloads, and calls of `haproxy -c`.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod plane;

use e2e::lab::client::{Answer, get};
use plane::watch::watching;
use plane::{Cost, Plane, app, labelled, plane, until};
use serde_json::json;

/// Waits until this host and path lead to the app; None: to a 503 of nobody.
async fn leads(host: &str, path: &str, to: Option<&str>) -> Answer {
    let found = |answer: &Answer| match to {
        Some(app) => answer.status == 200 && answer.json()["app"] == app,
        None => answer.status == 503,
    };
    let answer = until(&format!("http://127.0.0.1{path}"), &[("host", host)], found).await;
    assert!(found(&answer), "{host}{path} does not lead to {to:?} but: {answer:?}");
    answer
}

/// Apps with labels on ports from 10001 on, with a task each, and all of it in the files.
async fn deployed(plane: &Plane, apps: &[(&str, &[(&str, &str)])]) {
    for ((id, labels), port) in apps.iter().zip(10_001..) {
        plane.sim.post_app(&app(id, port, labels, 1)).unwrap();
    }
    let ports: Vec<(&str, u16)> = apps.iter().map(|(id, _)| *id).zip(10_001..).collect();
    assert!(plane.sim.wait_settled(std::time::Duration::from_secs(20)).await);
    plane.converged(&ports).await;
    plane.settled().await;
}

/// Gives the app these labels instead.
fn relabel(plane: &Plane, app: &str, labels: &[(&str, &str)]) {
    plane.sim.put_app(app, &json!({"labels": labelled(labels)})).unwrap();
}

#[test]
fn vhosts_come_go_and_move_without_a_reload_and_other_hosts_notice_nothing() {
    plane(|plane| async move {
        deployed(
            &plane,
            &[
                ("/a", &[("HAPROXY_0_VHOST", "a.example.com")]),
                ("/b", &[]),
                ("/w", &[("HAPROXY_0_VHOST", "*.w.example.com")]),
            ],
        )
        .await;
        let steady = ["http://127.0.0.1:10001/", "http://127.0.0.1:10003/"];
        let seen = watching(&steady, async {
            plane
                .costs(Cost::RunTime, "one more", async {
                    relabel(&plane, "/a", &[("HAPROXY_0_VHOST", "a.example.com,new.example.com")]);
                    leads("new.example.com", "/", Some("/a")).await;
                    leads("a.example.com", "/", Some("/a")).await;
                })
                .await;
            plane
                .costs(Cost::RunTime, "the first of an app", async {
                    relabel(&plane, "/b", &[("HAPROXY_0_VHOST", "b.example.com")]);
                    leads("b.example.com", "/", Some("/b")).await;
                })
                .await;
            plane
                .costs(Cost::RunTime, "a wildcard beside the one that is there", async {
                    relabel(&plane, "/w", &[("HAPROXY_0_VHOST", "*.w.example.com,*.v.example.com")]);
                    leads("any.v.example.com", "/", Some("/w")).await;
                })
                .await;
            plane
                .costs(Cost::RunTime, "gone", async {
                    relabel(&plane, "/a", &[("HAPROXY_0_VHOST", "a.example.com")]);
                    leads("new.example.com", "/", None).await;
                    leads("a.example.com", "/", Some("/a")).await;
                })
                .await;
            plane
                .costs(Cost::RunTime, "moved to another app", async {
                    relabel(&plane, "/a", &[]);
                    relabel(&plane, "/b", &[("HAPROXY_0_VHOST", "b.example.com,a.example.com")]);
                    leads("a.example.com", "/", Some("/b")).await;
                })
                .await;
        });
        seen.await.all_answered("while vhosts change");
        plane.reproduced().await;
    });
}

#[test]
fn paths_and_precedence_change_without_a_reload() {
    plane(|plane| async move {
        let host = ("HAPROXY_0_VHOST", "x.example.com");
        deployed(&plane, &[("/a", &[host]), ("/b", &[host, ("HAPROXY_0_PATH", "/api")])]).await;
        leads("x.example.com", "/api/1", Some("/b")).await;
        leads("x.example.com", "/", Some("/a")).await;
        plane
            .costs(Cost::RunTime, "another path", async {
                relabel(&plane, "/b", &[host, ("HAPROXY_0_PATH", "/v2")]);
                leads("x.example.com", "/v2/1", Some("/b")).await;
                leads("x.example.com", "/api/1", Some("/a")).await;
            })
            .await;
        plane
            .costs(Cost::RunTime, "no path, and a larger weight", async {
                relabel(&plane, "/b", &[host, ("HAPROXY_0_BACKEND_WEIGHT", "7")]);
                leads("x.example.com", "/", Some("/b")).await;
            })
            .await;
        plane
            .costs(Cost::RunTime, "the larger weight is the other's", async {
                relabel(&plane, "/a", &[host, ("HAPROXY_0_BACKEND_WEIGHT", "9")]);
                leads("x.example.com", "/", Some("/a")).await;
            })
            .await;
        plane.reproduced().await;
    });
}

#[test]
fn what_needs_a_rule_is_one_reload() {
    plane(|plane| async move {
        let host = ("HAPROXY_0_VHOST", "x.example.com");
        deployed(&plane, &[("/a", &[host]), ("/b", &[])]).await;
        let seen = watching(&["http://127.0.0.1:10001/", "http://127.0.0.1:10002/"], async {
            plane
                .costs(Cost::CheckedReload, "the first wildcard", async {
                    relabel(&plane, "/b", &[("HAPROXY_0_VHOST", "*.w.example.com")]);
                    leads("any.w.example.com", "/", Some("/b")).await;
                })
                .await;
            plane
                .costs(Cost::CheckedReload, "a path whatever its case", async {
                    relabel(&plane, "/b", &[("HAPROXY_0_VHOST", "y.example.com"), ("HAPROXY_0_PATH", "-i /Api")]);
                    leads("y.example.com", "/API/1", Some("/b")).await;
                })
                .await;
            plane
                .costs(Cost::CheckedReload, "redirect to https", async {
                    relabel(&plane, "/a", &[host, ("HAPROXY_0_REDIRECT_TO_HTTPS", "true")]);
                    let moved = until("http://127.0.0.1/p", &[("host", "x.example.com")], |a| a.status == 301).await;
                    assert_eq!(moved.header("location"), Some("https://x.example.com/p"), "{moved:?}");
                    assert_eq!(get("https://127.0.0.1/p", &[("host", "x.example.com")]).await.status, 200);
                })
                .await;
        });
        seen.await.all_answered("while rules change");
    });
}

#[test]
fn another_vhost_of_an_app_that_redirects_is_redirected_and_costs_no_reload() {
    plane(|plane| async move {
        let redirect = ("HAPROXY_0_REDIRECT_TO_HTTPS", "true");
        deployed(&plane, &[("/a", &[("HAPROXY_0_VHOST", "x.example.com"), redirect])]).await;
        plane
            .costs(Cost::RunTime, "one more", async {
                relabel(&plane, "/a", &[("HAPROXY_0_VHOST", "x.example.com,y.example.com"), redirect]);
                let moved = until("http://127.0.0.1/p", &[("host", "y.example.com")], |a| a.status == 301).await;
                assert_eq!(moved.header("location"), Some("https://y.example.com/p"), "{moved:?}");
            })
            .await;
    });
}
