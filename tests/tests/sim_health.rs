//! Health checks: executed, shown, announced, and what failing them costs.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod sim;

use std::time::Duration;

use e2e::sim::{Config, Mode, Personality, Sim};
use serde_json::{Value, json};
use sim::{BOTH, SOON, eventually, get, start};

fn checked(protocol: &str, more: Value) -> Value {
    let mut check = json!({"protocol": protocol, "portIndex": 0, "intervalSeconds": 1, "gracePeriodSeconds": 1, "timeoutSeconds": 2});
    check.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"id": "/web", "cmd": "serve", "instances": 1, "healthChecks": [check]})
}

fn kinds(sim: &Sim, from: u64) -> Vec<&'static str> {
    sim.events_since(from).iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn results_are_absent_or_empty_before_the_first_and_then_shown() {
    for personality in BOTH {
        let mut config = Config::for_test(personality);
        config.second = Duration::from_millis(120);
        let sim = Sim::start(config).await.unwrap();
        sim.post_app(&checked("HTTP", json!({"intervalSeconds": 20, "path": "/health"}))).unwrap();
        let url = format!("{}/v2/apps/web", sim.url(0));
        eventually("running", async || get(&url).await.json()["app"]["tasksRunning"] == 1).await;
        let task = get(&url).await.json()["app"]["tasks"][0].clone();
        match personality {
            Personality::V1_4 => assert!(task.get("healthCheckResults").is_none(), "{task}"),
            Personality::V1_8 => assert_eq!(task["healthCheckResults"], json!([])),
        }
        assert!(sim.wait_settled(SOON).await);
        let result = get(&url).await.json()["app"]["tasks"][0]["healthCheckResults"][0].clone();
        assert_eq!((&result["alive"], &result["consecutiveFailures"]), (&json!(true), &json!(0)));
        assert_eq!(
            result.get("lastFailure").is_some(),
            personality == Personality::V1_4,
            "nulls are written by 1.4 only"
        );
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_failing_task_is_announced_killed_and_replaced() {
    for personality in BOTH {
        let sim = start(personality).await;
        sim.post_app(&checked("HTTP", json!({"maxConsecutiveFailures": 2}))).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let task = sim.instances("/web").remove(0);
        let from = sim.event_position();
        assert!(sim.set_task_mode(&task.task_id, Mode::Unhealthy));
        eventually("replaced", async || {
            sim.instances("/web").iter().all(|i| i.id != task.id && i.is_ready()) && !sim.instances("/web").is_empty()
        })
        .await;
        let events = sim.events_since(from);
        let of = |kind: &str| {
            events.iter().find(|e| e.kind == kind).unwrap_or_else(|| panic!("{kind} in {:?}", kinds(&sim, from)))
        };
        let key = if personality == Personality::V1_4 { "instanceId" } else { "taskId" };
        assert_eq!(of("failed_health_check_event").body[key], task.id.as_str());
        assert_eq!(of("health_status_changed_event").body["alive"], false);
        assert_eq!(of("instance_health_changed_event").body["healthy"], false);
        assert_eq!(of("unhealthy_instance_kill_event").body["reason"], "503 Service Unavailable");
        assert!(of("failed_health_check_event").sequence < of("unhealthy_instance_kill_event").sequence);
        sim.stop().await;
    }
}

#[tokio::test]
async fn failures_within_grace_do_not_count() {
    let sim = start(Personality::V1_8).await;
    let mut app = checked("TCP", json!({"gracePeriodSeconds": 1000, "maxConsecutiveFailures": 1}));
    app["env"] = json!({"SIM_EXEC": "sleep 60"});
    sim.post_app(&app).unwrap();
    let url = format!("{}/v2/apps/web", sim.url(0));
    eventually("a result", async || get(&url).await.json()["app"]["tasksUnhealthy"] == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let app = get(&url).await.json()["app"].clone();
    let result = &app["tasks"][0]["healthCheckResults"][0];
    assert_eq!((&result["alive"], &result["consecutiveFailures"]), (&json!(false), &json!(0)));
    assert!(result.get("lastFailure").is_none() && app["tasksRunning"] == 1);
    sim.stop().await;
}

#[tokio::test]
async fn slow_and_silent_tasks_fail_their_checks() {
    let sim = start(Personality::V1_8).await;
    sim.post_app(&checked("HTTP", json!({"maxConsecutiveFailures": 0}))).unwrap();
    assert!(sim.wait_settled(SOON).await);
    let task = sim.instances("/web").remove(0).task_id;
    for mode in [Mode::Hanging, Mode::Closing, Mode::Slow(200), Mode::Unhealthy] {
        assert!(sim.set_task_mode(&task, mode));
        eventually("unhealthy", async || sim.instances("/web")[0].healthy() == Some(false)).await;
        assert!(sim.set_task_mode(&task, Mode::Healthy));
        eventually("healthy again", async || sim.instances("/web")[0].healthy() == Some(true)).await;
    }
    assert_eq!(sim.instances("/web")[0].task_id, task, "maxConsecutiveFailures 0 never kills");
    sim.stop().await;
}

#[tokio::test]
async fn mesos_checks_change_health_without_marathons_own_event() {
    for protocol in ["MESOS_HTTP", "MESOS_TCP", "COMMAND"] {
        let sim = start(Personality::V1_8).await;
        let more = if protocol == "COMMAND" { json!({"command": {"value": "true"}}) } else { json!({}) };
        sim.post_app(&checked(protocol, more)).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let seen = kinds(&sim, 0);
        assert!(
            seen.contains(&"instance_health_changed_event") && !seen.contains(&"health_status_changed_event"),
            "{seen:?}"
        );
        // They survive a change of leader.
        sim.forget_health();
        assert!(sim.instances("/web")[0].is_ready(), "{protocol}");
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_new_leader_knows_no_health_until_it_has_checked() {
    for personality in BOTH {
        let sim = start(personality).await;
        sim.post_app(&checked("TCP", json!({}))).unwrap();
        assert!(sim.wait_settled(SOON).await);
        sim.forget_health();
        assert_eq!(sim.instances("/web")[0].healthy(), None);
        assert!(sim.wait_settled(SOON).await, "checked again");
        sim.stop().await;
    }
}
