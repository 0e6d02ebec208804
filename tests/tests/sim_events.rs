//! The event stream on the wire: head, framing, heartbeats, filters, and the shape of every event caused.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod sim;

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::sim::{Config, Loss, Mode, Personality, Sim};
use serde_json::{Value, json};
use sim::{BOTH, SOON, Stream, call, exchange, fixture, fixture_text, start};

#[tokio::test]
async fn the_answer_has_no_framing_and_ends_with_the_connection() {
    for personality in BOTH {
        let sim = start(personality).await;
        let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
        let head = stream.head.to_lowercase();
        assert!(head.starts_with("http/1.1 200 ok\r\n") && head.contains("\r\nconnection: close\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-type: text/event-stream;charset=utf-8\r\n"), "{head}");
        assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
        stream.until_event("event_stream_attached").await;
        let text = String::from_utf8(stream.bytes.clone()).unwrap();
        assert!(text.starts_with("event: event_stream_attached\r\ndata: {"), "{text:?}");
        assert!(text.ends_with("}\r\n\r\n") && text.matches("\r\n").count() == 3, "{text:?}");
        sim.cut_streams(None, false);
        stream.until(|s| s.ended).await;
        assert!(stream.ended);
        sim.stop().await;
    }
}

#[tokio::test]
async fn only_the_exact_media_type_is_accepted() {
    let sim = start(Personality::V1_8).await;
    let url = format!("{}/v2/events", sim.url(0));
    for accept in ["text/event-stream, */*", "*/*", "application/json"] {
        let answer = call("GET", &url, &[("Accept", accept)], None).await;
        assert_eq!(answer.status, 405, "{accept}");
        assert!(answer.text().contains("<html>"));
    }
    assert_eq!(call("GET", &url, &[], None).await.status, 405);
    assert_eq!(call("OPTIONS", &url, &[], None).await.header("Allow").as_deref(), Some("GET, HEAD, OPTIONS"));
    let both = Stream::open(&url, &[("Accept", "application/json")]).await;
    assert!(both.head.contains("200 OK"), "one exact header line is enough");
    sim.stop().await;
}

#[tokio::test]
async fn heartbeats_are_empty_lines_on_a_quiet_stream() {
    let mut config = Config::for_test(Personality::V1_8);
    config.heartbeat = Duration::from_millis(30);
    let sim = Sim::start(config).await.unwrap();
    let mut stream = Stream::open(&format!("{}/v2/events?event_type=none", sim.url(0)), &[]).await;
    let mut lone = std::cell::Cell::new(false);
    stream
        .until(|s| {
            lone.set(lone.get() || s.bytes.ends_with(b"\r"));
            s.bytes.len() >= 12
        })
        .await;
    assert_eq!(&stream.bytes[..6], b"\r\n\r\n\r\n");
    assert!(*lone.get_mut(), "CR and LF come in segments of their own");
    sim.silence_streams(None);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = stream.bytes.len();
    let more = tokio::time::timeout(Duration::from_millis(100), stream.until(|s| s.bytes.len() > before + 4)).await;
    assert!(more.is_err(), "silent");
    sim.stop().await;
}

#[tokio::test]
async fn filters_let_only_the_named_types_through() {
    let sim = start(Personality::V1_8).await;
    let url =
        format!("{}/v2/events?plan-format=light&event_type=deployment_success&event_type=api_post_event", sim.url(0));
    let mut stream = Stream::open(&url, &[]).await;
    sim.post_app(&json!({"id": "/web", "cmd": "x"})).unwrap();
    stream.until_event("deployment_success").await;
    assert_eq!(stream.kinds(), ["api_post_event", "deployment_success"]);
    sim.stop().await;
}

