//! Hosts on a simulated LAN: what must hold whatever the network and the schedulers do.
//!
//! The bounds follow from the timers, with I the longest Advertisement Interval of the hosts, D the
//! longest delay of a frame (jitter of the scheduler included) and r ≤ 1.02 the spread of clocks:
//!
//! - **X**, two Actives that reach each other: the weaker hears the stronger within I·r + D. Where
//!   frames get lost at 10 %, [`LOSSES`] in a row are allowed for.
//! - **Y**, from the last disturbance to one holder: the last Active_Down_Interval that anyone may
//!   wait, twice (a late or impaired Backup listens once more), at most 4 · max(I, 1 s) each because
//!   of intervals raised before a pause; then X; or the longest lease of a dead host, and the
//!   quarter of a second by which the kernel is late.
//! - **Z**, from a change of state to the addresses: none. A machine that thinks it holds them does,
//!   and one that does not, does not, whenever it runs.
//! - **W**, a running host that has the addresses beside an Active one that it reaches: X until it has
//!   heard of it, and the [`LINGER`] for which it goes on answering what is on its way to it.

mod plain;
mod sim;

use std::time::Duration;

use sim::{Lan, MS, Rng, SECOND, Setup, Weather};
use vrrp::config::Preempt;
use vrrp::machine::io::{Command, Phase, Start};

/// So many frames in a row are never lost in these tests (10^-7 each time at 10 %).
const LOSSES: u64 = 7;
const SLACK: u64 = 2 * MS;
/// How long one that gave way keeps the addresses; clocks may be slow by a hundredth.
const LINGER: u64 = 10 * MS * 102 / 100;

/// X.
fn contention(lan: &Lan) -> u64 {
    let lossy = lan.weather.loss_per_mille > 0;
    let interval = lan.hosts.iter().map(|host| u64::from(host.setup.interval) * 10 * MS).max().unwrap_or(0);
    let frames = if lossy { LOSSES } else { 1 };
    frames * (interval * 102 / 100 + lan.weather.max_delay) + SLACK
}

/// Y.
fn settled(lan: &Lan) -> u64 {
    let interval = lan.hosts.iter().map(|host| u64::from(host.setup.interval) * 10 * MS).max().unwrap_or(0);
    let slow = interval.max(SECOND) * 102 / 100;
    let lease = (slow * 4).div_ceil(SECOND) * SECOND + SECOND + 250 * MS;
    (2 * 4 * slow).max(lease) * 102 / 100 + contention(lan) + SLACK
}

/// Runs for `wait`, watching what must hold at every moment.
fn run(lan: &mut Lan, wait: u64) {
    run_with(lan, wait, |_| ());
}

fn run_with(lan: &mut Lan, wait: u64, watch: impl Fn(&Lan)) {
    let end = lan.now + wait;
    for _ in 0..10_000_000_u64 {
        let more = lan.step(end);
        check(lan);
        watch(lan);
        if !more {
            return;
        }
    }
    lan.fail("the simulation does not end");
}

/// The properties of every moment.
fn check(lan: &Lan) {
    for (index, host) in lan.hosts.iter().enumerate() {
        let running = host.alive && !host.frozen;
        if running && host.machine.holds() != host.leased_until.is_some() {
            lan.fail(&format!("host {index} is wrong about the addresses"));
        }
        if running && host.machine.phase() == Phase::Active && !host.machine.holds() {
            lan.fail(&format!("host {index} is Active without the addresses"));
        }
    }
    let (actives, holders) = (lan.actives(), lan.holders());
    for &a in &actives {
        for &b in holders.iter().filter(|b| **b != a && lan.connected(a, **b)) {
            let (one, other) = (&lan.hosts[a], &lan.hosts[b]);
            if !other.alive || other.frozen {
                continue;
            }
            let since = [one.active_since, other.active_since, other.runs_since].into_iter().flatten().max();
            let since = since.unwrap_or(0).max(other.held_since);
            let since = since.max(lan.whole_since[a][b]).max(lan.whole_since[b][a]);
            let beside = lan.now.saturating_sub(since);
            if actives.contains(&b) && beside > contention(lan) {
                lan.fail(&format!("hosts {a} and {b} are both Active for too long"));
            }
            if beside > contention(lan) + LINGER {
                lan.fail(&format!("host {b} has the addresses beside host {a} for too long"));
            }
        }
    }
}

