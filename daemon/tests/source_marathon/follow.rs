//! What is published over time: outages, empty lists, silence about health, host names.

use std::time::Duration;

use baton::source::SourceCommand;
use haproxy::app::Health;

use crate::fake::{Fake, Reply, normal};
use crate::harness::{Source, app, apps, config, crypto, only, pass, warnings_about};

#[tokio::test]
async fn an_outage_keeps_what_was_read_and_says_since_when_and_why() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    fake.set(|_| Reply::status("503 Unavailable", "", r#"{"message":"no leader"}"#));
    fake.cut();
    let status = source.until_status(|status| status.fetch.trouble.is_some() && status.stream.trouble.is_some()).await;
    assert!(status.is_stale() && status.fetch.last.is_some());
    let trouble = status.fetch.trouble.unwrap();
    assert_eq!(trouble.text, format!("{}: answered 503: no leader", fake.url()));
    let status = source.until_status(|status| status.fetch.failed["status"] >= 3).await;
    assert_eq!(status.fetch.trouble, Some(trouble), "since when does not move");
    assert_eq!(source.snapshot().revision, 1);
    let said = warnings_about(&fake.url());
    assert_eq!(said.len(), 3, "the stream ended, there is no other, lists cannot be read: {said:#?}");

    fake.set(normal(&apps(&["/b"])));
    source.until_apps(&["/b"]).await;
    fake.event("event_stream_attached");
    let status = source.until_status(|status| status.stream.trouble.is_none()).await;
    assert!(!status.is_stale() && status.stream.attached_at.is_some());
}

#[tokio::test]
async fn starts_while_marathon_is_away_and_serves_what_it_was_given() {
    let fake = Fake::new(|_| Reply::Raw(vec![]));
    let kept = Fake::with_apps(&apps(&["/kept"]));
    crypto();
    let stored = baton::source::marathon::once(&config(&[kept.url()])).await.unwrap();
    let mut source = Source::start_from(config(&[fake.url()]), Some(stored));
    source.until_apps(&["/kept"]).await;
    let status = source.until_status(|status| status.fetch.trouble.is_some()).await;
    assert!(status.restored.is_some() && status.is_stale());
    assert_eq!(status.unconfirmed.iter().collect::<Vec<_>>(), ["task-of-/kept"]);
    // Back, but with nothing yet: not believed before it is confirmed.
    let mut asked = 0;
    fake.set(move |request| {
        if request.is_events() {
            return Reply::Stream(String::new());
        }
        asked += 1;
        Reply::json(&if asked == 1 { apps(&[]) } else { apps(&["/new"]) })
    });
    let snapshot = source.until("another snapshot", |snapshot| snapshot.revision > 1).await;
    assert_eq!((only(&snapshot).id.as_str(), snapshot.revision), ("/new", 2));
    let status = source.status();
    assert!(status.restored.is_none() && status.unconfirmed.is_empty() && !status.is_stale());
}

#[tokio::test]
async fn what_was_stored_is_not_served_where_marathon_answers() {
    let kept = Fake::with_apps(&apps(&["/kept"]));
    crypto();
    let stored = baton::source::marathon::once(&config(&[kept.url()])).await.unwrap();
    let fake = Fake::with_apps(&apps(&["/new"]));
    let mut source = Source::start_from(config(&[fake.url()]), Some(stored));
    let snapshot = source.until("a snapshot", |snapshot| snapshot.revision > 0).await;
    assert_eq!((only(&snapshot).id.as_str(), snapshot.revision), ("/new", 1));
}

#[tokio::test]
async fn a_marathon_that_keeps_us_waiting_is_not_waited_for() {
    let kept = Fake::with_apps(&apps(&["/kept"]));
    crypto();
    let stored = baton::source::marathon::once(&config(&[kept.url()])).await.unwrap();
    let list = apps(&["/new"]);
    let fake = Fake::new(move |request| match request.is_events() {
        true => Reply::Stream(String::new()),
        false => Reply::json(&list).after(Duration::from_millis(800)),
    });
    let mut config = config(&[fake.url()]);
    config.timing.restore = Duration::from_millis(200);
    config.timing.read = Duration::from_secs(3);
    let mut source = Source::start_from(config, Some(stored));
    source.until_apps(&["/kept"]).await;
    source.until_apps(&["/new"]).await;
}

#[tokio::test]
async fn an_empty_list_is_believed_when_said_twice() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    fake.set(normal(&apps(&[])));
    fake.event("app_terminated_event");
    let snapshot = source.until_apps(&[]).await;
    assert_eq!((snapshot.revision, fake.fetches()), (2, 3));
    let status = source.status();
    assert_eq!((status.guard.holds, status.guard.confirmed, status.guard.held), (1, 1, None));
    // Empty stays empty without asking twice each time.
    source.commands.send(SourceCommand::Refetch).await.unwrap();
    source.until_fetched(4).await;
    assert_eq!(fake.fetches(), 4);
}

