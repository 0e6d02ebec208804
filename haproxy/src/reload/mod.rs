//! Brings a bundle to run: check, pre-flight, write, swap, reload, confirm, or else back.
//!
//! Called by the daemon's `reconcile`, one bundle at a time; `queue` decides when. HAProxy may be
//! anybody's child: only its master socket is used. A bundle counts as running when a new worker
//! answers with the bundle's digest; until then the last confirmed one stays the one to start from.
//! A dropped future leaves a state that the next call, or the next start, puts right.
#![allow(clippy::disallowed_methods, reason = "drives a real process in real time")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::bundle::{Bind, Bundle, Digest, Shape};
use crate::check::{CheckError, Verdict, check};
use crate::disk::{Disk, DiskError, Previous};
use crate::master::{Info, Master, MasterError, Processes};
use crate::preflight::{Running, Unbindable, preflight};

mod confirm;
mod outcome;
pub mod queue;
mod servers;

pub use outcome::{How, Outcome, ReloadError};
pub use servers::Untold;

/// The times and limits of the cycle.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// How long `haproxy -c` may take at most; once it has accepted something, ten times as long as
    /// that took, or three seconds.
    pub check: Duration,
    /// How long an ordinary master command may take.
    pub master: Duration,
    /// How long to wait for a master that is busy.
    pub busy: Duration,
    /// How long to wait for a master that does not accept connections, before it counts as gone.
    pub gone: Duration,
    /// How long HAProxy may take until the new worker answers.
    pub reload: Duration,
    /// How often it is asked meanwhile.
    pub poll: Duration,
    /// How many earlier bundles stay on disk, besides the current and the confirmed one.
    pub previous: usize,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            check: Duration::from_secs(30),
            master: Duration::from_secs(2),
            busy: Duration::from_secs(10),
            gone: Duration::from_secs(3),
            reload: Duration::from_secs(30),
            poll: Duration::from_millis(10),
            previous: 3,
        }
    }
}

/// Applies bundles to one HAProxy.
#[derive(Debug)]
pub struct Reloader {
    binary: PathBuf,
    disk: Disk,
    master: Master,
    times: Times,
    /// The listeners of the bundle applied last; empty after a start of the daemon.
    binds: Vec<Bind>,
    /// The shape of the bundles that HAProxy accepted last.
    accepted: Option<Shape>,
    /// The bundle that was accepted by a mere `check`.
    checked: Option<Digest>,
    checks: Checks,
}

/// The checks so far.
#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    count: u64,
    /// How long the last one took that accepted.
    last: Option<Duration>,
}

/// What runs before a reload.
struct Before {
    processes: Processes,
    info: Info,
}

impl Reloader {
    /// A reloader for the HAProxy behind the master socket at `socket`, reading from `disk`.
    pub fn new(binary: impl Into<PathBuf>, disk: Disk, socket: impl Into<PathBuf>, times: Times) -> Self {
        let master = Master::new(socket, times.master);
        Self {
            binary: binary.into(),
            disk,
            master,
            times,
            binds: Vec::new(),
            accepted: None,
            checked: None,
            checks: Checks::default(),
        }
    }

    /// How often `haproxy -c` was run.
    pub fn checks(&self) -> u64 {
        self.checks.count
    }

    /// Asks HAProxy about a bundle and does nothing else. What it accepts, `apply` and `force` take
    /// without asking again, if it is the next that they are given.
    ///
    /// # Errors
    /// When HAProxy cannot be asked, or does not answer in time.
    pub async fn check(&mut self, bundle: &Bundle) -> Result<Verdict, CheckError> {
        let limit = match self.checks.last {
            Some(last) => (last * 10).max(LEAST_PATIENCE).min(self.times.check),
            None => self.times.check,
        };
        self.checks.count += 1;
        self.checked = None;
        let began = Instant::now();
        let verdict = check(&self.binary, bundle, limit).await?;
        if matches!(verdict, Verdict::Accepted { .. }) {
            self.checks.last = Some(began.elapsed());
            self.checked = Some(bundle.digest());
        }
        Ok(verdict)
    }

