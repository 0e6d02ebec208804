//! From Marathon's answer to a sealed bundle, in this process.
//!
//! Gives `compile_render_…` (what the reconcile loop does with a snapshot: labels, compile, render,
//! seal) and `fetch_parse_…` (getting the answer over loopback and reading it).
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use baton::config::Config;
use baton::config::settings::Purpose;
use baton::reconcile::build::Builder;
use baton::source::marathon::client::Client;
use baton::source::marathon::config::{MarathonConfig, MemberUrl};
use haproxy::render::Renderer;

use super::cluster::{self, Shape};
use super::figure::{Figure, Report, Samples};

/// Measures on a cluster of this shape.
///
/// # Errors
/// When the cluster cannot be made, or something of it is not served.
pub fn run(report: &mut Report<'_>, shape: Shape) -> anyhow::Result<()> {
    let names = [format!("compile_render_{shape}"), format!("fetch_parse_{shape}")];
    if !report.wants(&names) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    report.say(&format!("making a cluster of {shape}"));
    let answer = runtime.block_on(shape.answer())?;
    let [compile_render, fetch_parse] = names;
    if report.wants(&[&compile_render]) {
        report.say(&format!("compile and render, {ROUNDS} times"));
        report.give(&Figure::millis(compile_render, build(&answer, shape)?.median()))?;
    }
    if report.wants(&[&fetch_parse]) {
        let megabytes = answer.len() / 1_000_000;
        report.say(&format!("fetch and parse {megabytes} MB, {FETCHES} times"));
        report.give(&Figure::millis(fetch_parse, runtime.block_on(fetch(answer, shape))?.median()))?;
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
        prometheus: true,
        default_cert: Some(Arc::from(default_cert)),
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

/// Asks a stand-in that has the answer ready, so that only our side is measured.
async fn fetch(answer: String, shape: Shape) -> anyhow::Result<Samples> {
    let address = stand_in(answer, FETCHES)?;
    let client = Client::new(&MarathonConfig::new(vec![MemberUrl::parse(&format!("http://{address}"))?]));
    let mut times = Samples::default();
    for _ in 0..FETCHES {
        let fetched = client.apps().await?;
        ensure!(fetched.answer.apps.len() == shape.apps, "{} apps of {shape}", fetched.answer.apps.len());
        times.extend([fetched.took]);
    }
    Ok(times)
}

/// Serves `answer` to this many connections, then ends.
fn stand_in(answer: String, connections: usize) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
    let serve = move |mut stream: TcpStream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // A request of ours fits into one packet.
        let _ = stream.read(&mut [0; 4096])?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(answer.as_bytes())
    };
    std::thread::Builder::new().name("stand-in".to_owned()).spawn(move || {
        for stream in listener.incoming().take(connections).flatten() {
            // The client notices and says so.
            let _ = serve(stream);
        }
    })?;
    Ok(address)
}

const ROUNDS: usize = 20;
const FETCHES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);
