//! From Marathon's event to the first request that the only task of a new app answers: by a reload, and without one
//! where HAProxy makes backends while it runs.
//!
//! As `traffic`, but the app is new: HAProxy has no listener and no backend for it. What counts is
//! the time from the TASK_RUNNING event until the task answers on the app's service port; the task
//! starts at once, so that the reload is not over before it does.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use haproxy::features::Features;

use super::cluster::{Shape, fresh_app, fresh_id, fresh_port};
use super::figure::{Figure, Report, Samples};
use super::front::Front;
use super::traffic::{answered_by_another, running};
use crate::lab::baton::Baton;
use crate::lab::{haproxy_binary, on_a_host};
use crate::sim::{Config, Personality, Sim};

/// Measures on a cluster of this shape.
///
/// # Errors
/// When anything does not start, or a new app never answers, or takes another way.
pub fn run(report: &mut Report<'_>, shape: Shape) -> anyhow::Result<()> {
    for (how, name, p99) in [(How::Reload, NAME, P99), (How::RunTime, NAME_RUN_TIME, P99_RUN_TIME)] {
        if !report.wants(&[name, p99]) {
            continue;
        }
        report.say(&format!("a new app on {shape}, {SAMPLES} times, {how:?}"));
        let Some(seen) = on_a_host(&[], move || measure(shape, how))? else {
            report.say(&format!("{name}: skipped, this HAProxy makes no backends while it runs (3.4 does)"));
            continue;
        };
        report.give(&Figure::millis(name, seen.median()))?;
        report.give(&Figure::millis(p99, seen.p99()))?;
    }
    Ok(())
}

/// How a new app gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Reload,
    RunTime,
}

async fn measure(shape: Shape, how: How) -> anyhow::Result<Option<Samples>> {
    let dynamic = match how {
        How::Reload => String::new(),
        How::RunTime if !Features::probe(&haproxy_binary()?).await?.dynamic_backends() => return Ok(None),
        How::RunTime => {
            let (first, last) = (fresh_port(0), fresh_port(SAMPLES));
            format!("[haproxy.dynamic]\nbackends = true\nports = \"{first}-{last}\"\n")
        }
    };
    let sim = Sim::start(Config {
        staging: Duration::ZERO,
        starting: Duration::ZERO,
        ports: 33_000..=34_000,
        ..Config::new(Personality::V1_8)
    })
    .await?;
    let front = Front::start(&shape.answer(false).await?, Some(sim.url(0)))?;
    let toml = format!("[marathon]\nurls = [{:?}]\ngroups = [\"external\"]\n{dynamic}", front.url());
    let baton = Baton::start(&toml, &[]).await?;
    let mut seen = Samples::default();
    for n in 0..SAMPLES {
        let servers = shape.apps * shape.tasks + n;
        let before = baton.until("serves what there is", |status| {
            status["applied"]["servers"] == servers && status["applied"]["pending"] == false
        });
        let before = before.await?;
        tokio::time::sleep(QUIET).await;
        let position = sim.event_position();
        sim.post_app(&fresh_app(n)).map_err(|why| anyhow::anyhow!("post an app: {why}"))?;
        let port = u16::try_from(fresh_port(n))?;
        let answered = tokio::task::spawn_blocking(move || answered_by_another(port, &[])).await??;
        let emitted: Instant = running(&sim, position, &fresh_id(n)).await?;
        seen.extend([answered.saturating_duration_since(emitted)]);
        let after = baton.until("serves the new app", |status| status["applied"]["servers"] == servers + 1).await?;
        let reloads =
            |status: &serde_json::Value| status["applied"]["reloads"].as_u64().context("no counter of reloads");
        let reloaded = reloads(&after)? > reloads(&before)?;
        ensure!(reloaded == (how == How::Reload), "a new app took a reload: {reloaded}");
    }
    drop(baton.stop().await?);
    sim.stop().await;
    Ok(Some(seen))
}

const NAME: &str = "new_app";
const P99: &str = "new_app_p99";
const NAME_RUN_TIME: &str = "new_app_without_reload";
const P99_RUN_TIME: &str = "new_app_without_reload_p99";
const SAMPLES: usize = 10;

/// Before the next one: longer than `min_reload_spacing`, and until all is done for the last one.
const QUIET: Duration = Duration::from_secs(2);
