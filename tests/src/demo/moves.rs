//! What happens to the virtual address in the demo, act by act, and what that costs a client.
//!
//! The client opens a TCP connection to the address every 2 ms and asks the web app over it. Of the two load balancers
//! it is always the one with the address to which something happens.

#![allow(clippy::disallowed_methods, reason = "measures how long real hosts take")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;

use super::balancers::PRIORITIES;
use super::cluster::{BALANCER, WEB};
use super::screen::Mark;
use super::stage::Stage;
use crate::lab::probe::log::{Log, Outcome, Probe};
use crate::lab::probe::{Client, Probing};
use crate::lab::router::Router;

/// An operator moves it, there and back.
///
/// # Errors
/// When it does not move.
pub(super) async fn hand_over(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (from, to) = sides(stage).await?;
    let names = [from, to].map(|number| stage.balancers.name(number).to_owned());
    stage.act(&format!("Hand {BALANCER} over from {} to {}, and back", names[0], names[1]));
    for (from, to) in [(from, to), (to, from)] {
        let watch = watch(stage).await?;
        let began = Instant::now();
        let said = stage.balancers.nodes[from].ask(&["vip", "handover"])?;
        stage.asked(&format!("baton vip handover, on {}: {}", stage.balancers.name(from), said.trim()));
        moved(stage, to, began).await?;
        stands(stage, from, "backup", "").await?;
        seen(stage, "handover", watch, SLACK).await;
    }
    Ok(())
}

/// The host loses its power and gets it back.
///
/// # Errors
/// When the other one does not take over, or it does not come back.
pub(super) async fn power_off(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (from, to) = sides(stage).await?;
    let host = stage.site().balancers[from].clone();
    stage.act(&format!("The Active host {} loses its power", host.name()));
    let watch = watch(stage).await?;
    let known = host.pids();
    let began = Instant::now();
    stage.site().lan.kill(&host, &known)?;
    stage.fault(&format!("{}: the cable is dead, {} processes are gone", host.name(), known.len()));
    moved(stage, to, began).await?;
    // Nothing of an interface outlives its machine.
    host.command("ip", &["addr", "flush", "dev", "eth0", "to", &BALANCER.to_string()])?;
    stage.site().lan.plug(&host)?;
    let node = &mut stage.balancers.nodes[from];
    node.kill();
    node.start_haproxy()?;
    node.resume()?;
    stands(stage, from, "backup", "switched on again, ").await?;
    seen(stage, "host died", watch, down_interval(to) + SLACK).await;
    stage.web_app().await;
    Ok(())
}

/// HAProxy dies; `baton` beside it does not.
///
/// # Errors
/// When the other one does not take over, or it does not come back.
pub(super) async fn kill_haproxy(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (from, to) = sides(stage).await?;
    let name = stage.balancers.name(from).to_owned();
    stage.act(&format!("HAProxy dies on the Active host {name}"));
    let watch = watch(stage).await?;
    let began = Instant::now();
    stage.balancers.nodes[from].kill_haproxy();
    stage.fault(&format!("{name}: SIGKILL to HAProxy, master and worker"));
    moved(stage, to, began).await?;
    stands(stage, from, "fault", "").await?;
    let again = Instant::now();
    stage.balancers.nodes[from].start_haproxy()?;
    stage.balancers.until(from, "comes back", |router| router.state == "backup").await?;
    let after = format!("{:.1} s after its HAProxy was started again, ", again.elapsed().as_secs_f64());
    stands(stage, from, "backup", &after).await?;
    seen(stage, "HAProxy killed", watch, SLACK).await;
    stage.web_app().await;
    Ok(())
}

/// The daemon stops doing anything, its host lives on.
///
/// # Errors
/// When the other one does not take over, or it does not come back.
pub(super) async fn freeze(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (from, to) = sides(stage).await?;
    let name = stage.balancers.name(from).to_owned();
    stage.act(&format!("The daemon freezes on the Active host {name}"));
    let watch = watch(stage).await?;
    let began = Instant::now();
    stage.balancers.nodes[from].signal(Signal::SIGSTOP)?;
    stage.fault(&format!("{name}: SIGSTOP to baton; HAProxy and the address are still there"));
    moved(stage, to, began).await?;
    let took = stage.balancers.until_holds(from, false, began).await?;
    let found = format!("{:.1} s after the freeze the kernel took {BALANCER} from {name}", took.as_secs_f64());
    let in_time = if took <= FENCED { Ok(found) } else { Err(anyhow::anyhow!("only {found}")) };
    stage.check("fence", in_time);
    stage.balancers.nodes[from].signal(Signal::SIGCONT)?;
    stands(stage, from, "backup", "thawed (SIGCONT), ").await?;
    ensure!(stage.balancers.active()? == to, "{BALANCER} moved once more");
    seen(stage, "daemon frozen", watch, SLACK).await;
    stage.web_app().await;
    Ok(())
}

