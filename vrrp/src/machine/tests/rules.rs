//! What the machine does beyond the table: preemption, leases, lateness, leaving.

use super::*;
use crate::machine::io::{Command, Count};

use Phase::{Active, Backup, Fault as Out, Init, Leaving};

const SECOND: Duration = Duration::from_secs(1);

fn offsets(bench: &Bench, wanted: &Action) -> Vec<u64> {
    let when: Vec<Duration> = bench.done.iter().filter(|(_, action)| action == wanted).map(|(at, _)| *at).collect();
    when.iter().map(|at| u64::try_from((*at - when[0]).as_millis()).unwrap_or(u64::MAX)).collect()
}

#[test]
fn a_delayed_preemption_accepts_the_lower_priority_until_its_time() {
    let mut bench = Bench::backup(&with(Preempt::After(SECOND)));
    // First heard at 100 ms, so from 1100 ms on its advertisements no longer count.
    assert_eq!(moves(&hear(&mut bench, 50, 13)), []);
    let from = bench.now - epoch();
    let done = hear(&mut bench, 50, 3);
    assert_eq!(moves(&done), [(Backup, Active, Reason::Preempted)]);
    let at = bench.machine.moved().map(|(at, _)| at - epoch());
    assert_eq!((from, at), (ms(1300), Some(Duration::from_micros(1_360_937))));
}

#[test]
fn an_interruption_by_a_better_router_starts_the_delay_again() {
    let mut bench = Bench::backup(&with(Preempt::After(SECOND)));
    hear(&mut bench, 50, 9);
    hear(&mut bench, 100, 1);
    assert_eq!(moves(&hear(&mut bench, 50, 11)), []);
    assert_eq!(moves(&hear(&mut bench, 50, 5)), [(Backup, Active, Reason::Preempted)]);
}

#[test]
fn a_flood_of_resignations_does_not_keep_a_backup_out() {
    let mut bench = Bench::backup(&config());
    for _ in 0..30 {
        bench.sleep(ms(10));
        bench.give(advert(0, 9));
    }
    assert_eq!(bench.machine.phase(), Active);
}

#[test]
fn announcements_follow_the_schedule() {
    let mut bench = Bench::backup(&config());
    hear(&mut bench, 200, 1);
    bench.give(advert(0, 9));
    bench.done.clear();
    bench.run(ms(180_000));
    assert_eq!(offsets(&bench, &Action::Announce), [0, 20, 100, 500, 2000, 5000, 60_000, 120_000]);

    let mut bench = Bench::backup(&config());
    bench.run(ms(66_000));
    let fenced = [0, 20, 100, 250, 500, 750, 1000, 1250, 1500, 1750, 2000, 2250, 2500, 2750, 3000, 3250, 3500, 3750];
    let wanted: Vec<u64> = fenced.into_iter().chain([4000, 5000, 60_000]).collect();
    assert_eq!(offsets(&bench, &Action::Announce), wanted);
}

#[test]
fn contention_is_answered_once_an_interval_and_announced_once_a_second() {
    let mut bench = Bench::active(&config());
    bench.run(ms(10_000));
    bench.done.clear();
    for _ in 0..300 {
        bench.give(advert(50, 9));
        bench.run(ms(10));
    }
    let done: Vec<Action> = bench.done.iter().map(|(_, action)| action.clone()).collect();
    assert_eq!(done.iter().filter(|action| **action == Action::Count(Count::Contention)).count(), 300);
    // Its own 30, and as many answers.
    assert!((30..=60).contains(&adverts(&done).len()), "{}", adverts(&done).len());
    assert_eq!(offsets(&bench, &Action::Announce), [0, 20, 100, 500, 1000, 1020, 1100, 1500, 2000, 2020, 2100, 2500]);
}

