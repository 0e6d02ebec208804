//! Changes that reach the running HAProxy without a reload.
//!
//! Part of the reconcile loop, which asks here first. It knows what the current worker runs, or
//! that it does not know; then a reload settles it. Whatever fails is read back, never assumed.
#![allow(clippy::disallowed_methods, reason = "a shell that reads the clock")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use haproxy::bundle::Digest;
use haproxy::diff::{Op, Plan, Running, diff, within};
use haproxy::features::Features;
use haproxy::model::LbState;
use haproxy::runtime::drains::Drains;
use haproxy::runtime::{Client, RuntimeError, Worker};

/// The running worker, as far as it is known.
pub(super) struct Live {
    client: Client,
    features: Features,
    drains: Drains,
    current: Option<Current>,
    /// The worker was changed since it loaded its file.
    changed: bool,
    /// What files say that a worker may have been started with: those it loaded last, and the newest.
    files: [Option<(Digest, LbState)>; 2],
}

/// A worker that is known.
struct Current {
    worker: Worker,
    running: Running,
}

/// What came of a wanted change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Brought {
    /// It runs already.
    Unchanged,
    /// It runs now, by so many operations.
    Applied {
        /// How many.
        ops: usize,
        /// How long they took.
        took: Duration,
    },
    /// It takes a reload.
    NeedsReload(String),
    /// It was tried and could not be confirmed: as far as it can be read, what runs is known again.
    Unconfirmed(String),
}

impl Live {
    pub(super) fn new(stats: PathBuf, master: PathBuf, features: Features, drain_timeout: Duration) -> Self {
        let client = Client::new(stats, master, PATIENCE);
        Self {
            client,
            features,
            drains: Drains::new(drain_timeout),
            current: None,
            changed: false,
            files: [None, None],
        }
    }

    /// What the worker was loaded with does not say what it runs.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Servers on their way out.
    pub(super) fn draining(&self) -> usize {
        self.drains.len()
    }

