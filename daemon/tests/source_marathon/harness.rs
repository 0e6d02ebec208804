//! The source as the supervisor runs it, with short times, and ways to wait for what it does.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use baton::source::marathon::agenda::Pace;
use baton::source::marathon::config::{MarathonConfig, MemberUrl, Timing};
use baton::source::marathon::guard::GuardConfig;
use baton::source::{Restored, SourceCommand, SourceStatus, marathon};
use haproxy::app::{App, AppId, Snapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A running source.
pub(crate) struct Source {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    status: watch::Receiver<SourceStatus>,
    pub(crate) commands: mpsc::Sender<SourceCommand>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: JoinSet<()>,
}

impl Source {
    pub(crate) fn start(config: MarathonConfig) -> Self {
        Self::start_from(config, None)
    }

    /// With what the store would remember.
    pub(crate) fn start_from(config: MarathonConfig, stored: Option<Snapshot>) -> Self {
        crypto();
        let restored = stored.map(|stored| Restored { apps: stored.apps, written: SystemTime::UNIX_EPOCH });
        let (snapshot_sender, snapshots) = watch::channel(Arc::new(Snapshot::default()));
        let (status_sender, status) = watch::channel(SourceStatus::default());
        let (commands, command_receiver) = mpsc::channel(1);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(marathon::run(
            config,
            restored,
            snapshot_sender,
            status_sender,
            command_receiver,
            shutdown.clone(),
        ));
        Self { snapshots, status, commands, shutdown, tasks }
    }

    /// The snapshot now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    pub(crate) fn status(&self) -> SourceStatus {
        self.status.borrow().clone()
    }

    /// Waits for a snapshot like this.
    pub(crate) async fn until(&mut self, what: &str, like: impl FnMut(&Arc<Snapshot>) -> bool) -> Arc<Snapshot> {
        let found = tokio::time::timeout(PATIENCE, self.snapshots.wait_for(like)).await;
        found.unwrap_or_else(|_| panic!("{what} did not happen: {:?}", self.status.borrow())).unwrap().clone()
    }

    /// Waits for a snapshot that lists exactly these apps.
    pub(crate) async fn until_apps(&mut self, ids: &[&str]) -> Arc<Snapshot> {
        let listed = |snapshot: &Arc<Snapshot>| snapshot.apps.keys().map(AppId::as_str).eq(ids.iter().copied());
        self.until(&format!("{ids:?}"), |snapshot| snapshot.revision > 0 && listed(snapshot)).await
    }

    /// Waits for a status like this.
    pub(crate) async fn until_status(&mut self, like: impl FnMut(&SourceStatus) -> bool) -> SourceStatus {
        let found = tokio::time::timeout(PATIENCE, self.status.wait_for(like)).await;
        let found = found.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| panic!("not so: {:?}", self.status.borrow()))
    }

    /// Waits until so many fetches were good.
    pub(crate) async fn until_fetched(&mut self, times: u64) {
        self.until_status(|status| status.fetch.ok >= times).await;
    }
}

/// Follows these members, with times for tests.
pub(crate) fn config(urls: &[String]) -> MarathonConfig {
    let timing = Timing {
        connect: Duration::from_millis(500),
        read: Duration::from_millis(300),
        total: Duration::from_secs(3),
        silence: Duration::from_secs(5),
        proven: Duration::from_millis(300),
        first_wait: Duration::from_millis(200),
        attach_first: Duration::from_millis(500),
        spacing: Duration::from_millis(1),
        apps: Pace { at_once: 2, spacing: Duration::from_millis(1), trailing: Duration::from_millis(150) },
        restore: Duration::from_secs(1),
        max_body: 1 << 20,
    };
    let urls = urls.iter().map(|url| MemberUrl::parse(url).unwrap()).collect();
    let guard = GuardConfig { max_removal: 0.5, confirm: Duration::from_millis(100) };
    MarathonConfig { timing, guard, ..MarathonConfig::new(urls) }
}

/// The answer that lists apps with these ids, each with one task.
pub(crate) fn apps(ids: &[&str]) -> String {
    let apps: Vec<_> = ids.iter().map(|id| app(id, "10.0.0.1", "[]")).collect();
    format!(r#"{{"apps":[{}]}}"#, apps.join(","))
}

/// One app with one task on this host, with these health check results.
pub(crate) fn app(id: &str, host: &str, results: &str) -> String {
    let task = format!(r#"{{"id":"task-of-{id}","host":"{host}","ports":[31000],"healthCheckResults":{results}}}"#);
    format!(r#"{{"id":"{id}","instances":1,"portDefinitions":[{{"port":10000}}],"tasks":[{task}]}}"#)
}

/// The only app of a snapshot.
pub(crate) fn only(snapshot: &Snapshot) -> &App {
    assert_eq!(snapshot.apps.len(), 1);
    snapshot.apps.values().next().unwrap()
}

/// The lines logged so far that name this member, warnings and worse.
pub(crate) fn warnings_about(member: &str) -> Vec<String> {
    LOG.0.lock().unwrap().iter().filter(|line| line.contains(member)).cloned().collect()
}

struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut line = record.args().to_string();
            let mut pairs = Pairs(&mut line);
            record.key_values().visit(&mut pairs).unwrap();
            self.0.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> log::kv::VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: log::kv::Key<'kvs>, value: log::kv::Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

/// What the daemon's main does first.
pub(crate) fn crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    if log::set_logger(&LOG).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

/// Lets time pass.
pub(crate) async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

const PATIENCE: Duration = Duration::from_secs(5);
