//! The loop that keeps HAProxy as the apps want it.
//!
//! One task, run by the supervisor. It waits for a reason to act (a newer snapshot, a re-read
//! configuration, a signal, HAProxy started anew, a retry that is due), builds the newest wanted
//! configuration and has it applied. Snapshots and configurations come by `watch`, so whatever
//! piled up meanwhile is one change: at most one reload runs and one waits, and the newest wins.
//! It does not talk to Marathon and does not look at VRRP.
#![allow(clippy::disallowed_methods, reason = "the shell that schedules reloads reads the clock")]

pub mod build;
mod certs;
mod files;
mod halves;
mod isolate;
mod left_out;
mod live;
mod refused;
mod remembered;
mod repair;
mod report;
mod round;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haproxy::app::Snapshot;
use haproxy::features::Features;
use haproxy::reload::queue::{Ended, Queue};
use haproxy::reload::{Outcome, Reloader};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::certs::keeper::Deployed;
use crate::config::Config;
use crate::config::settings::{MASTER_SOCKET, STATS_SOCKET};

use crate::source::SourceStatus;

use build::{Builder, Built, Kept, Wanted};
pub use certs::Certs;
use left_out::LeftOut;
use live::{Brought, Live};
use remembered::Remembered;
use repair::Refusal;
pub use report::ReconcileStatus;
use report::Reporter;
use round::{Work, pauses, schedule, until};

/// What the loop needs, handed over by the supervisor.
pub struct Reconcile {
    /// Applies bundles.
    pub reloader: Reloader,
    /// Makes them; its configuration is replaced whenever `config` changes.
    pub builder: Builder,
    /// What the HAProxy at hand can do.
    pub features: Features,
    /// The configuration.
    pub config: watch::Receiver<Arc<Config>>,
    /// The apps.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Which of their tasks nothing vouches for.
    pub source: watch::Receiver<SourceStatus>,
    /// The certificates.
    pub certs: Certs,
    /// Reasons that lie elsewhere.
    pub nudges: mpsc::Receiver<Nudge>,
    /// What operators see.
    pub status: watch::Sender<ReconcileStatus>,
}

/// A reason to act that is neither an app nor the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nudge {
    /// HAProxy was started, maybe with an older configuration.
    Started,
    /// An operator wants a reload although nothing changed (SIGUSR1): files beside the
    /// configuration may have, and what was refused may be mended.
    Force,
}

/// Why the loop woke up.
enum Event {
    Snapshot,
    Config,
    Nudge(Nudge),
    Certs,
    Source,
    RetryListeners,
    RetryApps,
    Cleanup,
    Due,
    Drains,
    Files,
    Look,
    Stop,
}

impl Reconcile {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// When a template fails, which no app can cause.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let pauses = pauses(&self.builder.config);
        let reporter = Reporter::new(self.status.clone());
        let haproxy = &self.builder.config.haproxy;
        let (stats, master) = (haproxy.run_dir.join(STATS_SOCKET), haproxy.run_dir.join(MASTER_SOCKET));
        let live = Live::new(stats, master, self.features.clone(), haproxy.drain_timeout.into());
        let (remembered, replacements) = Remembered::open(&self.builder.config.last_good()).await;
        let mut left_out = LeftOut::default();
        left_out.apps.restore(replacements);
        let mut task = Task {
            inputs: self,
            live,
            files: None,
            stop,
            queue: Queue::new(pauses),
            left_out,
            remembered,
            kept: Kept::default(),
            reporter,
            force: false,
            retry_listeners: None,
            retry_apps: None,
            cleanup: None,
            unconfirmed: Arc::default(),
            look: Instant::now() + LOOK,
        };
        loop {
            match task.next().await {
                Event::Stop => return Ok(()),
                Event::Snapshot => task.changed("apps changed").await?,
                Event::Config => {
                    let config = task.inputs.config.borrow_and_update().clone();
                    task.inputs.builder.config = config;
                    task.certificates().await;
                    // What the apps do not say is not compared at run time.
                    task.force = true;
                    task.afresh();
                    task.want(Work::because("configuration changed"));
                }
                Event::Nudge(Nudge::Started) => {
                    task.live.restarted();
                    task.queue.hurry(true, Instant::now());
                    task.want(Work::because("HAProxy started"));
                }
                Event::Nudge(Nudge::Force) => {
                    task.certificates().await;
                    task.force = true;
                    task.afresh();
                    task.want(Work::because("asked for"));
                }
                Event::Certs => {
                    if task.certificates().await {
                        task.left_out.apps.retry();
                        task.changed("certificates changed").await?;
                    }
                }
                Event::Source => {
                    let unconfirmed = task.inputs.source.borrow_and_update().unconfirmed.clone();
                    if std::mem::replace(&mut task.unconfirmed, unconfirmed.clone()) != unconfirmed {
                        task.doubt().await;
                    }
                }
                Event::RetryListeners => task.probe_listeners().await,
                Event::RetryApps => {
                    task.retry_apps = None;
                    task.left_out.apps.retry();
                    task.want(Work::because("trying refused apps again"));
                }
                Event::Cleanup => {
                    task.cleanup = None;
                    task.force = true;
                    task.want(Work::because("what deleted apps left behind"));
                }
                Event::Due => task.work().await?,
                Event::Drains => {
                    let connect = task.inputs.builder.config.haproxy.timeouts.connect.into();
                    task.live.tick(connect).await;
                    task.reporter.draining(task.live.draining());
                }
                Event::Files => task.follow().await?,
                Event::Look => task.look().await,
            }
        }
    }
}

