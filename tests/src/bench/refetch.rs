//! How much is read from Marathon for each of its events, while tasks move.
//!
//! The source runs in this process against the simulator, with the times it has by default. Gives
//! `refetch_bytes_per_event`: the bytes of all answers since the start of the moves, the trailing
//! fetches included, divided by the events that came.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use baton::source::marathon::config::{MarathonConfig, MemberUrl};
use baton::source::{SourceStatus, marathon};
use haproxy::app::{Snapshot, TaskState};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::cluster::Shape;
use super::figure::{Figure, Report};
use crate::sim::{Config, Personality, Sim};

/// Measures on a cluster of this shape.
///
/// # Errors
/// When the cluster cannot be made, or what is published is not what it has in the end.
pub fn run(report: &mut Report<'_>, shape: Shape) -> anyhow::Result<()> {
    if !report.wants(&[NAME]) {
        return Ok(());
    }
    report.say(&format!("bytes read for each event on {shape}, {MOVES} moved tasks"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(measure(shape))?;
    report.say(&format!(
        "{} events, {} answers about single apps, {} lists of {} bytes",
        seen.events, seen.singles, seen.lists, seen.list
    ));
    report.give(&Figure::bytes(NAME, seen.bytes / f64::from(seen.events)))?;
    Ok(())
}

struct Seen {
    events: u32,
    bytes: f64,
    singles: u64,
    lists: u64,
    list: u64,
}

async fn measure(shape: Shape) -> anyhow::Result<Seen> {
    // A provider may already be there; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sim = Sim::start(Config::new(Personality::V1_8)).await?;
    sim.load(&shape.still(false)).map_err(|why| anyhow::anyhow!("load the simulator: {why}"))?;
    let config = MarathonConfig::new(vec![MemberUrl::parse(&sim.url(0))?]);
    let (snapshots, _) = watch::channel(Arc::new(Snapshot::default()));
    let (status, _) = watch::channel(SourceStatus::default());
    let (_commands, inbox) = mpsc::channel(1);
    let source = marathon::run(config, None, snapshots.clone(), status.clone(), inbox, CancellationToken::new());
    let seen = tokio::select! {
        () = source => anyhow::bail!("the source ended"),
        seen = moves(&sim, shape, &snapshots, &status) => seen?,
    };
    sim.stop().await;
    Ok(seen)
}

async fn moves(
    sim: &Sim,
    shape: Shape,
    snapshots: &watch::Sender<Arc<Snapshot>>,
    status: &watch::Sender<SourceStatus>,
) -> anyhow::Result<Seen> {
    let running = |apps: &Snapshot| {
        let tasks = apps.apps.values().flat_map(|app| &app.instances);
        tasks.filter(|task| task.state == TaskState::Running).count()
    };
    let all = shape.apps * shape.tasks;
    let mut published = snapshots.subscribe();
    let whole = published.wait_for(|apps| running(apps) == all);
    drop(tokio::time::timeout(PATIENCE, whole).await.context("the cluster is not published")??);
    let before = settled(status).await?;
    for n in 0..MOVES {
        sim.move_task(&format!("/bench/app-{}", n % shape.apps)).context("no running task to move")?;
        tokio::time::sleep(BETWEEN).await;
    }
    let after = settled(status).await?;
    let have = running(&snapshots.borrow());
    ensure!(have == all, "{have} of {all} tasks in the end");
    let events = |status: &SourceStatus| status.stream.events.values().sum::<u64>();
    let bytes = |status: &SourceStatus| status.single.bytes + status.fetch.bytes;
    Ok(Seen {
        events: u32::try_from(events(&after) - events(&before))?,
        bytes: f64::from(u32::try_from(bytes(&after) - bytes(&before))?),
        singles: after.single.ok - before.single.ok,
        lists: after.fetch.ok - before.fetch.ok,
        list: before.fetch.bytes / before.fetch.ok.max(1),
    })
}

/// The status once nothing was fetched for longer than a trailing fetch takes.
async fn settled(status: &watch::Sender<SourceStatus>) -> anyhow::Result<SourceStatus> {
    let began = Instant::now();
    let mut last = status.borrow().clone();
    while began.elapsed() < PATIENCE {
        tokio::time::sleep(QUIET).await;
        let now = status.borrow().clone();
        if (now.fetch.ok, now.single.ok, &now.stream.events) == (last.fetch.ok, last.single.ok, &last.stream.events) {
            return Ok(now);
        }
        last = now;
    }
    anyhow::bail!("the source never rests")
}

const NAME: &str = "refetch_bytes_per_event";
const MOVES: usize = 200;
const BETWEEN: Duration = Duration::from_millis(20);
const QUIET: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(60);