/// Everything works again: after Y one Active, which alone has the addresses, and it stays so.
fn heals(lan: &mut Lan) {
    let count = lan.hosts.len();
    lan.weather = Weather { max_delay: 500, ..Weather::default() };
    for from in 0..count {
        for to in 0..count {
            lan.connect(from, to, true);
        }
        lan.thaw(from);
        if !lan.hosts[from].alive {
            lan.boot(from);
        }
    }
    let wait = settled(lan);
    run(lan, wait);
    let before: u64 = lan.hosts.iter().map(|host| host.takeovers).sum();
    expect_one(lan);
    run_with(lan, 10 * SECOND, expect_one);
    if lan.hosts.iter().map(|host| host.takeovers).sum::<u64>() != before {
        lan.fail("the addresses move without a cause");
    }
}

fn expect_one(lan: &Lan) {
    let (actives, holders) = (lan.actives(), lan.holders());
    if actives.len() != 1 || holders != actives {
        lan.fail(&format!("Active are {actives:?}, addresses at {holders:?}"));
    }
}

/// Two to five hosts of all kinds.
fn setups(rng: &mut Rng) -> Vec<Setup> {
    let count = rng.range(2, 6);
    let interval = rng.pick(&[1, 2, 10, 10, 10, 50, 100]);
    let preempt = rng.pick(&[Preempt::Never, Preempt::After(Duration::ZERO), Preempt::After(Duration::from_secs(2))]);
    let mixed = rng.chance(200);
    let plain_peers = rng.chance(250);
    let setup = |rng: &mut Rng| Setup {
        // Equal priorities are allowed, and happen.
        priority: rng.pick(&[1, 50, 100, 100, 150, 200, 254]),
        interval: if mixed { rng.pick(&[interval, 10, 25]) } else { interval },
        preempt,
        clock_ppm: rng.pick(&[0, 200, -200, 10_000, -10_000]),
        plain: plain_peers && rng.chance(400),
    };
    (0..count).map(|_| setup(rng)).collect()
}

#[test]
fn whatever_happens_the_addresses_end_at_one_host() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let setups = setups(&mut rng);
        let mut lan = Lan::new(seed, &setups);
        lan.weather = Weather {
            loss_per_mille: rng.pick(&[0, 0, 20, 100]),
            duplicates_per_mille: rng.pick(&[0, 50]),
            max_delay: rng.pick(&[300, 500, 3 * MS]),
        };
        for index in 0..setups.len() {
            lan.boot(index);
            run(&mut lan, rng.range(1, 500) * MS);
        }
        let disturbances = if setups[0].interval <= 2 { 6 } else { 12 };
        for _ in 0..disturbances {
            disturb(&mut lan, &mut rng);
            let wait = rng.pick(&[1, 20, 100, 400, 1500, 4000]);
            run(&mut lan, rng.range(wait / 2, wait + 1) * MS);
        }
        heals(&mut lan);
        bounded_traffic(&lan);
    }
}

/// One thing goes wrong, or is mended.
fn disturb(lan: &mut Lan, rng: &mut Rng) {
    let pick = |rng: &mut Rng| usize::try_from(rng.range(0, lan.hosts.len() as u64)).unwrap_or(0);
    let (one, other) = (pick(rng), pick(rng));
    let up = lan.hosts[one].alive && !lan.hosts[one].frozen;
    let ours = up && !lan.hosts[one].setup.plain;
    match rng.range(0, 12) {
        0 if up => lan.crash(one),
        1 | 2 if !lan.hosts[one].alive => lan.boot(one),
        3 | 4 if up => lan.freeze(one),
        5 | 6 => lan.thaw(one),
        7 if one != other => lan.connect(one, other, false),
        8 => {
            // A wall between the first few hosts and the rest, or away with all walls.
            let whole = rng.chance(500);
            for a in 0..lan.hosts.len() {
                for b in 0..lan.hosts.len() {
                    let across = (a <= one) != (b <= one);
                    lan.connect(a, b, whole || !across);
                }
            }
        }
        9 if ours => lan.command(one, Command::HandOver),
        10 if up => lan.command(one, Command::Shutdown),
        11 if ours => {
            let active = lan.hosts[one].machine.phase() == Phase::Active;
            lan.command(one, Command::Suspend);
            if active && rng.chance(700) {
                run(lan, rng.range(1, 900) * MS);
                if !lan.hosts[one].alive {
                    lan.boot_as(one, Start::Resume);
                }
            }
        }
        _ => (),
    }
}

