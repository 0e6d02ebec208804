//! `make bench`: how fast and how big Baton is, on synthetic clusters.
//!
//! Called by the `bench` binary. Each suite is a file: [`build`] and [`refetch`] measure in this
//! process, [`memory`] a process of `baton render`, [`check`] HAProxy's own check, [`traffic`] and
//! [`new_app`] a whole load balancer behind a simulated Marathon, [`bad_apps`] one whose HAProxy refuses
//! some apps, [`churn`] one under load by [`wrk`], [`routing`] HAProxy with many hosts, `vip` what a client
//! loses when the virtual address
//! moves. Every loop is bounded; what a suite starts ends with it.

pub mod bad_apps;
pub mod build;
pub mod check;
pub mod churn;
pub mod cluster;
pub mod figure;
pub mod front;
pub mod memory;
pub mod new_app;
pub mod refetch;
pub mod routing;
pub mod traffic;
mod vip;
pub mod wrk;

use cluster::Shape;
use figure::Report;

/// Runs every suite that gives a wanted figure. `scale` divides the sizes of the clusters and the
/// number of runs; the names of the figures always tell the real sizes.
///
/// # Errors
/// When something cannot be started or does not do what it should: no figure is better than a wrong one.
pub fn run(report: &mut Report<'_>, scale: usize) -> anyhow::Result<()> {
    let of = |apps: usize| Shape { apps: (apps / scale.max(1)).max(1), tasks: TASKS };
    let large = of(5_000);
    build::run(report, large)?;
    memory::run(report, large)?;
    refetch::run(report, of(1_000))?;
    new_app::run(report, of(1_000))?;
    churn::run(report, of(1_000), scale)?;
    routing::run(report, 10_000 / scale.max(1), scale)?;
    for (apps, samples) in [(100, 30), (1_000, 20), (5_000, 10)] {
        check::run(report, of(apps))?;
        traffic::run(report, of(apps), samples)?;
    }
    bad_apps::run(report, of(1_000))?;
    vip::run(report, scale)
}

/// Of each app.
const TASKS: usize = 5;
