//! What is known beforehand, from memory only, or too late: tasks about to die, tasks of yesterday,
//! and changes while HAProxy reloads.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod scene;

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::lab::baton::Baton;
use e2e::lab::client::get;
use e2e::lab::on_a_host;
use e2e::sim::{Config, Personality, Sim};
use nix::sys::signal::Signal;
use scene::{Scene, answering, app, scene};
use serde_json::{Value, json};

const WEB: &str = "http://127.0.0.1:10001/";

fn following(sim: &Sim) -> String {
    format!(
        "[marathon]\nurls = {:?}\ngroups = [\"*\"]\nhealth_check = true\nmax_backoff = \"1s\"\n\
         [haproxy]\nmin_reload_spacing = \"50ms\"\n",
        sim.urls()
    )
}

#[test]
fn a_task_that_is_being_killed_gets_nothing_more_long_before_it_dies() {
    on_a_host(&[], || async {
        let mut config = Config::for_test(Personality::V1_8);
        config.killing = Duration::from_secs(8);
        let sim = Sim::start(config).await.unwrap();
        let baton = Baton::start(&following(&sim), &[]).await.unwrap();
        sim.post_app(&app("/web", 10_001, &[], 3)).unwrap();
        assert_eq!(answering(WEB, 3).await.len(), 3);
        let all = |status: &Value| status["applied"]["servers"] == 3 && status["applied"]["pending"] == false;
        let reloads = baton.until("three servers", all).await.unwrap()["applied"]["reloads"].clone();
        let from = sim.event_position();
        sim.put_app("/web", &json!({"instances": 2})).unwrap();
        let told = |state: &'static str, patience| {
            sim.wait_event(from, move |event| event.body["taskStatus"] == state, patience)
        };
        let going = told("TASK_KILLING", Duration::from_secs(10)).await.unwrap();
        let going = going.body["taskId"].as_str().unwrap().to_owned();
        let left = answering(WEB, 2).await;
        assert!(left.len() == 2 && !left.contains(&going), "{left:?} and not {going}");
        assert!(told("TASK_KILLED", Duration::from_millis(1)).await.is_none(), "it is still there");
        assert_eq!(baton.status().await.unwrap()["applied"]["reloads"], reloads);
    });
}

#[test]
fn tasks_from_memory_serve_once_a_check_passed_or_marathon_vouches_for_them() {
    on_a_host(&[], || async {
        let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
        let mut checked = app("/web", 10_001, &[], 6);
        checked["healthChecks"] =
            json!([{"protocol": "HTTP", "path": "/", "portIndex": 0, "intervalSeconds": 40, "timeoutSeconds": 5}]);
        sim.post_app(&checked).unwrap();
        sim.post_app(&app("/plain", 10_002, &[], 1)).unwrap();
        let baton = Baton::start(&following(&sim), &[]).await.unwrap();
        assert_eq!(answering(WEB, 6).await.len(), 6);
        baton.until("written down", |status| status["source"]["stores"].as_u64() > Some(0)).await.unwrap();
        sim.refuse(0, true);
        // HAProxy ends with it, and knows nothing of its servers when it starts again.
        let dir = baton.stop().await.unwrap();
        let baton = Baton::start_in(dir, &following(&sim), &[]).await.unwrap();
        baton.until("from memory", |status| status["source"]["restored_from"].is_number()).await.unwrap();
        baton.until("waits", |_| baton.log().contains("servers from memory wait")).await.unwrap();
        // Those that HAProxy's first checks have reached by now do not wait.
        let log = baton.log();
        let waiting = log.lines().find(|line| line.contains("servers from memory wait")).unwrap().to_owned();
        let waiting: usize =
            waiting.split(" INFO ").nth(1).unwrap().split(' ').find_map(|word| word.parse().ok()).unwrap();
        let mut serving = BTreeSet::new();
        for _ in 0..24 {
            let answer = get(WEB, &[]).await;
            serving.extend((answer.status == 200).then(|| answer.json()["task"].to_string()));
        }
        assert_eq!(serving.len() + waiting, 6, "{log}");
        assert_eq!(get("http://127.0.0.1:10002/", &[]).await.status, 200, "without a check it serves, flagged");
        sim.refuse(0, false);
        assert_eq!(answering(WEB, 6).await.len(), 6);
    });
}

#[test]
fn what_changes_while_haproxy_reloads_reaches_the_new_worker() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 3)).unwrap();
        assert_eq!(answering(WEB, 3).await.len(), 3);
        for _ in 0..12 {
            baton.signal(Signal::SIGUSR1).unwrap();
            for _ in 0..2 {
                sim.move_task("/web").unwrap();
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
        assert!(sim.wait_settled(Duration::from_secs(20)).await);
        let url = format!("{}/v2/apps/web/tasks", sim.urls()[0]);
        let tasks = get(&url, &[]).await.json()["tasks"].as_array().unwrap().clone();
        let tasks: BTreeSet<String> = tasks.iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(answering(WEB, 3).await, tasks);
        let status = baton.until("settled", |status| status["applied"]["pending"] == false).await.unwrap();
        assert!(status["applied"]["reloads"].as_u64() > Some(2), "{status:#}");
        assert_eq!(answering(WEB, 3).await, tasks, "and stays so");
    });
}

#[test]
fn the_port_of_a_deleted_app_is_closed_after_a_while() {
    on_a_host(&[], || async {
        let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
        let baton = Baton::start(&(following(&sim) + "cleanup_after = \"1s\"\n"), &[]).await.unwrap();
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        sim.post_app(&app("/gone", 10_002, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10002/", 1).await.len(), 1);
        let both = |status: &Value| status["applied"]["frontends"] == 2 && status["applied"]["pending"] == false;
        let status = baton.until("both", both).await.unwrap();
        let reloads = status["applied"]["reloads"].as_u64().unwrap();
        sim.delete_app("/gone").unwrap();
        let status = baton.until("emptied", |status| status["applied"]["backends"] == 1).await.unwrap();
        assert_eq!(status["applied"]["reloads"], reloads, "at run time first");
        baton.until("one reload", |status| status["applied"]["reloads"] == reloads + 1).await.unwrap();
        assert!(std::net::TcpStream::connect("127.0.0.1:10002").is_err(), "refused:\n{}", baton.log());
        assert_eq!(answering(WEB, 1).await.len(), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let status = baton.status().await.unwrap();
        assert_eq!(status["applied"]["reloads"], reloads + 1, "once");
    });
}