/// One advertisement and one answer for each interval; and for announcements one burst a second of
/// at most four, the fence's four a second, and what a takeover adds.
fn bounded_traffic(lan: &Lan) {
    for (index, host) in lan.hosts.iter().enumerate() {
        if host.setup.plain {
            continue;
        }
        let intervals = lan.now * 102 / 100 / (u64::from(host.setup.interval) * 10 * MS) + 1;
        if host.adverts > 2 * intervals + 8 * (host.takeovers + 3) {
            lan.fail(&format!("host {index} sent {} advertisements in {intervals} intervals", host.adverts));
        }
        let seconds = lan.now / SECOND + 1;
        if host.announcements > 9 * seconds + 4 * host.takeovers {
            lan.fail(&format!("host {index} announced {} times in {seconds} s", host.announcements));
        }
    }
}

fn pair(high: Preempt, interval: u16) -> [Setup; 2] {
    [200, 100].map(|priority| Setup { priority, interval, preempt: high, clock_ppm: 0, plain: false })
}

#[test]
fn a_planned_handover_never_leaves_the_addresses_nowhere() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut lan = Lan::new(seed, &pair(Preempt::Never, rng.pick(&[1, 10, 100])));
        lan.boot(0);
        run(&mut lan, 5 * SECOND);
        lan.boot(1);
        run(&mut lan, 2 * SECOND + rng.range(0, 1000) * MS);
        let lossy = rng.chance(500);
        lan.weather.loss_per_mille = if lossy { 100 } else { 0 };
        let command = rng.pick(&[Command::HandOver, Command::Shutdown, Command::Hold { force: false }]);
        lan.command(0, command);
        let wait = settled(&lan);
        run_with(&mut lan, wait, |lan| {
            if lan.holders().is_empty() {
                lan.fail("the addresses are nowhere");
            }
        });
        lan.weather.loss_per_mille = 0;
        run(&mut lan, SECOND);
        expect_one(&lan);
        // Where frames get lost, the leaver may not hear in time that it has a successor.
        if lan.actives() != [1] && (command == Command::Shutdown || !lossy) {
            lan.fail("nobody took over");
        }
    }
}

#[test]
fn a_dead_host_is_replaced_after_one_down_interval_and_its_addresses_lapse() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let interval = rng.pick(&[1, 10, 50]);
        let mut lan = Lan::new(seed, &pair(Preempt::After(Duration::ZERO), interval));
        lan.boot(0);
        lan.boot(1);
        run(&mut lan, 6 * SECOND + rng.range(0, 1000) * MS);
        assert_eq!(lan.actives(), [0], "seed {seed}");
        if rng.chance(500) {
            lan.crash(0)
        } else {
            lan.freeze(0)
        }
        let (died, unit) = (lan.now, u64::from(interval) * 10 * MS);
        // Active_Down_Interval of priority 100, from the last advertisement.
        run(&mut lan, 3 * unit + unit * 156 / 256 + SLACK);
        assert_eq!(lan.actives(), [1], "seed {seed}");
        let wait = died + 3500 * MS - lan.now;
        run(&mut lan, wait);
        assert_eq!(lan.holders(), [1], "seed {seed}: the kernel of the dead host has removed them");
        heals(&mut lan);
        assert_eq!(lan.actives(), [0], "seed {seed}: it takes them back");
    }
}

#[test]
fn without_preemption_nothing_moves_without_a_cause() {
    for seed in 0..40 {
        let mut lan = Lan::new(seed, &pair(Preempt::Never, 10));
        lan.weather = Weather { loss_per_mille: 0, duplicates_per_mille: 100, max_delay: 40 * MS };
        lan.boot(1);
        run(&mut lan, 2 * SECOND);
        lan.boot(0);
        run(&mut lan, 18 * SECOND);
        // Not even a Backup that wakes with its timer long past may claim.
        lan.freeze(0);
        run(&mut lan, 5 * SECOND + seed * 7 * MS);
        lan.thaw(0);
        run(&mut lan, 10 * SECOND);
        assert_eq!((lan.hosts[0].takeovers, lan.hosts[1].takeovers), (0, 1), "seed {seed}");
    }
}

