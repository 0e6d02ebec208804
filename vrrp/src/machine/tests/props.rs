//! Whatever goes in, in whatever order and at whatever time: what comes out is sound.

use proptest::prelude::*;

use super::*;
use crate::machine::Node;
use crate::machine::io::{Command, GroupMove};

fn inputs() -> impl Strategy<Value = Input> {
    let heard = (0..=255_u8, 1..12_u8, prop_oneof![Just(10_u16), Just(1), Just(100), Just(4095)], any::<bool>());
    let heard = heard.prop_map(|(priority, last, interval, v3)| {
        let version = if v3 { Version::V3 } else { Version::V2 };
        Input::Advert(Heard { source: host(last), priority: Priority(priority), interval: cs(interval), version })
    });
    let fault = prop_oneof![Just(down()), Just(limping()), Just(Fault::Tracked("eth1".to_owned()))];
    let state = (prop::collection::vec(fault, 0..2), any::<i16>(), any::<bool>());
    let command = prop_oneof![
        Just(Command::HandOver),
        any::<bool>().prop_map(|force| Command::Hold { force }),
        Just(Command::Release),
        Just(Command::Shutdown),
        Just(Command::Suspend),
    ];
    let change = [GroupMove::Active, GroupMove::Backup, GroupMove::Fault, GroupMove::Fit];
    prop_oneof![
        3 => prop::sample::select(vec![Start::Fresh, Start::Leftover, Start::Resume]).prop_map(Input::Start),
        8 => heard,
        3 => prop_oneof![3 => Just(link_up()), 1 => Just(link_down())],
        2 => state.prop_map(|(faults, delta, ready)| health(&faults, delta, ready)),
        2 => Just(health(&[], 0, true)),
        1 => Just(Input::AddressLost(host(10))),
        1 => Just(Input::Rival),
        2 => command.prop_map(Input::Command),
        1 => prop::sample::select(change.to_vec()).prop_map(Input::Group),
        10 => Just(Input::Wake),
    ]
}

/// How far the clock goes before the next input: to the deadline, by some time, or back.
#[derive(Debug, Clone, Copy)]
enum Step {
    Deadline,
    Millis(u64),
    Back(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Deadline),
        3 => (0..500_u64).prop_map(Step::Millis),
        1 => (0..10_000_u64).prop_map(Step::Millis),
        1 => Just(Step::Millis(1 << 40)),
        1 => (0..5_000_u64).prop_map(Step::Back),
    ]
}

fn configs() -> impl Strategy<Value = RouterConfig> {
    let preempt = [Preempt::Never, Preempt::After(Duration::ZERO), Preempt::After(ms(300))];
    (1..255_u8, prop::sample::select(vec![1, 10, 100, 4000_u16]), prop::sample::select(preempt.to_vec()), any::<bool>())
        .prop_map(|(priority, interval, preempt, v2)| {
            let (version, interval) = if v2 { (Version::V2, 100) } else { (Version::V3, interval) };
            RouterConfig { priority: Priority(priority), interval: cs(interval), preempt, version, ..config() }
        })
}

/// What an engine would have on its interface.
#[derive(Debug, Default)]
struct Model {
    held: bool,
    /// A pause or an end left the addresses to the next process.
    released: bool,
}

