//! Single apps: what is asked for, in which order answers count, and what deletes an app.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use haproxy::app::{AppId, Snapshot, TaskState};

use crate::fake::{Fake, Reply, Request};
use crate::harness::{Source, config, pass};

/// A Marathon that knows apps by id, each as its list of task ids, and can be slow.
#[derive(Clone, Default)]
struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    apps: BTreeMap<&'static str, Vec<&'static str>>,
    slow_list: Duration,
    slow_app: Duration,
    /// What is answered about single apps in place of the truth.
    instead: Option<Reply>,
}

impl World {
    fn new(apps: &[(&'static str, &[&'static str])]) -> Self {
        let world = Self::default();
        world.set(apps);
        world
    }

    fn set(&self, apps: &[(&'static str, &[&'static str])]) {
        self.0.lock().unwrap().apps = apps.iter().map(|(id, tasks)| (*id, tasks.to_vec())).collect();
    }

    fn marathon(&self) -> Fake {
        let world = self.clone();
        Fake::new(move |request| world.answer(request))
    }

    fn answer(&self, request: &Request) -> Reply {
        let state = self.0.lock().unwrap();
        if request.is_events() {
            return Reply::Stream(String::new());
        }
        let path = request.path.split('?').next().unwrap();
        match path.strip_prefix("/v2/apps").unwrap() {
            "" => {
                let apps: Vec<_> = state.apps.iter().map(|(id, tasks)| json(id, tasks)).collect();
                Reply::json(&format!(r#"{{"apps":[{}]}}"#, apps.join(","))).after(state.slow_list)
            }
            id => {
                let told = match (&state.instead, state.apps.get(id)) {
                    (Some(reply), _) => reply.clone(),
                    (None, Some(tasks)) => Reply::json(&format!(r#"{{"app":{}}}"#, json(id, tasks))),
                    (None, None) => no_such(id),
                };
                told.after(state.slow_app)
            }
        }
    }
}

fn json(id: &str, tasks: &[&str]) -> String {
    let tasks: Vec<_> =
        tasks.iter().map(|task| format!(r#"{{"id":"{task}","host":"10.0.0.1","ports":[31000]}}"#)).collect();
    format!(r#"{{"id":"{id}","instances":1,"portDefinitions":[{{"port":10000}}],"tasks":[{}]}}"#, tasks.join(","))
}

fn no_such(id: &str) -> Reply {
    let body = format!(r#"{{"message":"App '{id}' does not exist"}}"#);
    Reply::status("404 Not Found", "Content-Type: application/json\r\n", &body)
}

fn update(fake: &Fake, app: &str, task: &str, status: &str) {
    let data = format!(
        r#"{{"eventType":"status_update_event","appId":"{app}","taskId":"{task}","taskStatus":"TASK_{status}"}}"#
    );
    fake.send(&format!("event: status_update_event\r\ndata: {data}\r\n\r\n"));
}

fn tasks(snapshot: &Snapshot, app: &str) -> Vec<String> {
    let app = snapshot.apps.get(&AppId::parse(app).unwrap());
    let shown = app.into_iter().flat_map(|app| &app.instances).map(|task| match task.state {
        TaskState::Killing => format!("{}-", task.id),
        _ => task.id.clone(),
    });
    shown.collect()
}

async fn until_tasks(source: &mut Source, app: &str, want: &[&str]) {
    source.until(&format!("{app}: {want:?}"), |snapshot| tasks(snapshot, app) == want).await;
}

fn paths(fake: &Fake) -> Vec<String> {
    fake.requests().into_iter().filter(|r| !r.is_events()).map(|r| r.path).collect()
}

#[tokio::test]
async fn an_event_about_an_app_fetches_it_at_once_and_once_more() {
    let world = World::new(&[("/g/a", &["t1"]), ("/b", &["t2"])]);
    let fake = world.marathon();
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/b", "/g/a"]).await;
    world.set(&[("/g/a", &["t1", "t3"]), ("/b", &["unseen"])]);
    update(&fake, "/g/a", "t3", "RUNNING");
    until_tasks(&mut source, "/g/a", &["t1", "t3"]).await;
    pass(400).await;
    let one = "/v2/apps/g/a?embed=app.tasks";
    assert_eq!(paths(&fake), ["/v2/apps?embed=apps.tasks", one, one]);
    assert_eq!(tasks(&source.snapshot(), "/b"), ["t2"]);
    let status = source.status();
    assert_eq!((status.fetch.ok, status.single.ok), (1, 2));
    assert_eq!(status.single.reasons, BTreeMap::from([("status_update_event", 1), ("trailing", 1)]));
    assert!(status.single.bytes > 200 && status.single.bytes < status.fetch.bytes * 3);
}

#[tokio::test]
async fn a_burst_about_many_apps_is_bounded_and_coalesced() {
    let apps: Vec<(&'static str, &[&'static str])> = vec![("/a", &["t1"]), ("/b", &["t2"]), ("/c", &["t3"])];
    let world = World::new(&apps);
    let fake = world.marathon();
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a", "/b", "/c"]).await;
    world.0.lock().unwrap().slow_app = Duration::from_millis(100);
    for _ in 0..30 {
        for app in ["/a", "/b", "/c"] {
            update(&fake, app, "x", "RUNNING");
        }
    }
    pass(1_500).await;
    let asked = paths(&fake).len() - 1;
    // Two at a time; each app once, once for what came meanwhile, and the trailing one.
    assert!((6..=12).contains(&asked), "{asked}");
    assert_eq!(source.status().fetch.ok, 1);
}

#[tokio::test]
async fn tasks_drain_and_end_before_any_answer_and_stay_ended() {
    let world = World::new(&[("/a", &["t1", "t2"])]);
    let fake = world.marathon();
    let mut config = config(&[fake.url()]);
    config.timing.apps.trailing = Duration::from_secs(60);
    let mut source = Source::start(config);
    source.until_apps(&["/a"]).await;
    update(&fake, "/a", "t1", "KILLING");
    until_tasks(&mut source, "/a", &["t1-", "t2"]).await;
    update(&fake, "/a", "t1", "KILLED");
    until_tasks(&mut source, "/a", &["t2"]).await;
    assert_eq!(paths(&fake).len(), 1, "events alone");
    // The list still has it: it is older than it looks.
    fake.event("group_change_success");
    source.until_fetched(2).await;
    update(&fake, "/a", "t9", "RUNNING");
    source.until_status(|status| status.single.ok == 1).await;
    pass(50).await;
    assert_eq!(tasks(&source.snapshot(), "/a"), ["t2"]);
}

#[tokio::test]
async fn a_slow_list_does_not_undo_what_was_asked_for_later() {
    let world = World::new(&[("/a", &["t1"]), ("/b", &["t2"])]);
    let fake = world.marathon();
    let mut config = config(&[fake.url()]);
    config.timing.read = Duration::from_secs(3);
    config.timing.apps.trailing = Duration::from_secs(60);
    let mut source = Source::start(config);
    source.until_apps(&["/a", "/b"]).await;
    // A list is on its way for long; meanwhile one app gets a task and another is deleted.
    world.0.lock().unwrap().slow_list = Duration::from_millis(700);
    fake.event("group_change_success");
    pass(200).await;
    world.set(&[("/a", &["t1", "t3"])]);
    update(&fake, "/a", "t3", "RUNNING");
    update(&fake, "/b", "t2", "RUNNING");
    until_tasks(&mut source, "/a", &["t1", "t3"]).await;
    source.until_apps(&["/a"]).await;
    assert_eq!(source.status().fetch.ok, 1, "the list is still on its way");
    source.until_fetched(2).await;
    pass(50).await;
    let now = source.snapshot();
    assert_eq!((now.apps.len(), tasks(&now, "/a")), (1, vec!["t1".to_owned(), "t3".to_owned()]));
}

#[tokio::test]
async fn only_the_word_that_it_does_not_exist_deletes_an_app() {
    let html = "<html>404</html>";
    for reply in [
        Reply::status("404 Not Found", "", html),
        Reply::status("404 Not Found", "", r#"{"message":"URI not found: /v2/apps/a"}"#),
        Reply::status("404 Not Found", "", r#"{"message":"App '/b' does not exist"}"#),
        Reply::status("404 Not Found", "", r#"{"message":"Group '/a' does not exist"}"#),
        Reply::status("503 Unavailable", "", r#"{"message":"App '/a' does not exist"}"#),
        Reply::json(r#"{"message":"App '/a' does not exist"}"#),
        Reply::json(r#"{"app":null}"#),
        Reply::json(r#"{"app":{}}"#),
        Reply::json(r#"{"app":{"id":"/b"}}"#),
        Reply::json(r#"{"apps":[]}"#),
        Reply::json(r#"{"tasks":[]}"#),
        Reply::json(""),
        Reply::Raw(vec![]),
    ] {
        let shown = format!("{reply:?}").chars().take(120).collect::<String>();
        let world = World::new(&[("/a", &["t1"])]);
        let fake = world.marathon();
        let mut source = Source::start(config(&[fake.url()]));
        source.until_apps(&["/a"]).await;
        world.0.lock().unwrap().instead = Some(reply);
        update(&fake, "/a", "t1", "RUNNING");
        let status = source.until_status(|status| status.single.failed == 1 && status.fetch.ok == 2).await;
        assert_eq!(status.fetch.reasons["app_failed"], 1, "{shown}");
        assert_eq!(source.snapshot().revision, 1, "{shown}");
    }
    let world = World::new(&[("/a", &["t1"]), ("/b", &["t2"])]);
    let fake = world.marathon();
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a", "/b"]).await;
    world.set(&[("/b", &["t2"])]);
    update(&fake, "/a", "t1", "RUNNING");
    source.until_apps(&["/b"]).await;
    assert_eq!(source.status().single.gone, 1);
}

#[tokio::test]
async fn an_app_that_cannot_be_read_stays_as_it_was_with_its_issue_until_it_can() {
    let world = World::new(&[("/a", &["t1"]), ("/b", &["t2"])]);
    let fake = world.marathon();
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a", "/b"]).await;
    world.0.lock().unwrap().instead = Some(Reply::json(r#"{"app":{"id":"/a","tasks":"none"}}"#));
    update(&fake, "/a", "t1", "RUNNING");
    let snapshot = source.until("told", |snapshot| !snapshot.issues.is_empty()).await;
    assert_eq!(snapshot.issues[0].to_string(), "/a: the app cannot be read: `tasks` is no array");
    assert_eq!(snapshot.apps.len(), 2);
    world.0.lock().unwrap().instead = None;
    update(&fake, "/a", "t1", "RUNNING");
    let snapshot = source.until("mended", |snapshot| snapshot.issues.is_empty()).await;
    assert_eq!(snapshot.apps.len(), 2);
}

#[tokio::test]
async fn another_member_is_asked_when_one_cannot_tell() {
    let world = World::new(&[("/a", &["t1"])]);
    let (one, two) = (world.marathon(), world.marathon());
    let mut source = Source::start(config(&[one.url(), two.url()]));
    source.until_apps(&["/a"]).await;
    let list = world.clone();
    one.set(move |request| match request.path.starts_with("/v2/apps/") {
        true => Reply::status("503 Unavailable", "", r#"{"message":"no leader"}"#),
        false => list.answer(request),
    });
    world.set(&[("/a", &["t1", "t2"])]);
    update(&one, "/a", "t2", "RUNNING");
    until_tasks(&mut source, "/a", &["t1", "t2"]).await;
    assert_eq!((source.status().fetch.ok, source.status().single.failed), (1, 0));
}

#[tokio::test]
async fn an_app_that_a_list_lacks_is_asked_for() {
    let world = World::new(&[("/a", &["t1"]), ("/b", &["t2"])]);
    let fake = world.marathon();
    let mut source = Source::start(config(&[fake.url()]));
    source.until_apps(&["/a", "/b"]).await;
    // One list is cut short on its way; no event follows.
    let truth = world.clone();
    let mut short = true;
    fake.set(move |request| match request.path.starts_with("/v2/apps?") && std::mem::take(&mut short) {
        true => Reply::json(&format!(r#"{{"apps":[{}]}}"#, json("/b", &["t2"]))),
        false => truth.answer(request),
    });
    fake.event("group_change_success");
    source.until("both again", |snapshot| snapshot.revision == 3 && snapshot.apps.len() == 2).await;
    assert_eq!(source.status().single.reasons["vanished"], 1);
}
