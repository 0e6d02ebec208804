//! `make demo`: a narrated minute of apps, agents and labels that change, of an address that moves, and of what clients
//! see.
//!
//! `site` is the LAN with its hosts (`leftover` what a killed demo leaves of it), `cluster` the simulated Marathon and
//! its apps, `balancers` the two hosts with a real `baton` and HAProxy, `stage` all of that together, `client` and `probe`
//! the eyes, `acts` and `moves` the story, `encore` what a user can do afterwards, `screen` how it is told.

mod acts;
mod balancers;
mod client;
mod cluster;
mod encore;
mod leftover;
mod moves;
mod probe;
mod screen;
mod site;
mod stage;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::lab::baton::binary;
use cluster::AGENTS;
use screen::{Mark, Screen};
use site::Site;
use stage::Stage;

/// Runs the demo; success only if every probe found what it should.
#[must_use]
pub fn run() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "demo: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> anyhow::Result<()> {
    let seconds = seconds()?;
    binary("baton")?;
    let screen = Screen::new();
    // Threads started from here on are on the client.
    let site = Site::enter(&name()?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut stops = Stops::new()?;
        let opened = async {
            let agents = AGENTS.map(|ip| format!(".{}", ip.octets()[3])).join(" ");
            let text = format!("LAN 192.168.71.0/24: lb1 .11, lb2 .12, VIP .168, agents {agents}, client .50");
            screen.heading("Baton twice before a simulated Marathon");
            screen.row(Mark::None, "network", &text);
            Stage::open(screen, &site).await
        };
        let mut stage = tokio::select! {
            stage = opened => stage?,
            () = stops.next() => bail!(STOPPED),
        };
        let played = tokio::select! {
            played = play(&mut stage, seconds != Some(0)) => played,
            () = stops.next() => Err(anyhow!(STOPPED)),
        };
        if played.is_ok() && seconds != Some(0) {
            encore::tell(&stage, seconds)?;
            match seconds {
                // Either end of it is a good one.
                Some(seconds) => drop(tokio::time::timeout(Duration::from_secs(seconds), stops.next()).await),
                None => stops.next().await,
            }
        }
        played.and(stage.close().await)
    })
}

/// Plays all acts, with time to read where somebody does.
async fn play(stage: &mut Stage<'_>, slowly: bool) -> anyhow::Result<()> {
    let pause = if slowly && stage.screen.is_terminal() { PAUSE } else { Duration::ZERO };
    acts::requests(stage).await?;
    tokio::time::sleep(pause).await;
    acts::scale(stage, 3, 5).await?;
    tokio::time::sleep(pause).await;
    acts::lose_agent(stage).await?;
    tokio::time::sleep(pause).await;
    acts::scale(stage, 5, 2).await?;
    tokio::time::sleep(pause).await;
    acts::delete(stage).await?;
    tokio::time::sleep(pause).await;
    acts::break_label(stage).await?;
    tokio::time::sleep(pause).await;
    acts::mend_label(stage).await?;
    stage.send_client_home();
    tokio::time::sleep(pause).await;
    moves::hand_over(stage).await?;
    tokio::time::sleep(pause).await;
    moves::power_off(stage).await?;
    tokio::time::sleep(pause).await;
    moves::kill_haproxy(stage).await?;
    tokio::time::sleep(pause).await;
    moves::freeze(stage).await?;
    stage.sum()
}

/// The signals that end the demo.
struct Stops([Signal; 3]);

impl Stops {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("listen for signals");
        Ok(Self([on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
        }
    }
}

/// `DEMO_SECONDS`: how long everything stays up after the last act.
fn seconds() -> anyhow::Result<Option<u64>> {
    match std::env::var("DEMO_SECONDS") {
        Err(_) => Ok(None),
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => text.parse().map(Some).with_context(|| format!("DEMO_SECONDS={text:?} is no number of seconds")),
    }
}

/// `DEMO_NAME`: how the namespaces' names begin, for more than one demo at a time.
fn name() -> anyhow::Result<String> {
    match std::env::var("DEMO_NAME") {
        Err(std::env::VarError::NotPresent) => Ok("baton-demo".to_owned()),
        other => other.context("read DEMO_NAME"),
    }
}

/// Between two acts.
const PAUSE: Duration = Duration::from_secs(2);

const STOPPED: &str = "stopped before the end";
