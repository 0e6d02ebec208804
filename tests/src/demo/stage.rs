//! The cluster, two load balancers with a real `baton` and HAProxy before it, and a client that asks all the time.
//!
//! Each act of the demo asks for something, waits here until HAProxy serves what Marathon runs, and tells what happened.

#![allow(clippy::disallowed_methods, reason = "measures how long things take to start")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use baton::status::Report;

use super::balancers::Balancers;
use super::client::{Client, Tally};
use super::cluster::{BALANCER, Cluster, MARATHON, WEB};
use super::probe::{self, counted};
use super::screen::{Mark, Screen};
use super::site::Site;

/// Everything that runs. Dropped in this order: the client first, the cluster last.
pub(super) struct Stage<'site> {
    /// Where it is told.
    pub(super) screen: Screen,
    client: Client,
    /// The load balancers.
    pub(super) balancers: Balancers<'site>,
    /// The simulated Marathon.
    pub(super) cluster: Cluster,
    /// What the client saw so far.
    total: Tally,
    /// What each move of the address cost.
    gaps: Vec<String>,
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
    /// When each HAProxy's configuration was last confirmed.
    applied_at: [Option<f64>; 2],
    /// How each one's changes were applied, and in how many milliseconds.
    applied: [Vec<(String, f64)>; 2],
}

impl Act {
    /// What was applied on each load balancer, and how much the Active one serves now.
    fn told(&self, balancers: &Balancers<'_>, active: &Report) -> String {
        let by = [0, 1].map(|of| format!("{} {}", balancers.name(of), applied(&self.applied[of])));
        format!("{}; {}", by.join("; "), serves(active))
    }
}

impl<'site> Stage<'site> {
    /// Starts everything, a line for each part.
    ///
    /// # Errors
    /// When a part does not come up.
    pub(super) async fn open(screen: Screen, site: &'site Site) -> anyhow::Result<Self> {
        let cluster = Cluster::start(&site.marathon)?;
        screen.row(Mark::None, "marathon", &format!("http://{MARATHON}, a simulated 1.8"));
        let began = Instant::now();
        let tasks = cluster.deploy().await?;
        let took = began.elapsed().as_millis();
        let text = format!("the two published groups, nginx and tomcat: {tasks} tasks run after {took} ms");
        screen.row(Mark::None, "apps", &text);

        let balancers = Balancers::start(site).await?;
        let reports = [balancers.report(0)?, balancers.report(1)?];
        for (number, report) in reports.iter().enumerate() {
            let priority = report.vrrp.routers.first().map_or(0, |router| router.base_priority);
            let text = format!("baton {} with HAProxy {}, priority {priority}", report.version, report.haproxy.version);
            screen.row(Mark::None, balancers.name(number), &text);
        }
        let act = Act {
            applied_at: reports.each_ref().map(|report| report.applied.at),
            applied: reports.each_ref().map(changes),
            ..Act::default()
        };
        screen.row(Mark::None, "applied", &act.told(&balancers, &reports[0]));
        let active = balancers.active()?;
        let why = reports[active].vrrp.routers.first().and_then(|router| router.reason.clone()).unwrap_or_default();
        screen.row(Mark::None, "vip", &format!("{} has {BALANCER}: {why}", balancers.name(active)));
        screen.row(Mark::None, "logs", &site.logs());

        let (client, total, gaps) = (Client::start()?, Tally::default(), Vec::new());
        Ok(Self { screen, client, balancers, cluster, total, gaps, probes: 0, failed: 0, act })
    }

    /// Begins an act.
    pub(super) fn act(&mut self, title: &str) {
        let (number, event) = (self.act.number + 1, self.cluster.sim.event_position());
        self.act = Act { number, event, applied_at: self.act.applied_at, applied: Default::default() };
        self.screen.heading(&format!("{number}  {title}"));
    }

    /// Tells what was asked for.
    pub(super) fn asked(&self, text: &str) {
        self.screen.row(Mark::None, "asked", text);
    }

    /// Tells what goes wrong now.
    pub(super) fn fault(&self, text: &str) {
        self.screen.row(Mark::None, "fault", text);
    }

    /// Waits until Marathon has done what it was asked for, both HAProxys know all tasks and no others, the client has
    /// met those of the web app, and `done`; tells what `baton` did for that.
    ///
    /// # Errors
    /// When it takes too long.
    pub(super) async fn follow(&mut self, done: impl Fn(&Report) -> bool) -> anyhow::Result<Report> {
        for _ in 0..POLLS {
            let reports = [self.balancers.report(0)?, self.balancers.report(1)?];
            for (number, report) in reports.iter().enumerate() {
                if report.applied.at > self.act.applied_at[number] {
                    self.act.applied_at[number] = report.applied.at;
                    self.act.applied[number].extend(changes(report));
                }
            }
            let settled = self.cluster.sim.wait_settled(Duration::ZERO).await;
            let endpoints = self.cluster.endpoints();
            let same = settled && (0..reports.len()).all(|number| self.balancers.servers(number) == endpoints);
            let met = || self.cluster.tasks(WEB.0).iter().all(|task| self.client.has_met(task));
            if same && met() && reports.iter().all(|report| !report.applied.pending && done(report)) {
                let [active, _] = reports;
                self.screen.row(Mark::None, "applied", &self.act.told(&self.balancers, &active));
                return Ok(active);
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("HAProxy does not serve what Marathon runs; {}", self.balancers.logs());
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

    /// Asks once for the web app by its host name.
    pub(super) async fn web_app(&mut self) {
        let url = format!("http://{}/", WEB.1);
        let found = probe::answered_by(&url, &self.cluster.tasks(WEB.0)).await;
        self.check("host", found.map(|tasks| format!("{url:<38} 200 from {tasks} of {}", WEB.0)));
    }

    /// Ends the client's loops: what comes now is for a client that counts milliseconds.
    pub(super) fn send_client_home(&mut self) {
        self.client.stop();
    }

    /// Notes the gap that a move of the address cost.
    pub(super) fn gap(&mut self, what: &str, gap: Duration) {
        self.gaps.push(format!("{what} {:.1} ms", gap.as_secs_f64() * 1_000.0));
    }

    /// Tells the sum of everything.
    ///
    /// # Errors
    /// When a probe failed.
    pub(super) fn sum(&self) -> anyhow::Result<()> {
        self.screen.heading("In all");
        let mark = if self.failed == 0 { Mark::Good } else { Mark::Bad };
        let right = self.probes - self.failed;
        self.screen.row(mark, "probes", &format!("{right} of {} found what they should", self.probes));
        self.screen.row(mark, "client", &self.total.to_string());
        self.screen.row(mark, "gaps", &self.gaps.join(", "));
        if self.failed > 0 {
            bail!("{} of {} probes failed, see ✗; {}", self.failed, self.probes, self.balancers.logs());
        }
        Ok(())
    }

    /// Where everything is.
    pub(super) fn site(&self) -> &'site Site {
        self.balancers.site
    }

    /// Ends everything in order.
    ///
    /// # Errors
    /// When `baton` does not end.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        drop(self.client);
        let ended = self.balancers.stop();
        self.cluster.sim.stop().await;
        ended
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

/// Between two looks at `baton`'s status: less than the least time between two reloads.
const POLL: Duration = Duration::from_millis(20);

/// How often that is looked at before it takes too long: 20 seconds.
const POLLS: u32 = 1_000;

/// Long enough for each task to answer some requests, unless the machine is very busy.
const SAMPLE: Duration = Duration::from_millis(400);
const SAMPLES: u32 = 10;
