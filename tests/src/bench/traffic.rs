//! From Marathon's event to the first request that the new task answers, through HAProxy, without a reload.
//!
//! A host of its own with the simulated cluster, a `baton` with the settings it has by default, and
//! its HAProxy. A task is killed; Marathon starts another one on another port; what counts is the
//! time from the TASK_RUNNING event of the new task until it answers on the app's service port. The
//! new task takes long enough to start (`unhurried`) that what the killed one left to do is done.
//! Along the way: how long the fetch of the app and the change of HAProxy took, by `baton`'s own
//! status, and a reload of HAProxy alone.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
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
/// When anything does not start, a moved task never answers, or one takes a reload.
pub fn run(report: &mut Report<'_>, shape: Shape, samples: usize) -> anyhow::Result<()> {
    let apps = shape.apps;
    let event = format!("event_to_traffic_{apps}");
    let parts = [format!("source_single_{apps}"), format!("runtime_apply_{apps}"), format!("haproxy_reload_{apps}")];
    if report.wants(&[&event, &format!("{event}_p99")]) || report.wants(&parts) {
        report.say(&format!("event to traffic on {shape}, {samples} moved tasks"));
        let checks = enough_files(report, shape);
        let seen = on_a_host(&[], move || measure(shape, samples, checks))?;
        report.say(&format!("between {:?} and {:?}", seen.answered.least(), seen.answered.greatest()));
        let (single, apply) = (seen.singles.median(), seen.applies.median());
        report.say(&format!("of which the fetch of the app {single:?}, HAProxy's socket {apply:?}, medians"));
        let [single, apply, reload] = parts;
        for figure in [
            Figure::millis(event.clone(), seen.answered.median()),
            Figure::millis(format!("{event}_p99"), seen.answered.p99()),
            Figure::millis(single, seen.singles.median()),
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
pub(super) fn enough_files(report: &mut Report<'_>, shape: Shape) -> bool {
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
    /// The fetch of the app, the simulator's share included.
    singles: Samples,
    /// HAProxy's runtime API.
    applies: Samples,
    /// HAProxy's reload alone.
    reloads: Samples,
}

async fn measure(shape: Shape, samples: usize, checks: bool) -> anyhow::Result<Seen> {
    let moving = Shape { apps: MOVING.min(shape.apps), ..shape };
    let still = Shape { apps: shape.apps - moving.apps, ..shape };
    let sim = Sim::start(Config {
        staging: Duration::from_millis(100),
        starting: unhurried(shape),
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
    tokio::time::sleep(unhurried(shape)).await;
    let reloads = baton.status().await?["applied"]["reloads"].clone();
    let began = Instant::now();
    for n in (0..samples).take_while(|n| *n < FEWEST || began.elapsed() < LONGEST) {
        move_one(&sim, &baton, n % moving.apps, all, &mut seen).await.with_context(|| format!("move task {n}"))?;
    }
    let after = baton.status().await?;
    ensure!(after["applied"]["reloads"] == reloads, "a moved task took a reload: {}", after["applied"]);
    let master = Master::new(baton.dir().join("run/master.sock"), PATIENCE);
    for _ in 0..RELOADS {
        seen.reloads.extend([reload(&master).await?]);
    }
    drop(baton.stop().await?);
    sim.stop().await;
    Ok(seen)
}

/// How long a task takes to start: until the server of the killed one is gone and the files follow;
/// still quicker than tasks in the field.
fn unhurried(shape: Shape) -> Duration {
    Duration::from_secs(1) + Duration::from_micros(200) * u32::try_from(shape.apps).unwrap_or(u32::MAX)
}

/// Moves a task of the moving app `n` and waits until everything is quiet again.
async fn move_one(sim: &Sim, baton: &Baton, n: usize, all: usize, seen: &mut Seen) -> anyhow::Result<()> {
    let app = moving_id(n);
    let before = sim.event_position();
    let known: Vec<String> = sim.instances(&app).into_iter().map(|instance| instance.task_id).collect();
    sim.move_task(&app).context("no running task to move")?;
    baton.until("drains the killed task", |status| serves(status, all - 1)).await?;
    let port = u16::try_from(moving_port(n))?;
    let answered = tokio::task::spawn_blocking(move || answered_by_another(port, &known)).await??;
    let emitted = running(sim, before, &app).await?;
    seen.answered.extend([answered.saturating_duration_since(emitted)]);

    let status = baton.until("serves the moved task", |status| serves(status, all)).await?;
    let millis = |value: &Value| {
        let millis = value.as_f64().with_context(|| format!("no time: {value}"))?;
        Ok::<_, anyhow::Error>(Duration::from_secs_f64(millis / 1_000.0))
    };
    seen.singles.extend([millis(&status["source"]["single"]["fetch_ms"])?]);
    seen.applies.extend([millis(&status["applied"]["took_ms"])?]);
    tokio::time::sleep(QUIET).await;
    Ok(())
}

/// The moment when the simulator told that a new task of `app` runs.
pub(super) async fn running(sim: &Sim, since: u64, app: &str) -> anyhow::Result<Instant> {
    let event = sim.wait_event(
        since,
        |event| {
            event.kind == "status_update_event"
                && event.body["appId"] == app
                && event.body["taskStatus"] == "TASK_RUNNING"
        },
        PATIENCE,
    );
    let event = event.await;
    Ok(event.with_context(|| format!("no task of {app} runs again"))?.at)
}

/// The moment when a task that is not `known` has answered a request on the service port. All requests
/// are made on one connection, one after the other: HAProxy gives each to the next of the tasks.
pub(super) fn answered_by_another(port: u16, known: &[String]) -> anyhow::Result<Instant> {
    let deadline = Instant::now() + PATIENCE;
    let mut connection = None;
    while Instant::now() < deadline {
        let open = connection.take().map_or_else(|| connect(port), Ok);
        // A new app's port is closed at first, and HAProxy may close a connection after any answer.
        let Ok((answer, stream)) = open.and_then(|mut stream| Ok((ask(&mut stream)?, stream))) else {
            std::thread::sleep(POLL);
            continue;
        };
        if answer.contains("\"task\"") && !known.iter().any(|task| answer.contains(task.as_str())) {
            return Ok(Instant::now());
        }
        connection = Some(stream);
    }
    bail!("no other task ever answers on port {port}");
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), REQUEST)?;
    stream.set_read_timeout(Some(REQUEST))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request and its answer, which the simulator and HAProxy send in one piece each.
fn ask(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..length]);
        // The body is one JSON object, or HAProxy's own page.
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if answer.ends_with(b"}") || answer.ends_with(b"</html>\n") {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
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
const LONGEST: Duration = Duration::from_secs(80);

/// Files that HAProxy opens for anything else.
const SPARE_FILES: usize = 1_000;

/// Reloads of HAProxy alone.
const RELOADS: usize = 5;

/// Between two looks.
const POLL: Duration = Duration::from_millis(1);

/// For one request.
const REQUEST: Duration = Duration::from_secs(2);

/// After a move: until the files have followed.
const QUIET: Duration = Duration::from_millis(600);

/// For anything to happen.
const PATIENCE: Duration = Duration::from_secs(20);
