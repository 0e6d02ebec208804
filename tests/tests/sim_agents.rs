//! Agents: loss, return, ports that run out, constraints, crashes with back-off.

mod sim;

use e2e::sim::{Config, Loss, Personality, Sim};
use serde_json::json;
use sim::{BOTH, SOON, eventually, get, start};

fn web(instances: u32, strategy: serde_json::Value) -> serde_json::Value {
    json!({"id": "/web", "cmd": "x", "instances": instances, "unreachableStrategy": strategy})
}

#[tokio::test]
async fn tasks_of_a_lost_agent_are_replaced_at_once_elsewhere() {
    for personality in BOTH {
        let sim = start(personality).await;
        sim.post_app(&web(3, json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}))).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let lost = sim.instances("/web").remove(0);
        let from = sim.event_position();
        assert!(sim.lose_agent(&lost.host, Loss::Dead));
        assert!(sim.wait_settled(SOON).await, "{}", sim.state());
        let now = sim.instances("/web");
        assert!(now.len() == 3 && now.iter().all(|i| i.host != lost.host), "{now:?}");
        let events = sim.events_since(from);
        assert_eq!(
            (events[0].kind, &events[0].body["taskStatus"]),
            ("status_update_event", &json!("TASK_UNREACHABLE"))
        );
        let conditions: Vec<_> = events
            .iter()
            .filter(|e| e.body["instanceId"] == lost.id.as_str())
            .map(|e| e.body["condition"].clone())
            .collect();
        assert_eq!(conditions, [json!("Unreachable"), json!("UnreachableInactive"), json!("Killed")]);
        let dead = tokio::net::TcpStream::connect((lost.address, lost.ports[0])).await;
        assert!(dead.is_err(), "a dead agent does not answer");
        sim.stop().await;
    }
}

#[tokio::test]
async fn an_inactive_task_is_listed_without_ports_and_the_surplus_is_killed_on_return() {
    for personality in BOTH {
        let sim = start(personality).await;
        sim.post_app(&web(1, json!({"inactiveAfterSeconds": 1, "expungeAfterSeconds": 10_000}))).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let first = sim.instances("/web").remove(0);
        assert!(sim.lose_agent(&first.host, Loss::Partitioned));
        assert!(
            tokio::net::TcpStream::connect((first.address, first.ports[0])).await.is_ok(),
            "only cut off from Mesos"
        );
        let url = format!("{}/v2/apps/web", sim.url(0));
        eventually("a replacement runs", async || get(&url).await.json()["app"]["tasksRunning"] == 1).await;
        let tasks = get(&url).await.json()["app"]["tasks"].clone();
        let old = tasks.as_array().unwrap().iter().find(|t| t["id"] == first.task_id.as_str()).unwrap().clone();
        assert_eq!((tasks.as_array().unwrap().len(), &old["state"]), (2, &json!("TASK_UNREACHABLE")));
        assert!(old.get("version").is_none() && old.get("stagedAt").is_none());
        match personality {
            Personality::V1_4 => assert!(old.get("ports").is_none()),
            Personality::V1_8 => assert_eq!(old["ports"], json!([])),
        }
        assert!(sim.return_agent(&first.host));
        assert!(sim.wait_settled(SOON).await, "{}", sim.state());
        assert_eq!(sim.instances("/web")[0].id, first.id, "the youngest goes");
        sim.stop().await;
    }
}