/// Keys of an event, those of nested apps, plans and groups left out.
fn keys(event: &Value) -> BTreeSet<String> {
    event.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn every_event_caused_has_the_fields_of_the_fixture() {
    for (personality, name) in BOTH.into_iter().zip(["18-events-1.4.json", "19-events-1.8.json"]) {
        let sim = start(personality).await;
        let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
        let app = json!({"id": "/g/web", "cmd": "x", "instances": 2, "healthChecks": [{"intervalSeconds": 1, "gracePeriodSeconds": 1, "maxConsecutiveFailures": 2}]});
        sim.post_app(&app).unwrap();
        assert!(sim.wait_settled(SOON).await);
        sim.post_app(
            &json!({"id": "/stuck", "cmd": "x", "env": {"SIM_EXEC": "sleep 9"}, "healthChecks": [{"protocol": "TCP"}]}),
        )
        .unwrap();
        assert!(sim.post_app(&json!({"id": "/stuck", "cmd": "y"})).is_err());
        sim::send("PUT", &format!("{}/v2/apps/stuck", sim.url(0)), &json!({"cmd": "y"})).await;
        sim.delete_app("/stuck").unwrap();
        let victim = sim.instances("/g/web").remove(0);
        sim.set_task_mode(&victim.task_id, Mode::Unhealthy);
        sim::eventually("replaced", async || sim.instances("/g/web").iter().all(|i| i.id != victim.id)).await;
        let host = sim.instances("/g/web").remove(0).host;
        sim.lose_agent(&host, Loss::Partitioned);
        sim.return_agent(&host);
        sim.delete_app("/g/web").unwrap();
        assert!(sim.wait_settled(SOON).await);
        stream.until_event("deployment_info").await;
        let info =
            |events: &[Value]| events.iter().find(|e| e["eventType"] == "deployment_info").map(|e| keys(&e["plan"]));
        assert_eq!(info(&stream.events()), info(fixture(name).as_array().unwrap()), "heavy or light");
        drop(stream);
        sim::eventually("detached", async || sim.streams_open() == 0).await;
        let ours = sim.events_since(0);
        let seen: BTreeSet<&str> = ours.iter().map(|event| event.kind).collect();
        let theirs = fixture(name);
        let theirs = theirs.as_array().unwrap();
        for event in &ours {
            let same: Vec<_> = theirs.iter().filter(|e| e["eventType"] == event.kind).collect();
            assert!(!same.is_empty(), "{} is unknown", event.kind);
            assert!(same.iter().any(|e| keys(e) == keys(&event.body)), "{name}: {}", event.body);
        }
        let not_ours = ["pod_", "scheduler_", "framework_", "deployment_step_failure"];
        for event in theirs.iter().filter_map(|e| e["eventType"].as_str()) {
            assert!(
                seen.contains(event) || not_ours.iter().any(|p| event.starts_with(p)),
                "{name}: {event} never caused"
            );
        }
        sim.stop().await;
    }
}

#[tokio::test]
async fn the_bytes_of_an_event_are_framed_as_in_the_raw_fixture() {
    for name in ["18-events-1.4.sse", "19-events-1.8.sse"] {
        let text = fixture_text(name);
        let line = text.split("\r\n").nth(1).unwrap();
        assert!(text.starts_with("event: event_stream_attached\r\ndata: {") && line.starts_with("data: {"), "fixture");
    }
    let sim = start(Personality::V1_4).await;
    let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
    sim.post_app(&json!({"id": "/web", "cmd": "x", "labels": {"UMLAUT": "grün"}})).unwrap();
    stream.until_event("deployment_success").await;
    let text = String::from_utf8(stream.bytes.clone()).unwrap();
    for block in text.split_terminator("\r\n\r\n") {
        let lines: Vec<&str> = block.split("\r\n").filter(|line| !line.is_empty()).collect();
        let event = lines[0].strip_prefix("event: ").unwrap();
        let data: Value = serde_json::from_str(lines[1].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((lines.len(), data["eventType"].as_str()), (2, Some(event)));
    }
    let heavy = stream.events().into_iter().find(|e| e["eventType"] == "deployment_info").unwrap();
    assert_eq!(heavy["plan"]["target"]["apps"][0]["id"], "/web", "1.4 embeds both roots");
    sim.stop().await;
}

#[tokio::test]
async fn a_slow_consumer_loses_events_or_the_stream() {
    for personality in BOTH {
        let mut config = Config::for_test(personality);
        config.max_outstanding = 4;
        let sim = Sim::start(config).await.unwrap();
        let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
        stream.until_event("event_stream_attached").await;
        // One change causes more events at once than the queue holds.
        let apps: Vec<Value> = (0..20).map(|n| json!({"id": format!("a{n}"), "cmd": "x", "instances": 3})).collect();
        let from = sim.event_position();
        sim.post_group(&json!({"id": "/g", "apps": apps})).unwrap();
        match personality {
            Personality::V1_4 => {
                assert!(sim.wait_settled(SOON).await);
                let _other = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
                stream.until(|s| s.kinds().iter().filter(|k| *k == "event_stream_attached").count() == 2).await;
                assert!(stream.events().len() < sim.events_since(from).len(), "silently dropped");
            }
            Personality::V1_8 => stream.until(|s| s.ended).await,
        }
        assert_eq!(stream.ended, personality == Personality::V1_8);
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_stream_can_be_cut_in_the_middle_of_an_event() {
    let sim = start(Personality::V1_8).await;
    let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
    stream.until_event("event_stream_attached").await;
    let whole = stream.bytes.len();
    assert_eq!(sim.cut_streams(None, true), 1);
    sim.post_app(&json!({"id": "/web", "cmd": "x"})).unwrap();
    stream.until(|s| s.ended).await;
    let rest = String::from_utf8_lossy(&stream.bytes[whole..]).into_owned();
    assert!(rest.starts_with("event: api_post_event\r\ndata: {") && !rest.ends_with("\r\n\r\n"), "{rest:?}");
    sim.stop().await;
}

#[tokio::test]
async fn old_http_is_refused() {
    let sim = start(Personality::V1_8).await;
    let address = sim.url(0)[7..].to_owned();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut bytes = Vec::new();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    socket.write_all(b"GET /v2/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n").await.unwrap();
    socket.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 400"));
    let pong = exchange("GET", &format!("{}/ping", sim.url(0)), &[], None).await;
    assert!(pong.ends_with(b"pong"));
    sim.stop().await;
}
