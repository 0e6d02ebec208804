//! Leader and standbys: who answers, relays or redirects, and what a change of leader looks like.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod sim;

use e2e::sim::{Config, Personality, Sim};
use serde_json::json;
use sim::{BOTH, SOON, Stream, call, eventually, get, send};

async fn three(personality: Personality) -> Sim {
    Sim::start(Config::for_test(personality).members(3)).await.unwrap()
}

#[tokio::test]
async fn standbys_relay_requests_and_name_the_leader() {
    for personality in BOTH {
        let sim = three(personality).await;
        let created = send("POST", &format!("{}/v2/apps", sim.url(1)), &json!({"id": "/web", "cmd": "x"})).await;
        assert_eq!(created.status, 201, "{}", created.text());
        assert!(sim.wait_settled(SOON).await);
        for member in 0..3 {
            let answer = get(&format!("{}/v2/apps", sim.url(member))).await;
            assert_eq!(answer.json()["apps"][0]["id"], "/web");
            assert_eq!(answer.header("X-Marathon-Leader"), Some(sim.url(0)));
            assert_eq!(answer.header("Cache-Control").as_deref(), Some("no-cache, no-store, must-revalidate"));
            assert_eq!(get(&format!("{}/ping", sim.url(member))).await.text(), "pong");
            let leader = get(&format!("{}/v2/leader", sim.url(member))).await.json();
            assert_eq!(leader, json!({"leader": sim.url(0)[7..]}));
        }
        let via = format!("1.1 {}", &sim.url(2)[7..]);
        let looped = call("GET", &format!("{}/v2/apps", sim.url(2)), &[("X-Marathon-Via", &via)], None).await;
        assert!(looped.status == 502 && looped.text().contains("Detected proxying loop."));
        assert!(sim.requests(Some(0), "apps") >= 4 && sim.requests(Some(2), "apps") == 2);
        sim.stop().await;
    }
}

#[tokio::test]
async fn standbys_of_1_4_relay_the_stream_and_of_1_8_redirect_it() {
    let sim = three(Personality::V1_4).await;
    let mut stream = Stream::open(&format!("{}/v2/events", sim.url(1)), &[]).await;
    stream.until_event("event_stream_attached").await;
    sim.post_app(&json!({"id": "/web", "cmd": "x"})).unwrap();
    stream.until_event("deployment_success").await;
    sim.stop().await;

    let sim = three(Personality::V1_8).await;
    let accept = [("Accept", "text/event-stream")];
    let answer = call("GET", &format!("{}/v2/events?event_type=a&event_type=b", sim.url(1)), &accept, None).await;
    assert_eq!((answer.status, answer.body.len()), (302, 0));
    assert_eq!(answer.header("Location"), Some(format!("{}/v2/events?event_type=a&event_type=b", sim.url(0))));
    sim.stop().await;
}

#[tokio::test]
async fn a_flip_ends_streams_and_the_next_leader_is_not_ready_at_first() {
    for personality in BOTH {
        let mut config = Config::for_test(personality).members(2);
        config.not_ready = std::time::Duration::from_millis(600);
        config.leader_exits = true;
        let sim = Sim::start(config).await.unwrap();
        let check = json!([{"protocol": "TCP", "intervalSeconds": 1, "portIndex": 0}]);
        sim.post_app(&json!({"id": "/web", "cmd": "x", "healthChecks": check})).unwrap();
        assert!(sim.wait_settled(SOON).await);
        let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &[]).await;
        stream.until_event("event_stream_attached").await;
        sim.flip_leader(None);
        stream.until(|s| s.ended).await;
        assert_eq!(sim.instances("/web")[0].healthy(), None, "forgotten");
        assert!(tokio::net::TcpStream::connect(&sim.url(0)[7..]).await.is_err(), "the old leader's process has ended");
        eventually("member 1 leads", async || sim.leader() == Some(1)).await;
        let mut early = Stream::open(&format!("{}/v2/events", sim.url(1)), &[]).await;
        early.until(|s| s.ended).await;
        assert!(early.head.contains("200 OK") && early.bytes.is_empty(), "accepted and closed at once");
        eventually("ready", async || sim.state()["ready"] == true).await;
        let mut late = Stream::open(&format!("{}/v2/events", sim.url(1)), &[]).await;
        late.until_event("event_stream_attached").await;
        assert_eq!(get(&format!("{}/v2/apps/web", sim.url(0))).await.header("X-Marathon-Leader"), Some(sim.url(1)));
        sim.stop().await;
    }
}

#[tokio::test]
async fn without_a_leader_members_wait_and_give_up() {
    for (personality, status) in BOTH.into_iter().zip([503, 502]) {
        let sim = three(personality).await;
        sim.no_leader();
        let answer = get(&format!("{}/v2/apps", sim.url(1))).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains("Could not determine the current leader"));
        sim.flip_leader(Some(2));
        eventually("a leader", async || sim.leader() == Some(2)).await;
        assert_eq!(get(&format!("{}/v2/apps", sim.url(1))).await.status, 200);
        let gone = call("DELETE", &format!("{}/v2/leader", sim.url(0)), &[], None).await;
        assert_eq!(gone.json(), json!({"message": "Leadership abdicated"}));
        eventually("the next leads", async || sim.leader() == Some(0)).await;
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_refusing_leader_is_felt_by_its_standbys() {
    for (personality, status) in BOTH.into_iter().zip([503, 502]) {
        let sim = three(personality).await;
        sim.refuse(0, true);
        eventually("refused", async || tokio::net::TcpStream::connect(&sim.url(0)[7..]).await.is_err()).await;
        let answer = get(&format!("{}/v2/apps", sim.url(1))).await;
        assert_eq!(answer.status, status);
        assert!(answer.text().contains("Connection to leader refused."));
        sim.clear_faults();
        eventually("back", async || tokio::net::TcpStream::connect(&sim.url(0)[7..]).await.is_ok()).await;
        assert_eq!(get(&format!("{}/v2/apps", sim.url(1))).await.status, 200);
        sim.stop().await;
    }
}

#[tokio::test]
async fn a_relayed_stream_may_be_cut_when_it_is_quiet() {
    let mut config = Config::for_test(Personality::V1_4).members(2);
    config.proxy_read_timeout = Some(std::time::Duration::from_millis(100));
    let sim = Sim::start(config).await.unwrap();
    let mut stream = Stream::open(&format!("{}/v2/events", sim.url(1)), &[]).await;
    stream.until(|s| s.ended).await;
    assert_eq!(stream.kinds(), ["event_stream_attached"]);
    eventually("the leader notices", async || sim.streams_open() == 0).await;
    sim.stop().await;
}

#[tokio::test]
async fn a_standby_answers_clients_that_have_finished_sending() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let sim = three(Personality::V1_8).await;
    let mut socket = tokio::net::TcpStream::connect(&sim.url(1)[7..]).await.unwrap();
    socket.write_all(b"GET /v2/apps HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("{\"apps\":[]}"), "{text}");
    sim.stop().await;
}
