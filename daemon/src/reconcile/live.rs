//! Changes that reach the running HAProxy without a reload.
//!
//! Part of the reconcile loop, which asks here first. It knows what the current worker runs, or
//! that it does not know; then a reload settles it. Whatever fails is read back, never assumed.
#![allow(clippy::disallowed_methods, reason = "a shell that reads the clock")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haproxy::app::{Instance, Snapshot};
use haproxy::bundle::Digest;
use haproxy::certs::Certificates;
use haproxy::diff::{Op, Place, Plan, Running, certificates, certificates_again, diff, within};
use haproxy::features::Features;
use haproxy::model::LbState;
use haproxy::runtime::drains::{Drains, Removed, TURN_AROUND};
use haproxy::runtime::lingering::Lingering;
use haproxy::runtime::{Client, RuntimeError, Worker};

/// The running worker, as far as it is known.
pub(super) struct Live {
    client: Client,
    features: Features,
    drains: Drains,
    lingering: Lingering,
    doubts: Doubts,
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
    /// Its certificates; none where only their names are known.
    certs: Option<Arc<Certificates>>,
}

/// Servers that no source vouches for, since HAProxy was started.
#[derive(Default)]
struct Doubts {
    /// Those that were looked at.
    known: BTreeSet<Place>,
    /// Those of them that are taken for down until their check passes.
    down: BTreeSet<Place>,
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
        let (drains, lingering) = (Drains::new(drain_timeout), Lingering::new(drain_timeout));
        let doubts = Doubts::default();
        Self { client, features, drains, lingering, doubts, current: None, changed: false, files: [None, None] }
    }

    /// What the worker was loaded with does not say what it runs.
    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    /// Servers on their way out.
    pub(super) fn draining(&self) -> usize {
        self.drains.draining()
    }

    /// Whether HAProxy has something of apps that are gone: a listener, an empty backend.
    pub(super) fn has_retired(&self, wanted: &LbState) -> bool {
        self.current.as_ref().is_some_and(|current| current.running.retired(wanted) > 0)
    }

    /// Another process may serve now.
    pub(super) fn forget(&mut self) {
        self.current = None;
        self.drains.forget();
    }

    /// HAProxy was started: it runs what its file says.
    pub(super) fn restarted(&mut self) {
        self.forget();
        self.lingering.forget();
        self.doubts = Doubts::default();
        self.changed = false;
    }

    /// A worker came up with the file for `state` and with `certs`.
    pub(super) async fn loaded(&mut self, state: LbState, certs: Option<&Arc<Certificates>>, digest: Digest) {
        self.leave_behind(&state);
        self.forget();
        self.changed = false;
        self.files = [Some((digest, state.clone())), None];
        self.current = self.find(state, digest).await;
        if let Some(current) = &mut self.current {
            current.certs = certs.cloned();
        }
    }

    /// The worker of until now ends; who is not in `next` has its time in it.
    fn leave_behind(&mut self, next: &LbState) {
        let now = Instant::now();
        let gone = self.current.iter().flat_map(|current| current.running.lacking(next));
        self.lingering.reloaded(gone, now);
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
    pub(super) async fn found(
        &mut self,
        state: &LbState,
        certs: Option<&Arc<Certificates>>,
        digest: Digest,
    ) -> Brought {
        if self.current.is_some() {
            return Brought::Unchanged;
        }
        self.files = [Some((digest, state.clone())), None];
        self.current = self.find(state.clone(), digest).await;
        // An earlier baton may have left some behind.
        self.lingering.reloaded([], Instant::now());
        match self.read_back(state).await {
            Ok(()) => self.bring(state, certs).await,
            Err(why) => self.lost(&why),
        }
    }

    async fn find(&self, state: LbState, digest: Digest) -> Option<Current> {
        let worker = self.client.worker().await.ok().filter(|worker| worker.digest == Some(digest))?;
        Some(self.known(worker, state).await)
    }

    /// A worker that loaded the file for `state`.
    async fn known(&self, worker: Worker, state: LbState) -> Current {
        let asks = state.dynamic.backends;
        let mut running = Running::loaded(state);
        if asks && !self.client.makes_backends(&worker).await.unwrap_or(false) {
            log::warn!("haproxy.dynamic.backends: this HAProxy makes none while it runs; new apps take a reload");
            running = running.without_profiles();
        }
        Current { worker, running, certs: None }
    }

    /// A worker that was started with files of ours is known, whoever started it.
    async fn adopt(&mut self, wanted: &LbState) {
        let Ok(worker) = self.client.worker().await else { return };
        let mut files = self.files.iter().flatten();
        let Some((_, state)) = files.find(|(digest, _)| worker.digest == Some(*digest)) else { return };
        self.current = Some(self.known(worker, state.clone()).await);
        if let Err(why) = self.read_back(wanted).await {
            log::debug!("read what a new HAProxy runs: {why}");
            self.forget();
        }
    }

    /// Where a reload is needed: brings of `wanted` what needs none. Certificates stay as they are.
    pub(super) async fn meanwhile(&mut self, wanted: &LbState) -> Brought {
        let Some(current) = &self.current else { return Brought::Unchanged };
        let part = within(&current.running, wanted, &self.features);
        let certs = current.certs.clone();
        self.bring(&part, certs.as_ref()).await
    }

    /// Brings `wanted` to run with `certs`, if that needs no reload.
    pub(super) async fn bring(&mut self, wanted: &LbState, certs: Option<&Arc<Certificates>>) -> Brought {
        let began = Instant::now();
        if self.current.is_none() {
            self.adopt(wanted).await;
        }
        let Some(current) = &mut self.current else {
            return Brought::NeedsReload("what HAProxy runs is not known".to_owned());
        };
        let certified = match (&current.certs, certs) {
            (Some(now), Some(certs)) => certificates(now, certs),
            (None, Some(certs)) => Ok(certificates_again(certs)),
            (_, None) => Ok(Vec::new()),
        };
        let ops = match (certified, diff(&current.running, wanted, &self.features)) {
            (Err(because), _) | (_, Plan::Reload { because }) => return Brought::NeedsReload(because.to_string()),
            (Ok(certified), Plan::Unchanged) => certified,
            (Ok(certified), Plan::Runtime(ops)) => [certified, ops].concat(),
        };
        if ops.is_empty() {
            current.certs = certs.cloned();
            return Brought::Unchanged;
        }
        self.changed = true;
        let Err(why) = self.client.apply(&current.worker, &ops).await else {
            current.running.applied(&ops, wanted);
            current.certs = certs.cloned();
            self.drains.note(&ops, Instant::now());
            self.lingering.note(&ops, Instant::now());
            return Brought::Applied { ops: ops.len(), took: began.elapsed() };
        };
        log::warn!("changing HAProxy at run time: {}", anyhow::Error::new(why));
        if ops.iter().any(|op| matches!(op, Op::Cert { .. })) {
            self.forget();
            return Brought::NeedsReload("a change of certificates could not be confirmed".to_owned());
        }
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
        self.client.read_back(&current.worker, current.running.maps()).await?.correct(&mut current.running, wanted);
        self.drains.adopt(current.running.leaving(), Instant::now());
        Ok(())
    }

    /// Ends what goes on in old workers for too long.
    async fn end_old_sessions(&mut self) {
        let now = Instant::now();
        if self.lingering.deadline().is_none_or(|at| at > now) {
            return;
        }
        let due = self.lingering.due(now);
        match self.client.end_sessions(&due).await {
            Ok(None) => self.lingering.forget(),
            Ok(Some(0)) => (),
            Ok(Some(ended)) => log::info!("ended {ended} sessions with removed servers in old workers"),
            Err(why) => log::debug!("end sessions in old workers: {why}"),
        }
    }

    /// The servers of these tasks.
    pub(super) fn places(&self, snapshot: &Snapshot, tasks: &BTreeSet<String>) -> BTreeSet<Place> {
        let (Some(current), false) = (&self.current, tasks.is_empty()) else { return BTreeSet::new() };
        current.running.places(|owner, addr| {
            let instances = snapshot.apps.get(&owner.app).into_iter().flat_map(|app| &app.instances);
            let is_at = |task: &Instance| {
                task.addr == Some(addr.ip()) && task.ports.get(owner.index).copied().flatten() == Some(addr.port())
            };
            instances.filter(|task| tasks.contains(&task.id)).any(is_at)
        })
    }

    /// Nothing vouches for these servers. If HAProxy was started a moment ago, they serve once their
    /// check passes; one that is vouched for again does not wait for that. Gives how many wait.
    pub(super) async fn doubt(&mut self, unconfirmed: &BTreeSet<Place>) -> usize {
        let Some(current) = &self.current else { return 0 };
        let new: BTreeSet<Place> = unconfirmed.difference(&self.doubts.known).cloned().collect();
        if !new.is_empty() && self.client.is_fresh().await {
            match self.client.doubt(&current.worker, &new).await {
                Ok(down) => self.doubts.down.extend(down),
                Err(why) => log::warn!("servers from memory serve unchecked: {why}"),
            }
        }
        self.doubts.known.extend(new);
        let vouched: BTreeSet<Place> = self.doubts.down.difference(unconfirmed).cloned().collect();
        if !vouched.is_empty() {
            match self.client.trust(&current.worker, &vouched).await {
                Ok(()) => self.doubts.down.retain(|place| !vouched.contains(place)),
                Err(why) => log::debug!("servers that are vouched for wait for their check: {why}"),
            }
        }
        self.doubts.down.len()
    }

    /// When to look after servers on their way out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.drains.deadline(), self.lingering.deadline()].into_iter().flatten().min()
    }

    /// Looks after them, with HAProxy's `timeout connect`. What fails is tried again: nothing goes to them any more.
    pub(super) async fn tick(&mut self, connect: Duration) {
        self.end_old_sessions().await;
        let now = Instant::now();
        if self.drains.deadline().is_none_or(|at| at > now) {
            return;
        }
        let Some(current) = &mut self.current else { return self.drains.forget() };
        let sessions = match self.client.sessions(&current.worker, &self.drains.backends(now)).await {
            Ok(sessions) => sessions,
            Err(why) => {
                log::debug!("ask about draining servers: {why}");
                Default::default()
            }
        };
        let removals = self.drains.tick(&sessions, now);
        if removals.is_empty() {
            return;
        }
        match self.client.remove(&current.worker, &removals).await {
            Ok(removed) => {
                let deletion = Instant::now() + connect + TURN_AROUND;
                for (place, how) in removed {
                    self.drains.ended(&place, how, deletion);
                    if how == Removed::Gone {
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
