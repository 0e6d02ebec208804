//! A new configuration while the thread runs.
//!
//! Called by `run` for [`Order::Config`](super::engine::Order). What did not change is not touched;
//! what changed is replaced in place and stays Active if it was; what is gone resigns; what is new
//! starts. A router is the same one if interface, family and VRID are: that is what peers see.

use std::collections::BTreeMap;

use super::report::Report;
use super::router::{Router, Time};
use super::run::{Cell, Runner};
use crate::config::RouterConfig;
use crate::machine::Node;
use crate::machine::io::{Command, Input, Phase};
use crate::types::{Family, Vrid};

/// What makes a router itself.
type Identity = (String, Family, Vrid, bool);

/// Configurations that one node drives together: those of a sync group, or a single one.
pub(super) fn partition(configs: Vec<RouterConfig>) -> Vec<Vec<RouterConfig>> {
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    let mut cells: Vec<Vec<RouterConfig>> = Vec::new();
    for config in configs {
        let group = config.group.clone();
        match group.as_ref().and_then(|group| groups.get(group)) {
            Some(&at) => cells[at].push(config),
            None => {
                groups.extend(group.map(|group| (group, cells.len())));
                cells.push(vec![config]);
            }
        }
    }
    cells
}

/// A router whose machine was dissolved.
struct Dissolved {
    router: Router,
    active: bool,
    held_by_operator: bool,
}

impl Runner {
    /// Goes over to this configuration; one that contradicts itself changes nothing.
    pub(super) fn reconfigure(&mut self, configs: Vec<RouterConfig>, time: Time) {
        if let Err(error) = Node::new(&configs) {
            return self.reporter.tell(Report::Warning(format!("configuration not taken: {error}")));
        }
        self.settle(time);
        let mut wanted = partition(configs);
        let mut dissolved: BTreeMap<Identity, Dissolved> = BTreeMap::new();
        let mut cells = Vec::new();
        for cell in std::mem::take(&mut self.cells) {
            let same =
                |configs: &Vec<RouterConfig>| configs.iter().eq(cell.routers.iter().map(|router| &router.config));
            let unchanged = wanted.iter().position(same);
            if cell.ending {
                cells.push(cell);
            } else if let Some(at) = unchanged {
                wanted.swap_remove(at);
                cells.push(cell);
            } else {
                dissolve(cell, &mut dissolved);
            }
        }
        self.cells = cells;
        let first_new = self.cells.len();
        let mut held = Vec::new();
        for configs in wanted {
            let Ok(mut cell) = self.cell(configs, time) else { continue };
            let (mut carried, mut active, mut hold) = (0, 0, false);
            for router in &mut cell.routers {
                if let Some(old) = dissolved.remove(&identity(&router.config)) {
                    carried += 1;
                    active += usize::from(old.active);
                    hold |= old.held_by_operator;
                    router.inherit(old.router, &mut self.host);
                }
            }
            for router in &mut cell.routers {
                router.resumes = carried > 0 && carried == active;
            }
            held.extend(hold.then_some(self.cells.len()));
            self.cells.push(cell);
        }
        let first_ending = self.cells.len();
        for (_, old) in dissolved {
            self.cells.extend(ending(old));
        }
        self.take_seats();
        self.look(time);
        for cell in first_new..self.cells.len() {
            self.start(cell, time);
        }
        for cell in held {
            self.feed((cell, 0), Input::Command(Command::Hold { force: false }), time);
        }
        for cell in first_ending..self.cells.len() {
            self.feed((cell, 0), Input::Command(Command::Shutdown), time);
        }
    }
}

/// A router that is no longer configured, by itself, to resign.
fn ending(old: Dissolved) -> Option<Cell> {
    let mut router = old.router;
    router.config.group = None;
    router.resumes = old.active;
    (router.link, router.index) = (None, None);
    let node = Node::new(std::slice::from_ref(&router.config)).ok()?;
    Some(Cell { node, routers: vec![router], ending: true })
}

fn dissolve(cell: Cell, into: &mut BTreeMap<Identity, Dissolved>) {
    let machines = cell.node.machines().to_vec();
    for (router, machine) in cell.routers.into_iter().zip(machines) {
        let active = matches!(machine.phase(), Phase::Active | Phase::Leaving);
        let held_by_operator = machine.held_by_operator();
        into.insert(identity(&router.config), Dissolved { router, active, held_by_operator });
    }
}

fn identity(config: &RouterConfig) -> Identity {
    (config.interface.clone(), config.family(), config.vrid, config.virtual_mac)
}
