//! Builds, names, starts and stops every task of the daemon.
//!
//! Called by `baton run`. Everything that can fail at start fails here, before anything is
//! announced. The first task that ends by itself ends the process; a stop is ordered and bounded.
#![allow(clippy::disallowed_methods, reason = "the one place that spawns tasks and reads when it started")]

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use haproxy::app::Snapshot;
use haproxy::child;
use haproxy::disk::Disk;
use haproxy::features::Features;
use haproxy::master::Master;
use haproxy::reload::{Reloader, Times};
use haproxy::render::Renderer;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Doors, ReloadRequest, Views};
use crate::certs::keeper::Keeper;
use crate::cli::binary;
use crate::cli::load::Loader;
use crate::config::origin::Origin;
use crate::config::settings::{Abilities, FD_HARD_LIMIT, MASTER_SOCKET, Purpose, hard_stop_covers_tunnels};
use crate::config::{Config, Dynamic, Manage};
use crate::ha::report::VipReport;
use crate::ha::{self, Ha};
use crate::privileges::Ambient;
use crate::reconcile::build::Builder;
use crate::reconcile::{Certs, Nudge, Reconcile, ReconcileStatus};
use crate::signals::{Asked, Signals};
use crate::source::{SourceCommand, SourceStatus};
use crate::status::{HaproxyReport, seconds};
use crate::upgrade::Installed;
use crate::{certs, logging, process, systemd, workers};

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start, or when a task ended by itself.
pub async fn run(config: Config, loader: Loader, ambient: Ambient) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let mut signals = Signals::new()?;
    let installed = Installed::find(ambient)?;
    let origin = Origin::new(&config)?;
    let (binary, features) = probe(&config).await?;
    let disk = directories(&config)?;
    let listener = admin::bind(&config.admin.socket).await?;

    let stop = CancellationToken::new();
    // The addresses go first, while everything behind them still works.
    let resign = CancellationToken::new();
    // HAProxy ends with an orderly stop only: after a failure of ours it goes on, for the next
    // baton to take over.
    let stop_haproxy = CancellationToken::new();
    let (snapshots, snapshot) = watch::channel(Arc::new(Snapshot::default()));
    let (source_status, source_view) = watch::channel(SourceStatus::default());
    let (source_commands, source_inbox) = mpsc::channel(4);
    let (configs, config_view) = watch::channel(config.clone());
    let (nudges, nudge_inbox) = mpsc::channel(NUDGES);
    let (reconcile_status, reconcile_view) = watch::channel(ReconcileStatus::default());
    let (haproxy_status, haproxy_view) = watch::channel(HaproxyReport {
        version: features.release.clone(),
        manage: config.haproxy.manage.to_string(),
        ..HaproxyReport::default()
    });
    let (vip_status, vip_view) = watch::channel(VipReport::default());
    let (vip, vip_inbox) = mpsc::channel(4);
    let (reloads, mut reload_inbox) = mpsc::channel::<ReloadRequest>(4);
    let ha = Ha::start(config_view.clone(), reconcile_view.clone(), vip_inbox, vip_status).await?;

    let socket = config.haproxy.run_dir.join(MASTER_SOCKET);
    let (cert_paths, watched) = watch::channel(Arc::default());
    let (cert_changes, changes) = watch::channel(0);
    let keeper = Keeper::new(binary.clone(), &disk.current_certs());
    let reconcile = Reconcile {
        reloader: Reloader::new(&binary, disk.clone(), &socket, Times::default()),
        builder: builder(&config, &features)?,
        features: features.clone(),
        config: config_view,
        snapshots: snapshot,
        source: source_view.clone(),
        certs: Certs::new(keeper, cert_paths, changes),
        nudges: nudge_inbox,
        status: reconcile_status,
    };
    let views = Views {
        started_at: seconds(SystemTime::now()),
        source: source_view,
        reconcile: reconcile_view,
        haproxy: haproxy_view,
        vrrp: vip_view,
    };

    let mut tasks = JoinSet::new();
    let token = stop.clone();
    tasks.spawn(async move {
        origin.run(snapshots, source_status, source_inbox, token).await;
        ("source", Ok(()))
    });
    let token = stop.clone();
    tasks.spawn(async move { ("reconcile", reconcile.run(token).await) });
    let token = stop.clone();
    tasks.spawn(async move {
        certs::watch::run(watched, cert_changes, token).await;
        ("certificates", Ok(()))
    });
    let token = stop.clone();
    let (doors, told) = (Doors { reloads, vip: vip.clone() }, views.clone());
    tasks.spawn(async move { ("admin", admin::serve(listener, views, doors, token).await) });
    let token = stop.clone();
    tasks.spawn(async move {
        systemd::run(told, token).await;
        ("systemd", Ok(()))
    });
    let (master, status) = (Master::new(&socket, workers::PATIENCE), haproxy_status.clone());
    let (configs_seen, token) = (configs.subscribe(), stop.clone());
    tasks.spawn(async move {
        workers::run(master, configs_seen, status, token).await;
        ("workers", Ok(()))
    });
    let token = resign.clone();
    tasks.spawn(async move { (VIP, ha.run(token).await) });
    if config.haproxy.manage == Manage::Child {
        raise_files(&config);
        let setup = child::Setup { binary, disk, socket, socket_mode: 0o660, times: child::Times::default() };
        let (nudges, token) = (nudges.clone(), stop_haproxy.clone());
        tasks.spawn(async move {
            process::run(child::Supervisor::new(setup), haproxy_status, nudges, token).await;
            ("haproxy", Ok(()))
        });
    }
    log::info!("baton {} runs, HAProxy {}", env!("CARGO_PKG_VERSION"), features.release);
    systemd::notify(&[sd_notify::NotifyState::Ready]);

    let mut operator = Operator { loader, config, configs, source_commands, nudges };
    let ended = loop {
        tokio::select! {
            ended = tasks.join_next() => break ended,
            asked = signals.next() => match asked {
                Asked::Stop => break None,
                Asked::Reload => match operator.reload().await {
                    Ok(remarks) => remarks.iter().for_each(|remark| log::warn!("{remark}")),
                    Err(why) => log::error!("the old configuration stays: {why}"),
                },
                Asked::Force => operator.nudge(Nudge::Force),
                Asked::Upgrade => match upgrade(&installed, &vip, &mut signals).await {
                    Ok(never) => match never {},
                    Err(Stays::Running(why)) => log::error!("no upgrade, baton goes on as it is: {why:#}"),
                    Err(Stays::Suspended(why)) => break Some(Ok(("upgrade", Err(why)))),
                },
            },
            Some(request) = reload_inbox.recv() => {
                // Whoever asked may be gone; what was asked for is done all the same.
                let _ = request.send(operator.reload().await);
            }
        }
    };
    systemd::notify(&[sd_notify::NotifyState::Stopping]);
    if ended.is_none() {
        resign.cancel();
        // Every other task goes on until this one has ended.
        while let Some(other) = tasks.join_next().await {
            match other {
                Ok((VIP, Ok(()))) => break,
                Ok((task, ended)) => log::error!("the {task} task ended meanwhile: {ended:?}"),
                Err(why) => log::error!("a task failed meanwhile: {why}"),
            }
        }
    }
    stop.cancel();
    if ended.is_none() {
        stop_haproxy.cancel();
    } else {
        tasks.abort_all();
    }
    let drained = tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        log::warn!("tasks did not end within {} s", DRAIN.as_secs());
    }
    // The next start makes it anew.
    let _ = fs::remove_file(&operator.config.admin.socket);
    match ended {
        None => Ok(()),
        Some(Ok((task, Ok(())))) => bail!("the {task} task ended by itself"),
        Some(Ok((task, Err(why)))) => Err(why.context(format!("the {task} task failed"))),
        Some(Err(why)) => Err(why).context("a task failed"),
    }
}