    /// Another process may serve now.
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.drains.forget();
    }

    /// HAProxy was started: it runs what its file says.
    pub(super) fn restarted(&mut self) {
        self.forget();
        self.changed = false;
    }

    /// A worker came up with the file for `state`.
    pub(super) async fn loaded(&mut self, state: LbState, digest: Digest) {
        self.forget();
        self.changed = false;
        self.files = [Some((digest, state.clone())), None];
        self.current = self.find(state, digest).await;
    }

    /// The files of this digest follow what runs.
    pub(super) fn filed(&mut self, state: LbState, digest: Digest) {
        self.files[1] = Some((digest, state));
    }

    /// A reload failed. The worker of before goes on; a new one is not known.
    pub(super) async fn failed(&mut self) {
        let known = self.current.as_ref().map(|current| current.worker);
        if known.is_some() && self.client.worker().await.ok() != known {
            self.forget();
        }
    }

    /// Whether another worker answers than the one that was changed last.
    pub(super) async fn is_other(&self) -> bool {
        let Some(current) = &self.current else { return false };
        self.client.worker().await.is_ok_and(|worker| worker != current.worker)
    }

    /// What runs, where that is known.
    pub(super) fn state(&self) -> Option<&LbState> {
        self.current.as_ref().map(|current| current.running.state())
    }

    /// The worker was found running the file for `state`; what was changed in it since is put right.
    pub(super) async fn found(&mut self, state: &LbState, digest: Digest) -> Brought {
        if self.current.is_some() {
            return Brought::Unchanged;
        }
        self.files = [Some((digest, state.clone())), None];
        self.current = self.find(state.clone(), digest).await;
        match self.read_back(state).await {
            Ok(()) => self.bring(state).await,
            Err(why) => self.lost(&why),
        }
    }

    async fn find(&self, state: LbState, digest: Digest) -> Option<Current> {
        let worker = self.client.worker().await.ok().filter(|worker| worker.digest == Some(digest))?;
        Some(Current { worker, running: Running::loaded(state) })
    }

    /// A worker that was started with files of ours is known, whoever started it.
    async fn adopt(&mut self, wanted: &LbState) {
        let Ok(worker) = self.client.worker().await else { return };
        let mut files = self.files.iter().flatten();
        let Some((_, state)) = files.find(|(digest, _)| worker.digest == Some(*digest)) else { return };
        self.current = Some(Current { worker, running: Running::loaded(state.clone()) });
        if let Err(why) = self.read_back(wanted).await {
            log::debug!("read what a new HAProxy runs: {why}");
            self.forget();
        }
    }

    /// Where a reload is needed: brings of `wanted` what needs none.
    pub(super) async fn meanwhile(&mut self, wanted: &LbState) -> Brought {
        let Some(current) = &self.current else { return Brought::Unchanged };
        let part = within(&current.running, wanted, &self.features);
        self.bring(&part).await
    }

    /// Brings `wanted` to run, if that needs no reload.
    pub(super) async fn bring(&mut self, wanted: &LbState) -> Brought {
        let began = Instant::now();
        if self.current.is_none() {
            self.adopt(wanted).await;
        }
        let Some(current) = &mut self.current else {
            return Brought::NeedsReload("what HAProxy runs is not known".to_owned());
        };
        let ops = match diff(&current.running, wanted, &self.features) {
            Plan::Unchanged => return Brought::Unchanged,
            Plan::Reload { because } => return Brought::NeedsReload(because.to_string()),
            Plan::Runtime(ops) => ops,
        };
        self.changed = true;
        let Err(why) = self.client.apply(&current.worker, &ops).await else {
            current.running.applied(&ops, wanted);
            self.drains.note(&ops, Instant::now());
            return Brought::Applied { ops: ops.len(), took: began.elapsed() };
        };
        log::warn!("changing HAProxy at run time: {}", anyhow::Error::new(why));
        match self.read_back(wanted).await {
            Ok(()) => self.after_all(wanted, &ops, began),
            Err(why) => self.lost(&why),
        }
    }

    /// An error came, and what runs was read back: it may have been done all the same.
    fn after_all(&self, wanted: &LbState, ops: &[Op], began: Instant) -> Brought {
        let plan = self.current.as_ref().map(|current| diff(&current.running, wanted, &self.features));
        match plan {
            Some(Plan::Unchanged) => Brought::Applied { ops: ops.len(), took: began.elapsed() },
            _ => Brought::Unconfirmed("a change at run time could not be confirmed".to_owned()),
        }
    }

    fn lost(&mut self, why: &RuntimeError) -> Brought {
        self.forget();
        Brought::Unconfirmed(format!("what HAProxy runs cannot be read: {why}"))
    }

    async fn read_back(&mut self, wanted: &LbState) -> Result<(), RuntimeError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        self.client.read_back(&current.worker).await?.correct(&mut current.running, wanted);
        self.drains.adopt(current.running.leaving(), Instant::now());
        Ok(())
    }

    /// When to look after servers on their way out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.drains.deadline()
    }

    /// Looks after them. What fails is tried again: nothing goes to them any more.
    pub(super) async fn tick(&mut self) {
        let Some(current) = &mut self.current else { return self.drains.forget() };
        let sessions = match self.client.sessions(&current.worker, &self.drains.backends()).await {
            Ok(sessions) => sessions,
            Err(why) => {
                log::debug!("ask about draining servers: {why}");
                Default::default()
            }
        };
        let removals = self.drains.tick(&sessions, Instant::now());
        if removals.is_empty() {
            return;
        }
        match self.client.remove(&current.worker, &removals).await {
            Ok(removed) => {
                for (place, how) in removed {
                    self.drains.ended(&place, how);
                    if how == haproxy::runtime::drains::Removed::Gone {
                        current.running.gone(&place);
                    }
                }
            }
            Err(why) => log::debug!("remove drained servers: {why}"),
        }
    }
}

/// For a batch of a few operations; longer ones get more.
const PATIENCE: Duration = Duration::from_secs(1);
