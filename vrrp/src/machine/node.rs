//! All virtual routers of one host, and the groups that move together.
//!
//! Driven by the Linux engine, which knows routers by their index in the configuration. Decides
//! nothing about a single router; it carries news between the members of a group.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::config::RouterConfig;
use crate::machine::Machine;
use crate::machine::check::{ConfigError, check};
use crate::machine::io::{Action, GroupMove, Input, Phase, Start, Transition};

/// The routers of one host.
///
/// Members of a group are Active together or not at all. One fault, one handover or one better
/// peer moves all; health and commands given to one are given to all; a resumption is one of all
/// or of none. A member claims only when no other member heard its Active lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    machines: Vec<Machine>,
    group_of: Vec<Option<usize>>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    members: Vec<usize>,
    /// Starts that wait for those of the other members.
    starts: Vec<Option<Start>>,
    out: bool,
}

impl Node {
    /// Routers that have not started, in the order given; or what is wrong with them.
    pub fn new(configs: &[RouterConfig]) -> Result<Self, ConfigError> {
        check(configs)?;
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of = Vec::with_capacity(configs.len());
        for (index, config) in configs.iter().enumerate() {
            let group = config.group.as_deref().map(|name| {
                *names.entry(name).or_insert_with(|| {
                    groups.push(Group { members: Vec::new(), starts: Vec::new(), out: false });
                    groups.len() - 1
                })
            });
            if let Some(group) = group {
                groups[group].members.push(index);
                groups[group].starts.push(None);
            }
            group_of.push(group);
        }
        Ok(Self { machines: configs.iter().map(Machine::new).collect(), group_of, groups })
    }

    /// Each router, in the order of the configuration.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Hands `input` to the router at `index`, and to its group what concerns all of it. Returns what
    /// to do, in order, each with the index of its router. An index that does not exist does nothing.
    pub fn handle(&mut self, index: usize, input: Input, now: Instant) -> Vec<(usize, Action)> {
        let mut out = Vec::new();
        let Some(&group) = self.group_of.get(index) else { return out };
        let Some(group) = group else {
            self.give(index, input, now, &mut out);
            return out;
        };
        match input {
            Input::Start(start) => self.start(group, index, start, now, &mut out),
            Input::Health(_) | Input::Command(_) => {
                for member in self.groups[group].members.clone() {
                    self.give(member, input.clone(), now, &mut out);
                }
            }
            _ => self.give(index, input, now, &mut out),
        }
        self.align(group, 0, now, &mut out);
        out
    }

    /// Hands `input` to every router. [`Input::Wake`] reaches those for which something is due.
    pub fn broadcast(&mut self, input: Input, now: Instant) -> Vec<(usize, Action)> {
        let mut out = Vec::new();
        for index in 0..self.machines.len() {
            let due = self.machines[index].deadline().is_some_and(|at| at <= now);
            if input == Input::Wake && !due {
                continue;
            }
            let before = out.len();
            match (self.group_of[index], &input) {
                (Some(group), Input::Start(start)) => self.start(group, index, *start, now, &mut out),
                (_, input) => self.give(index, input.clone(), now, &mut out),
            }
            // News of a wake concerns the group at once; what all are told is told to all first.
            if let (Some(group), Input::Wake) = (self.group_of[index], &input) {
                self.align(group, before, now, &mut out);
            }
        }
        if input != Input::Wake {
            for group in 0..self.groups.len() {
                self.align(group, 0, now, &mut out);
            }
        }
        out
    }

    /// When to hand in [`Input::Wake`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.machines.iter().filter_map(Machine::deadline).min()
    }

    fn give(&mut self, index: usize, input: Input, now: Instant, out: &mut Vec<(usize, Action)>) {
        let actions = self.machines[index].handle(input, now);
        out.extend(actions.into_iter().map(|action| (index, action)));
    }

    /// Members start together once all were told to; as a resumption only if all can resume. As for a
    /// single router, a start means nothing before the last run has ended, for all of them.
    fn start(&mut self, group: usize, index: usize, start: Start, now: Instant, out: &mut Vec<(usize, Action)>) {
        if self.groups[group].members.iter().any(|member| self.machines[*member].phase() != Phase::Init) {
            return;
        }
        let group = &mut self.groups[group];
        for (member, waiting) in group.members.iter().zip(&mut group.starts) {
            if *member == index {
                *waiting = Some(start);
            }
        }
        let Some(starts) = group.starts.iter().copied().collect::<Option<Vec<_>>>() else { return };
        let resume = starts.iter().all(|start| *start == Start::Resume);
        group.starts.fill(None);
        for (member, start) in group.members.clone().into_iter().zip(starts) {
            let start = if start == Start::Resume && !resume { Start::Leftover } else { start };
            self.give(member, Input::Start(start), now, out);
        }
    }

    /// Carries what the members did, from `out[from..]` on, to the others until all agree.
    fn align(&mut self, group: usize, from: usize, now: Instant, out: &mut Vec<(usize, Action)>) {
        let members = self.groups[group].members.clone();
        let mut seen = from;
        // Each round moves members on their way to one common state; the bound is for certainty.
        for _ in 0..8 * members.len() {
            self.align_fitness(group, now, out);
            let Some(offset) = out[seen..].iter().position(|(_, action)| matches!(action, Action::Moved(_))) else {
                break;
            };
            seen += offset + 1;
            let (mover, Action::Moved(transition)) = &out[seen - 1] else { break };
            let (mover, transition) = (*mover, *transition);
            if self.group_of[mover] != Some(group) || self.machines[mover].phase() != transition.to {
                continue;
            }
            let Some(change) = news(transition) else { continue };
            for &member in members.iter().filter(|member| **member != mover) {
                // A member that leaves as well is not thereby told that the addresses are taken.
                if transition.to == Phase::Leaving && self.machines[member].phase() != Phase::Active {
                    continue;
                }
                self.give(member, Input::Group(change), now, out);
            }
        }
        self.set_gates(&members, now);
    }

    /// One member out for its own reasons keeps all out.
    fn align_fitness(&mut self, group: usize, now: Instant, out: &mut Vec<(usize, Action)>) {
        let members = self.groups[group].members.clone();
        let grounded = members.iter().any(|member| self.machines[*member].grounded());
        if grounded == self.groups[group].out {
            return;
        }
        self.groups[group].out = grounded;
        let change = if grounded { GroupMove::Fault } else { GroupMove::Fit };
        for member in members {
            self.give(member, Input::Group(change), now, out);
        }
    }

    fn set_gates(&mut self, members: &[usize], now: Instant) {
        for &member in members {
            let others = members.iter().filter(|other| **other != member);
            let gate = others.filter_map(|other| self.machines[*other].veto_until()).max();
            self.machines[member].gate(gate, now);
        }
    }
}

/// What a member's move means to the others.
fn news(transition: Transition) -> Option<GroupMove> {
    match (transition.from, transition.to) {
        (_, Phase::Active) => Some(GroupMove::Active),
        (Phase::Active, Phase::Backup | Phase::Leaving | Phase::Fault) => Some(GroupMove::Backup),
        (Phase::Leaving, Phase::Backup | Phase::Fault) => Some(GroupMove::Backup),
        _ => None,
    }
}
