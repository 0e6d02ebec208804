//! What it costs to route by ten thousand virtual hosts.
//!
//! A host of its own with three apps whose only task is an HAProxy that answers by itself, a `baton`
//! that reads them from a file, its HAProxy, and `wrk`. Compared are requests to port 80, each for a
//! host drawn at random from the map, and requests to an app's service port, whose frontend has one
//! backend and routes nothing.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::figure::{Figure, Report};
use super::wrk::Load;
use crate::lab::baton::Baton;
use crate::lab::{haproxy_binary, on_a_host};

/// Measures with this many hosts; `scale` divides the time.
///
/// # Errors
/// When anything does not start, or a request fails.
pub fn run(report: &mut Report<'_>, hosts: usize, scale: usize) -> anyhow::Result<()> {
    let (rate, ratio) = (format!("route_{hosts}_vhosts"), format!("route_{hosts}_vhosts_ratio"));
    if !report.wants(&[&rate, &ratio]) {
        return Ok(());
    }
    let time = Duration::from_secs((5 / u64::try_from(scale.max(1))?).max(1));
    report.say(&format!("routing by {hosts} hosts, {ROUNDS} times {time:?} each way"));
    let rounds = on_a_host(&[], move || measure(hosts, time))?;
    let middle = |side: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(side).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (routed, direct) = (middle(|round| round.0), middle(|round| round.1));
    report.give(&Figure::count(rate, routed, "req/s").versus("no-routing", &Figure::count("", direct, "req/s")))?;
    report.give(&Figure::ratio(ratio, middle(|round| round.0 / round.1)))?;
    Ok(())
}

/// Requests in a second, routed and not, in turns.
async fn measure(hosts: usize, time: Duration) -> anyhow::Result<Vec<(f64, f64)>> {
    let dir = tempfile::Builder::new().prefix("baton-bench-").tempdir()?;
    let responder = dir.path().join("responder.cfg");
    std::fs::write(&responder, RESPONDER)?;
    let mut responder = Command::new(haproxy_binary()?)
        .args(["-db", "-f"])
        .arg(&responder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let apps = dir.path().join("apps.json");
    let names: Vec<String> = (0..hosts).map(|n| format!("host-{n}.bench.test")).collect();
    let each: Vec<Value> =
        names.chunks(hosts.div_ceil(APPS)).zip(SERVICE_PORT..).map(|(hosts, port)| app(hosts, port)).collect();
    std::fs::write(&apps, json!({"apps": each}).to_string())?;
    let toml = format!("[marathon]\nfile = {apps:?}\ngroups = [\"external\"]\n");
    let baton = Baton::start(&toml, &[]).await?;
    let wanted = each.len();
    baton
        .until("serves", |status| status["applied"]["servers"] == wanted && status["applied"]["hosts"] == hosts)
        .await?;

    let routed = Load { port: 80, hosts: names, connections: 32, pause: Duration::ZERO, time };
    let direct = Load { port: SERVICE_PORT, ..routed.clone() };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let seen = (routed.run().await?, direct.run().await?);
        ensure!(seen.0.failed + seen.1.failed == 0.0, "requests failed: {seen:?}");
        rounds.push((seen.0.rate, seen.1.rate));
    }
    drop(baton.stop().await?);
    responder.kill().await.context("end the responder")?;
    Ok(rounds)
}

/// An app with these hosts and one task.
fn app(hosts: &[String], port: u16) -> Value {
    let id = format!("/bench/routed-{port}");
    json!({
        "id": id,
        "container": {"portMappings": [{"containerPort": 80, "hostPort": 0, "servicePort": port}]},
        "networks": [{"mode": "container/bridge"}],
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": hosts.join(",")},
        "tasks": [{"id": format!("{id}.task"), "appId": id, "host": "127.0.0.1", "ports": [9_999], "state": "TASK_RUNNING"}],
    })
}

/// Each may have four thousand hosts.
const APPS: usize = 3;

const SERVICE_PORT: u16 = 10_000;

/// Each way.
const ROUNDS: usize = 5;

const RESPONDER: &str = "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout client 30s\n  \
    timeout http-keep-alive 30s\nfrontend answer\n  bind 127.0.0.1:9999\n  \
    http-request return status 200 content-type text/plain string ok\n";