#[test]
fn a_rival_is_announced_against_once_a_second() {
    let mut bench = Bench::active(&config());
    bench.run(ms(10_000));
    let first = bench.give(Input::Rival);
    assert_eq!(first, [Action::Count(Count::Rival), Action::Announce]);
    bench.run(ms(999));
    assert_eq!(bench.give(Input::Rival), [Action::Count(Count::Rival)]);
    bench.run(ms(1));
    assert_eq!(bench.give(Input::Rival), [Action::Count(Count::Rival), Action::Announce]);
}

#[test]
fn two_of_ours_do_not_answer_each_other_for_ever() {
    let mut winner = Bench::active(&RouterConfig { priority: Priority(150), ..config() });
    let mut loser = Bench::active(&config());
    // The winner's advertisement; the loser's last word; the winner's answer; nothing.
    let last_word = loser.give(advert(150, 9));
    assert_eq!((adverts(&last_word), loser.machine.phase()), (vec![100], Backup));
    let answer = winner.give(advert(100, 4));
    assert_eq!(adverts(&answer), [150]);
    assert!(adverts(&loser.give(advert(150, 9))).is_empty());
    assert_eq!(moves(&answer), []);
}

#[test]
fn the_lease_covers_every_takeover_and_lapses_within_three_and_a_half_seconds() {
    for interval in [1, 10, 50, 51, 100, 500, 4095] {
        let config = RouterConfig { interval: cs(interval), ..config() };
        let mut bench = Bench::active(&config);
        let four = Duration::from(cs(interval)) * 4;
        let mut ends = None;
        for _ in 0..2_000 {
            for action in bench.wake() {
                if let Action::Hold { lease } = action {
                    assert_eq!(lease.subsec_nanos(), 0);
                    assert!(interval > 50 || lease == 3 * SECOND, "{lease:?}");
                    assert!(lease >= (four + SECOND).max(3 * SECOND) && lease < four + 3 * SECOND, "{lease:?}");
                    ends = Some(bench.now + lease);
                }
            }
            // Dead right now, the addresses outlive every down interval.
            assert!(ends.is_none_or(|end| end - bench.now >= four), "interval {interval}");
        }
        let held = bench.done.iter().filter(|(_, action)| matches!(action, Action::Hold { .. })).count();
        let seconds = bench.done.last().map_or(0.0, |(at, _)| at.as_secs_f64());
        assert!(f64::from(u32::try_from(held).unwrap()) <= seconds * 1.25 + 2.0, "{held} renewals in {seconds} s");
    }
}

#[test]
fn past_the_lease_nothing_but_dropping_happens_whatever_comes_first() {
    let inputs = [Input::Wake, advert(50, 9), advert(200, 9), advert(0, 9), Input::Rival, link_up()];
    for input in inputs {
        let mut bench = Bench::active(&with(Preempt::Never));
        bench.sleep(3 * SECOND);
        let actions = bench.give(input.clone());
        assert_eq!(actions[..2], [Action::Count(Count::Late), Action::Drop], "{input:?}");
        assert_eq!(moves(&actions), [(Active, Backup, Reason::LeaseEnded)], "{input:?}");
        assert!(!actions.iter().any(|action| matches!(action, Action::Hold { .. } | Action::Advertise { .. })));
    }
}

#[test]
fn four_intervals_late_the_addresses_stay_until_someone_is_heard() {
    // Heard in the socket, after the timer or before it.
    for wake_first in [true, false] {
        let mut bench = Bench::active(&with(Preempt::Never));
        bench.sleep(ms(401));
        let mut actions = if wake_first { bench.give(Input::Wake) } else { Vec::new() };
        actions.extend(bench.give(advert(50, 9)));
        assert_eq!(moves(&actions), [(Active, Backup, Reason::Late)]);
        assert!(actions.contains(&Action::Drop) && adverts(&actions).is_empty(), "{actions:?}");
    }
    // Nobody: Active again after one down interval, never without the addresses.
    let mut bench = Bench::active(&config());
    bench.sleep(ms(401));
    assert_eq!(moves(&bench.give(Input::Wake)), [(Active, Backup, Reason::Late)]);
    assert!(bench.machine.holds());
    let actions = bench.run(ms(361));
    assert_eq!(moves(&actions), [(Backup, Active, Reason::Silence)]);
    assert!(!actions.contains(&Action::Drop));
    // And not late at all up to there.
    let mut bench = Bench::active(&config());
    bench.sleep(ms(400));
    assert_eq!(adverts(&bench.give(Input::Wake)), [100]);
    assert_eq!(bench.machine.deadline().map(|at| at - bench.now), Some(ms(100)), "never in the past");
}

