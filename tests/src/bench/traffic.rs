//! From Marathon's event to the first request that the new task answers, through HAProxy.
//!
//! A host of its own with the simulated cluster, a `baton` with the settings it has by default, and
//! its HAProxy. A task is killed; Marathon starts another one on another port; what counts is the
//! time from the TASK_RUNNING event of the new task until it answers on the app's service port. The
//! new task takes a second to start, so that the reload for the killed one is more than
//! `min_reload_spacing` ago.
//! Along the way: how long the source and the reload took, by `baton`'s own status, and HAProxy
//! alone.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use haproxy::master::Master;
use serde_json::Value;

use super::cluster::{Shape, moving_id, moving_port};
use super::figure::{Figure, Report, Samples};
use super::front::Front;
use crate::lab::baton::Baton;
use crate::lab::on_a_host;
use crate::sim::{Config, Personality, Sim, raise_open_files};

/// Measures on a cluster of this shape, with this many moved tasks.
///
/// # Errors
/// When anything does not start, or a moved task never answers.
pub fn run(report: &mut Report<'_>, shape: Shape, samples: usize) -> anyhow::Result<()> {
    let apps = shape.apps;
    let event = format!("event_to_traffic_reload_{apps}");
    let parts = [format!("source_fetch_{apps}"), format!("reload_apply_{apps}"), format!("haproxy_reload_{apps}")];
    if report.wants(&[&event, &format!("{event}_p99")]) || report.wants(&parts) {
        report.say(&format!("event to traffic on {shape}, {samples} moved tasks"));
        let checks = enough_files(report, shape);
        let seen = on_a_host(&[], move || measure(shape, samples, checks))?;
        report.say(&format!("between {:?} and {:?}", seen.answered.least(), seen.answered.greatest()));
        let [fetch, apply, reload] = parts;
        for figure in [
            Figure::millis(event.clone(), seen.answered.median()),
            Figure::millis(format!("{event}_p99"), seen.answered.p99()),
            Figure::millis(fetch, seen.fetches.median()),
            Figure::millis(apply, seen.applies.median()),
            Figure::millis(reload, seen.reloads.median()),
        ] {
            report.give(&figure)?;
        }
    }
    Ok(())
}

/// Whether HAProxy may have a file for every server it checks, and a listener for every app; if not,
/// the apps have no health checks.
fn enough_files(report: &mut Report<'_>, shape: Shape) -> bool {
    let wanted = shape.apps * (shape.tasks + 1) + SPARE_FILES;
    match raise_open_files(u64::try_from(wanted).unwrap_or(u64::MAX)) {
        Ok(_) => true,
        Err(why) => {
            report.say(&format!("{why}; the apps of {shape} have no health checks, which HAProxy needs them for"));
            false
        }
    }
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    /// Event to answer.
    answered: Samples,
    /// The fetch of the list, the simulator's share included.
    fetches: Samples,
    /// From the check to the confirmation.
    applies: Samples,
    /// HAProxy's reload alone.
    reloads: Samples,
}

async fn measure(shape: Shape, samples: usize, checks: bool) -> anyhow::Result<Seen> {
    let moving = Shape { apps: MOVING.min(shape.apps), ..shape };
    let still = Shape { apps: shape.apps - moving.apps, ..shape };
    let sim = Sim::start(Config {
        staging: Duration::from_millis(100),
        starting: Duration::from_millis(1_100),
        ports: 33_000..=34_000,
        ..Config::new(Personality::V1_8)
    })
    .await?;
    sim.load(&moving.moving()).map_err(|why| anyhow::anyhow!("load the simulator: {why}"))?;
    let front = Front::start(&still.answer(checks).await?, Some(sim.url(0)))?;
    let toml = format!("[marathon]\nurls = [{:?}]\ngroups = [\"external\"]\n", front.url());
    let baton = Baton::start(&toml, &[]).await?;
    let all = shape.apps * shape.tasks;
    baton.until("serves the whole cluster", |status| serves(status, all)).await?;

    let mut seen = Seen::default();
    let began = Instant::now();
    for n in (0..samples).take_while(|n| *n < FEWEST || began.elapsed() < LONGEST) {
        move_one(&sim, &baton, n % moving.apps, all, &mut seen).await.with_context(|| format!("move task {n}"))?;
    }
    let master = Master::new(baton.dir().join("run/master.sock"), PATIENCE);
    for _ in 0..RELOADS {
        seen.reloads.extend([reload(&master).await?]);
    }
    drop(baton.stop().await?);
    sim.stop().await;
    Ok(seen)
}

