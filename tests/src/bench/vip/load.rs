//! What a hundred virtual routers cost the host that is Active for all of them.
//!
//! Gives `vip_load_100_routers`, keepalived's beside it, and `keepalived_load_100_routers` alone: CPU time of the
//! daemon's processes over ten quiet seconds, as a share of one core.
#![allow(clippy::disallowed_methods, reason = "measures")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bench::figure::{Figure, Report};
use crate::lab::host::Host;
use crate::lab::keepalived::Keepalived;
use crate::lab::lan::{Lan, wait_for};
use crate::lab::node::Node;
use crate::lab::router::Router;

/// Measures the wanted ones.
///
/// # Errors
/// When one does not become Active for all of its routers.
pub(super) fn run(report: &mut Report<'_>) -> anyhow::Result<()> {
    let [ours, theirs] = ["vip_load_100_routers", "keepalived_load_100_routers"];
    if !report.wants(&[ours, theirs]) {
        return Ok(());
    }
    report.say("a hundred routers of keepalived at 100 ms");
    let begin = |host: &Arc<Host>| {
        let mut keepalived = Keepalived::prepare(host, routers())?;
        keepalived.resume()?;
        Ok(keepalived)
    };
    let keepalived = measure(begin, Keepalived::cpu_time)?;
    report.give(&Figure::percent(theirs, keepalived))?;
    if report.wants(&[ours]) {
        report.say("a hundred routers of baton at 100 ms");
        let baton = measure(|host| Node::start_all(host, routers(), ""), Node::cpu_time)?;
        report.give(&Figure::percent(ours, baton).versus("keepalived", &Figure::percent("", keepalived)))?;
    }
    Ok(())
}

fn measure<T>(
    start: impl FnOnce(&Arc<Host>) -> anyhow::Result<T>,
    used: impl Fn(&T) -> Duration,
) -> anyhow::Result<f64> {
    let lan = Lan::new()?;
    let host = lan.host("lb1", &["10.77.0.11/24"])?;
    let balancer = start(&host)?;
    wait_for("Active for every router", PATIENCE, || {
        host.addresses().is_ok_and(|held| (1..=ROUTERS).all(|number| held.contains(&address(number))))
    })?;
    // The announcements of a takeover are over after five seconds.
    std::thread::sleep(SETTLE);
    let (before, began) = (used(&balancer), Instant::now());
    std::thread::sleep(WATCHED);
    let spent = used(&balancer).saturating_sub(before);
    Ok(spent.as_secs_f64() / began.elapsed().as_secs_f64())
}

fn routers() -> Vec<Router> {
    let router = |number: u8| Router {
        name: format!("router-{number}"),
        vrid: number,
        ..Router::new(100, &[&format!("{}/24", address(number))])
    };
    (1..=ROUTERS).map(router).collect()
}

fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100 + number))
}

const ROUTERS: u8 = 100;
const SETTLE: Duration = Duration::from_secs(7);
const WATCHED: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(15);
