//! Tasks that come and go all the time, under load.
//!
//! A host of its own with the simulated cluster, all of whose tasks listen, a `baton` and its
//! HAProxy, and `wrk` with connections that stay open. First nothing changes; then tasks are killed
//! and replaced, with notice (TASK_KILLING, and the task serves on for longer than `drain_timeout`)
//! and, in a second cluster, without.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::cluster::{Shape, moving_host, moving_id};
use super::figure::{Figure, Report};
use super::wrk::{self, Load};
use crate::lab::baton::Baton;
use crate::lab::on_a_host;
use crate::sim::{Config, Personality, Sim, raise_open_files};

/// Measures on a cluster of this shape; `scale` divides the time.
///
/// # Errors
/// When anything does not start, or what is served in the end is not what there is.
pub fn run(report: &mut Report<'_>, shape: Shape, scale: usize) -> anyhow::Result<()> {
    let name = |part: &str| format!("churn_{}_{part}", shape.apps);
    let all = ["reloads", "failed", "p99_ratio", "cpu", "rss"].map(name);
    if !report.wants(&all) {
        return Ok(());
    }
    let files = u64::try_from(shape.apps * shape.tasks * 2 + SPARE_FILES)?;
    raise_open_files(files).map_err(|why| anyhow::anyhow!("{why}"))?;
    let time = Duration::from_secs((60 / u64::try_from(scale.max(1))?).max(4));
    report.say(&format!("{CHANGES} task changes a second on {shape} for {time:?}, with notice"));
    let noticed = on_a_host(&[], move || measure(shape, time, true))?;
    report.say(&noticed.to_string());
    report.say(&format!("{CHANGES} task changes a second on {shape} for {time:?}, without notice"));
    let abrupt = on_a_host(&[], move || measure(shape, time, false))?;
    report.say(&abrupt.to_string());
    let [reloads, failed, ratio, cpu, rss] = all;
    let without = |value| Figure::count("", value, "");
    report
        .give(&Figure::count(reloads, noticed.reloads, "reloads").versus("without-notice", &without(abrupt.reloads)))?;
    let other = without(abrupt.churn.failed);
    report.give(&Figure::count(failed, noticed.churn.failed, "requests").versus("without-notice", &other))?;
    report.give(&Figure::ratio(ratio, noticed.churn.p99.as_secs_f64() / noticed.calm.p99.as_secs_f64()))?;
    report.give(&Figure::percent(cpu, noticed.cpu))?;
    report.give(&Figure::megabytes(rss, noticed.rss))?;
    Ok(())
}

/// What was seen.
struct Seen {
    /// Of the load while nothing changed.
    calm: wrk::Seen,
    /// Of the load while tasks changed.
    churn: wrk::Seen,
    reloads: f64,
    /// The daemon's share of one core meanwhile.
    cpu: f64,
    /// The most memory that it held, in bytes.
    rss: f64,
    /// Changes that were made at run time.
    changes: f64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { calm, churn, changes, .. } = self;
        write!(
            f,
            "{changes} changes at run time; 99 % within {:?}, before {:?}; {} requests, {} failed",
            churn.p99, calm.p99, churn.requests, churn.failed
        )
    }
}

async fn measure(shape: Shape, time: Duration, notice: bool) -> anyhow::Result<Seen> {
    let sim = Sim::start(Config {
        staging: Duration::from_millis(100),
        starting: Duration::from_millis(100),
        killing: if notice { GRACE } else { Duration::ZERO },
        task_killing: notice,
        ..Config::new(Personality::V1_8)
    })
    .await?;
    sim.load(&shape.moving()).map_err(|why| anyhow::anyhow!("load the simulator: {why}"))?;
    let toml = format!(
        "[marathon]\nurls = [{:?}]\ngroups = [\"external\"]\n[haproxy]\ndrain_timeout = \"{}s\"\n",
        sim.url(0),
        DRAIN.as_secs()
    );
    let baton = Baton::start(&toml, &[]).await?;
    let all = shape.apps * shape.tasks;
    let serves = |status: &serde_json::Value| {
        status["applied"]["servers"] == all
            && status["applied"]["pending"] == false
            && status["applied"]["draining"] == 0
    };
    baton.until("serves the whole cluster", serves).await?;

    let hosts = (0..shape.apps).map(moving_host).collect();
    let load = Load { port: 80, hosts, connections: 16, pause: Duration::from_millis(10), time };
    let calm = Load { time: CALM.min(time), ..load.clone() }.run().await?;
    let before = baton.status().await?;
    let (used, began) = (baton.cpu_time()?, Instant::now());
    let (churn, ()) = tokio::join!(load.run(), moves(&sim, shape, time));
    let cpu = baton.cpu_time()?.saturating_sub(used).as_secs_f64() / began.elapsed().as_secs_f64();
    let churn = churn?;
    tokio::time::sleep(GRACE).await;
    let after = baton.until("serves every task in the end", serves).await?;
    let applied = |name: &str| {
        let of = |status: &serde_json::Value| status["applied"][name].as_f64().context("a status without a counter");
        Ok::<_, anyhow::Error>(of(&after)? - of(&before)?)
    };
    let seen = Seen {
        calm,
        churn,
        reloads: applied("reloads")?,
        cpu,
        rss: f64::from(u32::try_from(baton.peak_memory()?)?),
        changes: applied("runtime")?,
    };
    ensure!(seen.changes > 0.0, "nothing changed");
    drop(baton.stop().await?);
    sim.stop().await;
    Ok(seen)
}

/// A task ends and another one starts, again and again, each time of another app.
async fn moves(sim: &Sim, shape: Shape, time: Duration) {
    let (began, mut n) = (Instant::now(), 0);
    let mut next = tokio::time::interval(Duration::from_secs(2) / CHANGES);
    while began.elapsed() < time {
        next.tick().await;
        // Far apart, so that an app is seldom met again before it is whole.
        n = (n + 7) % shape.apps;
        let _ = sim.move_task(&moving_id(n));
    }
}

/// A second; a move is two.
const CHANGES: u32 = 50;

/// `haproxy.drain_timeout`.
const DRAIN: Duration = Duration::from_secs(2);

/// How long a task serves on after notice.
const GRACE: Duration = Duration::from_secs(3);

/// How long the load runs while nothing changes.
const CALM: Duration = Duration::from_secs(20);

/// Files for anything but tasks.
const SPARE_FILES: usize = 2_000;
