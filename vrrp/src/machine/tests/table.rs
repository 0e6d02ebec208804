//! The transition table of RFC 9568 §6.4 as data, row by row.

use super::*;
use crate::machine::io::{Command, Count};

const BACKUP: Phase = Phase::Backup;
const ACTIVE: Phase = Phase::Active;

/// What one row says: the phase before, what is heard or done, and then the phase, the priorities
/// advertised, whether the addresses are held, and in how many microseconds the next timer is due.
struct Row {
    name: &'static str,
    from: Phase,
    input: Input,
    to: Phase,
    sent: &'static [u8],
    held: bool,
    due: Option<u64>,
}

/// Priority 100, source 192.0.2.5, 100 ms: skew 60 937 µs, down interval 360 937 µs.
const SKEW: u64 = 60_937;
const DOWN: u64 = 360_937;
/// So long after giving way the addresses go.
const LINGER: u64 = 10_000;

#[rustfmt::skip]
fn rows(preempt: bool) -> Vec<Row> {
    let row = |name, from, input, to, sent, held, due| Row { name, from, input, to, sent, held, due };
    let fresh = Input::Start(Start::Fresh);
    let mut rows = vec![
        row("startup", Phase::Init, fresh, BACKUP, &[], false, Some(DOWN)),
        row("a packet in Initialize", Phase::Init, advert(200, 9), Phase::Init, &[], false, None),
        row("a stale timer in Initialize", Phase::Init, Input::Wake, Phase::Init, &[], false, None),
        row("Backup, shutdown", BACKUP, Input::Command(Command::Shutdown), Phase::Init, &[], false, None),
        row("Backup, priority 0", BACKUP, advert(0, 9), BACKUP, &[], false, Some(SKEW)),
        row("Backup, higher priority", BACKUP, advert(101, 9), BACKUP, &[], false, Some(DOWN)),
        row("Backup, the owner", BACKUP, advert(255, 9), BACKUP, &[], false, Some(DOWN)),
        row("Backup, equal priority, higher address", BACKUP, advert(100, 9), BACKUP, &[], false, Some(DOWN)),
        row("Backup, equal priority, lower address", BACKUP, advert(100, 1), BACKUP, &[], false, Some(DOWN)),
        row("Active, priority 0", ACTIVE, advert(0, 9), ACTIVE, &[100], true, None),
        row("Active, higher priority", ACTIVE, advert(101, 1), BACKUP, &[100], true, Some(LINGER)),
        row("Active, the owner", ACTIVE, advert(255, 1), BACKUP, &[100], true, Some(LINGER)),
        row("Active, equal, higher address", ACTIVE, advert(100, 6), BACKUP, &[100], true, Some(LINGER)),
        row("Active, equal, lower address", ACTIVE, advert(100, 4), ACTIVE, &[100], true, None),
        row("Active, lower priority", ACTIVE, advert(99, 9), ACTIVE, &[100], true, None),
        row("Active, shutdown", ACTIVE, Input::Command(Command::Shutdown), Phase::Leaving, &[0], true, None),
    ];
    // The only rows in which Preempt_Mode has a say. The timer that is not restarted is 50 ms old.
    rows.push(if preempt {
        row("Backup, lower priority, preempt", BACKUP, advert(99, 9), BACKUP, &[], false, Some(DOWN - 50_000))
    } else {
        row("Backup, lower priority, no preempt", BACKUP, advert(99, 9), BACKUP, &[], false, Some(DOWN))
    });
    rows
}

#[test]
fn each_row_of_the_rfc() {
    for preempt in [Preempt::After(Duration::ZERO), Preempt::Never] {
        for row in rows(preempt != Preempt::Never) {
            check(&row, preempt);
        }
    }
}

fn check(row: &Row, preempt: Preempt) {
    let config = RouterConfig { preempt, ..config() };
    let mut bench = match row.from {
        BACKUP => Bench::backup(&config),
        ACTIVE => Bench::active(&config),
        _ => Bench::new(&config),
    };
    bench.give(link_up());
    // Between two timers, whatever the state.
    bench.sleep(Duration::from_millis(50));
    bench.give(Input::Wake);
    let actions = bench.give(row.input.clone());
    let name = format!("{} ({preempt:?}): {actions:?}", row.name);
    assert_eq!(bench.machine.phase(), row.to, "{name}");
    assert_eq!(adverts(&actions), row.sent, "{name}");
    assert_eq!(bench.machine.holds(), row.held, "{name}");
    assert_eq!(actions.contains(&Action::Drop), row.from == ACTIVE && !row.held, "{name}");
    if row.due.is_some() || row.to == Phase::Init {
        let due = bench.machine.deadline().map(|at| at - bench.now);
        assert_eq!(due.map(|due| due.as_micros()), row.due.map(u128::from), "{name}");
    }
}

