//! New apps without a reload, with an HAProxy that makes backends while it runs (3.4 or newer); skipped, and said so,
//! with an older one.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]
#![allow(clippy::print_stdout, reason = "says what is skipped")]

mod plane;
mod scene;

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use e2e::lab::client::get;
use plane::{Counts, Plane, app, plane_of, until};
use scene::answering;

const DYNAMIC: &str = "[haproxy.dynamic]\nbackends = true\nports = \"10000-10019\"\n";

/// Plays with a port held by `holds`, if any.
fn dynamic<F: Future<Output = ()>>(holds: Option<u16>, play: impl FnOnce(Plane) -> F + Send + 'static) {
    let held = Arc::new(OnceLock::new());
    let held_here = held.clone();
    plane_of(
        move |_| {
            if let Some(port) = holds {
                let _ = held_here.set(TcpListener::bind(("0.0.0.0", port)).unwrap());
            }
        },
        DYNAMIC,
        |plane| async move {
            let status = plane.baton.status().await.unwrap();
            let version = status["haproxy"]["version"].as_str().unwrap().to_owned();
            let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
            if (numbers.next(), numbers.next()) < (Some(3), Some(4)) {
                println!("skipped: HAProxy {version} makes no backends while it runs; 3.4 does");
                return;
            }
            play(plane).await;
            drop(held);
        },
    );
}

fn port(number: u16) -> String {
    format!("http://127.0.0.1:{number}/")
}

/// What `act` cost in reloads; it waits for what it is to bring about.
async fn reloads(plane: &Plane, act: impl Future<Output = ()>) -> u64 {
    let before = plane.counts().await;
    act.await;
    plane.settled().await;
    let Counts { reloads, runtime, .. } = plane.counts().await;
    assert!(reloads > before.reloads || runtime > before.runtime, "{}", plane.journal());
    reloads - before.reloads
}

#[test]
fn an_app_like_another_comes_and_goes_without_a_reload() {
    dynamic(None, |plane| async move {
        plane.sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 2)).unwrap();
        assert_eq!(answering(&port(10_001), 2).await.len(), 2);
        plane.settled().await;
        let host = [("host", "new.example.com")];
        let cost = reloads(&plane, async {
            plane.sim.post_app(&app("/new", 10_002, &[("HAPROXY_0_VHOST", "new.example.com")], 2)).unwrap();
            assert_eq!(answering(&port(10_002), 2).await.len(), 2);
            assert_eq!(until("http://127.0.0.1/", &host, |a| a.status == 200).await.json()["app"], "/new");
        });
        assert_eq!(cost.await, 0, "{}", plane.journal());
        plane.reproduced().await;

        let cost = reloads(&plane, async {
            plane.sim.put_app("/new", &serde_json::json!({"instances": 3})).unwrap();
            assert_eq!(answering(&port(10_002), 3).await.len(), 3);
        });
        assert_eq!(cost.await, 0, "it is as any other: {}", plane.journal());

        let cost = reloads(&plane, async {
            plane.sim.delete_app("/new").unwrap();
            assert_eq!(until(&port(10_002), &[], |a| a.status == 0).await.status, 0, "the connection is reset");
            assert_eq!(until("http://127.0.0.1/", &host, |a| a.status == 503).await.status, 503);
        });
        assert_eq!(cost.await, 0, "{}", plane.journal());

        let cost = reloads(&plane, async {
            plane.sim.post_app(&app("/next", 10_003, &[("HAPROXY_0_HTTP_BACKEND_HSTS", "x")], 1)).unwrap();
            plane.sim.post_app(&app("/other", 10_004, &[("HAPROXY_0_USE_HSTS", "true")], 1)).unwrap();
            assert_eq!(answering(&port(10_004), 1).await.len(), 1);
            assert_eq!(answering(&port(10_003), 1).await.len(), 1);
        });
        assert_eq!(cost.await, 1, "options that nobody has: {}", plane.journal());

        let cost = reloads(&plane, async {
            plane.sim.post_app(&app("/far", 10_100, &[], 1)).unwrap();
            let answered = answering(&port(10_100), 1).await.len();
            assert_eq!(answered, 1, "{}", plane.journal());
        });
        assert_eq!(cost.await, 1, "a port that is not dynamic: {}", plane.journal());
        plane.reproduced().await;
    });
}

#[test]
fn an_app_in_tcp_mode_and_a_sticky_one_are_made_from_their_likes() {
    dynamic(None, |plane| async move {
        let labels = [&[("HAPROXY_0_MODE", "tcp")][..], &[("HAPROXY_0_STICKY", "true")]];
        for (number, labels) in (10_001..).zip(labels) {
            plane.sim.post_app(&app(&format!("/first-{number}"), number, labels, 1)).unwrap();
            assert_eq!(answering(&port(number), 1).await.len(), 1);
        }
        plane.settled().await;
        let cost = reloads(&plane, async {
            for (number, labels) in (10_011..).zip(labels) {
                plane.sim.post_app(&app(&format!("/second-{number}"), number, labels, 2)).unwrap();
                assert_eq!(answering(&port(number), 2).await.len(), 2);
            }
        });
        assert_eq!(cost.await, 0, "{}", plane.journal());
        let answer = get(&port(10_012), &[]).await;
        assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.starts_with("mesosphere_server_id=")));
        plane.reproduced().await;
    });
}

#[test]
fn a_dynamic_port_that_somebody_has_is_left_out() {
    dynamic(Some(10_005), |plane| async move {
        plane.sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering(&port(10_001), 1).await.len(), 1);
        let left_out = plane.baton.status().await.unwrap()["applied"]["left_out"].clone();
        assert!(left_out["dynamic port 10005"].as_str().unwrap().contains("has the port"), "{left_out}");
    });
}
