//! All ways of two small nodes: every order of timers and frames, with one frame lost and one node
//! dead or told to hand over at every moment.

use std::collections::HashSet;

use super::*;
use crate::machine::io::Command;
use crate::machine::state::LINGER;

/// Frames arrive within so long.
const DELAY: Duration = Duration::from_millis(4);
/// Timers are looked at within so long.
const LATE: Duration = Duration::from_millis(1);
/// Faults happen in this part of a run, which ends when all is settled again.
const FAULTS: (Duration, Duration) = (Duration::from_millis(70), Duration::from_millis(130));
const END: Duration = Duration::from_millis(260);
/// More states than any of the models has.
const LIMIT: usize = 400_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: Instant,
    nodes: [Node; 2],
    losses: u8,
    faults: u8,
    /// Somebody had the addresses, so somebody must.
    held: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    machine: Machine,
    alive: bool,
    leased_until: Option<Instant>,
    /// What is on its way here: sent when, and what.
    wire: Vec<(Instant, Heard)>,
    /// It has heard the other one while both were Active.
    knows: bool,
    /// When it gave way to the other one, and still has the addresses.
    gave_way: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Choice {
    Deliver(usize),
    Lose(usize),
    Wake(usize),
    Crash(usize),
    HandOver(usize),
}

impl World {
    fn new(configs: &[RouterConfig; 2]) -> Self {
        let nodes = [0, 1].map(|index| Node {
            machine: Machine::new(&configs[index]),
            alive: true,
            leased_until: None,
            wire: Vec::new(),
            knows: false,
            gave_way: None,
        });
        let mut world = Self { now: epoch(), nodes, losses: 1, faults: 1, held: false };
        for (index, last) in [1, 2].into_iter().enumerate() {
            world.give(index, Input::Link(Link { up: true, source: Some(host(last)) }));
            world.give(index, Input::Start(Start::Fresh));
        }
        world
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        let faults = (FAULTS.0..FAULTS.1).contains(&(self.now - epoch()));
        for index in 0..2 {
            let node = &self.nodes[index];
            if !node.wire.is_empty() {
                choices.push(Choice::Deliver(index));
                if faults && self.losses > 0 {
                    choices.push(Choice::Lose(index));
                }
            }
            if self.wake_at(index).is_some_and(|at| self.may_pass(at, index)) {
                choices.push(Choice::Wake(index));
            }
            if faults && self.faults > 0 && node.alive {
                choices.push(Choice::Crash(index));
                if node.machine.phase() == Phase::Active {
                    choices.push(Choice::HandOver(index));
                }
            }
        }
        choices
    }

    fn wake_at(&self, index: usize) -> Option<Instant> {
        let node = &self.nodes[index];
        node.machine.deadline().filter(|_| node.alive).map(|at| at.max(self.now))
    }

    /// Whether the clock may go to `at`: no frame and no other timer is overdue by then.
    fn may_pass(&self, at: Instant, index: usize) -> bool {
        let frames = self.nodes.iter().flat_map(|node| &node.wire).all(|(sent, _)| at <= *sent + DELAY);
        let other = self.nodes[1 - index].machine.deadline().filter(|_| self.nodes[1 - index].alive);
        frames && other.is_none_or(|other| at <= other + LATE)
    }

    fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Deliver(index) => {
                let (_, heard) = self.nodes[index].wire.remove(0);
                if self.nodes[index].alive {
                    self.give(index, Input::Advert(heard));
                    let node = &mut self.nodes[index];
                    if heard.priority != Priority::RESIGN && node.machine.phase() != Phase::Active {
                        node.gave_way.get_or_insert(self.now);
                    }
                    let both = self.nodes.iter().all(|node| node.alive && node.machine.phase() == Phase::Active);
                    self.nodes[index].knows |= both && heard.priority != Priority::RESIGN;
                }
            }
            Choice::Lose(index) => {
                self.nodes[index].wire.remove(0);
                self.losses -= 1;
            }
            Choice::Wake(index) => {
                self.now = self.wake_at(index).unwrap_or(self.now);
                self.give(index, Input::Wake);
            }
            Choice::Crash(index) => {
                self.nodes[index].alive = false;
                self.faults -= 1;
            }
            Choice::HandOver(index) => {
                self.faults -= 1;
                self.give(index, Input::Command(Command::HandOver));
            }
        }
        let both = self.nodes.iter().all(|node| node.alive && node.machine.phase() == Phase::Active);
        for node in &mut self.nodes {
            node.knows &= both;
            node.leased_until = node.leased_until.filter(|until| *until > self.now);
            let holds_beside = node.alive && node.leased_until.is_some() && node.machine.phase() != Phase::Active;
            node.gave_way = node.gave_way.filter(|_| holds_beside);
        }
    }

    fn give(&mut self, index: usize, input: Input) {
        for action in self.nodes[index].machine.handle(input, self.now) {
            match action {
                Action::Advertise { priority, interval } => {
                    let source = self.nodes[index].machine.link().and_then(|link| link.source).unwrap();
                    let heard = Heard { source, priority, interval, version: Version::V3 };
                    self.nodes[1 - index].wire.push((self.now, heard));
                }
                Action::Hold { lease } => {
                    self.nodes[index].leased_until = Some(self.now + lease);
                    self.held = true;
                }
                Action::Drop => self.nodes[index].leased_until = None,
                _ => (),
            }
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.nodes.iter().all(|node| node.knows) {
            return Err("two Actives that know of each other");
        }
        if self.nodes.iter().any(|node| node.gave_way.is_some_and(|at| self.now > at + LINGER + LATE)) {
            return Err("one that gave way keeps the addresses");
        }
        if self.held && self.nodes.iter().all(|node| node.leased_until.is_none()) {
            return Err("the addresses are nowhere");
        }
        if self.nodes.iter().any(|node| node.alive && node.machine.deadline().is_none()) {
            return Err("a machine that waits for nothing");
        }
        if self.choices().is_empty() {
            return Err("nothing can happen any more");
        }
        Ok(())
    }

    /// At the end of a run.
    fn settled(&self) -> Result<(), &'static str> {
        let active = |node: &&Node| node.alive && node.machine.phase() == Phase::Active;
        if self.nodes.iter().filter(active).count() == 1 { Ok(()) } else { Err("not one Active in the end") }
    }
}

#[test]
fn two_nodes_agree_whatever_the_order_of_events() {
    let mut states = 0;
    for priorities in [[100, 200], [200, 200]] {
        for intervals in [[1, 1], [1, 2], [2, 1], [2, 2]] {
            for preempt in [Preempt::Never, Preempt::After(Duration::ZERO)] {
                let configs = [0, 1].map(|index| RouterConfig {
                    priority: Priority(priorities[index]),
                    interval: cs(intervals[index]),
                    preempt,
                    ..config()
                });
                states += explore(&configs);
            }
        }
    }
    assert!(states > 20_000, "only {states} states: the models have lost their choices");
}

/// Visits every state once, depth first; the number of states.
fn explore(configs: &[RouterConfig; 2]) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![(World::new(configs), Vec::new())];
    while let Some((world, path)) = open.pop() {
        let ended = world.now - epoch() >= END;
        let verdict = if ended { world.settled() } else { world.check() };
        assert_eq!(verdict, Ok(()), "{configs:?}\n{path:?}\n{world:#?}");
        if ended || !seen.insert(world.clone()) {
            continue;
        }
        assert!(seen.len() < LIMIT, "too many states");
        for choice in world.choices() {
            let mut next = world.clone();
            next.choose(choice);
            let path = path.iter().copied().chain([(world.now - epoch(), choice)]).collect();
            open.push((next, path));
        }
    }
    seen.len()
}
