//! The floating addresses: health goes to the VRRP thread, its reports come back, operators ask.
//!
//! One task, run by the supervisor. It owns the thread's handle and the connection that watches
//! HAProxy; what the thread does meanwhile does not depend on this task being awake. It never looks
//! at apps and never changes HAProxy.
#![allow(clippy::disallowed_methods, reason = "the shell around the VRRP thread reads the clock")]

mod contention;
mod health;
mod notify;
mod program;
pub mod report;
mod request;
pub mod saved;
mod track;

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use haproxy::liveness::{Life, Watch};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vrrp::linux::engine::{Engine, EngineError, Order, Reports, Setup};
use vrrp::linux::report::{Report, RouterStatus, Saved};
use vrrp::machine::io::{Command, Health, Phase};

use crate::config::Config;
use crate::config::settings::{MASTER_SOCKET, STATS_SOCKET};
use crate::config::vrrp::{Vrrp, routers};
use crate::reconcile::ReconcileStatus;
use crate::status::seconds;
use contention::Contention;
use health::{Facts, health};
use notify::Notifier;
use report::{RouterReport, StrayReport, VipReport, why, word};
use request::Pending;
pub use request::{Ask, Request};
use saved::{Files, Held, Holds};
use track::Tracks;

/// The task.
pub struct Ha {
    config: watch::Receiver<Arc<Config>>,
    reconcile: watch::Receiver<ReconcileStatus>,
    requests: mpsc::Receiver<Request>,
    status: watch::Sender<VipReport>,
    engine: Option<Running>,
    watcher: Option<Watcher>,
    life: watch::Receiver<Life>,
    tracks: Tracks,
    facts: Facts,
    /// What each router was told last.
    told: BTreeMap<String, Health>,
    routers: BTreeMap<String, RouterStatus>,
    contentions: BTreeMap<String, Contention>,
    contended: BTreeMap<String, Option<f64>>,
    holds: Holds,
    files: Files,
    notifier: Notifier,
    notices: Option<notify::Notices>,
    pending: Vec<Pending>,
    finished: Vec<Saved>,
}

/// Watches HAProxy and tells how it is. A question takes its time, so it runs beside the task: what
/// the task does meanwhile must not cancel it.
struct Watcher {
    watch: Watch,
    told: watch::Sender<Life>,
}

/// The running thread, and what it tells.
struct Running {
    engine: Engine,
    reports: mpsc::Receiver<Report>,
}

impl Ha {
    /// Starts the thread where there are routers: what can fail does so before anything is announced.
    ///
    /// # Errors
    /// When the thread cannot be started: a capability is missing, the configuration contradicts itself.
    pub async fn start(
        config: watch::Receiver<Arc<Config>>,
        reconcile: watch::Receiver<ReconcileStatus>,
        requests: mpsc::Receiver<Request>,
        status: watch::Sender<VipReport>,
    ) -> anyhow::Result<Self> {
        let now = config.borrow().clone();
        let run_dir = &now.haproxy.run_dir;
        let files = Files::new(&now.haproxy.state_dir, run_dir);
        let mut watch = Watch::new(run_dir.join(MASTER_SOCKET), run_dir.join(STATS_SOCKET));
        let (notifier, notices) = Notifier::new();
        let holds = files.holds();
        let resume = files.take_handover();
        if !now.vrrp.is_empty() {
            // A process that resumes must not begin unfit.
            watch.look().await;
        }
        let life = watch.life().clone();
        let ready = matches!(life, Life::Serves(Some(_)));
        let (told, seen) = watch::channel(life.clone());
        let mut ha = Self {
            config,
            reconcile,
            requests,
            status,
            engine: None,
            watcher: Some(Watcher { watch, told }),
            life: seen,
            tracks: Tracks::default(),
            facts: Facts { life, impaired: false, ready, well: BTreeMap::new() },
            told: BTreeMap::new(),
            routers: BTreeMap::new(),
            contentions: BTreeMap::new(),
            contended: BTreeMap::new(),
            holds,
            files,
            notifier,
            notices: Some(notices),
            pending: Vec::new(),
            finished: Vec::new(),
        };
        ha.tracks.set(&now.vrrp);
        if !now.vrrp.is_empty() {
            ha.start_engine(&now.vrrp, resume)?;
        }
        ha.publish();
        Ok(ha)
    }