    /// The listeners among `binds`, which HAProxy does not have, that it could not open now.
    ///
    /// # Errors
    /// When HAProxy cannot be asked what it runs.
    pub async fn probe(&self, binds: Vec<Bind>) -> Result<Vec<Unbindable>, ReloadError> {
        let pids = self.look().await?.processes.pids().collect();
        let running = Running { binds: Vec::new(), pids };
        Ok(blocking(move || preflight(&binds, &running)).await)
    }

    /// Brings the bundle to run, unless the current worker was started with it.
    ///
    /// When no HAProxy runs and none ever ran with a bundle of ours, the bundle is made ready and
    /// whoever supervises HAProxy (`child` or systemd) is waited for.
    pub async fn apply(&mut self, bundle: &Arc<Bundle>) -> Outcome {
        self.cycle(bundle, false).await
    }

    /// Brings the bundle to run by a reload even if the current worker was started with it, as when
    /// a certificate that it names has changed.
    pub async fn force(&mut self, bundle: &Arc<Bundle>) -> Outcome {
        self.cycle(bundle, true).await
    }

    /// Has the files say what HAProxy was brought to run without a reload, for the next start or
    /// reload. False: HAProxy would not load them, and they stay as they were.
    ///
    /// # Errors
    /// When HAProxy cannot be asked, or the disk refuses.
    pub async fn follow(&mut self, bundle: &Arc<Bundle>) -> Result<bool, ReloadError> {
        if !self.knows(bundle) {
            match self.check(bundle).await? {
                Verdict::Accepted { .. } => self.accept(bundle),
                Verdict::Rejected(_) => return Ok(false),
            }
        }
        self.stage(bundle).await?;
        self.remember(bundle.digest()).await?;
        Ok(true)
    }

