//! `haproxy -c`: what HAProxy itself takes to read a configuration, before any reload.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use baton::certs::default_certificate;
use haproxy::check::{Verdict, check};

use super::build::builder;
use super::cluster::{self, Shape};
use super::figure::{Figure, Report, Samples};
use crate::lab::haproxy_binary;

/// Measures on a cluster of this shape.
///
/// # Errors
/// When there is no HAProxy, or it refuses the configuration.
pub fn run(report: &mut Report<'_>, shape: Shape) -> anyhow::Result<()> {
    let name = format!("haproxy_check_{}", shape.apps);
    if !report.wants(&[&name]) {
        return Ok(());
    }
    report.say(&format!("haproxy -c on {shape}, {ROUNDS} times"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let times = runtime.block_on(measure(shape))?;
    report.give(&Figure::millis(name, times.median()))?;
    Ok(())
}

async fn measure(shape: Shape) -> anyhow::Result<Samples> {
    let dir = tempfile::Builder::new().prefix("baton-bench-").tempdir()?;
    let (cert, _) = default_certificate(&dir.path().join("default.pem"))?;
    let snapshot = cluster::snapshot(&shape.answer(true).await?)?;
    let bundle = builder(&cert)?.build(&snapshot)?.bundle;
    let binary = haproxy_binary()?;
    let mut times = Samples::default();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let verdict = check(&binary, &bundle, PATIENCE).await?;
        times.extend([began.elapsed()]);
        ensure!(matches!(verdict, Verdict::Accepted { .. }), "HAProxy refuses the configuration: {verdict:?}");
    }
    Ok(times)
}

const ROUNDS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(20);