    /// Runs until `stop`; then resigns, and ends when the addresses are elsewhere or nobody wants them.
    ///
    /// # Errors
    /// When the VRRP thread ends by itself.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let (notices, watcher) = (self.notices.take(), self.watcher.take());
        let mut ended = Ok(());
        let working = async {
            ended = self.work(stop).await;
            // Nobody notifies any more; what waits may still be told.
            tokio::time::sleep(LAST_WORDS).await;
        };
        let telling = async {
            if let Some(notices) = notices {
                notices.run().await;
            }
        };
        let watching = async {
            if let Some(watcher) = watcher {
                watcher.run().await;
            }
        };
        tokio::select! {
            () = working => (),
            () = telling => (),
            () = watching => (),
        }
        ended
    }

    /// Until `stop`, and then until the addresses are gone.
    async fn work(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                step = self.step() => step?,
            }
        }
        self.resign().await
    }

    /// Waits for one thing to happen and deals with it.
    async fn step(&mut self) -> anyhow::Result<()> {
        let deadline = self.pending.iter().map(|pending| pending.deadline).min();
        tokio::select! {
            biased;
            reports = next_reports(self.engine.as_mut()) => self.reports(reports)?,
            Ok(()) = self.life.changed() => self.seen(),
            Some(request) = self.requests.recv() => self.request(request).await,
            Ok(()) = self.config.changed() => self.reconfigure(),
            Ok(()) = self.reconcile.changed() => self.seen(),
            () = self.tracks.next(&mut self.facts.well) => self.tell(),
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.overdue(),
        }
        Ok(())
    }

    fn start_engine(&mut self, written: &[Vrrp], resume: Vec<Saved>) -> anyhow::Result<()> {
        let health = written.first().map(|router| health(&self.facts, router)).unwrap_or_default();
        let setup = Setup { routers: routers(written)?, resume, health, realtime: true };
        let (engine, reports) = Engine::start(setup).map_err(explain)?;
        self.engine = Some(Running { engine, reports: forward(reports)? });
        self.hold_out();
        self.told.clear();
        self.tell();
        Ok(())
    }

    /// Tells the thread whom operators hold out.
    fn hold_out(&self) {
        for (router, held) in &self.holds {
            self.order(Order::CommandTo(router.clone(), Command::Hold { force: held.force }));
        }
    }

    /// HAProxy, or what `reconcile` makes of it, is otherwise.
    fn seen(&mut self) {
        let life = self.life.borrow_and_update().clone();
        if life != self.facts.life {
            match &life {
                Life::Down => log::warn!("HAProxy does not run: unfit for floating addresses"),
                Life::Silent => log::warn!("HAProxy does not answer: unfit for floating addresses"),
                Life::Serves(_) => log::debug!("HAProxy serves"),
            }
        }
        self.facts.ready |= matches!(life, Life::Serves(Some(_)));
        self.facts.life = life;
        self.facts.impaired = self.reconcile.borrow_and_update().applied.trouble.is_some();
        self.tell();
    }

    /// Tells the thread what it does not know yet.
    fn tell(&mut self) {
        let config = self.config.borrow().clone();
        for router in &config.vrrp {
            let (name, health) = (router.name(), health(&self.facts, router));
            if self.told.get(&name) != Some(&health) {
                self.order(Order::HealthOf(name.clone(), health.clone()));
                self.told.insert(name, health);
            }
        }
    }

    fn order(&self, order: Order) {
        if let Some(Err(why)) = self.engine.as_ref().map(|running| running.engine.order(order)) {
            log::error!("{why}");
        }
    }

    fn reconfigure(&mut self) {
        let config = self.config.borrow_and_update().clone();
        self.tracks.set(&config.vrrp);
        let names: Vec<_> = config.vrrp.iter().map(Vrrp::name).collect();
        self.told.retain(|name, _| names.contains(name));
        let done = match (&self.engine, routers(&config.vrrp)) {
            (_, Err(why)) => Err(why.into()),
            (None, Ok(routers)) if routers.is_empty() => Ok(()),
            (None, Ok(_)) => self.start_engine(&config.vrrp, Vec::new()),
            (Some(_), Ok(routers)) => {
                self.order(Order::Config(routers));
                self.hold_out();
                Ok(())
            }
        };
        if let Err(why) = done {
            log::error!("[[vrrp]] stays as it was: {why:#}");
        }
        self.tell();
        self.publish();
    }

    fn reports(&mut self, reports: Vec<Report>) -> anyhow::Result<()> {
        for report in reports {
            match report {
                Report::Moved { router, transition } => {
                    let (from, to, reason) = (word(transition.from), word(transition.to), why(transition.reason));
                    log::info!(vrrp = router.as_str(), state = to, reason; "{router}: {from} -> {to}: {reason}");
                    self.moved(&router, transition.to);
                }
                Report::Status(status) => {
                    let contention = self.contentions.entry(status.name.clone()).or_default();
                    self.contended.insert(status.name.clone(), contention.note(&status));
                    self.routers.insert(status.name.clone(), *status);
                }
                Report::Strays(strays) => self.status.send_modify(|status| {
                    status.strays.insert(strays.interface.clone(), StrayReport::from(&*strays));
                }),
                Report::Remark { router, remark } => log::warn!(vrrp = router.as_str(); "{router}: {remark}"),
                Report::Warning(text) => {
                    log::warn!("{text}");
                    self.status.send_modify(|status| status.warnings.push(text));
                }
                Report::Finished(saved) => self.finished.push(saved),
                Report::Removed { router } => {
                    self.routers.remove(&router);
                }
                Report::Dropped(count) => log::warn!("{count} reports of the VRRP thread were lost"),
                Report::Ended(Ok(())) => (),
                Report::Ended(Err(why)) => return Err(anyhow::anyhow!(why).context("the VRRP thread")),
            }
        }
        self.publish();
        self.settle();
        Ok(())
    }

    /// Notifies. The status that follows at once says the rest, the peer among it.
    fn moved(&self, router: &str, phase: Phase) {
        let config = self.config.borrow().clone();
        if let Some(written) = config.vrrp.iter().find(|written| written.name() == router) {
            let priority = self.routers.get(router).map_or(written.priority.0, |status| status.priority);
            self.notifier.moved(written, phase, priority);
        }
    }

    fn publish(&self) {
        let config = self.config.borrow().clone();
        let report = |name: String| match self.routers.get(&name) {
            Some(status) => {
                let contended = self.contended.get(&name).copied().flatten();
                RouterReport::from(status, self.holds.get(&name).cloned(), contended)
            }
            None => RouterReport::unknown(name),
        };
        let routers: Vec<_> = config.vrrp.iter().map(|router| report(router.name())).collect();
        self.status.send_if_modified(|status| {
            let differs = status.routers != routers;
            status.routers = routers;
            differs
        });
    }

    /// Has all routers resign and waits for it, but not for ever.
    async fn resign(&mut self) -> anyhow::Result<()> {
        self.finish(Command::Shutdown, RESIGN).await.map(drop)
    }

    /// Gives the command to all routers and waits until each has finished.
    async fn finish(&mut self, command: Command, limit: Duration) -> anyhow::Result<Vec<Saved>> {
        self.finished.clear();
        if self.engine.is_none() {
            return Ok(Vec::new());
        }
        let routers = self.routers.len();
        self.order(Order::Command(command));
        let deadline = Instant::now() + limit;
        while self.finished.len() < routers {
            tokio::select! {
                reports = next_reports(self.engine.as_mut()) => self.reports(reports)?,
                () = tokio::time::sleep_until(deadline) => {
                    log::warn!("not all virtual routers were done within {} s", limit.as_secs());
                    break;
                }
            }
        }
        Ok(std::mem::take(&mut self.finished))
    }

    fn hold(&mut self, names: &[String], by: &str, force: bool) -> anyhow::Result<()> {
        let held = Held { by: by.to_owned(), since: seconds(SystemTime::now()), force };
        for name in names {
            self.holds.insert(name.clone(), held.clone());
        }
        self.files.keep_holds(&self.holds)
    }

    fn unhold(&mut self, names: &[String]) -> anyhow::Result<()> {
        self.holds.retain(|name, _| !names.contains(name));
        self.files.keep_holds(&self.holds)
    }
}

