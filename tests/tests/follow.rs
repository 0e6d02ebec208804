//! The main job with the real HAProxy: traffic follows what happens in Marathon.
//!
//! Each test is a host of its own with a simulated cluster, a `baton` and clients.

mod scene;

use std::time::Duration;

use e2e::lab::client::{get, get_until};
use e2e::sim::{Fault, Loss, Order, Personality};
use nix::sys::signal::Signal;
use scene::{Scene, answering, app, scene};
use serde_json::{Value, json};

#[test]
fn traffic_follows_an_app_from_deployment_to_deletion() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        // Else a slow start has the app already, and needs no reload for it.
        baton.until("a start without apps", |s| s["applied"]["digest"].is_string()).await.unwrap();
        sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 1)).unwrap();
        let by_port = "http://127.0.0.1:10001/";
        assert_eq!(get_until(by_port, &[], |a| a.status == 200).await.json()["app"], "/web");
        let by_host = get("http://127.0.0.1/x", &[("host", "web.example.com")]).await;
        assert_eq!((by_host.status, by_host.json()["path"].as_str()), (200, Some("/x")));
        let by_tls = get("https://127.0.0.1/", &[("host", "web.example.com")]).await;
        assert_eq!(by_tls.status, 200, "{by_tls:?}");
        let by_app = get("http://127.0.0.1:9091/", &[("x-marathon-app-id", "/web")]).await;
        assert_eq!(by_app.status, 200);

        sim.put_app("/web", &json!({"instances": 5})).unwrap();
        assert_eq!(answering(by_port, 5).await.len(), 5);
        sim.put_app("/web", &json!({"instances": 2})).unwrap();
        baton.until("2 servers", |status| status["applied"]["servers"] == 2).await.unwrap();
        let now: Vec<_> = sim.instances("/web").into_iter().map(|i| i.task_id).collect();
        assert!(answering(by_port, 2).await.iter().all(|task| now.contains(task)));

        sim.delete_app("/web").unwrap();
        let empty = get_until(by_port, &[], |a| a.status == 503).await;
        assert_eq!(empty.status, 503, "emptied at once");
        assert_eq!(get("http://127.0.0.1/", &[("host", "web.example.com")]).await.status, 503);
        let status = baton.until("nothing is served", |s| s["applied"]["backends"] == 0).await.unwrap();
        assert_eq!(status["applied"]["reloads"], 1, "for the new app only: {status}");
        baton.signal(Signal::SIGUSR1).unwrap();
        let gone = get_until(by_port, &[], |a| a.status == 0).await;
        assert_eq!(gone.status, 0, "the service port is closed by the next reload");
    });
}

#[test]
fn a_lost_agent_costs_only_its_tasks_and_they_come_back_elsewhere() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 3)).unwrap();
        let before = answering("http://127.0.0.1:10001/", 3).await;
        let lost = sim.instances("/web")[0].host.clone();
        assert!(sim.lose_agent(&lost, Loss::Dead));
        let mut after = before.clone();
        for _ in 0..100 {
            after = answering("http://127.0.0.1:10001/", 3).await;
            if after.len() == 3 && after != before {
                break;
            }
        }
        assert_eq!(after.len(), 3);
        assert_ne!(after, before);
    });
}

#[test]
fn a_leader_change_costs_nothing_in_either_generation() {
    for personality in [Personality::V1_4, Personality::V1_8] {
        scene(personality, 3, |scene| async move {
            let Scene { sim, baton, .. } = &scene;
            let mut checked = app("/web", 10_001, &[], 2);
            checked["healthChecks"] = json!([{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 5}]);
            sim.post_app(&checked).unwrap();
            assert_eq!(answering("http://127.0.0.1:10001/", 2).await.len(), 2);
            let failures = scene.watch_while("http://127.0.0.1:10001/", async {
                sim.flip_leader(None);
                tokio::time::sleep(Duration::from_millis(600)).await;
                // The new leader knows no health yet; the tasks stay all the same, and changes are followed.
                sim.put_app("/web", &json!({"instances": 3})).unwrap();
                baton.until("3 servers", |status| status["applied"]["servers"] == 3).await.unwrap();
            });
            assert_eq!(failures.await, 0);
        });
    }
}

#[test]
fn a_cut_event_stream_is_attached_again_and_nothing_is_missed() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        sim.cut_streams(None, true);
        sim.put_app("/web", &json!({"instances": 4})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 4).await.len(), 4);
    });
}

#[test]
fn an_outage_of_marathon_changes_nothing_and_ends_by_itself() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 2)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 2).await.len(), 2);
        let failures = scene.watch_while("http://127.0.0.1:10001/", async {
            sim.fault(Order::of(Fault::Unavailable));
            sim.cut_streams(None, false);
            let said = baton.until("trouble", |status| status["source"]["trouble"].is_object()).await.unwrap();
            assert_eq!(said["source"]["stale"], true, "{said}");
            sim.clear_faults();
            sim.put_app("/web", &json!({"instances": 3})).unwrap();
            assert_eq!(answering("http://127.0.0.1:10001/", 3).await.len(), 3);
        });
        assert_eq!(failures.await, 0);
    });
}

#[test]
fn every_kind_of_bad_answer_leaves_traffic_alone() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 2)).unwrap();
        baton.until("2 servers", |status| status["applied"]["servers"] == 2).await.unwrap();
        let failures = scene.watch_while("http://127.0.0.1:10001/", async {
            for fault in [
                Fault::Unavailable,
                Fault::EmptyBody,
                Fault::BadGateway,
                Fault::Garbage,
                Fault::Truncated,
                Fault::Close,
                Fault::Unauthorized,
                Fault::EmptyList,
            ] {
                // One bad answer; an empty list counts only once it is confirmed.
                sim.fault_next(fault.clone(), 1);
                baton.signal(Signal::SIGHUP).unwrap();
                tokio::time::sleep(Duration::from_millis(150)).await;
                assert_eq!(baton.status().await.unwrap()["applied"]["servers"], 2, "{fault:?}");
                sim.clear_faults();
            }
        });
        assert_eq!(failures.await, 0);
    });
}

#[test]
fn one_app_with_wrong_types_costs_only_itself() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/bad", 10_002, &[], 1)).unwrap();
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        assert_eq!(answering("http://127.0.0.1:10002/", 1).await.len(), 1);
        // In the list, and where it is asked for by itself.
        let wrong = Order::of(Fault::WrongTypes { app: Some("/bad".to_owned()) });
        sim.fault(wrong.clone());
        sim.fault(Order { path: Some("/v2/apps/bad".to_owned()), ..wrong });
        sim.put_app("/web", &json!({"instances": 2})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 2).await.len(), 2);
        let told = |status: &Value| status["issues"][0]["app"] == "/bad";
        baton.until("told", told).await.unwrap();
        assert!(baton.log().contains("/bad: the app cannot be read"), "{}", baton.log());
        assert_eq!(answering("http://127.0.0.1:10002/", 1).await.len(), 1);
    });
}