/// Who has the address, and who is to have it next; waits until that one could take it.
async fn sides(stage: &Stage<'_>) -> anyhow::Result<(usize, usize)> {
    let from = stage.balancers.active()?;
    let to = 1 - from;
    stage.balancers.until(to, "is a fit Backup", |router| router.state == "backup" && router.faults.is_empty()).await?;
    Ok((from, to))
}

/// A client that has been there for a while.
async fn watch(stage: &Stage<'_>) -> anyhow::Result<Client> {
    let target = SocketAddr::from((BALANCER, WEB.2));
    let watch = Client::start(&stage.site().client, Probing::warm(target))?;
    tokio::time::sleep(SETTLE).await;
    Ok(watch)
}

/// Tells that `to` has the address, since when and why.
async fn moved(stage: &mut Stage<'_>, to: usize, began: Instant) -> anyhow::Result<()> {
    let took = stage.balancers.until_holds(to, true, began).await?;
    let router = stage.balancers.until(to, "becomes Active", |router| router.state == "active").await?;
    let (name, why) = (stage.balancers.name(to), router.reason.unwrap_or_default());
    let text = format!("{name} has {BALANCER} after {} ms: {why}", took.as_millis());
    stage.check("vip", Ok(text));
    Ok(())
}

/// Waits for a state of the other one and tells it.
async fn stands(stage: &Stage<'_>, number: usize, state: &str, after: &str) -> anyhow::Result<()> {
    let router = stage.balancers.until(number, state, |router| router.state == state).await?;
    let why = router.reason.unwrap_or_default();
    stage.screen.row(Mark::None, stage.balancers.name(number), &format!("{after}{state}: {why}"));
    Ok(())
}

/// Tells what the client saw, which is fine up to a gap of `limit`.
async fn seen(stage: &mut Stage<'_>, what: &str, watch: Client, limit: Duration) {
    tokio::time::sleep(SETTLE).await;
    let log = watch.finish();
    let (gap, served) = (log.gap(), served_to_the_end(&log));
    let reasons = log.failures().join(", ");
    let reasons = if reasons.is_empty() { reasons } else { format!(" ({} by {reasons})", log.failed()) };
    let lost = format!("{} of {} TCP connections lost{reasons}", log.lost(), log.probes.len());
    let text = format!("gap {:.1} ms, {lost}", gap.as_secs_f64() * 1_000.0);
    let found = match (served, gap <= limit) {
        (true, true) => Ok(text),
        (true, false) => Err(anyhow::anyhow!("{text}; at most {} ms were expected", limit.as_millis())),
        (false, _) => Err(anyhow::anyhow!("{text}, the last ones among them")),
    };
    stage.check("client", found);
    stage.gap(what, gap);
}

/// Whether one of the last connections was answered: where nobody serves any more, there is no gap between two answers.
fn served_to_the_end(log: &Log) -> bool {
    let answered = log.probes.iter().filter(|probe| matches!(probe.outcome, Outcome::Answered(_)));
    let sent = |probe: &Probe| probe.sent;
    match (answered.map(sent).max(), log.probes.iter().map(sent).max()) {
        (Some(answered), Some(last)) => answered + Duration::from_millis(100) >= last,
        _ => false,
    }
}

/// How long the host waits in silence before it takes over.
fn down_interval(number: usize) -> Duration {
    Router::new(PRIORITIES[number], &[]).down_interval()
}

/// What is watched before and after something happens.
const SETTLE: Duration = Duration::from_millis(300);

/// What a busy machine may add to a gap of nothing, or of one down interval where a host dies.
const SLACK: Duration = Duration::from_millis(500);

/// The lease is 3 s, and the kernel takes up to half a second more.
const FENCED: Duration = Duration::from_secs(4);