/// The loop's state.
struct Task {
    inputs: Reconcile,
    stop: CancellationToken,
    queue: Queue<Work>,
    left_out: LeftOut,
    remembered: Remembered,
    /// What the last build left.
    kept: Kept,
    reporter: Reporter,
    live: Live,
    /// When the files are to follow what was changed at run time.
    files: Option<Instant>,
    /// The next reload is made even if nothing changed.
    force: bool,
    /// When listeners that the kernel refused get another try.
    retry_listeners: Option<Instant>,
    /// When apps that HAProxy refused get another try although they did not change.
    retry_apps: Option<Instant>,
    /// When a reload closes the ports of deleted apps, which a change at run time leaves open.
    cleanup: Option<Instant>,
    /// The tasks that nothing vouches for.
    unconfirmed: Arc<BTreeSet<String>>,
    /// When to see whether the worker is still the one that is known.
    look: Instant,
}

impl Task {
    async fn next(&mut self) -> Event {
        let due = self.queue.deadline();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Event::Stop,
            Ok(()) = self.inputs.config.changed() => Event::Config,
            Some(nudge) = self.inputs.nudges.recv() => Event::Nudge(nudge),
            Ok(()) = self.inputs.snapshots.changed() => Event::Snapshot,
            Ok(()) = self.inputs.certs.changes.changed() => Event::Certs,
            Ok(()) = self.inputs.source.changed() => Event::Source,
            () = until(due) => Event::Due,
            () = until(self.files) => Event::Files,
            () = until(self.live.deadline()) => Event::Drains,
            () = until(Some(self.look)) => Event::Look,
            () = until(self.retry_listeners) => Event::RetryListeners,
            () = until(self.retry_apps) => Event::RetryApps,
            () = until(self.cleanup) => Event::Cleanup,
        }
    }

    /// An operator may have mended anything.
    fn afresh(&mut self) {
        self.left_out.retry_listeners();
        self.left_out.apps.retry();
        self.queue.hurry(true, Instant::now());
    }

    fn want(&mut self, work: Work) {
        self.reporter.pending();
        let now = Instant::now();
        // What waits is one round, whatever asked for it.
        if let Some(displaced) = self.queue.push(work.clone(), now) {
            self.queue.push(work.and(displaced), now);
        }
    }

    /// Apps or certificates are otherwise: at once, but for what needs a reload.
    async fn changed(&mut self, what: &'static str) -> anyhow::Result<()> {
        self.queue.hurry(false, Instant::now());
        if !self.at_run_time().await? {
            self.want(Work::because(what));
        }
        Ok(())
    }

    /// Servers from memory wait for a check.
    async fn doubt(&mut self) {
        let snapshot = self.inputs.snapshots.borrow().clone();
        let places = self.live.places(&snapshot, &self.unconfirmed);
        let waiting = self.live.doubt(&places).await;
        if waiting > 0 {
            log::info!("{waiting} servers from memory wait for HAProxy's check of them");
        }
    }

    /// Reads the certificates again; whether they are others than before.
    async fn certificates(&mut self) -> bool {
        let read = self.inputs.certs.read(&self.inputs.builder.config).await;
        self.deploy(read)
    }

    /// What HAProxy gets of the certificates from now on; whether that differs.
    fn deploy(&mut self, read: anyhow::Result<Option<Deployed>>) -> bool {
        match read {
            Ok(None) => false,
            Ok(Some(deployed)) => {
                let differs = self.inputs.builder.certs.as_deref() != Some(&deployed);
                self.reporter.certificates(&deployed);
                self.inputs.builder.certs = Some(Arc::new(deployed));
                differs
            }
            Err(why) => {
                log::error!("the certificates stay as they were: {why:#}");
                false
            }
        }
    }

    /// Brings the newest apps to run without a reload, as far as that can be; whether nothing is left.
    async fn at_run_time(&mut self) -> anyhow::Result<bool> {
        let snapshot = self.inputs.snapshots.borrow_and_update().clone();
        self.left_out.apps.forget_changed(&snapshot);
        let wanted = self.build_state(&snapshot).await?;
        let asked = self.inputs.certs.ask(&self.inputs.builder.config, &wanted.state).await;
        self.deploy(asked);
        let mut brought = self.live.bring(&wanted.state, self.inputs.builder.certificates()).await;
        let mut complete = !self.force;
        if let Brought::NeedsReload(because) | Brought::Unconfirmed(because) = &brought {
            log::debug!("a reload: {because}");
            complete = false;
        }
        if let Brought::NeedsReload(_) = &brought {
            brought = self.live.meanwhile(&wanted.state).await;
        }
        if complete {
            self.accepted(&snapshot).await;
            self.reporter.wanted(&wanted.issues, &self.left_out);
            let after = Duration::from(self.inputs.builder.config.haproxy.cleanup_after);
            let needed = !after.is_zero() && self.live.has_retired(&wanted.state);
            schedule(&mut self.cleanup, needed, Instant::now() + after);
        }
        let serves = complete.then_some(&wanted.state);
        self.reporter.brought(&brought, serves, &snapshot, self.live.draining());
        if matches!(brought, Brought::Applied { .. }) && self.files.is_none() {
            self.files = Some(Instant::now() + FOLLOW);
        }
        Ok(complete)
    }

    /// The files say what runs since a change at run time. Where they cannot, a reload says so.
    async fn follow(&mut self) -> anyhow::Result<()> {
        self.files = None;
        // What runs, and not what is wanted: no reload may have confirmed that. Where it is not known, one is to come.
        let Some(state) = self.live.state().cloned() else { return Ok(()) };
        if self.force {
            // Other settings than those that run are not confirmed either.
            self.files = Some(Instant::now() + FOLLOW);
            return Ok(());
        }
        let built = build::text(&self.inputs.builder, state).await?;
        match self.inputs.reloader.follow(&built.bundle).await {
            Ok(true) => {
                self.live.filed(built.state, built.bundle.digest());
                self.reporter.filed(None);
            }
            Ok(false) => self.want(Work::because("HAProxy refuses the file for what it runs")),
            Err(why) => {
                self.reporter.filed(Some(&format!("the files do not follow what runs: {:#}", anyhow::Error::new(why))));
                self.files = Some(Instant::now() + FOLLOW_AGAIN);
            }
        }
        Ok(())
    }

    /// Somebody else may have started HAProxy anew, or reloaded it: from files that are behind.
    async fn look(&mut self) {
        if self.live.is_other().await {
            self.live.restarted();
            self.want(Work::because("another HAProxy"));
        }
        self.look = Instant::now() + LOOK;
    }

    /// Applies the newest there is, and decides whether that needs another try.
    async fn work(&mut self) -> anyhow::Result<()> {
        let Some(work) = self.queue.start(Instant::now()) else { return Ok(()) };
        let stop = self.stop.clone();
        let tried = tokio::select! {
            tried = self.apply(&work) => tried?,
            // What is half done is put right by the next start.
            () = stop.cancelled() => return Ok(()),
        };
        let now = Instant::now();
        match tried {
            Tried::Done => self.queue.ended(Ended::Well, now),
            Tried::Nothing => self.queue.ended(Ended::Idle, now),
            Tried::Failed => {
                self.queue.ended(Ended::Badly, now);
                self.queue.again(work, now);
            }
        }
        if !self.unconfirmed.is_empty() {
            self.doubt().await;
        }
        schedule(&mut self.retry_listeners, self.left_out.has_listeners(), now + RETRY_LISTENERS);
        schedule(&mut self.retry_apps, !self.left_out.apps.is_empty(), now + RETRY_APPS);
        Ok(())
    }

    async fn apply(&mut self, work: &Work) -> anyhow::Result<Tried> {
        let snapshot = self.inputs.snapshots.borrow_and_update().clone();
        if snapshot.revision == 0 {
            // Nothing was read yet; what HAProxy runs, if it runs, is the best there is.
            return Ok(Tried::Nothing);
        }
        if self.at_run_time().await? {
            self.search(&snapshot).await?;
            return Ok(Tried::Nothing);
        }
        let because = work.because.join(", ");
        let began = Instant::now();
        self.left_out.apps.forget_changed(&snapshot);
        for _ in 0..MAX_ROUNDS {
            let built = self.build(&snapshot).await?;
            let outcome = match self.force || self.live.is_changed() {
                true => self.inputs.reloader.force(&built.bundle).await,
                false => self.inputs.reloader.apply(&built.bundle).await,
            };
            if let Some(refusal) = Refusal::of(&outcome, &built, &snapshot) {
                let repaired = self.repairer(&snapshot).repair(refusal).await?;
                self.reporter.repaired(repaired, began.elapsed(), self.inputs.reloader.checks());
                if repaired {
                    continue;
                }
            }
            match &outcome {
                Outcome::Unbindable(refused) if self.leave_out_listeners(refused, &built) => continue,
                Outcome::Reverted { unbindable, .. } if self.leave_out_listeners(unbindable, &built) => continue,
                _ => (),
            }
            match &outcome {
                Outcome::Applied { digest, .. } => {
                    self.files = None;
                    self.cleanup = None;
                    self.reporter.filed(None);
                    self.live.loaded(built.state.clone(), built.bundle.certs(), *digest).await;
                }
                Outcome::Unchanged { digest } => {
                    self.reporter.filed(None);
                    if let Brought::NeedsReload(why) | Brought::Unconfirmed(why) =
                        self.live.found(&built.state, built.bundle.certs(), *digest).await
                    {
                        log::info!("a reload, for {why}");
                        self.force = true;
                        continue;
                    }
                }
                _ => self.live.failed().await,
            }
            // The result last: who waits for it finds the rest there.
            self.reporter.checked(self.inputs.reloader.checks());
            self.reporter.draining(self.live.draining());
            self.reporter.wanted(&built.issues, &self.left_out);
            self.reporter.ended(&outcome, &built, &snapshot, &because);
            if outcome.is_applied() {
                self.force = false;
                self.accepted(&snapshot).await;
                self.search(&snapshot).await?;
                let nothing = matches!(outcome, Outcome::Unchanged { .. });
                return Ok(if nothing { Tried::Nothing } else { Tried::Done });
            }
            self.reporter.trouble(&outcome.to_string());
            return Ok(Tried::Failed);
        }
        self.reporter.trouble("something is refused ever anew");
        Ok(Tried::Failed)
    }

    async fn build(&mut self, snapshot: &Arc<Snapshot>) -> anyhow::Result<Built> {
        build::whole(&self.inputs.builder, snapshot, &mut self.left_out, &mut self.kept).await
    }

    /// As `build`, without the text.
    async fn build_state(&mut self, snapshot: &Arc<Snapshot>) -> anyhow::Result<Wanted> {
        build::state(&self.inputs.builder, snapshot, &mut self.left_out, &mut self.kept).await
    }
}

/// How a round ended.
enum Tried {
    /// The newest configuration runs.
    Done,
    /// It ran already.
    Nothing,
    /// It did not work out, and may yet.
    Failed,
}

/// The kernel may refuse one listener after the other.
const MAX_ROUNDS: usize = 20;

/// How long the files may be behind what runs.
const FOLLOW: Duration = Duration::from_millis(300);

/// How long another worker than the known one may go unnoticed.
const LOOK: Duration = Duration::from_millis(500);

/// Where they cannot be written.
const FOLLOW_AGAIN: Duration = Duration::from_secs(5);

/// A port in use may be free again later.
const RETRY_LISTENERS: Duration = Duration::from_secs(30);

/// A file that an app names may be there later.
const RETRY_APPS: Duration = Duration::from_secs(300);
