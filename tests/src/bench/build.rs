//! From Marathon's answer to a sealed bundle, in this process.
//!
//! Gives `compile_render_…` (what the reconcile loop does with a snapshot: labels, compile, render,
//! seal), `compile_change_…` (what it does when one task moved, up to the plan) and `fetch_parse_…` (getting the answer over loopback and reading it).
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use baton::config::Config;
use baton::config::settings::{Abilities, Purpose, policy, settings};
use baton::reconcile::build::Builder;
use baton::source::marathon::client::Client;
use baton::source::marathon::config::{MarathonConfig, MemberUrl};
use haproxy::compile::Cache;
use haproxy::diff::{Plan, Running, diff};
use haproxy::features::Features;
use haproxy::render::Renderer;

use super::cluster::{self, Shape};
use super::figure::{Figure, Report, Samples};
use super::front::Front;
use crate::lab::haproxy_binary;

/// Measures on a cluster of this shape.
///
/// # Errors
/// When the cluster cannot be made, or something of it is not served.
pub fn run(report: &mut Report<'_>, shape: Shape) -> anyhow::Result<()> {
    let names = [format!("compile_render_{shape}"), format!("compile_change_{shape}"), format!("fetch_parse_{shape}")];
    if !report.wants(&names) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    report.say(&format!("making a cluster of {shape}"));
    let answer = runtime.block_on(shape.answer(true))?;
    let [compile_render, compile_change, fetch_parse] = names;
    if report.wants(&[&compile_render]) {
        report.say(&format!("compile and render, {ROUNDS} times"));
        report.give(&Figure::millis(compile_render, build(&answer, shape)?.median()))?;
    }
    if report.wants(&[&compile_change]) {
        report.say(&format!("compile and compare with one task moved, {CHANGES} times"));
        let features = runtime.block_on(Features::probe(&haproxy_binary()?))?;
        report.give(&Figure::millis(compile_change, change(&answer, &features)?.median()))?;
    }
    if report.wants(&[&fetch_parse]) {
        let megabytes = answer.len() / 1_000_000;
        report.say(&format!("fetch and parse {megabytes} MB, {FETCHES} times"));
        report.give(&Figure::millis(fetch_parse, runtime.block_on(fetch(&answer, shape))?.median()))?;
    }
    Ok(())
}

/// The builder of a daemon that serves the group `external`, everything else at its default.
///
/// # Errors
/// When the built-in templates are broken.
pub fn builder(default_cert: &str) -> anyhow::Result<Builder> {
    let mut config = Config::default();
    config.marathon.groups = vec!["external".to_owned()];
    Ok(Builder {
        renderer: Arc::new(Renderer::new()?),
        config: Arc::new(config),
        purpose: Purpose::Drive,
        abilities: Abilities { prometheus: true, ipv6: true, dynamic: false, own_names: false },
        default_cert: Some(Arc::from(default_cert)),
        certs: None,
    })
}

fn build(answer: &str, shape: Shape) -> anyhow::Result<Samples> {
    let snapshot = cluster::snapshot(answer)?;
    let builder = builder("")?;
    let mut times = Samples::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let built = builder.build(&snapshot)?;
        times.extend([began.elapsed()]);
        let servers: usize = built.state.backends.values().map(|backend| backend.servers.len()).sum();
        ensure!(servers == shape.apps * shape.tasks, "{servers} servers of {shape}");
        ensure!(built.issues.is_empty(), "an issue: {}", built.issues[0]);
    }
    Ok(times)
}

/// A task moves in one app after the other; what the source and the reconcile loop then do with all apps.
fn change(answer: &str, features: &Features) -> anyhow::Result<Samples> {
    let mut snapshot = cluster::snapshot(answer)?;
    let Builder { config, purpose, abilities, .. } = builder("")?;
    let policy = policy(&config, &settings(&config, purpose, abilities));
    let mut cache = Cache::default();
    let mut running = Running::loaded(cache.compile(&snapshot, &policy).0);
    let ids: Vec<_> = snapshot.apps.keys().take(CHANGES).cloned().collect();
    let mut times = Samples::default();
    for id in &ids {
        let app = snapshot.apps.get_mut(id).context("an app")?;
        let port = Arc::make_mut(app).instances.first_mut().and_then(|task| task.ports.first_mut());
        *port.context("a task with a port")? = Some(1);
        let began = Instant::now();
        // As the source does to publish it.
        let published = snapshot.clone();
        let (wanted, issues) = cache.compile(&published, &policy);
        let plan = diff(&running, &wanted, features);
        times.extend([began.elapsed()]);
        ensure!(issues.is_empty(), "an issue: {}", issues[0]);
        let Plan::Runtime(ops) = plan else { anyhow::bail!("a moved task is {plan:?}") };
        running.applied(&ops, &wanted);
    }
    Ok(times)
}

/// Asks a front that has the answer ready, so that only our side is measured.
async fn fetch(answer: &str, shape: Shape) -> anyhow::Result<Samples> {
    let front = Front::start(answer, None)?;
    let client = Client::new(&MarathonConfig::new(vec![MemberUrl::parse(&front.url())?]));
    let mut times = Samples::default();
    for _ in 0..FETCHES {
        let fetched = client.apps().await?;
        ensure!(fetched.answer.apps.len() == shape.apps, "{} apps of {shape}", fetched.answer.apps.len());
        times.extend([fetched.took]);
    }
    Ok(times)
}

const ROUNDS: usize = 20;
const CHANGES: usize = 50;
const FETCHES: usize = 7;
