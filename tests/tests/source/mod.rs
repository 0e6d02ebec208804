//! What the tests of the source share: it runs in this process and follows a simulated Marathon.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baton::source::marathon::agenda::Pace;
use baton::source::marathon::config::{MarathonConfig, MemberUrl, Timing};
use baton::source::marathon::guard::GuardConfig;
use baton::source::{Restored, SourceCommand, SourceStatus, marathon};
use e2e::sim::Sim;
use e2e::sim::instance::Condition;
use haproxy::app::{AppId, Snapshot, TaskState};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A running source.
pub(crate) struct Source {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) status: watch::Receiver<SourceStatus>,
    pub(crate) commands: mpsc::Sender<SourceCommand>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// Tasks by app: id, ports, whether it is being killed.
pub(crate) type Picture = BTreeMap<String, Vec<(String, Vec<Option<u16>>, bool)>>;

impl Source {
    pub(crate) fn start(sim: &Sim, restored: Option<Restored>) -> Self {
        Self::start_with(config(sim), restored)
    }

    pub(crate) fn start_with(config: MarathonConfig, restored: Option<Restored>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (snapshot_sender, snapshots) = watch::channel(Arc::new(Snapshot::default()));
        let (status_sender, status) = watch::channel(SourceStatus::default());
        let (commands, inbox) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(marathon::run(config, restored, snapshot_sender, status_sender, inbox, stop.clone()));
        Self { snapshots, status, commands, stop, tasks }
    }

    pub(crate) fn status(&self) -> SourceStatus {
        self.status.borrow().clone()
    }

    /// The tasks that are published.
    pub(crate) fn picture(&self) -> Picture {
        let snapshot = self.snapshots.borrow();
        let tasks = snapshot.apps.values().map(|app| {
            let shown = app
                .instances
                .iter()
                .filter(|task| matches!(task.state, TaskState::Running | TaskState::Unreachable | TaskState::Killing));
            let mut shown: Vec<_> =
                shown.map(|task| (task.id.clone(), task.ports.clone(), task.state == TaskState::Killing)).collect();
            shown.sort();
            (app.id.to_string(), shown)
        });
        tasks.collect()
    }

    /// Waits until what is published is what the cluster has, for at most ten seconds.
    pub(crate) async fn until_equal(&self, sim: &Sim, apps: &[String]) {
        for _ in 0..1_000 {
            if self.picture() == truth(sim, apps) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(self.picture(), truth(sim, apps), "{:#?}", self.status());
    }

    /// Waits until so many apps are published.
    pub(crate) async fn until_apps(&mut self, count: usize) {
        let waited = self.snapshots.wait_for(|snapshot| snapshot.revision > 0 && snapshot.apps.len() == count);
        let waited = tokio::time::timeout(PATIENCE, waited).await.map(|found| found.map(|_| ()));
        waited.unwrap_or_else(|_| panic!("not {count} apps: {:#?}", self.status.borrow())).unwrap();
    }

    /// Waits for a status like this.
    pub(crate) async fn until_status(&mut self, like: impl FnMut(&SourceStatus) -> bool) -> SourceStatus {
        let found = tokio::time::timeout(PATIENCE, self.status.wait_for(like)).await;
        let found = found.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| panic!("not so: {:#?}", self.status.borrow()))
    }

    /// Waits until nothing was fetched for a while longer than the trailing fetch takes.
    pub(crate) async fn quiet(&self) {
        let mut last = (0, 0);
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let status = self.status.borrow();
            let now = (status.fetch.ok, status.single.ok);
            if now == last {
                return;
            }
            last = now;
        }
        panic!("never quiet: {:#?}", self.status.borrow());
    }
}

/// What the cluster has, as it would be published.
pub(crate) fn truth(sim: &Sim, apps: &[String]) -> Picture {
    let tasks = |app: &String| {
        let there = sim
            .instances(app)
            .into_iter()
            .filter(|task| matches!(task.condition, Condition::Running | Condition::Unreachable | Condition::Killing));
        let mut shown: Vec<_> = there
            .map(|task| {
                let ports = task.ports.iter().map(|port| Some(*port)).collect();
                (task.task_id, ports, task.condition == Condition::Killing)
            })
            .collect();
        shown.sort();
        (app.clone(), shown)
    };
    apps.iter().map(tasks).collect()
}

/// Follows this cluster, with times for tests; what is fetched without an event comes much later.
pub(crate) fn config(sim: &Sim) -> MarathonConfig {
    let timing = Timing {
        connect: Duration::from_millis(500),
        read: Duration::from_secs(1),
        total: Duration::from_secs(3),
        proven: Duration::from_millis(200),
        first_wait: Duration::from_millis(50),
        spacing: Duration::from_millis(20),
        apps: Pace { at_once: 4, spacing: Duration::from_millis(5), trailing: Duration::from_millis(300) },
        restore: Duration::from_millis(500),
        ..Timing::default()
    };
    let guard = GuardConfig { max_removal: 0.5, confirm: Duration::from_millis(500) };
    let urls = sim.urls().iter().map(|url| MemberUrl::parse(url).unwrap()).collect();
    MarathonConfig { timing, guard, max_backoff: Duration::from_millis(300), ..MarathonConfig::new(urls) }
}

/// An app on bridge networking with one service port.
pub(crate) fn app(id: &str, instances: u32) -> Value {
    json!({
        "id": id,
        "instances": instances,
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": "web",
                "network": "BRIDGE",
                "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": 0, "protocol": "tcp"}],
            },
        },
    })
}

/// `count` apps of so many tasks each, all running.
pub(crate) async fn deploy(sim: &Sim, count: usize, tasks: u32) -> Vec<String> {
    let ids: Vec<_> = (0..count).map(|n| format!("/g/app-{n}")).collect();
    for id in &ids {
        sim.post_app(&app(id, tasks)).unwrap();
    }
    assert!(sim.wait_settled(PATIENCE).await);
    ids
}

/// An app of a snapshot.
pub(crate) fn named(id: &str) -> AppId {
    AppId::parse(id).unwrap()
}

const PATIENCE: Duration = Duration::from_secs(10);