#[tokio::test]
async fn disabled_means_waiting_and_an_expunged_task_is_killed_when_it_comes_back() {
    let sim = start(Personality::V1_8).await;
    sim.post_app(&web(1, json!("disabled"))).unwrap();
    assert!(sim.wait_settled(SOON).await);
    let task = sim.instances("/web").remove(0);
    assert!(sim.lose_agent(&task.host, Loss::Partitioned));
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    assert_eq!(sim.instances("/web").len(), 1);
    assert!(sim.return_agent(&task.host));
    assert!(sim.wait_settled(SOON).await);

    sim.put_app("/web", &json!({"unreachableStrategy": {"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}}))
        .unwrap();
    assert!(sim.wait_settled(SOON).await);
    let task = sim.instances("/web").remove(0);
    assert!(sim.lose_agent(&task.host, Loss::Partitioned));
    assert!(sim.wait_settled(SOON).await);
    let from = sim.event_position();
    assert!(sim.return_agent(&task.host));
    assert!(
        sim.events_since(from)
            .iter()
            .any(|e| e.kind == "unknown_instance_terminated_event" && e.body["instanceId"] == task.id.as_str())
    );
    eventually("the stranger is gone", async || {
        tokio::net::TcpStream::connect((task.address, task.ports[0])).await.is_err()
    })
    .await;
    sim.stop().await;
}

#[tokio::test]
async fn agents_are_added_when_ports_run_out_but_not_for_fixed_ports() {
    let mut config = Config::for_test(Personality::V1_8);
    config.ports = 31000..=31001;
    let sim = Sim::start(config).await.unwrap();
    sim.post_app(&web(8, json!("disabled"))).unwrap();
    assert!(sim.wait_settled(SOON).await, "{}", sim.state());
    assert_eq!(sim.state()["agents"].as_array().unwrap().len(), 4);
    sim.post_app(&json!({"id": "/fixed", "cmd": "x", "instances": 5, "requirePorts": true, "ports": [31999]})).unwrap();
    eventually("four run", async || sim.instances("/fixed").iter().filter(|i| i.is_ready()).count() == 4).await;
    assert_eq!(sim.instances("/fixed").len(), 5, "the fifth waits");
    assert_eq!(get(&format!("{}/v2/apps/fixed/tasks", sim.url(0))).await.json()["tasks"].as_array().unwrap().len(), 4);
    assert!(sim.instances("/fixed").iter().filter(|i| i.is_ready()).all(|i| i.ports == [31999]));
    sim.stop().await;
}

#[tokio::test]
async fn unique_hosts_are_unique() {
    let sim = start(Personality::V1_8).await;
    sim.post_app(&json!({"id": "/u", "cmd": "x", "instances": 3, "constraints": [["hostname", "UNIQUE"]]})).unwrap();
    assert!(sim.wait_settled(SOON).await);
    let hosts: std::collections::BTreeSet<String> = sim.instances("/u").into_iter().map(|i| i.host).collect();
    assert_eq!(hosts.len(), 3);
    sim.stop().await;
}

#[tokio::test]
async fn a_crashed_task_vanishes_and_is_launched_again_after_its_back_off() {
    for personality in BOTH {
        let sim = start(personality).await;
        sim.post_app(&json!({"id": "/web", "cmd": "x", "instances": 1, "backoffSeconds": 2})).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let first = sim.instances("/web").remove(0);
        let from = sim.event_position();
        assert!(sim.crash_task(&first.task_id));
        assert!(sim.instances("/web").is_empty());
        assert!(sim.wait_settled(SOON).await);
        let second = sim.instances("/web").remove(0);
        let waited = second.staged_at.0
            - sim.events_since(from)[0].body["timestamp"].as_str().and_then(e2e::sim::stamp::Stamp::parse).unwrap().0;
        assert!(waited >= 40, "back-off of two seconds of 20 ms: {waited} ms");
        match personality {
            Personality::V1_4 => assert_ne!(second.id, first.id),
            Personality::V1_8 => assert_eq!(second.task_id, format!("{}._app.2", first.id)),
        }
        let failure = get(&format!("{}/v2/apps/web", sim.url(0))).await.json()["app"]["lastTaskFailure"].clone();
        assert_eq!((&failure["state"], &failure["taskId"]), (&json!("TASK_FAILED"), &json!(first.task_id)));
        sim.stop().await;
    }
}

#[tokio::test]
async fn container_network_tasks_listen_on_their_own_address() {
    let sim = start(Personality::V1_8).await;
    let app = json!({"id": "/ip", "cmd": "x", "instances": 2, "networks": [{"mode": "container", "name": "dcos"}],
        "container": {"type": "MESOS", "portMappings": [{"containerPort": 18080, "servicePort": 10500}]}});
    sim.post_app(&app).unwrap();
    assert!(sim.wait_settled(SOON).await, "{}", sim.state());
    for task in get(&format!("{}/v2/apps/ip/tasks", sim.url(0))).await.json()["tasks"].as_array().unwrap() {
        assert_eq!(task["ports"], json!([]), "no host port");
        let address = task["ipAddresses"][0]["ipAddress"].as_str().unwrap().to_owned();
        assert_eq!(get(&format!("http://{address}:18080/")).await.json()["task"], task["id"]);
    }
    sim.stop().await;
}

#[tokio::test]
async fn plain_tcp_tasks_greet_and_echo() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sim = start(Personality::V1_8).await;
    sim.post_app(&json!({"id": "/tcp", "cmd": "x", "instances": 1, "labels": {"SIM_TASK": "tcp"}})).unwrap();
    assert!(sim.wait_settled(SOON).await);
    let task = sim.instances("/tcp").remove(0);
    let mut stream = tokio::net::TcpStream::connect((task.address, task.ports[0])).await.unwrap();
    stream.write_all(b"hello\n").await.unwrap();
    let mut text = String::new();
    while !text.ends_with("hello\n") {
        let mut buffer = [0; 256];
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0);
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(text.starts_with(&format!("/tcp {} {}:{}\n", task.task_id, task.host, task.ports[0])), "{text}");
    sim.stop().await;
}