#[test]
fn a_backup_that_wakes_late_listens_once_more_and_only_once() {
    let mut bench = Bench::backup(&config());
    bench.sleep(ms(470));
    assert_eq!(bench.give(Input::Wake), [Action::Count(Count::Late)]);
    bench.sleep(ms(900));
    assert_eq!(moves(&bench.give(Input::Wake)), [(Backup, Active, Reason::Silence)]);
}

#[test]
fn leftovers_are_kept_until_an_advertisement() {
    for priority in [50, 200] {
        let mut bench = Bench::new(&config());
        bench.give(Input::Start(Start::Leftover));
        assert_eq!(bench.machine.phase(), Init, "the link is not known yet");
        let actions = bench.give(link_up());
        assert_eq!(actions[0], Action::Hold { lease: 3 * SECOND });
        assert_eq!(moves(&actions), [(Init, Backup, Reason::Leftover)]);
        bench.run(ms(300));
        assert_eq!(bench.give(advert(priority, 9)), [Action::Drop], "whatever its priority");
        assert!(!bench.machine.holds());
    }
    let mut bench = Bench::new(&config());
    bench.give(link_up());
    bench.give(Input::Start(Start::Leftover));
    assert_eq!(moves(&bench.run(ms(361))), [(Backup, Active, Reason::Silence)]);
    let mut bench = Bench::new(&config());
    bench.give(link_down());
    assert_eq!(bench.give(Input::Start(Start::Leftover))[0], Action::Drop);
}

#[test]
fn leaving_says_priority_0_each_interval_and_keeps_the_addresses() {
    let mut bench = Bench::active(&config());
    let actions = bench.give(Input::Command(Command::HandOver));
    assert_eq!((adverts(&actions), moves(&actions)), (vec![0], vec![(Active, Leaving, Reason::HandOver)]));
    assert!(!actions.contains(&Action::Drop));
    assert_eq!(adverts(&bench.run(ms(350))), [0, 0, 0]);
    assert_eq!(bench.give(advert(0, 9)), [Action::Count(Count::Resignation)], "another one that leaves");
    assert_eq!(moves(&bench.give(advert(1, 9))), [(Leaving, Backup, Reason::Taken)]);
}

/// Packets on their way to one that gave way still find the addresses, for 10 ms and in silence.
#[test]
fn who_gives_way_lets_the_addresses_linger() {
    let shutdown = Input::Command(Command::Shutdown);
    for (resigns, end) in [(None, None), (Some(Command::HandOver), None), (Some(Command::Shutdown), None)]
        .into_iter()
        .chain([(None, Some(shutdown.clone())), (Some(Command::HandOver), Some(shutdown))])
    {
        let mut bench = Bench::active(&config());
        let finishes = resigns == Some(Command::Shutdown) || end.is_some();
        if let Some(command) = resigns {
            bench.give(Input::Command(command));
        }
        let from = bench.done.len();
        bench.give(advert(200, 9));
        let heard = bench.now;
        bench.done.drain(from..);
        if let Some(input) = end {
            bench.give(input);
        }
        assert!(!matches!(bench.machine.phase(), Active | Leaving));
        // Nobody puts back what vanishes now.
        assert_eq!(bench.give(Input::AddressLost(host(10))), []);
        bench.give(Input::Rival);
        assert!(bench.machine.holds() && bench.machine.deadline() == Some(heard + ms(10)));
        bench.run(ms(10));
        let mut done = vec![Action::Drop];
        done.extend(finishes.then_some(Action::Finished));
        let since = |action: &Action| matches!(action, Action::Moved(_));
        let actual: Vec<_> = bench.done[from..].iter().map(|(_, a)| a.clone()).filter(|a| !since(a)).collect();
        assert_eq!(actual, done, "{resigns:?}");
        assert!(!bench.machine.holds());
    }
}