/// Moves a task of the moving app `n` and waits until everything is quiet again.
async fn move_one(sim: &Sim, baton: &Baton, n: usize, all: usize, seen: &mut Seen) -> anyhow::Result<()> {
    let app = moving_id(n);
    let before = sim.event_position();
    sim.move_task(&app).context("no running task to move")?;
    let (emitted, task) = running(sim, before, &app).await?;
    let port = u16::try_from(moving_port(n))?;
    let answered = tokio::task::spawn_blocking(move || answered_by(port, &task)).await??;
    seen.answered.extend([answered.saturating_duration_since(emitted)]);

    let status = baton.until("serves the moved task", |status| serves(status, all)).await?;
    let millis = |part: &str, name: &str| {
        let millis = status[part][name].as_f64().with_context(|| format!("the status has no {part}.{name}"))?;
        Ok::<_, anyhow::Error>(Duration::from_secs_f64(millis / 1_000.0))
    };
    seen.fetches.extend([millis("source", "fetch_ms")?]);
    seen.applies.extend([millis("applied", "took_ms")?]);
    tokio::time::sleep(QUIET).await;
    Ok(())
}

/// The moment when the simulator told that a new task of `app` runs, and its id.
async fn running(sim: &Sim, since: u64, app: &str) -> anyhow::Result<(Instant, String)> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let events = sim.events_since(since);
        let found = events.iter().find(|event| {
            event.kind == "status_update_event"
                && event.body["appId"] == app
                && event.body["taskStatus"] == "TASK_RUNNING"
        });
        if let Some(event) = found {
            let task = event.body["taskId"].as_str().context("an event without taskId")?;
            return Ok((event.at, task.to_owned()));
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("no task of {app} runs again");
}

/// The moment when `task` has answered a request on the service port.
fn answered_by(port: u16, task: &str) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        // In the middle of a reload a connection may be refused: that is no answer yet.
        if ask(port).is_ok_and(|answer| answer.contains(task)) {
            return Ok(Instant::now());
        }
        std::thread::sleep(POLL);
    }
    bail!("{task} never answers on port {port}");
}

/// One request on a connection of its own.
fn ask(port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, REQUEST)?;
    stream.set_read_timeout(Some(REQUEST))?;
    stream.set_nodelay(true)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// From the command until another worker answers on the master's socket: the same configuration
/// once more, without anything of ours.
async fn reload(master: &Master) -> anyhow::Result<Duration> {
    let before = master.info().await?.pid;
    let began = Instant::now();
    master.reload(PATIENCE).await?;
    while began.elapsed() < PATIENCE {
        if master.info().await.is_ok_and(|info| info.pid != before) {
            let took = began.elapsed();
            tokio::time::sleep(QUIET).await;
            return Ok(took);
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("HAProxy does not come up again");
}

fn serves(status: &Value, servers: usize) -> bool {
    status["applied"]["servers"] == servers && status["applied"]["pending"] == false
}

/// Apps whose tasks really listen and are moved in turn.
const MOVING: usize = 20;

/// However long it takes.
const FEWEST: usize = 5;

/// For all moves, so that a busy machine gives fewer of them instead of waiting.
const LONGEST: Duration = Duration::from_secs(70);

/// Files that HAProxy opens for anything else.
const SPARE_FILES: usize = 1_000;

/// Reloads of HAProxy alone.
const RELOADS: usize = 5;

/// Between two looks.
const POLL: Duration = Duration::from_millis(1);

/// For one request.
const REQUEST: Duration = Duration::from_secs(2);

/// After a move: longer than `min_reload_spacing`.
const QUIET: Duration = Duration::from_millis(600);

/// For anything to happen.
const PATIENCE: Duration = Duration::from_secs(20);