#[test]
fn the_down_timer_makes_a_backup_active_in_the_right_order() {
    let mut bench = Bench::backup(&config());
    bench.now = at_us(DOWN - 1);
    assert_eq!(bench.give(Input::Wake), []);
    bench.now = at_us(DOWN);
    let actions = bench.give(Input::Wake);
    let lease = Duration::from_secs(3);
    assert_eq!(
        actions[..3],
        [Action::Advertise { priority: Priority(100), interval: cs(10) }, Action::Hold { lease }, Action::Announce,]
    );
    assert_eq!(moves(&actions), [(BACKUP, ACTIVE, Reason::Silence)]);
    assert_eq!(actions.len(), 4);
}

#[test]
fn the_advert_timer_is_exact_and_runs_at_our_own_interval() {
    let mut bench = Bench::backup(&config());
    let slow = Heard { source: host(9), priority: Priority(200), interval: cs(100), version: Version::V3 };
    bench.give(Input::Advert(slow));
    assert_eq!(bench.machine.learned_interval(), cs(100));
    // 3 × 1 s and (256 − 100) / 256 of it: the learned interval rules the silence …
    assert_eq!(bench.machine.deadline(), Some(at_us(3_609_375)));
    bench.wake();
    let from = bench.done.len();
    bench.run(Duration::from_secs(1));
    let sent: Vec<_> = bench.done[from..].iter().filter(|(_, a)| matches!(a, Action::Advertise { .. })).collect();
    // … and our own one what we send.
    let times: Vec<u64> = (1..=10).map(|n| 3_609_375 + n * 100_000).collect();
    assert_eq!(sent.iter().map(|(at, _)| at.as_micros()).collect::<Vec<_>>(), times.map_u128());
    assert_eq!(bench.machine.learned_interval(), cs(10));
}

#[test]
fn a_resignation_counts_with_the_learned_interval() {
    let mut bench = Bench::backup(&config());
    let heard = |priority| {
        Input::Advert(Heard { source: host(9), priority: Priority(priority), interval: cs(100), version: Version::V3 })
    };
    bench.give(heard(200));
    bench.give(heard(0));
    assert_eq!(bench.machine.deadline(), Some(at_us(609_375)));
    assert_eq!(moves(&bench.wake()), [(BACKUP, ACTIVE, Reason::PeerResigned)]);
}

#[test]
fn version_2_skews_by_seconds_and_learns_nothing() {
    let config = RouterConfig { version: Version::V2, interval: cs(200), ..config() };
    let mut bench = Bench::backup(&config);
    let heard = |version| Input::Advert(Heard { source: host(9), priority: Priority(200), interval: cs(100), version });
    assert_eq!(bench.give(heard(Version::V3)), [], "the other version is nobody");
    assert_eq!(bench.give(heard(Version::V2)), [Action::Count(Count::IntervalDiffers)]);
    assert_eq!(bench.machine.learned_interval(), cs(200));
    assert_eq!(bench.machine.deadline(), Some(at_us(6_609_375)));
}

#[test]
fn the_tie_break_compares_unsigned_bytes_of_the_source() {
    for (own, peer, yields) in [("fe80::7f", "fe80::80", true), ("fe80::1:0", "fe80::ffff", false)] {
        let parse = |text: &str| text.parse::<IpAddr>().expect("a constant");
        let mut bench = Bench::active(&config());
        bench.give(Input::Link(Link { up: true, source: Some(parse(own)) }));
        let heard = Heard { source: parse(peer), priority: Priority(100), interval: cs(10), version: Version::V3 };
        bench.give(Input::Advert(heard));
        assert_eq!(bench.machine.phase() == BACKUP, yields, "{own} hears {peer}");
    }
}

trait MapU128 {
    fn map_u128(self) -> Vec<u128>;
}

impl MapU128 for Vec<u64> {
    fn map_u128(self) -> Vec<u128> {
        self.into_iter().map(u128::from).collect()
    }
}
