//! The shell around the world: reads the clock, carries out effects, wakes for timers.
//!
//! Every request, probe result and timer goes through [`Shared::act`], which holds the one lock, so the events of one
//! cause are never mixed with another's.

#![allow(clippy::disallowed_methods, reason = "the one place that reads the clock for the world")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Gate;
use super::cluster::Cluster;
use super::config::Config;
use super::fault::Faults;
use super::hub::Hub;
use super::instance::Condition;
use super::probe;
use super::stage::Stage;
use super::stamp::Stamp;
use super::world::{Out, World};

/// Everything the tasks of one simulator share.
#[derive(Debug)]
pub struct Shared {
    /// As started.
    pub config: Config,
    /// Event streams.
    pub hub: Hub,
    /// Listening tasks.
    pub stage: Stage,
    /// Members and their leader.
    pub cluster: Cluster,
    /// Faults in force.
    pub faults: Faults,
    /// Who may call.
    pub gate: Gate,
    /// Requests per member and path kind.
    pub requests: Mutex<BTreeMap<(usize, &'static str), u64>>,
    /// Owner of every tokio task.
    pub tasks: Tasks,
    world: Mutex<World>,
    clock: Clock,
    wake: Notify,
}

impl Shared {
    /// A world that nobody serves yet.
    #[must_use]
    pub fn new(config: Config, cluster: Cluster, gate: Gate) -> Arc<Self> {
        let clock = Clock::start();
        Arc::new(Self {
            hub: Hub::new(config.personality, config.max_outstanding),
            stage: Stage::default(),
            cluster,
            faults: Faults::default(),
            gate,
            requests: Mutex::default(),
            tasks: Tasks::default(),
            world: Mutex::new(World::new(config.clone(), clock.now())),
            clock,
            wake: Notify::new(),
            config,
        })
    }

    /// Changes the world and lets everything happen that follows at once.
    pub fn act<T>(self: &Arc<Self>, change: impl FnOnce(&mut World, Stamp) -> T) -> T {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let result = change(&mut world, now);
        self.carry_out(&mut world, now);
        drop(world);
        self.wake.notify_one();
        result
    }

    /// Apart from [`Shared::act`], which is generic: its effects come back to `act`.
    fn carry_out(self: &Arc<Self>, world: &mut World, now: Stamp) {
        loop {
            world.settle(now);
            let todo = world.drain();
            if todo.is_empty() {
                return;
            }
            for out in todo {
                match out {
                    Out::Event(event) => self.hub.send(event),
                    Out::Stop(id) => self.stage.stop(&id),
                    Out::Start(instance) => match self.stage.start(self, &instance) {
                        Ok(()) => world.started(&instance.id, now),
                        Err(error) => {
                            let message = format!("cannot start: {error}");
                            world.failed(&instance.id, Condition::Failed, &message, now);
                        }
                    },
                    Out::Probe(job) => {
                        let shared = Arc::clone(self);
                        self.tasks.spawn(async move {
                            let result = probe::run(&job).await;
                            shared.act(|world, now| world.probed(&job, result, now));
                        });
                    }
                }
            }
        }
    }

    /// Looks at the world.
    pub fn look<T>(&self, view: impl FnOnce(&World) -> T) -> T {
        view(&self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Now, as the world counts.
    #[must_use]
    pub fn now(&self) -> Stamp {
        self.clock.now()
    }

    /// Lets timers fire until the simulator stops.
    pub async fn drive(self: Arc<Self>) {
        loop {
            let now = self.clock.now();
            match self.look(World::deadline) {
                Some(due) if due <= now => self.act(|_, _| ()),
                Some(due) => {
                    let wait = Duration::from_millis(u64::try_from(due.0 - now.0).unwrap_or(0));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => (),
                        () = self.wake.notified() => (),
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// Counts a request.
    pub fn count(&self, member: usize, kind: &'static str) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((member, kind)).or_default() += 1;
    }
}

/// Wall time that never goes backwards.
#[derive(Debug)]
struct Clock {
    wall: i64,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self { wall: i64::try_from(wall).unwrap_or(0), start: Instant::now() }
    }

    fn now(&self) -> Stamp {
        Stamp(self.wall + i64::try_from(self.start.elapsed().as_millis()).unwrap_or(0))
    }
}

/// The tasks of one simulator: all end when it stops.
#[derive(Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `work` until it ends or the simulator stops.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    /// Tells all tasks to end.
    pub fn cancel(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    /// Waits until all have ended.
    pub async fn ended(&self) {
        self.tracker.wait().await;
    }
}
