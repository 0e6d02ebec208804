//! The cluster, a real `baton` with its HAProxy before it, and a client that asks all the time.
//!
//! Each act of the demo asks for something, waits here until HAProxy serves what Marathon runs, and tells what happened.

#![allow(clippy::disallowed_methods, reason = "measures how long things take to start")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use baton::status::Report;

use super::client::{Client, Tally};
use super::cluster::{Cluster, MARATHON, WEB};
use super::host::Host;
use super::probe::counted;
use super::screen::{Mark, Screen};
use crate::lab::baton::Baton;

/// Everything that runs. Dropped in this order: the client first, the cluster last.
pub(super) struct Stage {
    /// Where it is told.
    pub(super) screen: Screen,
    /// Where `baton` and HAProxy log.
    log: String,
    client: Client,
    baton: Baton,
    /// The simulated Marathon.
    pub(super) cluster: Cluster,
    /// What the client saw so far.
    total: Tally,
    probes: u32,
    failed: u32,
    act: Act,
}

/// What happened since the act began.
#[derive(Default)]
struct Act {
    number: u32,
    /// The first of Marathon's events in it.
    event: u64,
    /// When HAProxy's configuration was last confirmed.
    applied_at: Option<f64>,
    /// How each change was applied, and in how many milliseconds.
    applied: Vec<(String, f64)>,
}

impl Stage {
    /// Starts everything, a line for each part.
    ///
    /// # Errors
    /// When a part does not come up.
    pub(super) async fn open(screen: Screen, host: &Host) -> anyhow::Result<Self> {
        let cluster = Cluster::start().await?;
        screen.row(Mark::None, "marathon", &format!("http://{MARATHON}, a simulated 1.8"));
        let began = Instant::now();
        let tasks = cluster.deploy().await?;
        let took = began.elapsed().as_millis();
        let text = format!("the two published groups, nginx and tomcat: {tasks} tasks run after {took} ms");
        screen.row(Mark::None, "apps", &text);

        let baton = Baton::start_in(host.dir()?, &config(), &[]).await?;
        let served = baton.until("applied its first configuration", |status| status["applied"]["at"].is_f64()).await?;
        let report: Report = serde_json::from_value(served)?;
        let pid = report.haproxy.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
        let text = format!("{}, pid {}, with HAProxy {}{pid}", report.version, report.pid, report.haproxy.version);
        screen.row(Mark::None, "baton", &text);
        let act = Act { applied_at: report.applied.at, ..Act::default() };
        screen.row(Mark::None, "applied", &format!("{}; {}", applied(&changes(&report)), serves(&report)));
        let log = host.log().display().to_string();
        screen.row(Mark::None, "log", &log);

        let client = Client::start()?;
        Ok(Self { screen, log, client, baton, cluster, total: Tally::default(), probes: 0, failed: 0, act })
    }

    /// Begins an act.
    pub(super) fn act(&mut self, title: &str) {
        let (number, event) = (self.act.number + 1, self.cluster.sim.event_position());
        self.act = Act { number, event, applied_at: self.act.applied_at, applied: Vec::new() };
        self.screen.heading(&format!("{number}  {title}"));
    }

    /// Tells what was asked for.
    pub(super) fn asked(&self, text: &str) {
        self.screen.row(Mark::None, "asked", text);
    }

