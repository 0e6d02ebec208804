//! Faults, probation, links, limping and vanishing addresses.

use super::*;
use crate::machine::io::Count;

use Phase::{Active, Backup, Fault as Out, Leaving};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_fault_is_left_after_probation_while_a_peer_lives_and_at_once_otherwise() {
    for peer in [true, false] {
        let mut bench = Bench::backup(&config());
        bench.give(health(&[down()], 0, true));
        assert_eq!(bench.machine.phase(), Out);
        bench.run(ms(1000));
        if peer {
            bench.give(advert(50, 9));
        }
        bench.give(health(&[], 0, true));
        if !peer {
            assert_eq!(bench.machine.phase(), Backup);
            continue;
        }
        assert_eq!(moves(&hear(&mut bench, 50, 49)), []);
        assert_eq!(moves(&hear(&mut bench, 50, 2)), [(Out, Backup, Reason::Recovered)]);
    }
    // The peer dies meanwhile.
    let mut bench = Bench::backup(&config());
    bench.give(health(&[down()], 0, true));
    bench.give(advert(50, 9));
    bench.give(health(&[], 0, true));
    let actions = bench.run(ms(2000));
    assert_eq!(moves(&actions), [(Out, Backup, Reason::Recovered), (Backup, Active, Reason::Silence)]);
}

#[test]
fn a_host_that_starts_is_not_ill_before_it_was_ever_well() {
    let now = epoch();
    let mut machine = Machine::new(&config());
    for input in [health(&[down()], 0, true), Input::Start(Start::Fresh), link_up()] {
        machine.handle(input, now);
    }
    assert_eq!(machine.phase(), Out);
    machine.handle(advert(50, 9), now);
    machine.handle(health(&[], 0, true), now);
    assert_eq!(machine.phase(), Backup);
}

#[test]
fn a_relapse_doubles_the_probation_up_to_five_minutes_and_calm_forgets() {
    let mut bench = Bench::backup(&with(Preempt::Never));
    let mut waits = Vec::new();
    for round in 0..10 {
        bench.give(health(&[down()], 0, true));
        bench.give(advert(50, 9));
        if round == 9 {
            // A relapse within the probation starts it again, no longer.
            bench.give(health(&[], 0, true));
            bench.give(health(&[down()], 0, true));
        }
        let mended = bench.now;
        bench.give(health(&[], 0, true));
        let done = hear(&mut bench, 50, 3_100);
        assert_eq!(moves(&done), [(Out, Backup, Reason::Recovered)], "round {round}");
        let left = bench.machine.moved().map(|(at, _)| at - mended).unwrap();
        waits.push(left.as_secs());
        if round == 8 {
            hear(&mut bench, 50, 3_000);
        }
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300, 5]);
}

#[test]
fn without_a_link_nothing_is_sent_and_its_return_waits_an_interval_longer() {
    let mut bench = Bench::active(&config());
    let actions = bench.give(link_down());
    assert_eq!((adverts(&actions), actions.contains(&Action::Drop)), (vec![], true));
    assert_eq!(moves(&actions), [(Active, Out, Reason::Link)]);
    assert_eq!(bench.run(ms(5000)), []);
    let no_address = Input::Link(Link { up: true, source: None });
    assert_eq!(bench.give(no_address), []);
    assert_eq!(moves(&bench.give(link_up())), [(Out, Backup, Reason::Recovered)]);
    assert_eq!(bench.machine.deadline().map(|at| (at - bench.now).as_micros()), Some(460_937));
}

#[test]
fn a_fault_remembers_what_it_hears() {
    let mut bench = Bench::new(&config());
    bench.give(link_up());
    bench.give(health(&[down()], 0, true));
    bench.give(Input::Start(Start::Fresh));
    let slow = Heard { source: host(9), priority: Priority(50), interval: cs(100), version: Version::V3 };
    bench.give(Input::Advert(slow));
    let peer = bench.machine.peer().unwrap();
    assert_eq!((peer.source, peer.priority, peer.interval, peer.heard), (host(9), Priority(50), cs(100), bench.now));
    assert_eq!(bench.machine.learned_interval(), cs(100));
}

