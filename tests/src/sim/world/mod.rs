//! The state of the simulated cluster and everything that can happen to it.
//!
//! Pure: time comes in as an argument, effects go out through [`World::drain`] and are carried out by the shell
//! (`shared`) in order. The submodules add one concern each: `change` (requests), `deploy` (plans), `launch` (task
//! life), `health` (checks), `loss` (agents), `view` (answers).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::Value;

use super::agent::Agent;
use super::config::{Config, Personality};
use super::def::{AppDef, Rules};
use super::event::Event;
use super::instance::Instance;
use super::path::PathId;
use super::rng::Rng;
use super::root::Root;
use super::stamp::Stamp;

mod bulk;
pub mod change;
pub mod deploy;
mod health;
mod launch;
mod loss;
#[cfg(test)]
mod tests;
pub mod view;

pub use bulk::{Bulk, BulkBacking};
pub use health::{ProbeJob, ProbeResult};

/// What the shell has to do, in this order.
#[derive(Debug)]
pub enum Out {
    /// Send an event.
    Event(Event),
    /// Let a task listen; then call [`World::started`] or [`World::failed`].
    Start(Box<Instance>),
    /// Let it end.
    Stop(String),
    /// Run a health check; then call [`World::probed`].
    Probe(ProbeJob),
}

/// Something that is due later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Starting(String, u32),
    Running(String, u32),
    Killed(String),
    Check { instance: String, index: usize, epoch: u64 },
    Inactive(String, Stamp),
    Expunge(String, Stamp),
    Reconcile(PathId),
}

/// What runs of an app right now, as opposed to what is asked for.
#[derive(Debug, Default)]
struct Runtime {
    /// The definition whose instances are kept up; none for apps not yet begun.
    applied: Option<Arc<AppDef>>,
    rolling: Option<deploy::Rolling>,
    instances: BTreeSet<String>,
    failures: u32,
    not_before: Stamp,
    /// Instances that failed and will be launched again under their id.
    failed: Vec<(String, u32)>,
    last_failure: Option<Value>,
}

/// The cluster.
#[derive(Debug)]
pub struct World {
    config: Config,
    rng: Rng,
    root: Root,
    history: VecDeque<Arc<Root>>,
    agents: BTreeMap<String, Agent>,
    added_agents: u32,
    added_containers: u32,
    instances: BTreeMap<String, Instance>,
    zombies: BTreeMap<String, Instance>,
    runtimes: BTreeMap<PathId, Runtime>,
    deployments: Vec<deploy::Deployment>,
    timers: BinaryHeap<Reverse<(Stamp, u64, Timer)>>,
    sequence: u64,
    health_epoch: u64,
    dirty: BTreeSet<PathId>,
    out: VecDeque<Out>,
}

impl World {
    /// A cluster with its agents and nothing on them.
    #[must_use]
    pub fn new(config: Config, now: Stamp) -> Self {
        let mut world = Self {
            rng: Rng::new(config.seed),
            root: Root { version: now, ..Root::default() },
            history: VecDeque::new(),
            agents: BTreeMap::new(),
            added_agents: 0,
            added_containers: 0,
            instances: BTreeMap::new(),
            zombies: BTreeMap::new(),
            runtimes: BTreeMap::new(),
            deployments: Vec::new(),
            timers: BinaryHeap::new(),
            sequence: 0,
            health_epoch: 0,
            dirty: BTreeSet::new(),
            out: VecDeque::new(),
            config,
        };
        for agent in world.config.agents.clone() {
            world.add_agent(agent.name, agent.address);
        }
        world
    }

    /// The generation imitated.
    #[must_use]
    pub fn personality(&self) -> Personality {
        self.config.personality
    }

    /// What the operators asked for.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// All instances by id.
    #[must_use]
    pub fn instances(&self) -> &BTreeMap<String, Instance> {
        &self.instances
    }

    /// Instances of one app.
    pub fn instances_of(&self, app: &PathId) -> impl Iterator<Item = &Instance> {
        let ids = self.runtimes.get(app).into_iter().flat_map(|runtime| &runtime.instances);
        ids.filter_map(|id| self.instances.get(id))
    }

    /// All agents by name.
    #[must_use]
    pub fn agents(&self) -> &BTreeMap<String, Agent> {
        &self.agents
    }

    /// Adds an agent; false when the name is taken.
    pub fn add_agent(&mut self, name: String, address: Ipv4Addr) -> bool {
        if self.agents.contains_key(&name) {
            return false;
        }
        let agent = Agent::new(name.clone(), address, self.agents.len(), self.config.ports.clone());
        self.agents.insert(name, agent);
        self.dirty.extend(self.runtimes.keys().cloned());
        true
    }

    /// Lets everything happen that is due and follows from what happened; call after every other method.
    pub fn settle(&mut self, now: Stamp) {
        loop {
            self.pump(now);
            match self.timers.peek() {
                Some(Reverse((due, _, _))) if *due <= now => {
                    let Some(Reverse((_, _, timer))) = self.timers.pop() else { return };
                    self.fire(timer, now);
                }
                _ => return,
            }
        }
    }

    /// When [`World::settle`] has something to do again.
    #[must_use]
    pub fn deadline(&self) -> Option<Stamp> {
        self.timers.peek().map(|Reverse((due, _, _))| *due)
    }

    /// Takes what the shell has to do.
    pub fn drain(&mut self) -> VecDeque<Out> {
        std::mem::take(&mut self.out)
    }

    /// Whether nothing is under way: no deployment, every app has its instances ready.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.deployments.is_empty()
            && self.dirty.is_empty()
            && self.runtimes.iter().all(|(id, runtime)| {
                let wanted = self.root.apps.get(id).map_or(0, |def| def.facts.instances as usize);
                runtime.instances.len() == wanted && self.instances_of(id).all(Instance::is_ready)
            })
    }

    fn fire(&mut self, timer: Timer, now: Stamp) {
        match timer {
            Timer::Starting(id, incarnation) => self.starting(&id, incarnation, now),
            Timer::Running(id, incarnation) => self.run(&id, incarnation),
            Timer::Killed(id) => self.killed(&id, now),
            Timer::Check { instance, index, epoch } => self.check_due(&instance, index, epoch, now),
            Timer::Inactive(id, since) => self.inactive(&id, since, now),
            Timer::Expunge(id, since) => self.expunge(&id, since, now),
            Timer::Reconcile(app) => {
                self.dirty.insert(app);
            }
        }
    }

    fn after(&mut self, due: Stamp, timer: Timer) {
        self.sequence += 1;
        self.timers.push(Reverse((due, self.sequence, timer)));
    }

    fn emit(&mut self, event: Event) {
        self.out.push_back(Out::Event(event));
    }

    fn rules(&self) -> Rules {
        Rules {
            personality: self.config.personality,
            default_network: self.config.default_network.clone(),
            strict_constraints: self.config.strict_constraints,
        }
    }

    /// `seconds` of Marathon's in milliseconds of ours.
    fn seconds(&self, seconds: f64) -> u64 {
        let ms = self.config.second.as_secs_f64() * 1000.0 * seconds;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what an u64 holds")]
        let ms = ms.clamp(0.0, 1e15) as u64;
        ms
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
