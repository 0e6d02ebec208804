//! The two load balancers: `baton` and HAProxy on each, one virtual router for the address that clients know.
//!
//! Started by [`stage`](super::stage); `moves` does things to them. What they report is read here.

#![allow(clippy::disallowed_methods, reason = "measures how long real hosts take")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use baton::ha::report::RouterReport;
use baton::status::Report;
use nix::sys::signal::Signal;

use super::cluster::{BALANCER, MARATHON};
use super::site::Site;
use crate::lab::node::Node;
use crate::lab::router::Router;

/// Both.
pub(super) struct Balancers<'site> {
    /// Where they are.
    pub(super) site: &'site Site,
    /// The preferred one first.
    pub(super) nodes: [Node; 2],
}

impl<'site> Balancers<'site> {
    /// Starts both, and waits until they serve and the first one has the address.
    ///
    /// # Errors
    /// When that does not come.
    pub(super) async fn start(site: &'site Site) -> anyhow::Result<Self> {
        let start = |number: usize| {
            let host = &site.balancers[number];
            let parts = host.dir().join("conf.d");
            fs::create_dir(&parts)?;
            fs::write(parts.join("demo.toml"), MORE)?;
            let address = format!("{BALANCER}/24");
            // It stays where it is until something happens to that host.
            let router = Router { preempt: false, ..Router::new(PRIORITIES[number], &[&address]) };
            Node::follow(host, router, &format!("http://{MARATHON}"), "")
        };
        let balancers = Self { site, nodes: [start(0)?, start(1)?] };
        balancers.until(0, "becomes Active", |router| router.state == "active").await?;
        balancers.until(1, "becomes Backup", |router| router.state == "backup").await?;
        Ok(balancers)
    }

    /// `lb1` or `lb2`.
    pub(super) fn name(&self, number: usize) -> &str {
        self.site.balancers[number].name()
    }

    /// The one that alone has the address.
    ///
    /// # Errors
    /// When none or both have it.
    pub(super) fn active(&self) -> anyhow::Result<usize> {
        match [0, 1].map(|number| self.holds(number)) {
            [true, false] => Ok(0),
            [false, true] => Ok(1),
            [true, true] => bail!("both have {BALANCER}"),
            [false, false] => bail!("nobody has {BALANCER}"),
        }
    }

    /// Whether the host has the address.
    pub(super) fn holds(&self, number: usize) -> bool {
        self.site.balancers[number].holds(IpAddr::V4(BALANCER))
    }

    /// Waits until the host has the address, or no longer has it; how long after `began`.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn until_holds(&self, number: usize, wanted: bool, began: Instant) -> anyhow::Result<Duration> {
        while self.holds(number) != wanted {
            let what = if wanted { "does not get" } else { "keeps" };
            ensure!(began.elapsed() < PATIENCE, "{} {what} {BALANCER}; {}", self.name(number), self.logs());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(began.elapsed())
    }

    /// What one's `baton` reports.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn report(&self, number: usize) -> anyhow::Result<Report> {
        Ok(serde_json::from_value(self.nodes[number].status()?)?)
    }

    /// Waits until `done` says so about its virtual router, twice in the same words: the daemon learns a new state and the
    /// reason for it one after the other.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn until(
        &self,
        number: usize,
        what: &str,
        done: impl Fn(&RouterReport) -> bool,
    ) -> anyhow::Result<RouterReport> {
        let began = Instant::now();
        let mut before = None;
        loop {
            let router = self.report(number)?.vrrp.routers.pop().context("baton knows no virtual router")?;
            let words = Some((router.state.clone(), router.reason.clone())).filter(|_| done(&router));
            if words.is_some() && words == before {
                return Ok(router);
            }
            before = words;
            ensure!(began.elapsed() < PATIENCE, "{} never {what}; {}", self.name(number), self.logs());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The servers in the configuration that its HAProxy runs.
    pub(super) fn servers(&self, number: usize) -> BTreeSet<SocketAddr> {
        let file = self.site.balancers[number].dir().join("state/current/haproxy.cfg");
        let config = fs::read_to_string(file).unwrap_or_default();
        let lines = config.lines().filter_map(|line| line.trim_start().strip_prefix("server "));
        lines.filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
    }

    /// For an error: where to read on.
    pub(super) fn logs(&self) -> String {
        format!("baton's and HAProxy's logs: {}", self.site.logs())
    }

    /// Ends both in order.
    ///
    /// # Errors
    /// When one does not end.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        for node in &self.nodes {
            // The demo may end while one is frozen, or dead.
            let _ = node.signal(Signal::SIGCONT);
        }
        let [one, two] = &mut self.nodes;
        let ended = two.stop();
        one.stop()?;
        ended
    }
}

/// What the lab's configuration leaves out.
const MORE: &str = r#"[marathon]
groups = ["external", "internal"]
health_check = true
"#;

/// The first one is preferred when both start.
pub(super) const PRIORITIES: [u8; 2] = [200, 100];

/// Back from a fault on purpose takes 5 s, a lease 3 s.
const PATIENCE: Duration = Duration::from_secs(15);