#[test]
fn a_changed_source_decides_the_next_tie() {
    let mut bench = Bench::active(&config());
    assert_eq!(bench.give(Input::Link(Link { up: true, source: Some(host(20)) })), []);
    assert_eq!(moves(&bench.give(advert(100, 9))), []);
    assert_eq!(bench.give(advert(200, 20)), [], "our own, looped back");
}

#[test]
fn a_limping_router_offers_the_addresses_every_ten_seconds() {
    let mut bench = Bench::active(&config());
    bench.give(health(&[limping()], 0, true));
    bench.run(ms(32_000));
    let done: Vec<Action> = bench.done.iter().map(|(_, action)| action.clone()).collect();
    let left = moves(&done).iter().filter(|(_, to, _)| *to == Leaving).count();
    assert_eq!(left, 4);
    assert!(!done.contains(&Action::Drop), "a lone limping router is better than none");
    // Flapping does not make it more often.
    for _ in 0..20 {
        bench.give(health(&[], 0, true));
        bench.run(ms(10));
        bench.give(health(&[limping()], 0, true));
    }
    assert!(bench.machine.phase() == Active);
}

#[test]
fn limping_or_not_ready_routers_claim_after_silence_only_and_after_all_others() {
    for impaired in [health(&[limping()], 0, true), health(&[], 0, false)] {
        let mut bench = Bench::backup(&RouterConfig { priority: Priority(200), ..config() });
        bench.give(impaired);
        assert_eq!(moves(&hear(&mut bench, 1, 50)), [], "no preemption");
        bench.give(advert(0, 9));
        // Everybody else's Skew_Time is below 100 ms.
        assert_eq!(bench.machine.deadline().map(|at| (at - bench.now).as_micros()), Some(121_875));
        assert_eq!(moves(&bench.run(ms(122))), [(Backup, Active, Reason::PeerResigned)]);
    }
}

#[test]
fn fit_again_a_backup_preempts_after_its_probation_only() {
    let mut bench = Bench::backup(&config());
    bench.give(health(&[limping()], 0, true));
    hear(&mut bench, 50, 10);
    bench.give(health(&[], 0, true));
    assert_eq!(moves(&hear(&mut bench, 50, 50)), []);
    assert_eq!(moves(&hear(&mut bench, 50, 5)), [(Backup, Active, Reason::Preempted)]);
}

#[test]
fn the_delta_moves_priority_and_timer_within_1_to_254() {
    let mut bench = Bench::backup(&config());
    for (delta, priority) in [(i16::MIN, 1), (-50, 50), (0, 100), (100, 200), (i16::MAX, 254)] {
        bench.give(health(&[], delta, true));
        assert_eq!(bench.machine.priority(), Priority(priority));
        let down = 300_000 + (256 - u64::from(priority)) * 100_000 / 256;
        assert_eq!(bench.machine.deadline(), Some(at_us(down)), "{delta}");
    }
}

#[test]
fn a_lost_address_is_restored_at_once_but_not_for_ever() {
    let mut bench = Bench::active(&with(Preempt::Never));
    bench.run(ms(2000));
    let lost = Input::AddressLost(host(10));
    let restored = [Action::Hold { lease: 3 * SECOND }, Action::Count(Count::AddressRestored)];
    for _ in 0..10 {
        assert_eq!(bench.give(lost.clone()), restored);
    }
    let given_up = bench.give(lost.clone());
    assert_eq!(moves(&given_up), [(Active, Leaving, Reason::Tracked)]);
    assert_eq!(bench.machine.faults().len(), 1);
    bench.run(ms(400));
    assert_eq!(bench.machine.phase(), Active, "nobody else: it goes on");
    bench.run(ms(61_000));
    assert_eq!(bench.machine.faults().len(), 0);
    assert_eq!(bench.give(lost)[..2], restored);
    assert_eq!(Bench::backup(&config()).give(Input::AddressLost(host(10))), []);
}
