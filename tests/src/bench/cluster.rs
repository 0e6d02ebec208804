//! Synthetic clusters: the apps, and Marathon's answer about them.
//!
//! The simulator's bulk loader makes them, so a benchmark in this process and one over the wire see
//! the same cluster. Its apps are those that marathon-lb was measured with: bridge networking, one
//! port, one VHOST, a MESOS_HTTP check.

use std::fmt;

use anyhow::{Context as _, ensure};
use baton::source::marathon::wire::{self, Envelope};
use haproxy::app::Snapshot;
use serde_json::{Value, json};

use crate::lab::client::get;
use crate::sim::{Bulk, BulkBacking, Config, Personality, Sim};

/// How big a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Apps.
    pub apps: usize,
    /// Running tasks of each.
    pub tasks: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.apps, self.tasks)
    }
}

impl Shape {
    /// The apps that never change, for the bulk loader; nothing listens.
    pub fn still(self, checks: bool) -> Bulk {
        let app = if checks { |n| still_app(n, true) } else { |n| still_app(n, false) };
        Bulk { apps: self.apps, tasks: self.tasks, backing: BulkBacking::Nothing, app }
    }

    /// The apps whose tasks listen and can be moved; without checks, whose results would be events
    /// in the middle of a measurement.
    pub fn moving(self) -> Bulk {
        Bulk { apps: self.apps, tasks: self.tasks, backing: BulkBacking::Real, app: moving_app }
    }

    /// What a Marathon answers when it has such apps that never change.
    ///
    /// # Errors
    /// When the simulator cannot be started.
    pub async fn answer(self, checks: bool) -> anyhow::Result<String> {
        let sim = Sim::start(Config::new(Personality::V1_8)).await?;
        sim.load(&self.still(checks)).map_err(|why| anyhow::anyhow!("load the simulator: {why}"))?;
        let answer = get(&format!("{}/v2/apps?embed=apps.tasks", sim.url(0)), &[]).await;
        sim.stop().await;
        ensure!(answer.status == 200, "the simulator answers {}: {}", answer.status, answer.body);
        Ok(answer.body)
    }
}

/// The answer as the reconcile loop gets it.
///
/// # Errors
/// When it is not read completely.
pub fn snapshot(answer: &str) -> anyhow::Result<Snapshot> {
    let read = wire::read(answer.as_bytes(), Envelope::Object).context("read the simulator's answer")?;
    ensure!(read.issues.is_empty(), "the simulator's answer has issues, the first: {}", read.issues[0]);
    Ok(Snapshot { apps: read.apps, issues: read.issues, revision: 1 })
}

/// The id of the moving app `n`.
pub fn moving_id(n: usize) -> String {
    format!("/bench/moving-{n}")
}

/// The service port of the moving app `n`.
pub fn moving_port(n: usize) -> usize {
    20_000 + n
}

/// The virtual host of the moving app `n`.
pub fn moving_host(n: usize) -> String {
    host(&moving_id(n))
}

/// The id of the app `n` that comes later.
pub fn fresh_id(n: usize) -> String {
    format!("/bench/fresh-{n}")
}

/// The service port of the app `n` that comes later.
pub fn fresh_port(n: usize) -> usize {
    30_000 + n
}

/// The app `n` that comes later, with one task.
pub fn fresh_app(n: usize) -> Value {
    app(&fresh_id(n), fresh_port(n), false)
}

fn host(id: &str) -> String {
    format!("{}.bench.test", id.trim_start_matches("/bench/"))
}

fn still_app(n: usize, checked: bool) -> Value {
    app(&format!("/bench/app-{n}"), 10_000 + n, checked)
}

fn moving_app(n: usize) -> Value {
    app(&moving_id(n), moving_port(n), false)
}

fn app(id: &str, port: usize, checked: bool) -> Value {
    // Seldom, because most tasks do not listen: HAProxy has the checks and hardly makes them.
    let check = json!({"protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "intervalSeconds": 3_600});
    json!({
        "id": id,
        "cmd": "serve",
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {"image": "registry.bench.test/serve:1.0"},
            "portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": port, "protocol": "tcp"}],
        },
        "networks": [{"mode": "container/bridge"}],
        "healthChecks": checked.then_some(check).into_iter().collect::<Vec<_>>(),
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": host(id)},
    })
}
