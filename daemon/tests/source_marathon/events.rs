//! Following events: what is asked for, when a fetch follows, when a stream is replaced.

use std::time::Duration;

use baton::source::SourceCommand;
use baton::source::marathon::config::MarathonConfig;

use crate::fake::{Fake, Reply, Request, normal};
use crate::harness::{Source, apps, config, pass};

#[tokio::test]
async fn attaches_first_then_fetches_once() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(config(&[format!("{}/prefix/", fake.url())]));
    source.until_apps(&["/a"]).await;
    pass(300).await;
    let requests = fake.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert_eq!(requests[0].header("accept"), "text/event-stream");
    assert_eq!(
        requests[0].path,
        "/prefix/v2/events?plan-format=light&event_type=api_post_event&event_type=app_terminated_event\
         &event_type=deployment_failed&event_type=deployment_info&event_type=deployment_step_success\
         &event_type=deployment_success&event_type=group_change_success&event_type=health_status_changed_event\
         &event_type=instance_changed_event&event_type=instance_health_changed_event\
         &event_type=status_update_event&event_type=unhealthy_instance_kill_event\
         &event_type=unhealthy_task_kill_event"
    );
    let status = source.status();
    assert_eq!(status.stream.member.as_deref(), Some(format!("{}/prefix", fake.url()).as_str()));
    assert!(status.stream.attached_at.is_some() && status.stream.trouble.is_none() && !status.is_stale());
    assert_eq!(status.fetch.last.as_ref().map(|last| (last.apps, last.bytes)), Some((1, apps(&["/a"]).len())));
}

#[tokio::test]
async fn an_event_in_any_pieces_makes_it_fetch_and_others_do_not() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    fake.set(normal(&apps(&["/a", "/b"])));
    fake.event("event_stream_attached");
    fake.event("failed_health_check_event");
    fake.send("\r");
    fake.send("\n");
    source.until_status(|status| status.stream.events.len() == 2).await;
    assert_eq!(fake.fetches(), 1);
    for piece in ["event: status_up", "date_event\r", "\ndata: {\"eventType\":\"status_update", "_event\"}\r\n\r"] {
        fake.send(piece);
        pass(5).await;
    }
    let snapshot = source.until_apps(&["/a", "/b"]).await;
    assert_eq!(snapshot.revision, 2);
    assert_eq!(source.status().stream.events["status_update_event"], 1);
    assert!(source.status().stream.last_event.is_some());
}

#[tokio::test]
async fn events_during_a_fetch_become_exactly_one_more() {
    let slow = |list: &str| {
        let mut inner = normal(list);
        move |request: &_| inner(request).after(Duration::from_millis(200))
    };
    let fake = Fake::new(slow(&apps(&["/a"])));
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    fake.event("status_update_event");
    pass(100).await;
    for _ in 0..50 {
        fake.event("status_update_event");
    }
    source.until_fetched(3).await;
    pass(500).await;
    assert_eq!(fake.fetches(), 3);
    assert_eq!(source.status().stream.events["status_update_event"], 51);
    assert_eq!(source.snapshot().revision, 1, "nothing changed, nothing is published");
}

#[tokio::test]
async fn a_burst_is_one_fetch() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut config = config(&[fake.url()]);
    config.timing.spacing = Duration::from_millis(400);
    let mut source = Source::start(config);
    source.until_apps(&["/a"]).await;
    for _ in 0..10 {
        fake.event("status_update_event");
        pass(10).await;
    }
    pass(1000).await;
    assert_eq!(fake.fetches(), 2);
}

#[tokio::test]
async fn heartbeats_keep_a_stream_and_silence_ends_it() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut config = config(&[fake.url()]);
    config.timing.silence = Duration::from_millis(400);
    let mut source = Source::start(config);
    source.until_apps(&["/a"]).await;
    for n in 0..10 {
        fake.send(if n % 2 == 0 { "\r" } else { "\n" });
        pass(100).await;
    }
    assert_eq!(fake.attaches(), 1, "alive by heartbeats");
    source.until_status(|status| status.stream.failed.contains_key("silent")).await;
    source.until_status(|status| status.stream.attached == 2).await;
    source.until_fetched(2).await;
}

#[tokio::test]
async fn a_stream_that_worked_is_replaced_at_once() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut config = config(&[fake.url()]);
    config.timing.first_wait = Duration::from_secs(60);
    let mut source = Source::start(config);
    source.until_apps(&["/a"]).await;
    for n in 2..5 {
        pass(400).await;
        fake.set(normal(&apps(&[&format!("/changed-while-away-{n}")])));
        fake.cut();
        source.until_apps(&[&format!("/changed-while-away-{n}")]).await;
        assert_eq!(source.status().stream.attached, n);
    }
    fake.event("status_update_event");
    source.until_status(|status| status.stream.trouble.is_none()).await;
}

