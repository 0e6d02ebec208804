//! What a client loses when the virtual address moves: `baton` beside keepalived, in the same lab and the same run.
//!
//! Gives `vip_gap_FAULT_INTERVAL`, the median of the longest gap between two answers (less the 2 ms between two
//! probes) over ten runs, one for each tenth of the Advertisement Interval, and `…_max`; keepalived's stand beside.
//! `keepalived_gap_…` are those alone. Where a dead or frozen daemon leaves its address behind, `vip_fence_…` tells
//! until when, and `vip_fresh_…` what clients lose that come for the first time. `vip_load_100_routers` is the share of
//! a core that an Active host with a hundred routers takes. About a quarter of an hour for all.

mod fault;
mod load;
mod ours;
mod pair;
mod player;

use std::time::Duration;

use anyhow::Context as _;

use self::fault::Fault;
use self::pair::{Cost, PHASES, Pair};
use self::player::Player;
use super::figure::{Figure, Report, Samples};
use crate::lab::keepalived::Keepalived;
use crate::lab::node::Node;

/// Measures every wanted fault at both intervals; `scale` divides the number of runs.
///
/// # Errors
/// When the lab cannot be made, or the address does not move as it should.
pub(super) fn run(report: &mut Report<'_>, scale: usize) -> anyhow::Result<()> {
    let step = u32::try_from(scale).unwrap_or(PHASES).clamp(1, PHASES);
    for interval in INTERVALS {
        for fault in Fault::ALL {
            let what = format!("{}_{}ms", fault.name(), interval.as_millis());
            let theirs = [format!("keepalived_gap_{what}"), format!("keepalived_gap_{what}_max")];
            let gaps = [format!("vip_gap_{what}"), format!("vip_gap_{what}_max")];
            let rest = [format!("vip_fence_{what}"), format!("vip_fresh_{what}")];
            let ours = report.wants(&gaps) || (fault.leaves_the_address() && report.wants(&rest));
            if !ours && !report.wants(&theirs) {
                continue;
            }
            let keepalived = measure::<Keepalived>(report, fault, interval, step)?;
            give(report, theirs, &keepalived, None)?;
            if ours {
                let baton = measure::<Node>(report, fault, interval, step)?;
                give(report, gaps, &baton, Some(&keepalived))?;
                give_rest(report, rest, &baton, &keepalived)?;
            }
        }
    }
    load::run(report)
}

fn measure<P: Player>(
    report: &mut Report<'_>,
    fault: Fault,
    interval: Duration,
    step: u32,
) -> anyhow::Result<Vec<Cost>> {
    let what = || format!("{} of {} at {} ms", fault.name(), P::NAME, interval.as_millis());
    let mut pair = Pair::<P>::start(fault, interval).with_context(what)?;
    let mut costs = Vec::new();
    let mut astray = 0;
    for phase in (0..PHASES).step_by(usize::try_from(step)?) {
        let mut tries = Vec::new();
        while tries.len() < TRIES {
            let cost = match pair.run(phase).with_context(what) {
                Ok(cost) => cost,
                Err(why) if astray < ASTRAY => {
                    astray += 1;
                    report.say(&format!("phase {phase} went astray, and is made again with new hosts: {why:#}"));
                    pair = Pair::start(fault, interval).with_context(what)?;
                    continue;
                }
                Err(why) => return Err(why),
            };
            report.say(&format!("{}, phase {phase}: {}", what(), told(&cost)));
            let quiet = cost.control.gap() <= QUIET;
            tries.push(cost);
            if quiet {
                break;
            }
        }
        costs.extend(tries.into_iter().min_by_key(|cost| cost.control.gap()));
    }
    Ok(costs)
}

/// A line about one run.
fn told(cost: &Cost) -> String {
    let (warm, millis) = (&cost.warm, |time: Duration| time.as_secs_f64() * 1_000.0);
    let mut text = format!("gap {:.1} ms, {} lost", millis(warm.gap()), warm.lost());
    if warm.failed() > 0 {
        text += &format!(" ({} by {})", warm.failed(), warm.failures().join(", "));
    }
    text += &format!(", {}", warm.turns().join(" → "));
    if let Some(fresh) = &cost.fresh {
        text += &format!("; fresh clients {} lost", fresh.lost());
    }
    if let Some(fenced) = cost.fenced {
        text += &format!("; address gone after {:.0} ms", millis(fenced));
    }
    if cost.control.gap() > QUIET {
        text += &format!("; disturbed: another server's gap is {:.1} ms", millis(cost.control.gap()));
    }
    text
}

fn give(report: &mut Report<'_>, names: [String; 2], costs: &[Cost], beside: Option<&[Cost]>) -> anyhow::Result<()> {
    let gaps = |costs: &[Cost]| costs.iter().map(|cost| cost.warm.gap()).collect::<Samples>();
    for (name, of) in names.into_iter().zip([Samples::median, Samples::greatest]) {
        let figure = |costs: &[Cost]| Figure::millis(name.clone(), of(&gaps(costs)));
        report.give(&match beside {
            Some(theirs) => figure(costs).versus(Keepalived::NAME, &figure(theirs)),
            None => figure(costs),
        })?;
    }
    Ok(())
}

/// The longest that the address stayed behind, and the most that fresh clients lost: a probe is worth its spacing.
fn give_rest(report: &mut Report<'_>, names: [String; 2], ours: &[Cost], theirs: &[Cost]) -> anyhow::Result<()> {
    let [fence, fresh] = names;
    let fenced: Samples = ours.iter().filter_map(|cost| cost.fenced).collect();
    if fenced.greatest() > Duration::ZERO {
        report.give(&Figure::millis(fence, fenced.greatest()))?;
    }
    let lost = |cost: &Cost| {
        let log = cost.fresh.as_ref()?;
        Some(log.spacing * u32::try_from(log.lost()).ok()?)
    };
    let most = |costs: &[Cost]| costs.iter().filter_map(lost).collect::<Samples>().greatest();
    if ours.iter().any(|cost| cost.fresh.is_some()) {
        let figure = |costs: &[Cost]| Figure::millis(fresh.clone(), most(costs));
        report.give(&figure(ours).versus(Keepalived::NAME, &figure(theirs)))?;
    }
    Ok(())
}

/// A run is made again where the client also saw a gap of a server that nothing happened to: something else on the
/// machine was in the way. The choice is by that server alone, and the same for both programs.
const QUIET: Duration = Duration::from_millis(4);
const TRIES: usize = 3;

/// So many of the runs of a fault may not go as they should, on a machine that is busy with something else: an hour of
/// measuring is not thrown away for one. Each is told, with the logs of both hosts.
const ASTRAY: usize = 1;

const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(10)];