/// One that slept while it was Active does not move the addresses back by waking up, though it has
/// the higher priority, whatever it looks at first.
#[test]
fn a_thawed_active_does_not_take_back_what_it_lost() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut lan = Lan::new(seed, &pair(Preempt::Never, rng.pick(&[10, 50])));
        lan.boot(0);
        run(&mut lan, 3 * SECOND);
        lan.boot(1);
        run(&mut lan, 3 * SECOND + rng.range(0, 1000) * MS);
        lan.freeze(0);
        // Above four intervals, below and above the lease.
        run(&mut lan, rng.pick(&[2100, 2600, 3100, 6000]) * MS);
        lan.thaw(0);
        run_with(&mut lan, 10 * SECOND, expect_one);
        assert_eq!((lan.actives(), lan.hosts[1].takeovers), (vec![1], 1), "seed {seed}");
    }
}

#[test]
fn a_handover_lasts_though_preemption_is_on() {
    for seed in 0..20 {
        let mut lan = Lan::new(seed, &pair(Preempt::After(Duration::ZERO), 10));
        lan.boot(0);
        lan.boot(1);
        run(&mut lan, 5 * SECOND + seed * 5 * MS);
        lan.command(0, Command::HandOver);
        run(&mut lan, 20 * SECOND);
        assert_eq!((lan.actives(), lan.hosts[1].takeovers), (vec![1], 1), "seed {seed}");
        lan.crash(1);
        heals(&mut lan);
        assert_eq!(lan.actives(), [0], "seed {seed}");
    }
}

#[test]
fn a_resumption_in_time_is_noticed_by_nobody() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let mut lan = Lan::new(seed, &pair(Preempt::After(Duration::ZERO), rng.pick(&[1, 10, 100])));
        lan.boot(0);
        lan.boot(1);
        run(&mut lan, 10 * SECOND + rng.range(0, 1000) * MS);
        lan.command(0, Command::Suspend);
        // The pause interval is 1 s: peers wait 3.6 s.
        run_with(&mut lan, rng.range(1, 3500) * MS, |lan| {
            if lan.holders() != [0] {
                lan.fail("the addresses moved");
            }
        });
        lan.boot_as(0, Start::Resume);
        run_with(&mut lan, 10 * SECOND, expect_one);
        assert_eq!((lan.hosts[0].takeovers, lan.hosts[1].takeovers), (2, 0), "seed {seed}");
    }
}

/// Three frames in a row must be lost for a takeover: 10^-3 for each advertisement at 10 %.
#[test]
fn loss_of_a_tenth_rarely_moves_anything() {
    let mut takeovers = 0;
    for seed in 0..20 {
        let mut lan = Lan::new(seed, &pair(Preempt::Never, 10));
        lan.weather.loss_per_mille = 100;
        lan.boot(0);
        run(&mut lan, SECOND);
        lan.boot(1);
        run(&mut lan, 60 * SECOND);
        takeovers += lan.hosts.iter().map(|host| host.takeovers).sum::<u64>() - 1;
    }
    // 20 × 600 advertisements: 12 silences expected, each worth a takeover and at times one back.
    assert!(takeovers <= 40, "{takeovers} takeovers");
}

/// A plain router of RFC 9568 and one of ours, in both roles: neither notices the other.
#[test]
fn a_plain_router_gives_and_takes_as_among_its_own() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut setups = pair(Preempt::After(Duration::ZERO), rng.pick(&[1, 10, 100]));
        let plain = usize::from(rng.chance(500));
        setups[plain].plain = true;
        let mut lan = Lan::new(seed, &setups);
        lan.boot(0);
        lan.boot(1);
        run(&mut lan, 5 * SECOND + rng.range(0, 1000) * MS);
        assert_eq!(lan.actives(), [0], "seed {seed}");
        let unit = u64::from(setups[0].interval) * 10 * MS;
        if rng.chance(500) {
            lan.command(0, Command::Shutdown);
            run(&mut lan, unit * 156 / 256 + SLACK);
        } else {
            lan.crash(0);
            run(&mut lan, 3 * unit + unit * 156 / 256 + SLACK);
        }
        assert_eq!(lan.actives(), [1], "seed {seed}");
        // The next daemon on that host takes them back, and removes or takes over what was left.
        lan.boot(0);
        run(&mut lan, 5 * SECOND);
        expect_one(&lan);
        assert_eq!(lan.actives(), [0], "seed {seed}");
    }
}