impl Watcher {
    async fn run(mut self) {
        loop {
            let life = self.watch.changed().await.clone();
            // The task listens until it ends, and this one with it.
            self.told.send_replace(life);
        }
    }
}

/// What the thread has told, as soon as there is something. Cancel safe.
async fn next_reports(running: Option<&mut Running>) -> Vec<Report> {
    let Some(running) = running else { return std::future::pending().await };
    let mut reports = Vec::new();
    if running.reports.recv_many(&mut reports, AT_ONCE).await == 0 {
        // The thread said why before it ended.
        std::future::pending::<()>().await;
    }
    reports
}

/// Carries reports over to the runtime. The VRRP thread must never wake a task by itself: that
/// takes locks. It ends with the VRRP thread.
fn forward(reports: Reports) -> anyhow::Result<mpsc::Receiver<Report>> {
    let (sender, receiver) = mpsc::channel(AT_ONCE);
    let work = move || {
        loop {
            // Woken by a report, by the thread's end, or for nothing.
            let _ = poll(&mut [PollFd::new(reports.as_fd(), PollFlags::POLLIN)], PollTimeout::from(1_000_u16));
            reports.clear();
            loop {
                let sent = match reports.try_recv() {
                    Ok(report) => sender.blocking_send(report).is_ok(),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => false,
                };
                if !sent {
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("vrrp-reports".to_owned()).spawn(work).context("start a thread")?;
    Ok(receiver)
}

fn explain(why: EngineError) -> anyhow::Error {
    let capability = match &why {
        EngineError::Capability { capability, .. } => Some(*capability),
        _ => None,
    };
    let why = anyhow::Error::new(why);
    match capability {
        Some(name) => why.context(format!(
            "start VRRP: give baton the capability: AmbientCapabilities={name} in its unit, or run it as root"
        )),
        None => why.context("start VRRP"),
    }
}

/// Reports that are dealt with in one go.
const AT_ONCE: usize = 64;

/// For all routers to resign: the longest down interval in use, and some.
const RESIGN: Duration = Duration::from_secs(12);

/// For the notifications that wait when everything is over.
const LAST_WORDS: Duration = Duration::from_secs(3);