    /// Waits until Marathon has done what it was asked for, HAProxy knows all tasks and no others, the client has met
    /// those of the web app, and `done`; tells what `baton` did for that.
    ///
    /// # Errors
    /// When it takes too long.
    pub(super) async fn follow(&mut self, done: impl Fn(&Report) -> bool) -> anyhow::Result<Report> {
        for _ in 0..POLLS {
            let report: Report = serde_json::from_value(self.baton.status().await?)?;
            if report.applied.at > self.act.applied_at {
                self.act.applied_at = report.applied.at;
                self.act.applied.extend(changes(&report));
            }
            let settled = self.cluster.sim.wait_settled(Duration::ZERO).await;
            let same = settled && self.servers() == self.cluster.endpoints();
            let met = || self.cluster.tasks(WEB.0).iter().all(|task| self.client.has_met(task));
            if same && !report.applied.pending && met() && done(&report) {
                let text = format!("{}; {}", applied(&self.act.applied), serves(&report));
                self.screen.row(Mark::None, "applied", &text);
                return Ok(report);
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("HAProxy does not serve what Marathon runs; baton's and HAProxy's log: {}", self.log);
    }

    /// Tells what a probe found, and counts it.
    pub(super) fn check(&mut self, name: &str, found: anyhow::Result<String>) {
        self.probes += 1;
        match found {
            Ok(text) => self.screen.row(Mark::Good, name, &text),
            Err(why) => {
                self.failed += 1;
                self.screen.row(Mark::Bad, name, &format!("{why:#}"));
            }
        }
    }

    /// Tells who answers the client now, and how many of its requests failed since it last was asked, of which
    /// `forgiven` are not the load balancer's fault.
    pub(super) async fn ask_client(&mut self, forgiven: u64) {
        let tasks = self.cluster.tasks(WEB.0);
        let (before, mut now) = (self.client.take(), Tally::default());
        for _ in 0..SAMPLES {
            tokio::time::sleep(SAMPLE).await;
            now = now.and(self.client.take());
            if tasks.iter().all(|task| now.tasks.contains_key(task)) {
                break;
            }
        }
        let met: BTreeSet<String> = now.tasks.keys().cloned().collect();
        let (answer, strange) = (tasks.intersection(&met).count(), met.difference(&tasks).count());
        let tally = before.and(now);
        let whom = match (answer == tasks.len(), strange) {
            (true, 0) => {
                Ok(format!("answered by {} of {}{}", counted(answer, "task"), WEB.0, self.since_running(&tally)))
            }
            _ => Err(anyhow!("answered by {answer} of {} tasks of {} and {strange} others", tasks.len(), WEB.0)),
        };
        self.check("client", whom);
        self.check(
            "client",
            match &tally.first_failure {
                None => Ok(tally.to_string()),
                Some(_) if tally.failed <= forgiven => Ok(format!("{tally} (inside a task as it died)")),
                Some(why) => Err(anyhow!("{tally}; the first one: {why}")),
            },
        );
        self.total = std::mem::take(&mut self.total).and(tally);
    }

    /// Ends the client's loops and tells the sum of everything.
    ///
    /// # Errors
    /// When a probe failed.
    pub(super) fn sum(&mut self) -> anyhow::Result<()> {
        self.client.stop();
        self.screen.heading("In all");
        let mark = if self.failed == 0 { Mark::Good } else { Mark::Bad };
        let right = self.probes - self.failed;
        self.screen.row(mark, "probes", &format!("{right} of {} found what they should", self.probes));
        self.screen.row(mark, "client", &self.total.to_string());
        if self.failed > 0 {
            bail!("{} of {} probes failed, see ✗; baton's and HAProxy's log: {}", self.failed, self.probes, self.log);
        }
        Ok(())
    }

    /// Ends everything in order.
    ///
    /// # Errors
    /// When `baton` does not end.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        drop(self.client);
        let ended = self.baton.stop().await;
        self.cluster.sim.stop().await;
        ended.map(drop)
    }

    /// How soon the tasks that are new in this act answered, from Marathon's event that they run.
    fn since_running(&self, tally: &Tally) -> String {
        let events = self.cluster.sim.events_since(self.act.event);
        let waits = events.iter().filter(|event| event.body["taskStatus"] == "TASK_RUNNING").filter_map(|event| {
            let met = tally.tasks.get(event.body["taskId"].as_str()?)?;
            Some(met.saturating_duration_since(event.at))
        });
        let slowest = waits.max().map(|wait| format!(", new ones within {} ms of running", wait.as_millis()));
        slowest.unwrap_or_default()
    }

    /// The servers in the configuration that HAProxy runs.
    fn servers(&self) -> BTreeSet<SocketAddr> {
        let config = self.baton.haproxy_cfg();
        let lines = config.lines().filter_map(|line| line.trim_start().strip_prefix("server "));
        lines.filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
    }
}

/// The last change that the report tells of.
fn changes(report: &Report) -> Vec<(String, f64)> {
    report.applied.how.clone().zip(report.applied.took_ms).into_iter().collect()
}

fn applied(changes: &[(String, f64)]) -> String {
    let words: Vec<_> = changes.iter().map(|(how, ms)| format!("{how} in {ms:.0} ms")).collect();
    if words.is_empty() { "nothing to change".to_owned() } else { words.join(", ") }
}

fn serves(report: &Report) -> String {
    let applied = &report.applied;
    let counts = [(applied.frontends, "port"), (applied.hosts, "host"), (applied.servers, "server")];
    counts.map(|(number, what)| counted(number, what)).join(", ")
}

/// `baton`'s configuration; the lab adds the directories.
fn config() -> String {
    format!(
        r#"
[marathon]
urls = ["http://{MARATHON}"]
groups = ["external", "internal"]
health_check = true

[haproxy]
manage = "child"
"#
    )
}

/// Between two looks at `baton`'s status: less than the least time between two reloads.
const POLL: Duration = Duration::from_millis(20);

/// How often that is looked at before it takes too long: 20 seconds.
const POLLS: u32 = 1_000;

/// Long enough for each task to answer some requests, unless the machine is very busy.
const SAMPLE: Duration = Duration::from_millis(400);
const SAMPLES: u32 = 10;