#[tokio::test]
async fn an_empty_list_whose_confirmation_fails_changes_nothing() {
    let fake = Fake::with_apps(&apps(&["/a"]));
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a"]).await;
    let mut asked = 0;
    fake.set(move |_| {
        asked += 1;
        if asked == 1 { Reply::json(&apps(&[])) } else { Reply::json("") }
    });
    source.commands.send(SourceCommand::Refetch).await.unwrap();
    let status = source.until_status(|status| status.fetch.trouble.is_some()).await;
    assert_eq!(source.snapshot().revision, 1);
    let why = status.guard.held.unwrap().text;
    assert_eq!(why, "Marathon lists no apps any more; what is served stays until a second list agrees");
}

#[tokio::test]
async fn an_empty_cluster_is_published_at_the_start() {
    let fake = Fake::with_apps(&apps(&[]));
    let mut source = Source::start(config(&[fake.url()]));
    let snapshot = source.until_apps(&[]).await;
    assert_eq!((snapshot.revision, fake.fetches()), (1, 1));
}

#[tokio::test]
async fn silence_about_health_keeps_the_last_verdict() {
    let list = |results: &str| format!(r#"{{"apps":[{}]}}"#, app("/a", "10.0.0.1", results));
    let fake = Fake::with_apps(&list("[]"));
    let mut source = Source::start(config(&[fake.url()]));
    let mut fetched = 0;
    for (results, want) in [
        ("[]", Health::Unknown),
        (r#"[{"alive":true}]"#, Health::Alive),
        ("[]", Health::Alive),
        ("null", Health::Alive),
        (r#"[{"alive":false}]"#, Health::Dead),
        ("[null]", Health::Dead),
    ] {
        fake.set(normal(&list(results)));
        fetched += 1;
        if fetched > 1 {
            source.commands.send(SourceCommand::Refetch).await.unwrap();
        }
        source.until_fetched(fetched).await;
        pass(20).await;
        assert_eq!(only(&source.snapshot()).instances[0].health, want, "{results}");
    }
}

#[tokio::test]
async fn verdicts_outlive_a_restart_during_a_leader_change() {
    let list = |results: &str| format!(r#"{{"apps":[{}]}}"#, app("/a", "10.0.0.1", results));
    let before = Fake::with_apps(&list(r#"[{"alive":true}]"#));
    crypto();
    let stored = baton::source::marathon::once(&config(&[before.url()])).await.unwrap();
    let fake = Fake::with_apps(&list("[]"));
    let mut source = Source::start_from(config(&[fake.url()]), Some(stored));
    source.until_fetched(1).await;
    pass(20).await;
    assert_eq!(only(&source.snapshot()).instances[0].health, Health::Alive);
}

#[tokio::test]
async fn host_names_are_resolved_after_apps_are_published() {
    let hosts = ["10.0.0.1", "localhost", "no-such-host.invalid"];
    let list = hosts.map(|host| app(&format!("/on-{host}"), host, "[]")).join(",");
    let fake = Fake::with_apps(&format!(r#"{{"apps":[{list}]}}"#));
    let mut source = Source::start(config(&[fake.url()]));
    let snapshot = source
        .until("the address of localhost", |snapshot| {
            snapshot.apps.values().filter(|app| app.instances[0].addr.is_some()).count() == 2
        })
        .await;
    let addrs: Vec<_> = snapshot.apps.values().map(|app| app.instances[0].addr.map(|a| a.to_string())).collect();
    assert_eq!(addrs, [Some("10.0.0.1".to_owned()), Some("127.0.0.1".to_owned()), None]);
    assert!(snapshot.revision <= 2);
}

#[tokio::test]
async fn addresses_outlive_a_restart() {
    crypto();
    let fake = Fake::with_apps(&format!(r#"{{"apps":[{}]}}"#, app("/a", "localhost", "[]")));
    let stored = baton::source::marathon::once(&config(&[fake.url()])).await.unwrap();
    let mut source = Source::start_from(config(&[fake.url()]), Some(stored));
    source.until_fetched(1).await;
    let first = source.until("a snapshot", |snapshot| snapshot.revision > 0).await;
    assert!(only(&first).instances[0].addr.is_some(), "no moment without address");
    pass(100).await;
    assert_eq!(source.snapshot().revision, 1);
}

#[tokio::test]
async fn a_member_that_dies_is_replaced_by_the_next() {
    let one = Fake::with_apps(&apps(&["/a"]));
    let two = Fake::with_apps(&apps(&["/b"]));
    let mut config = config(&[one.url(), two.url()]);
    config.timing.first_wait = Duration::from_secs(60);
    let mut source = Source::start(config);
    source.until_apps(&["/a"]).await;
    pass(400).await;
    one.stop();
    source.until_apps(&["/b"]).await;
    let status = source.status();
    assert_eq!((status.origin, status.stream.member), (Some(two.url()), Some(two.url())));
}
