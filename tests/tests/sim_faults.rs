//! Faults on command, by handle and by control API.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod sim;

use std::time::Duration;

use e2e::sim::{Config, Fault, Order, Personality, Sim};
use serde_json::{Value, json};
use sim::{SOON, Stream, delete, eventually, exchange, get, send, start};

async fn with_apps(count: usize) -> Sim {
    let mut config = Config::for_test(Personality::V1_8).members(2);
    config.control = Some(([127, 0, 0, 1], 0).into());
    let sim = Sim::start(config).await.unwrap();
    for n in 0..count {
        sim.post_app(&json!({"id": format!("/a{n}"), "cmd": "x"})).unwrap();
    }
    assert!(sim.wait_settled(SOON).await);
    sim
}

#[tokio::test]
async fn each_fault_distorts_the_next_answer_only() {
    let sim = with_apps(4).await;
    let apps = format!("{}/v2/apps", sim.url(0));
    let length = |answer: &Value| answer["apps"].as_array().unwrap().len();

    sim.fault_next(Fault::EmptyList, 1);
    assert_eq!(length(&get(&apps).await.json()), 0);
    assert_eq!(length(&get(&apps).await.json()), 4, "once only");

    sim.fault_next(Fault::PartialList { drop: 0.5 }, 1);
    assert_eq!(length(&get(&apps).await.json()), 2);

    sim.fault_next(Fault::WrongTypes { app: Some("/a2".to_owned()) }, 1);
    let bent = get(&apps).await.json();
    let bad = bent["apps"].as_array().unwrap().iter().find(|app| app["id"] == "/a2").unwrap();
    assert!(bad["labels"].is_array() && bad["tasks"].is_string());

    sim.fault(Order {
        path: Some("/v2/apps/a2".to_owned()),
        count: Some(1),
        ..Order::of(Fault::WrongTypes { app: None })
    });
    assert_eq!(get(&format!("{apps}/a2")).await.json()["app"]["instances"], "three");

    sim.fault_next(Fault::NotUtf8, 1);
    let answer = get(&apps).await;
    assert!(answer.status == 200 && std::str::from_utf8(&answer.body).is_err());

    sim.fault_next(Fault::Huge { bytes: 1_000_000 }, 1);
    assert!(get(&apps).await.body.len() >= 1_000_000);

    sim.fault_next(Fault::Unavailable, 1);
    let answer = get(&apps).await;
    assert!(answer.status == 503 && answer.json()["message"].is_string());

    sim.fault_next(Fault::EmptyBody, 1);
    let answer = get(&apps).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));

    sim.fault_next(Fault::BadGateway, 1);
    let answer = get(&apps).await;
    assert!(answer.status == 502 && answer.text().contains("<html>"));

    sim.fault_next(Fault::Garbage, 1);
    let bytes = exchange("GET", &apps, &[], None).await;
    assert!(!bytes.is_empty() && !bytes.starts_with(b"HTTP"));

    sim.fault_next(Fault::Close, 1);
    assert!(exchange("GET", &apps, &[], None).await.is_empty());

    sim.fault_next(Fault::Truncated, 1);
    let answer = get(&apps).await;
    assert!(answer.status == 200 && serde_json::from_slice::<Value>(&answer.body).is_err());

    sim.fault_next(Fault::Unauthorized, 1);
    assert_eq!(get(&apps).await.status, 401);

    sim.fault_next(Fault::Slow { ms: 150 }, 1);
    assert!(tokio::time::timeout(Duration::from_millis(100), get(&apps)).await.is_err());

    sim.fault_next(Fault::Hang, 1);
    assert!(tokio::time::timeout(Duration::from_millis(100), get(&apps)).await.is_err());
    assert_eq!(length(&get(&apps).await.json()), 4);
    sim.stop().await;
}

#[tokio::test]
async fn faults_hold_for_a_member_or_a_path_until_cleared() {
    let sim = with_apps(1).await;
    sim.fault(Order { member: Some(1), ..Order::of(Fault::Unavailable) });
    for _ in 0..2 {
        assert_eq!(get(&format!("{}/v2/apps", sim.url(1))).await.status, 503);
        assert_eq!(get(&format!("{}/v2/apps", sim.url(0))).await.status, 200);
    }
    sim.clear_faults();
    assert_eq!(get(&format!("{}/v2/apps", sim.url(1))).await.status, 200);
    sim.fault(Order { path: Some("/v2/apps/a0".to_owned()), ..Order::of(Fault::BadGateway) });
    assert_eq!(get(&format!("{}/v2/apps/a0", sim.url(0))).await.status, 502);
    assert_eq!(get(&format!("{}/v2/apps", sim.url(0))).await.status, 200);
    sim.stop().await;
}