#[test]
fn what_ends_a_lingering_early() {
    let linger = |config: &RouterConfig| {
        let mut bench = Bench::active(config);
        bench.give(advert(200, 9));
        bench
    };
    let mut bench = linger(&config());
    assert_eq!(bench.give(link_down())[0], Action::Drop);
    let mut bench = linger(&config());
    assert_eq!(bench.give(Input::Command(Command::Suspend))[0], Action::Drop);
    // One that slept: first of all they go.
    let mut bench = linger(&config());
    bench.sleep(ms(361));
    assert_eq!(bench.give(Input::Wake)[0], Action::Drop);
    // The new one resigns at once, with an interval so short that ours have not gone yet: they stay.
    let quick = RouterConfig { priority: Priority(254), interval: cs(1), ..config() };
    let mut bench = Bench::active(&quick);
    let heard = |priority| {
        Input::Advert(Heard { source: host(9), priority: Priority(priority), interval: cs(1), version: Version::V3 })
    };
    bench.give(heard(255));
    bench.give(heard(0));
    assert_eq!(moves(&bench.run(ms(1))), [(Backup, Active, Reason::PeerResigned)]);
    assert!(!bench.run(ms(50)).contains(&Action::Drop));
    // With a virtual MAC a frame of ours would draw the switch back.
    let mut bench = Bench::active(&RouterConfig { virtual_mac: true, ..config() });
    assert!(bench.give(advert(200, 9)).contains(&Action::Drop));
}

/// What follows when a peer takes over, and when nobody does.
#[test]
fn what_follows_leaving_depends_on_why() {
    let hold = |force| Input::Command(Command::Hold { force });
    let tracked = Fault::Tracked("eth1".to_owned());
    let cases = [
        (Input::Command(Command::HandOver), (Backup, Reason::Taken), (Active, Reason::NobodyElse)),
        (Input::Command(Command::Shutdown), (Init, Reason::Shutdown), (Init, Reason::Shutdown)),
        (hold(false), (Out, Reason::Hold), (Active, Reason::NobodyElse)),
        (hold(true), (Out, Reason::Hold), (Out, Reason::Hold)),
        (health(&[down()], 0, true), (Out, Reason::Unfit), (Out, Reason::Unfit)),
        (health(&[tracked], 0, true), (Out, Reason::Tracked), (Out, Reason::Tracked)),
        (health(&[limping()], 0, true), (Backup, Reason::Taken), (Active, Reason::NobodyElse)),
        (Input::Group(crate::machine::io::GroupMove::Backup), (Backup, Reason::Taken), (Backup, Reason::Group)),
    ];
    for (input, taken, nobody) in cases {
        for peer in [true, false] {
            let mut bench = Bench::active(&config());
            bench.give(input.clone());
            assert_eq!((bench.machine.phase(), bench.machine.holds()), (Leaving, true), "{input:?}");
            let from = bench.done.len();
            bench.run(ms(50));
            if peer {
                bench.give(advert(50, 9));
                bench.run(ms(10));
            } else {
                bench.run(ms(320));
            }
            let (phase, reason) = if peer { taken } else { nobody };
            let done: Vec<Action> = bench.done[from..].iter().map(|(_, action)| action.clone()).collect();
            assert_eq!(moves(&done), [(Leaving, phase, reason)], "{input:?} {peer}");
            assert_eq!(done.contains(&Action::Drop), phase != Active, "{input:?} {peer}");
            assert_eq!(done.contains(&Action::Finished), phase == Init, "{input:?} {peer}");
            assert_eq!(bench.machine.held_by_operator(), reason == Reason::Hold, "{input:?} {peer}");
        }
    }
}