/// Why there was no upgrade, and what that means.
enum Stays {
    /// Nothing has happened.
    Running(anyhow::Error),
    /// The virtual routers do nothing any more: only a new process takes up from there.
    Suspended(anyhow::Error),
}

/// Replaces this process by the installed program; the addresses stay meanwhile.
async fn upgrade(
    installed: &Installed,
    vip: &mpsc::Sender<ha::Request>,
    signals: &mut Signals,
) -> Result<Infallible, Stays> {
    installed.check().await.map_err(Stays::Running)?;
    let (answer, answered) = oneshot::channel();
    let asked = vip.send(ha::Request::Suspend(answer)).await;
    asked.context("reach the virtual routers").map_err(Stays::Running)?;
    let suspended = answered.await.context("suspend the virtual routers").map_err(Stays::Suspended)?;
    suspended.map_err(|why| Stays::Suspended(anyhow::anyhow!(why)))?;
    log::info!("SIGUSR2: executing {installed} in place");
    signals.hold().context("hold signals back").map_err(Stays::Suspended)?;
    Err(Stays::Suspended(installed.execute()))
}

/// What an operator can ask of the running daemon.
struct Operator {
    loader: Loader,
    config: Arc<Config>,
    configs: watch::Sender<Arc<Config>>,
    source_commands: mpsc::Sender<SourceCommand>,
    nudges: mpsc::Sender<Nudge>,
}