impl Model {
    fn check(&mut self, before: Phase, machine: &Machine, actions: &[Action]) -> Result<(), TestCaseError> {
        let mut phase = before;
        // An input moves the machine through two states at most, each with its few actions.
        prop_assert!(actions.len() <= 16, "{actions:?}");
        for action in actions {
            match action {
                Action::Hold { lease } => {
                    prop_assert!(lease.as_secs() >= 3 && lease.subsec_nanos() == 0);
                    (self.held, self.released) = (true, false);
                }
                Action::Drop => self.held = false,
                Action::Announce => prop_assert!(self.held, "announced without the addresses: {actions:?}"),
                Action::Moved(moved) => {
                    prop_assert_eq!(moved.from, phase);
                    phase = moved.to;
                }
                Action::Advertise { priority, .. } => {
                    prop_assert!(*priority != Priority::OWNER);
                    prop_assert!(self.held || phase != Phase::Fault, "a Fault sends nothing");
                }
                Action::Finished => self.released = true,
                Action::Count(_) => (),
            }
        }
        prop_assert_eq!(phase, machine.phase());
        prop_assert!(self.released || self.held == machine.holds(), "{:?} {:?}", self, machine);
        prop_assert!(phase != Phase::Active || machine.holds());
        prop_assert!(phase != Phase::Leaving || machine.holds());
        prop_assert!(phase != Phase::Fault || !self.held || self.released || machine.linger.is_some());
        // What lingers goes soon, and before anything else.
        let soon = machine.linger.is_none_or(|linger| machine.deadline().is_some_and(|at| at <= linger.until));
        prop_assert!(soon, "{machine:?}");
        prop_assert!((1..=254).contains(&machine.priority().0));
        Ok(())
    }
}

fn advance(now: Instant, step: Step, deadline: Option<Instant>) -> Instant {
    match step {
        Step::Deadline => deadline.unwrap_or(now).max(now),
        Step::Millis(millis) => now.checked_add(ms(millis)).unwrap_or(now),
        Step::Back(millis) => now.checked_sub(ms(millis)).unwrap_or(now),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_inputs_at_any_times_leave_a_sound_machine(
        config in configs(),
        ops in prop::collection::vec((inputs(), steps()), 0..60),
    ) {
        let mut machine = Machine::new(&config);
        let mut model = Model::default();
        let mut now = epoch() + Duration::from_secs(100);
        for (input, step) in std::iter::once((link_up(), Step::Deadline)).chain(ops) {
            now = advance(now, step, machine.deadline());
            let before = machine.phase();
            let actions = machine.handle(input, now);
            model.check(before, &machine, &actions)?;
            // Nothing is left to do now, and a deadline in the past would make the engine spin.
            prop_assert!(machine.deadline().is_none_or(|at| at > now), "{machine:?}");
            let same = machine.clone();
            prop_assert_eq!(machine.handle(Input::Wake, now), vec![]);
            prop_assert_eq!(&machine, &same);
        }
    }

    #[test]
    fn any_inputs_leave_a_group_active_together_or_not_at_all(
        ops in prop::collection::vec((0..3_usize, inputs(), steps()), 0..60),
    ) {
        let member = |name: &str, address: &str| RouterConfig {
            name: name.to_owned(),
            addresses: vec![address.parse().expect("a constant")],
            group: Some("g".to_owned()),
            ..config()
        };
        let configs = [member("v4", "192.0.2.10/24"), member("v6", "fe80::10/64")];
        let mut node = Node::new(&configs).expect("nothing wrong with it");
        let mut now = epoch() + Duration::from_secs(100);
        let mut models = [Model::default(), Model::default()];
        node.broadcast(link_up(), now);
        for (index, input, step) in ops {
            // Only the node itself speaks for the group.
            if matches!(input, Input::Group(_)) {
                continue;
            }
            now = advance(now, step, node.deadline());
            let before: Vec<Phase> = node.machines().iter().map(Machine::phase).collect();
            let actions = if index == 2 { node.broadcast(input, now) } else { node.handle(index, input, now) };
            prop_assert!(actions.len() <= 60, "{actions:?}");
            for (index, model) in models.iter_mut().enumerate() {
                let own = actions.iter().filter(|(of, _)| *of == index).map(|(_, action)| action.clone());
                let own: Vec<Action> = own.collect();
                if own.len() <= 16 {
                    model.check(before[index], &node.machines()[index], &own)?;
                }
            }
            let active = node.machines().iter().filter(|machine| machine.phase() == Phase::Active).count();
            // One that ended takes no part: commands end both, but nothing else starts both again.
            let ended = node.machines().iter().any(|machine| machine.phase() == Phase::Init);
            prop_assert!(active != 1 || ended, "{:?}", node);
        }
    }
}
