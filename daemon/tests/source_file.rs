//! The file source: changes of every kind are seen, bad content keeps what was read last.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baton::source::file::{self, FileConfig};
use baton::source::{SourceCommand, SourceStatus};
use haproxy::app::{AppId, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

struct Source {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    status: watch::Receiver<SourceStatus>,
    commands: mpsc::Sender<SourceCommand>,
    _tasks: JoinSet<()>,
}

fn start(path: &Path) -> Source {
    let (snapshot_sender, snapshots) = watch::channel(Arc::default());
    let (status_sender, status) = watch::channel(SourceStatus::default());
    let (commands, receiver) = mpsc::channel(1);
    let config = FileConfig { poll: Duration::from_millis(10), ..FileConfig::new(path) };
    let mut tasks = JoinSet::new();
    tasks.spawn(file::run(config, snapshot_sender, status_sender, receiver, CancellationToken::new()));
    Source { snapshots, status, commands, _tasks: tasks }
}

impl Source {
    async fn until_apps(&mut self, ids: &[&str]) -> Arc<Snapshot> {
        let like = |s: &Arc<Snapshot>| s.revision > 0 && s.apps.keys().map(AppId::as_str).eq(ids.iter().copied());
        let found = tokio::time::timeout(PATIENCE, self.snapshots.wait_for(like)).await;
        found.unwrap_or_else(|_| panic!("no {ids:?}: {:?}", self.status.borrow())).unwrap().clone()
    }

    async fn until_trouble(&mut self) -> String {
        let like = |status: &SourceStatus| status.fetch.trouble.is_some();
        let found = tokio::time::timeout(PATIENCE, self.status.wait_for(like)).await;
        found.unwrap().unwrap().fetch.trouble.clone().unwrap().text
    }
}

#[tokio::test]
async fn follows_changes_in_place_and_by_rename() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("apps.json");
    fs::write(&path, r#"{"apps":[{"id":"/a"}]}"#).unwrap();
    let mut source = start(&path);
    source.until_apps(&["/a"]).await;
    fs::write(&path, r#"[{"id":"/b"}]"#).unwrap();
    source.until_apps(&["/b"]).await;
    // As editors do it; the same length and, if it is quick, the same time.
    let written = dir.path().join(".apps.json.swp");
    fs::write(&written, r#"[{"id":"/c"}]"#).unwrap();
    fs::rename(&written, &path).unwrap();
    source.until_apps(&["/c"]).await;
    for n in 0..10 {
        fs::write(&path, format!(r#"[{{"id":"/{n}"}}]"#)).unwrap();
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    source.until_apps(&["/9"]).await;
    assert_eq!(source.status.borrow().origin, Some(path.display().to_string()));
}

#[tokio::test]
async fn a_change_that_leaves_no_trace_is_seen_if_it_comes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("apps.json");
    fs::write(&path, r#"[{"id":"/a"}]"#).unwrap();
    let mut source = start(&path);
    // Time stamps are coarse: the second write has the time of the first. A slow machine may need
    // more than one try to be quick enough.
    for _ in 0..20 {
        let reads = source.status.borrow().fetch.ok;
        fs::write(&path, r#"[{"id":"/a"}]"#).unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        source.status.wait_for(|status| status.fetch.ok > reads).await.unwrap();
        fs::write(&path, r#"[{"id":"/b"}]"#).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        if source.snapshots.borrow().apps.contains_key(&AppId::parse("/b").unwrap()) {
            return;
        }
    }
    panic!("never seen");
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_one_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("apps.json");
    let mut source = start(&path);
    assert!(source.until_trouble().await.contains("No such file"), "missing at the start");
    assert_eq!(source.snapshots.borrow().revision, 0);
    let good = || fs::write(&path, r#"[{"id":"/a"}]"#).unwrap();
    for (bad, said) in
        [("", "the answer is empty"), ("[{", "the answer is not JSON: EOF"), ("{}", "the answer has no `apps` array")]
    {
        good();
        source.until_apps(&["/a"]).await;
        let settled = |status: &SourceStatus| status.fetch.trouble.is_none();
        source.status.wait_for(settled).await.unwrap();
        fs::write(&path, bad).unwrap();
        let text = source.until_trouble().await;
        assert!(text.contains(said) && text.contains("apps.json"), "{text}");
        assert_eq!(source.snapshots.borrow().revision, 1, "{bad}");
    }
    fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(source.snapshots.borrow().apps.len(), 1);
    fs::write(&path, r#"[{"id":"/z"}]"#).unwrap();
    source.until_apps(&["/z"]).await;
    assert!(!source.status.borrow().is_stale());
}

#[tokio::test]
async fn an_unchanged_file_is_read_once_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("apps.json");
    fs::write(&path, r#"[{"id":"/a"}]"#).unwrap();
    let mut source = start(&path);
    source.until_apps(&["/a"]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let reads = source.status.borrow().fetch.ok;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(source.status.borrow().fetch.ok, reads);
    source.commands.send(SourceCommand::Refetch).await.unwrap();
    source.status.wait_for(|status| status.fetch.ok > reads).await.unwrap();
    assert_eq!(source.snapshots.borrow().revision, 1);
}

#[tokio::test]
async fn reads_once_with_hosts_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("apps.json");
    fs::write(&path, r#"[{"id":"/a","tasks":[{"id":"t","host":"localhost","ports":[1]}]}]"#).unwrap();
    let snapshot = file::once(&path).await.unwrap();
    let app = snapshot.apps.values().next().unwrap();
    assert_eq!(app.instances[0].addr, Some("127.0.0.1".parse().unwrap()));
    let error = file::once(dir.path()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot read "), "{error}");
}

const PATIENCE: Duration = Duration::from_secs(5);