#[test]
fn a_late_leaver_listens_before_it_comes_back() {
    let mut bench = Bench::active(&config());
    bench.give(Input::Command(Command::HandOver));
    bench.sleep(ms(700));
    assert_eq!(moves(&bench.give(Input::Wake)), []);
    assert_eq!(moves(&bench.give(advert(50, 9))), [(Leaving, Backup, Reason::Taken)]);
}

#[test]
fn a_hold_keeps_out_until_the_release() {
    let mut bench = Bench::backup(&config());
    assert_eq!(moves(&bench.give(Input::Command(Command::Hold { force: false }))), [(Backup, Out, Reason::Hold)]);
    assert_eq!(bench.run(ms(10_000)), []);
    assert!(bench.machine.held_by_operator());
    assert_eq!(moves(&bench.give(Input::Command(Command::Release))), [(Out, Backup, Reason::Release)]);
    // Changed one's mind in the middle.
    let mut bench = Bench::active(&config());
    bench.give(Input::Command(Command::Hold { force: true }));
    assert_eq!(moves(&bench.give(Input::Command(Command::Release))), [(Leaving, Active, Reason::Release)]);
    // Before the start, as after a restart of the daemon.
    let mut bench = Bench::new(&config());
    bench.give(Input::Command(Command::Hold { force: false }));
    bench.give(link_up());
    bench.give(Input::Start(Start::Fresh));
    assert_eq!(bench.machine.phase(), Out);
}

#[test]
fn a_pause_is_announced_covered_and_resumed() {
    let mut bench = Bench::active(&config());
    let said = Action::Advertise { priority: Priority(100), interval: cs(100) };
    let actions = bench.give(Input::Command(Command::Suspend));
    assert_eq!(actions[..4], [said.clone(), said.clone(), said, Action::Hold { lease: 5 * SECOND }]);
    assert_eq!(moves(&actions), [(Active, Init, Reason::Suspend)]);
    assert_eq!(actions.last(), Some(&Action::Finished));

    let mut bench = Bench::new(&config());
    bench.give(link_up());
    let actions = bench.give(Input::Start(Start::Resume));
    assert_eq!(
        actions[..3],
        [
            Action::Advertise { priority: Priority(100), interval: cs(10) },
            Action::Hold { lease: 3 * SECOND },
            Action::Announce,
        ]
    );
    assert_eq!(moves(&actions), [(Init, Active, Reason::Resumed)]);
    bench.done.clear();
    assert!(!bench.run(ms(59_000)).contains(&Action::Announce), "once");

    let config = RouterConfig { version: Version::V2, interval: cs(200), ..config() };
    let actions = Bench::active(&config).give(Input::Command(Command::Suspend));
    assert_eq!(actions[0], Action::Advertise { priority: Priority(100), interval: cs(200) });
    assert_eq!(actions[3], Action::Hold { lease: 9 * SECOND });
}

#[test]
fn ends_are_said_in_every_state() {
    for end in [Command::Shutdown, Command::Suspend] {
        let mut benches =
            [Bench::new(&config()), Bench::backup(&config()), Bench::active(&config()), Bench::active(&config())];
        benches[1].give(link_down());
        benches[2].give(Input::Command(Command::HandOver));
        for mut bench in benches {
            bench.give(Input::Command(end));
            bench.run(ms(400));
            let finished = bench.done.iter().filter(|(_, action)| *action == Action::Finished).count();
            assert_eq!((bench.machine.phase(), finished), (Init, 1), "{end:?}");
            assert_eq!(bench.machine.deadline(), None);
        }
    }
}

#[test]
fn a_spurious_wake_changes_nothing() {
    for mut bench in [Bench::backup(&config()), Bench::active(&config())] {
        bench.sleep(ms(10));
        bench.give(Input::Wake);
        let before = bench.machine.clone();
        assert_eq!(bench.give(Input::Wake), []);
        assert_eq!(bench.machine, before);
    }
}