impl Operator {
    /// Reads the configuration again, applies what can be applied, names what needs a restart, and
    /// has the apps fetched.
    async fn reload(&mut self) -> Result<Vec<String>, String> {
        let loaded = self.loader.load().map_err(|why| format!("{:#}", anyhow::Error::new(why)))?;
        let new = loaded.config;
        let fixed = new.needs_restart(&self.config);
        logging::set_level(new.log.level);
        self.config = Arc::new(new.keeping_fixed(&self.config));
        self.configs.send_replace(self.config.clone());
        self.nudge(Nudge::Force);
        // A full channel means that a fetch is asked for already.
        let _ = self.source_commands.try_send(SourceCommand::Refetch);
        log::info!("configuration read again");
        Ok(fixed.into_iter().map(|key| format!("{key} changed: restart baton for that")).collect())
    }

    fn nudge(&self, nudge: Nudge) {
        // A full channel means that a nudge waits already.
        let _ = self.nudges.try_send(nudge);
    }
}

/// The HAProxy to run, and what it can do.
///
/// # Errors
/// When there is none, or it does not say.
pub async fn probe(config: &Config) -> anyhow::Result<(PathBuf, Features)> {
    let Some(binary) = binary(config) else {
        bail!("no HAProxy found: install baton-haproxy (or haproxy), or set haproxy.binary");
    };
    let binary = fs::canonicalize(&binary).unwrap_or(binary);
    let features = Features::probe(&binary).await?;
    if let Err(without) = features.need_lua() {
        log::warn!("{without}");
    }
    Ok((binary, features))
}

fn directories(config: &Config) -> anyhow::Result<Disk> {
    let run_dir = &config.haproxy.run_dir;
    let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(run_dir);
    made.with_context(|| format!("make {} (haproxy.run_dir)", run_dir.display()))?;
    Disk::open(&config.haproxy.state_dir).context("open haproxy.state_dir")
}

fn builder(config: &Arc<Config>, features: &Features) -> anyhow::Result<Builder> {
    if !hard_stop_covers_tunnels(config) {
        log::warn!(
            "haproxy.hard_stop_after is shorter than haproxy.timeouts.tunnel: a reload may cut off long connections"
        );
    }
    if config.haproxy.dynamic != Dynamic::default() && !features.dynamic_backends() {
        log::warn!("haproxy.dynamic needs HAProxy 3.4, this is {}: every new app takes a reload", features.release);
    }
    Ok(Builder {
        renderer: Arc::new(Renderer::new()?),
        config: config.clone(),
        purpose: Purpose::Drive,
        abilities: Abilities::of(Some(features)),
        default_cert: None,
        certs: None,
    })
}

/// HAProxy inherits the limit of open files: two for each connection, and some for listeners,
/// checks and sockets.
fn raise_files(config: &Config) {
    let wanted = match config.haproxy.maxconn {
        Some(maxconn) => u64::from(maxconn) * 2 + SPARE_FILES,
        None => u64::from(FD_HARD_LIMIT),
    };
    let Err(short) = child::raise_nofile(wanted) else { return };
    match config.haproxy.maxconn {
        Some(_) => log::error!("HAProxy may refuse to start: {short}"),
        None => log::warn!("HAProxy takes at most about {} connections: {short}", short.have / 2),
    }
}

/// Open files of HAProxy that are no connection's.
const SPARE_FILES: u64 = 5_000;

/// The task that resigns before the others stop.
const VIP: &str = "vip";

/// Nudges that wait while a reload runs; more say nothing new.
const NUDGES: usize = 64;

/// How long an orderly stop may take, HAProxy's included.
const DRAIN: Duration = Duration::from_secs(25);