    /// HAProxy accepted what its verdict on this bundle depends on.
    fn knows(&self, bundle: &Bundle) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| accepted.covers(bundle.shape()))
    }

    fn accept(&mut self, bundle: &Bundle) {
        let accepted = self.accepted.take();
        self.accepted = Some(accepted.map_or_else(|| bundle.shape().clone(), |accepted| accepted.and(bundle.shape())));
    }

    async fn cycle(&mut self, bundle: &Arc<Bundle>, force: bool) -> Outcome {
        let outcome = self.attempt(bundle, force).await.unwrap_or_else(|error| Outcome::Failed { error, undo: None });
        self.checked = None;
        match &outcome {
            Outcome::Applied { .. } | Outcome::Unchanged { .. } => {
                self.accept(bundle);
                self.binds = bundle.binds().to_vec();
            }
            // What was accepted before is no worse for it.
            Outcome::Rejected(_) | Outcome::Unbindable(_) => (),
            Outcome::Reverted { .. } | Outcome::Failed { .. } => self.accepted = None,
        }
        outcome
    }

    /// An error means that HAProxy and the disk are as before.
    async fn attempt(&mut self, bundle: &Arc<Bundle>, force: bool) -> Result<Outcome, ReloadError> {
        let (began, digest) = (Instant::now(), bundle.digest());
        let before = self.before().await?;
        if !force && before.as_ref().is_some_and(|b| b.info.digest() == Some(digest)) {
            self.settle(bundle).await?;
            return Ok(Outcome::Unchanged { digest });
        }
        // HAProxy would say what it said the last time, and take as long as for the reload itself.
        let known = self.checked == Some(digest) || (!force && self.knows(bundle));
        let warnings = match known {
            true => Vec::new(),
            false => match self.check(bundle).await? {
                Verdict::Accepted { warnings } => warnings,
                Verdict::Rejected(rejected) => return Ok(Outcome::Rejected(rejected)),
            },
        };
        let unbindable = self.unbindable(bundle, before.as_ref()).await;
        if !unbindable.is_empty() {
            return Ok(Outcome::Unbindable(unbindable));
        }
        let previous = self.stage(bundle).await?;
        let mut untold = None;
        let confirmed = match &before {
            Some(before) => {
                let told = self.tell_of_servers(bundle).await;
                let reloaded = self.reload_to(digest, before).await;
                untold = told.err().or(self.untell_of_servers().await.err().map(Untold::from));
                reloaded
            }
            None => {
                // Nothing runs, maybe because the confirmed bundle does not start any more: what
                // has just been checked and pre-flighted is the better one to start from.
                self.remember(digest).await?;
                self.wait_for_start(digest).await
            }
        };
        match confirmed {
            Ok(processes) => {
                let unsaved = self.remember(digest).await.err();
                let workers_old = processes.old_workers.len();
                let how = if before.is_some() { How::Reload } else { How::Start };
                Ok(Outcome::Applied { digest, how, took: began.elapsed(), warnings, workers_old, untold, unsaved })
            }
            Err(broken) => Ok(self.revert(bundle, before.as_ref(), previous, broken).await),
        }
    }

    /// What runs now, once the master is free. None: nothing runs.
    async fn before(&self) -> Result<Option<Before>, ReloadError> {
        let began = Instant::now();
        let (deadline, gone) = (began + self.times.busy, began + self.times.gone);
        loop {
            match self.look().await {
                Ok(before) => return Ok(Some(before)),
                Err(MasterError::Unreachable { .. }) if self.disk.confirmed().is_none() => return Ok(None),
                Err(MasterError::Unreachable { .. }) if Instant::now() >= gone => return Ok(None),
                Err(error) if !error.may_pass() || Instant::now() >= deadline => return Err(error.into()),
                Err(_) => sleep(self.times.poll).await,
            }
        }
    }

    async fn look(&self) -> Result<Before, MasterError> {
        Ok(Before { processes: self.master.processes().await?, info: self.master.info().await? })
    }

    async fn unbindable(&self, bundle: &Arc<Bundle>, before: Option<&Before>) -> Vec<Unbindable> {
        let Some(before) = before else {
            let bundle = Arc::clone(bundle);
            return blocking(move || preflight(bundle.binds(), &Running::default())).await;
        };
        // After a start of the daemon the listeners are read back from the bundle that runs.
        let (disk, runs) = (self.disk.clone(), before.info.digest().filter(|_| self.binds.is_empty()));
        let (bundle, mut binds) = (Arc::clone(bundle), self.binds.clone());
        let pids = before.processes.pids().collect();
        blocking(move || {
            if let Some(config) = runs.and_then(|digest| disk.read_config(digest)) {
                binds = Bind::read_all(&config);
            }
            preflight(bundle.binds(), &Running { binds, pids })
        })
        .await
    }

    /// Writes the bundle and makes it current.
    async fn stage(&self, bundle: &Arc<Bundle>) -> Result<Previous, DiskError> {
        let (disk, bundle) = (self.disk.clone(), Arc::clone(bundle));
        blocking(move || {
            disk.write(&bundle)?;
            disk.select(bundle.digest())
        })
        .await
    }

    /// Records that the bundle runs, and clears away what is not needed any more.
    async fn remember(&self, digest: Digest) -> Result<(), DiskError> {
        let (disk, previous) = (self.disk.clone(), self.times.previous);
        blocking(move || {
            disk.confirm(digest)?;
            disk.collect(previous).map(drop)
        })
        .await
    }

    /// Makes the disk agree with a worker that runs the bundle already: the daemon may have ended
    /// between reload and confirmation.
    async fn settle(&self, bundle: &Arc<Bundle>) -> Result<(), DiskError> {
        let digest = Some(bundle.digest());
        if self.disk.current() != digest || self.disk.confirmed() != digest {
            self.stage(bundle).await?;
            self.remember(bundle.digest()).await?;
        }
        Ok(())
    }
}

/// Runs file work on the pool for blocking calls and waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// For a check that usually takes milliseconds, on a machine that is busy for a moment.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);