#[tokio::test]
async fn a_200_that_ends_at_once_is_a_failure_with_growing_waits() {
    let list = apps(&["/a"]);
    let ended = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let fake =
        Fake::new(move |request| if request.is_events() { Reply::Raw(ended.into()) } else { Reply::json(&list) });
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    pass(1000).await;
    // At once, then 0.1–0.2 s, 0.15–0.3 s, 0.22–0.45 s, …
    assert!((4..=6).contains(&fake.attaches()), "{}", fake.attaches());
    let status = source.status();
    assert_eq!(status.stream.trouble.unwrap().text, "closed by Marathon");
    assert!(status.stream.failed["closed"] >= 3);
}

#[tokio::test]
async fn a_member_whose_streams_end_at_once_is_left_for_the_next() {
    let ended = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let list = apps(&["/a"]);
    let elected =
        Fake::new(move |request| if request.is_events() { Reply::Raw(ended.into()) } else { Reply::json(&list) });
    let leader = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(config(&[elected.url(), leader.url()]));
    source.until_status(|status| status.stream.member == Some(leader.url())).await;
    assert_eq!(elected.attaches(), 1);
}

#[tokio::test]
async fn without_a_stream_it_polls() {
    for events in [Reply::status("200 OK", "Content-Type: text/html\r\n", "<html>"), Reply::Hang(vec![])] {
        let list = apps(&["/a"]);
        let fake = Fake::new(move |request| if request.is_events() { events.clone() } else { Reply::json(&list) });
        let poll = Duration::from_millis(100);
        let mut source = Source::start(MarathonConfig { poll, ..config(&[fake.url()]) });
        source.until_apps(&["/a"]).await;
        let status = source.until_status(|status| status.stream.trouble.is_some() && status.fetch.ok > 3).await;
        assert!(status.stream.trouble.unwrap().text.starts_with(&fake.url()));
        assert!(!source.status().is_stale());
    }
}

#[tokio::test]
async fn an_endless_event_ends_the_stream() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..17 {
        fake.send(&megabyte);
    }
    source.until_status(|status| status.stream.failed.contains_key("too_long")).await;
    source.until_status(|status| status.stream.attached == 2).await;
}

#[tokio::test]
async fn a_stream_behind_another_leader_is_replaced() {
    let old = Fake::new(led_by("http://one:8080", &apps(&["/a"])));
    let new = Fake::new(led_by("http://two:8080", &apps(&["/b"])));
    let mut source = Source::start(config(&[old.url(), new.url()]));
    source.until_apps(&["/a"]).await;
    assert_eq!(source.status().leader.as_deref(), Some("http://one:8080"));
    pass(400).await;
    // The old leader lost its office; its stream stays open (Marathon issue 1625), its list is the new one's.
    let list = apps(&["/b"]);
    old.set(move |request| {
        let leader = "X-Marathon-Leader: http://two:8080\r\n";
        if request.is_events() { Reply::Hang(vec![]) } else { Reply::status("200 OK", leader, &list) }
    });
    source.commands.send(SourceCommand::Refetch).await.unwrap();
    let status = source.until_status(|status| status.stream.attached == 2).await;
    assert_eq!(status.stream.member, Some(new.url()));
    assert_eq!(status.stream.failed["other_leader"], 1);
    pass(300).await;
    assert_eq!(source.status().stream.attached, 2, "and that one stays");
}

fn led_by(leader: &str, list: &str) -> impl FnMut(&Request) -> Reply + Send + use<> {
    let (header, list) = (format!("X-Marathon-Leader: {leader}\r\n"), list.to_owned());
    move |request| {
        if request.is_events() { Reply::Stream(header.clone()) } else { Reply::status("200 OK", &header, &list) }
    }
}

#[tokio::test]
async fn without_events_it_polls() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let poll = Duration::from_millis(100);
    let mut source = Source::start(MarathonConfig { events: false, poll, ..config(&[fake.url()]) });
    source.until_apps(&["/a"]).await;
    fake.set(normal(&apps(&["/b"])));
    source.until_apps(&["/b"]).await;
    assert_eq!(fake.attaches(), 0);
}

#[tokio::test]
async fn resyncs_and_obeys_commands_without_any_event() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(MarathonConfig { resync: Duration::from_millis(300), ..config(&[fake.url()]) });
    source.until_apps(&["/a"]).await;
    source.until_fetched(3).await;
    assert_eq!(fake.attaches(), 1);

    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    fake.set(normal(&apps(&["/b"])));
    source.commands.send(SourceCommand::Refetch).await.unwrap();
    source.until_apps(&["/b"]).await;
    drop(source.commands);
    source.shutdown.cancel();
    source.tasks.join_next().await.unwrap().unwrap();
}
