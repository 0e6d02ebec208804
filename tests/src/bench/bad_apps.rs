//! Ten of many apps become what HAProxy refuses: how long until it accepts the rest.
//!
//! A host of its own, a `baton` that reads the apps from a file, its HAProxy. Gives
//! `bad_apps_10_of_…` (from the start of the round until HAProxy has accepted what is left: building
//! and checking again and again, without the reload), `…_checks` (how often HAProxy was asked
//! until it served the rest), and both of a start where nothing was accepted before (`…_start`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use baton::certs::default_certificate;
use serde_json::{Value, json};

use super::cluster::Shape;
use super::figure::{Figure, Report, Samples};
use crate::lab::baton::Baton;
use crate::lab::on_a_host;

/// Measures on a cluster of this shape.
///
/// # Errors
/// When anything does not start, or one of the others is not served.
pub fn run(report: &mut Report<'_>, shape: Shape) -> anyhow::Result<()> {
    let name = format!("bad_apps_{}_of_{}", bad(shape), shape.apps);
    let start = format!("{name}_start");
    let (checks, start_checks) = (format!("{name}_checks"), format!("{start}_checks"));
    if !report.wants(&[&name, &start, &checks, &start_checks]) {
        return Ok(());
    }
    report.say(&format!("{} bad apps in {shape}, {ROUNDS} times", bad(shape)));
    let seen = on_a_host(&[], move || measure(shape))?;
    report.say(&format!("between {:?} and {:?}", seen.repairs.least(), seen.repairs.greatest()));
    for figure in [
        Figure::millis(name, seen.repairs.median()),
        Figure::count(checks, seen.checks as f64, "checks"),
        Figure::millis(start, seen.start),
        Figure::count(start_checks, seen.start_checks as f64, "checks"),
    ] {
        report.give(&figure)?;
    }
    Ok(())
}

/// How many apps turn bad.
fn bad(shape: Shape) -> usize {
    BAD.min(shape.apps)
}

/// What was seen.
struct Seen {
    repairs: Samples,
    /// The most of all rounds.
    checks: u64,
    start: Duration,
    start_checks: u64,
}

async fn measure(shape: Shape) -> anyhow::Result<Seen> {
    let dir = tempfile::Builder::new().prefix("baton-bench-").tempdir()?;
    let file = dir.path().join("apps.json");
    let cert = dir.path().join("own.pem");
    default_certificate(&cert)?;
    let answer: Value = serde_json::from_str(&shape.answer(true).await?)?;
    let good = answer.get("apps").and_then(Value::as_array).context("an answer without apps")?;
    let write = |round: Option<usize>| {
        let mut apps = good.clone();
        if let Some(round) = round {
            spoil(&mut apps, round, &cert);
        }
        // Renamed into place, so that half a file is never read.
        let new = file.with_extension("new");
        std::fs::write(&new, Value::Array(apps).to_string())?;
        std::fs::rename(&new, &file)
    };
    let toml = format!("[marathon]\nfile = {file:?}\ngroups = [\"external\"]\n");

    write(Some(0))?;
    let baton = Baton::start(&toml, &[]).await?;
    let (start, start_checks) = repaired(&baton, shape, shape.apps - bad(shape), 0).await?;
    let (mut repairs, mut most) = (Samples::default(), 0);
    for round in 1..=ROUNDS {
        write(None)?;
        let status = baton.until("serves all", |status| serves(status, shape.apps, 0)).await?;
        let before = checks(&status)?;
        write(Some(round))?;
        // What was accepted before goes on.
        let (took, count) = repaired(&baton, shape, shape.apps, before).await?;
        repairs.extend([took]);
        most = most.max(count);
    }
    drop(baton.stop().await?);
    Ok(Seen { repairs, checks: most, start, start_checks })
}

/// Waits until the bad apps are known and `served` apps are served; how long the repair took, and
/// how many checks it cost after `before`.
async fn repaired(baton: &Baton, shape: Shape, served: usize, before: u64) -> anyhow::Result<(Duration, u64)> {
    let status = baton.until("repaired", |status| serves(status, served, bad(shape))).await?;
    let millis = status["applied"]["repair_ms"].as_f64().context("the status has no repair_ms")?;
    let checks = checks(&status)? - before;
    ensure!(checks > 1, "it was not refused");
    Ok((Duration::from_secs_f64(millis / 1_000.0), checks))
}

fn checks(status: &Value) -> anyhow::Result<u64> {
    status["applied"]["checks"].as_u64().context("the status has no checks")
}

fn serves(status: &Value, apps: usize, bad: usize) -> bool {
    let applied = &status["applied"];
    applied["frontends"] == apps
        && applied["pending"] == false
        && applied["left_out"].as_object().is_some_and(|apps| apps.len() == bad)
}

/// Gives ten of the apps mistakes of different kinds, in every round others.
fn spoil(apps: &mut [Value], round: usize, cert: &Path) {
    let (cert, count) = (cert.display(), BAD.min(apps.len()));
    let step = apps.len() / count;
    for n in 0..count {
        let missing = format!("/nonexistent/{round}-{n}");
        let (tls, label, value) = match n % 5 {
            0 => (false, "SSL_CERT", missing),
            1 => (false, "SSL_CERT", format!("/etc{}/passwd", "/.".repeat(round))),
            2 => (true, "BIND_OPTIONS", format!("ca-file {missing} verify required")),
            3 => (true, "BIND_OPTIONS", format!("tls-ticket-keys {missing}")),
            _ => (true, "BIND_OPTIONS", format!("ciphers NONE-SUCH-{round}")),
        };
        let Some(labels) = apps[n * step].get_mut("labels").and_then(Value::as_object_mut) else { continue };
        if tls {
            labels.insert("HAPROXY_0_SSL_CERT".to_owned(), json!(cert.to_string()));
        }
        labels.insert(format!("HAPROXY_0_{label}"), json!(value));
    }
}

/// Apps that turn bad.
const BAD: usize = 10;

const ROUNDS: usize = 5;