#[tokio::test]
async fn the_control_api_does_what_the_handle_does() {
    let sim = with_apps(2).await;
    let control = format!("http://{}", sim.control().unwrap());
    let apps = format!("{}/v2/apps", sim.url(0));
    let ok = |status: u16| assert_eq!(status, 204);

    ok(send("POST", &format!("{control}/faults"), &json!({"fault": "empty_list", "count": 1})).await.status);
    assert_eq!(get(&apps).await.json(), json!({"apps": []}));
    ok(send("POST", &format!("{control}/faults"), &json!({"fault": "partial_list", "drop": 1.0, "member": 0}))
        .await
        .status);
    assert_eq!(get(&format!("{control}/faults")).await.json()[0]["fault"], "partial_list");
    ok(delete(&format!("{control}/faults")).await.status);
    assert_eq!(get(&apps).await.json()["apps"].as_array().unwrap().len(), 2);

    let task = sim.instances("/a0").remove(0);
    let own = format!("http://{}:{}/", task.host, task.ports[0]);
    ok(send("POST", &format!("{control}/tasks/{}/mode", task.task_id), &json!({"mode": "unhealthy"})).await.status);
    assert_eq!(get(&own).await.status, 503);
    ok(send("POST", &format!("{control}/tasks/{}/crash", task.task_id), &json!({})).await.status);
    assert_eq!(send("POST", &format!("{control}/tasks/none.x/crash"), &json!({})).await.status, 404);
    assert!(sim.wait_settled(SOON).await);

    let host = sim.instances("/a1").remove(0).host;
    ok(send("POST", &format!("{control}/agents/{host}/lose"), &json!({"partitioned": true})).await.status);
    assert!(sim.wait_settled(SOON).await && sim.instances("/a1")[0].host != host);
    ok(send("POST", &format!("{control}/agents/{host}/return"), &json!({})).await.status);
    ok(send("POST", &format!("{control}/agents/extra"), &json!({"address": "127.0.0.9"})).await.status);

    let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
    stream.until_event("event_stream_attached").await;
    let state = get(&format!("{control}/state")).await.json();
    assert_eq!((&state["members"][0]["streams"], state["agents"].as_array().unwrap().len()), (&json!(1), 4));
    assert!(
        state["members"][0]["requests"]["apps"].as_u64() >= Some(2) && state["tasks"].as_array().unwrap().len() == 2
    );
    assert_eq!(
        send("POST", &format!("{control}/streams/cut"), &json!({"member": 0})).await.json(),
        json!({"streams": 1})
    );
    stream.until(|s| s.ended).await;
    ok(send("POST", &format!("{control}/streams/silence"), &json!({"member": 0, "on": true})).await.status);
    ok(send("POST", &format!("{control}/streams/silence"), &json!({"on": false})).await.status);

    ok(send("POST", &format!("{control}/members/1/refuse"), &json!({})).await.status);
    eventually("refused", async || tokio::net::TcpStream::connect(&sim.url(1)[7..]).await.is_err()).await;
    ok(delete(&format!("{control}/members/1/refuse")).await.status);
    ok(send("POST", &format!("{control}/leader"), &json!({"member": 1})).await.status);
    eventually("member 1 leads", async || sim.leader() == Some(1)).await;
    ok(delete(&format!("{control}/leader")).await.status);
    assert_eq!(sim.leader(), None);
    ok(send("POST", &format!("{control}/bulk"), &json!({"apps": 2, "tasks": 2})).await.status);
    let moved = send("POST", &format!("{control}/move"), &json!({"app": "/bench/app-1"})).await.json();
    assert!(moved["task"].as_str().unwrap().starts_with("bench_app-1.instance-"), "{moved}");
    ok(send("POST", &format!("{control}/health/forget"), &json!({})).await.status);
    assert!(get(&format!("{control}/events")).await.json().as_array().unwrap().len() > 10);
    sim.stop().await;
}

#[tokio::test]
async fn connections_are_kept_and_bodies_may_come_in_chunks() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sim = start(Personality::V1_8).await;
    let mut socket = tokio::net::TcpStream::connect(&sim.url(0)[7..]).await.unwrap();
    let body = json!({"id": "/chunked", "cmd": "x", "instances": 0}).to_string();
    let (one, two) = body.split_at(10);
    let post = format!(
        "POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        one.len(),
        two.len()
    );
    socket.write_all(post.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 201 Created\r\n") && text.ends_with("pong"), "{text}");
    sim.stop().await;
}
