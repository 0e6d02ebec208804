//! What a client sees all the time: requests to one vhost over http and https, counted.

#![allow(clippy::disallowed_methods, reason = "measures how long answers take")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use super::cluster::{BALANCER, NGINX, WEB};

/// A loop of requests over http and one over https, until it is stopped or dropped.
#[derive(Debug)]
pub(super) struct Client {
    tally: Arc<Mutex<Tally>>,
    loops: JoinSet<()>,
}

/// What it saw.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests sent.
    pub(super) requests: u64,
    /// Those without a good answer.
    pub(super) failed: u64,
    /// What the first of them got.
    pub(super) first_failure: Option<String>,
    /// The longest wait for an answer.
    pub(super) slowest: Duration,
    /// Who answered, and when for the first time.
    pub(super) tasks: BTreeMap<String, Instant>,
}

impl Tally {
    /// This, and what came after it.
    #[must_use]
    pub(super) fn and(mut self, later: Self) -> Self {
        self.requests += later.requests;
        self.failed += later.failed;
        self.first_failure = self.first_failure.or(later.first_failure);
        self.slowest = self.slowest.max(later.slowest);
        for (task, at) in later.tasks {
            self.tasks.entry(task).or_insert(at);
        }
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowest = self.slowest.as_millis();
        write!(f, "{} requests over http and https, {} failed, slowest {slowest} ms", self.requests, self.failed)
    }
}

impl Client {
    /// Starts asking for the vhost of the web app.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub(super) fn start() -> anyhow::Result<Self> {
        let (tally, mut loops) = (Arc::<Mutex<Tally>>::default(), JoinSet::new());
        for scheme in ["http", "https"] {
            loops.spawn(ask_on(connector()?, format!("{scheme}://{}/", WEB.1), tally.clone()));
        }
        Ok(Self { tally, loops })
    }

    /// Ends the loops.
    pub(super) fn stop(&mut self) {
        self.loops.abort_all();
    }

    /// What it saw since the last time.
    #[must_use]
    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `task` has answered since then.
    #[must_use]
    pub(super) fn has_met(&self, task: &str) -> bool {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).tasks.contains_key(task)
    }
}

/// Ends with the set of tasks it belongs to.
async fn ask_on(http: reqwest::Client, url: String, tally: Arc<Mutex<Tally>>) {
    loop {
        let asked = Instant::now();
        let answer = task(&http, &url).await;
        let now = Instant::now();
        {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.requests += 1;
            tally.slowest = tally.slowest.max(now - asked);
            match answer {
                Ok(task) => {
                    tally.tasks.entry(task).or_insert(now);
                }
                Err(why) => {
                    tally.failed += 1;
                    tally.first_failure.get_or_insert_with(|| format!("{why:#}"));
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The id of the task that answers on `url`.
///
/// # Errors
/// When the answer is not a task's.
pub(super) async fn task(http: &reqwest::Client, url: &str) -> anyhow::Result<String> {
    let answer = http.get(url).send().await?;
    ensure!(answer.status() == reqwest::StatusCode::OK, "{}", answer.status());
    let card: Value = answer.json().await?;
    Ok(card["task"].as_str().context("no task answered")?.to_owned())
}

/// A client for which the vhosts are the load balancer, and which takes its self-signed certificate.
///
/// # Errors
/// When there is no TLS to be had.
pub(super) fn connector() -> anyhow::Result<reqwest::Client> {
    // A provider may already be there; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let balancer = (BALANCER, 0).into();
    let client = reqwest::Client::builder()
        .no_proxy()
        .resolve(WEB.1, balancer)
        .resolve(NGINX.1, balancer)
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(5));
    client.build().context("make an HTTP client")
}

const PAUSE: Duration = Duration::from_millis(4);
