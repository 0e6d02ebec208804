//! `marathon-sim`: a simulated Marathon cluster on the command line, for the demo and for trying things by hand.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::sim::{AgentConfig, Auth, Config, Personality, Sim, raise_open_files};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// Open files wanted: a listener per task and its clients.
const OPEN_FILES: u64 = 65_536;

/// What `--help` ends with.
const EXAMPLES: &str = "\
Try:
  marathon-sim --listen 127.0.0.1:8080 --listen 127.0.0.1:8081 --control 127.0.0.1:8090 --load group.json
  curl 127.0.0.1:8080/v2/apps?embed=apps.tasks
  curl -N -H 'Accept: text/event-stream' 127.0.0.1:8080/v2/events
  curl -H 'Content-Type: application/json' -d '{\"fault\":\"empty_list\",\"count\":1}' 127.0.0.1:8090/faults
  curl -X POST 127.0.0.1:8090/agents/127.1.0.1/lose
  curl -H 'Content-Type: application/json' -d '{\"member\":1}' 127.0.0.1:8090/leader
  curl 127.0.0.1:8090/state";

/// A simulated Marathon cluster: REST API, event stream, leader and standbys, tasks that really listen.
///
/// Tasks answer HTTP with JSON that names the app, the task, and the request they got. An app whose environment has
/// SIM_TASK=tcp greets and echoes over TCP; one with SIM_EXEC="redis-server --port $PORT0 --bind $HOST" runs that
/// process.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// Generation of Marathon to imitate: 1.4 or 1.8
    #[arg(long, default_value = "1.8", value_name = "VERSION")]
    version_personality: Personality,
    /// Address of a Marathon member; repeat for standbys, the first one leads
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Address of the control API (faults, agents, leadership, state)
    #[arg(long, value_name = "ADDR")]
    control: Option<SocketAddr>,
    /// An agent: the host name its tasks report, and the address they listen on
    #[arg(long, value_name = "NAME=IP", value_parser = agent)]
    agent: Vec<AgentConfig>,
    /// First address for agents that are added when ports run out
    #[arg(long, default_value = "127.1.1.1", value_name = "IP")]
    agent_pool: Ipv4Addr,
    /// First address for tasks on container networks
    #[arg(long, default_value = "127.2.0.1", value_name = "IP")]
    container_pool: Ipv4Addr,
    /// Host ports that each agent offers
    #[arg(long, default_value = "31000-32000", value_name = "FROM-TO", value_parser = ports)]
    ports: RangeInclusive<u16>,
    /// Demand HTTP Basic credentials, as --http_credentials of Marathon does
    #[arg(long, value_name = "USER:PASSWORD", conflicts_with = "dcos_public_key")]
    http_credentials: Option<String>,
    /// Demand DC/OS tokens; a PEM file with the service account's public key
    #[arg(long, value_name = "FILE")]
    dcos_public_key: Option<PathBuf>,
    /// Name of the DC/OS service account
    #[arg(long, default_value = "baton", value_name = "UID")]
    dcos_uid: String,
    /// Seconds that a DC/OS token lives
    #[arg(long, default_value_t = 432_000, value_name = "SECONDS")]
    dcos_token_lifetime: u64,
    /// JSON to post at the start: an app, an array of apps, or a group; repeatable
    #[arg(long, value_name = "FILE")]
    load: Vec<PathBuf>,
    /// Milliseconds between empty lines on event streams
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    heartbeat: u64,
    /// Milliseconds that a task takes to start, and again to run
    #[arg(long, default_value_t = 200, value_name = "MS")]
    task_start: u64,
    /// Milliseconds between a kill and the task's end
    #[arg(long, default_value_t = 200, value_name = "MS")]
    task_kill: u64,
    /// Milliseconds that one second of Marathon's takes: health checks, grace periods, back-off
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    second: u64,
    /// Let 1.8 accept ["hostname","UNIQUE",""], which the real one refuses
    #[arg(long)]
    lenient_constraints: bool,
    /// Network of apps that ask for a user network without naming it
    #[arg(long, value_name = "NAME")]
    default_network_name: Option<String>,
    /// Seed of the choice of ports and ids
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_wrong(&format!("marathon-sim: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    if let Err(warning) = raise_open_files(OPEN_FILES) {
        say_wrong(&format!("marathon-sim: {warning}"));
    }
    let documents = arguments.load.iter().map(read).collect::<Result<Vec<_>>>()?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    let sim = Sim::start(config(&arguments)?).await?;
    for (path, document) in arguments.load.iter().zip(&documents) {
        post(&sim, document).with_context(|| format!("post {}", path.display()))?;
    }
    let control = sim.control().map(|address| format!(", control http://{address}")).unwrap_or_default();
    say(&format!("marathon-sim {} ready: {}{control}", arguments.version_personality.version(), sim.urls().join(" ")));
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
    sim.stop().await;
    Ok(())
}

fn config(arguments: &Arguments) -> Result<Config> {
    let mut config = Config::new(arguments.version_personality);
    if !arguments.agent.is_empty() {
        config.agents = arguments.agent.clone();
    }
    config.listen = arguments.listen.clone();
    config.control = arguments.control;
    config.agent_pool = Some(arguments.agent_pool);
    config.container_pool = arguments.container_pool;
    config.ports = arguments.ports.clone();
    config.heartbeat = Duration::from_millis(arguments.heartbeat.max(1));
    config.staging = Duration::from_millis(arguments.task_start);
    config.starting = Duration::from_millis(arguments.task_start);
    config.killing = Duration::from_millis(arguments.task_kill);
    config.second = Duration::from_millis(arguments.second.max(1));
    config.seed = arguments.seed;
    config.strict_constraints = !arguments.lenient_constraints;
    config.default_network = arguments.default_network_name.clone();
    if let Some(credentials) = &arguments.http_credentials {
        let Some((user, password)) = credentials.split_once(':') else {
            bail!("--http-credentials: expected USER:PASSWORD");
        };
        config.auth = Auth::Basic { user: user.to_owned(), password: password.to_owned() };
    }
    if let Some(key) = &arguments.dcos_public_key {
        let lifetime = Duration::from_secs(arguments.dcos_token_lifetime);
        config.auth = Auth::Token { public_key: key.clone(), uid: arguments.dcos_uid.clone(), lifetime };
    }
    Ok(config)
}

fn read(path: &PathBuf) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))
}

/// Posts an app, an array of either, or a group (what has `apps` or `groups`).
fn post(sim: &Sim, document: &Value) -> Result<()> {
    if let Some(list) = document.as_array() {
        return list.iter().try_for_each(|entry| post(sim, entry));
    }
    let group = document.get("apps").is_some() || document.get("groups").is_some();
    let posted = if group { sim.post_group(document) } else { sim.post_app(document) };
    posted.map(|_| ()).map_err(|rejection| anyhow::anyhow!("{rejection}: {rejection:?}"))
}

fn agent(text: &str) -> Result<AgentConfig, String> {
    let (name, address) = text.split_once('=').unwrap_or((text, text));
    let address = address.parse().map_err(|_| format!("{address:?} is no IPv4 address"))?;
    Ok(AgentConfig { name: name.to_owned(), address })
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let parse = |number: &str| number.parse::<u16>().map_err(|_| format!("{number:?} is no port"));
    let (from, to) = text.split_once('-').ok_or("expected FROM-TO")?;
    let range = parse(from)?..=parse(to)?;
    if range.is_empty() { Err(format!("{text} is an empty range")) } else { Ok(range) }
}

/// A line for whoever waits for the simulator; nobody listening is no reason to end.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line for the user.
fn say_wrong(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
