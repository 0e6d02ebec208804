//! The handle of a running simulator: start it, command it, look into it, stop it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::agent::Loss;
use super::auth::{Gate, KeyError};
use super::cluster::Cluster;
use super::config::Config;
use super::control;
use super::def::Doc;
use super::draft::member_id;
use super::fault::{Fault, Order};
use super::hub::Record;
use super::instance::{Condition, Instance};
use super::limits::raise_open_files;
use super::path::PathId;
use super::rejection::Rejection;
use super::server;
use super::shared::Shared;
use super::stage::{self, Mode};
use super::world::change::{Accepted, Request};
use super::world::{Bulk, BulkBacking, World};

/// Why a simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("cannot listen on {address} for {purpose}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// For what.
        purpose: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The key of the service account cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A running cluster; dropping it stops it.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    control: Option<SocketAddr>,
}

impl Sim {
    /// Binds every address, then serves.
    ///
    /// # Errors
    /// When an address cannot be bound or a key cannot be read.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let bind = |address: SocketAddr, purpose: &'static str| {
            let listener = stage::listen(address).map_err(|source| StartError::Bind { address, purpose, source })?;
            let bound = listener.local_addr().map_err(|source| StartError::Bind { address, purpose, source })?;
            Ok::<(TcpListener, SocketAddr), StartError>((listener, bound))
        };
        // The soft limit is often 1024; what more is wanted is for whoever owns the process (`raise_open_files`).
        let _ = raise_open_files(0);
        let gate = Gate::new(config.auth.clone(), config.seed)?;
        let members: Vec<(TcpListener, SocketAddr)> =
            config.listen.iter().map(|address| bind(*address, "a member")).collect::<Result<_, _>>()?;
        let control = config.control.map(|address| bind(address, "the control API")).transpose()?;
        let cluster = Cluster::new(members.iter().map(|(_, address)| *address).collect());
        let shared = Shared::new(config, cluster, gate);
        shared.tasks.spawn(Arc::clone(&shared).drive());
        for (member, (listener, _)) in members.into_iter().enumerate() {
            shared.tasks.spawn(server::run(Arc::clone(&shared), member, listener));
        }
        let bound = control.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = control {
            shared.tasks.spawn(control::run(Arc::clone(&shared), listener));
        }
        Ok(Self { shared, control: bound })
    }

    /// Stops everything and waits for it.
    pub async fn stop(self) {
        self.shared.tasks.cancel();
        self.shared.tasks.ended().await;
    }

    /// The base URL of a member: `http://host:port`.
    #[must_use]
    pub fn url(&self, member: usize) -> String {
        format!("http://{}", self.shared.cluster.name(member))
    }

    /// The base URLs of all members.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        (0..self.shared.cluster.addresses().len()).map(|member| self.url(member)).collect()
    }

    /// Where the control API listens.
    #[must_use]
    pub fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Creates an app as `POST /v2/apps` does.
    ///
    /// # Errors
    /// As the API refuses.
    pub fn post_app(&self, app: &Value) -> Result<Accepted, Rejection> {
        let doc = object(app)?;
        let id = member_id(doc, &PathId::root())?;
        let posted = Some(("127.0.0.1".to_owned(), "/v2/apps".to_owned(), id.clone()));
        let request = Request { force: false, group: id.parent(), posted };
        self.shared.act(|world, now| world.change(&request, now, |draft| draft.create(&id, doc)))
    }

    /// Changes or creates an app as `PUT /v2/apps/{id}?force=true` does.
    ///
    /// # Errors
    /// As the API refuses.
    pub fn put_app(&self, id: &str, update: &Value) -> Result<Accepted, Rejection> {
        let (id, doc) = (PathId::from_url(id), object(update)?);
        let posted = Some(("127.0.0.1".to_owned(), format!("/v2/apps{id}"), id.clone()));
        let request = Request { force: true, group: id.parent(), posted };
        self.shared.act(|world, now| world.change(&request, now, |draft| draft.put(&id, doc, true)))
    }

    /// Deletes an app.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete_app(&self, id: &str) -> Result<Accepted, Rejection> {
        let id = PathId::from_url(id);
        let request = Request { force: true, group: id.parent(), posted: None };
        self.shared.act(|world, now| world.change(&request, now, |draft| draft.remove(&id)))
    }

    /// Creates or updates a group as `POST /v2/groups` does.
    ///
    /// # Errors
    /// As the API refuses.
    pub fn post_group(&self, group: &Value) -> Result<Accepted, Rejection> {
        let doc = object(group)?;
        let id = member_id(doc, &PathId::root())?;
        let request = Request { force: false, group: id.clone(), posted: None };
        self.shared.act(|world, now| world.change(&request, now, |draft| draft.update_group(&id, doc)))
    }

    /// Creates many running tasks at once, without deployments and events.
    ///
    /// # Errors
    /// When a definition is refused, no agent has room, or the shared address cannot be bound.
    pub fn load(&self, bulk: &Bulk) -> Result<(), Rejection> {
        load(&self.shared, bulk)
    }

    /// Kills one running task of the app; Marathon replaces it, on other ports. Returns the old task's id.
    pub fn move_task(&self, app: &str) -> Option<String> {
        move_task(&self.shared, app)
    }

    /// Lets a task die with `TASK_FAILED`. False when there is no such task.
    pub fn crash_task(&self, task: &str) -> bool {
        self.with_task(task, |shared, id| {
            shared.act(|world, now| world.failed(&id, Condition::Failed, "Command exited with status 1", now));
            true
        })
    }

    /// Sets how a task treats its clients. False when there is no such task.
    pub fn set_task_mode(&self, task: &str, mode: Mode) -> bool {
        self.with_task(task, |shared, id| shared.stage.set_mode(&id, mode))
    }

    /// The instances of an app, as they are now.
    #[must_use]
    pub fn instances(&self, app: &str) -> Vec<Instance> {
        let app = PathId::from_url(app);
        self.shared.look(|world| world.instances_of(&app).cloned().collect())
    }

    /// Adds an agent. False when the name is taken.
    pub fn add_agent(&self, name: &str, address: std::net::Ipv4Addr) -> bool {
        self.shared.act(|world, _| world.add_agent(name.to_owned(), address))
    }

    /// Loses an agent. False when there is none of that name.
    pub fn lose_agent(&self, name: &str, loss: Loss) -> bool {
        self.shared.act(|world, now| world.lose_agent(name, loss, now))
    }

    /// Brings a lost agent back. False when it is not lost.
    pub fn return_agent(&self, name: &str) -> bool {
        self.shared.act(|world, now| world.return_agent(name, now))
    }

    /// Puts a fault in force.
    pub fn fault(&self, order: Order) {
        self.shared.faults.add(order);
    }

    /// Puts a fault in force at all members for the next `count` requests that are no event streams.
    pub fn fault_next(&self, fault: Fault, count: u32) {
        self.fault(Order { count: Some(count), ..Order::of(fault) });
    }

    /// Ends all faults, refusals and silence.
    pub fn clear_faults(&self) {
        control::clear(&self.shared);
    }

    /// Makes a member refuse connections, or accept them again.
    pub fn refuse(&self, member: usize, refuse: bool) {
        self.shared.cluster.refuse(member, refuse);
    }

    /// Ends the event streams of a member (all: `None`), at once or in the middle of their next event.
    pub fn cut_streams(&self, member: Option<usize>, mid_event: bool) -> usize {
        self.shared.hub.cut(member, mid_event)
    }

    /// Makes the event streams of a member (all: `None`) keep silent.
    pub fn silence_streams(&self, member: Option<usize>) {
        let all = 0..self.shared.cluster.addresses().len();
        self.shared.hub.silence(all.filter(|m| member.is_none_or(|only| only == *m)).collect());
    }

    /// Changes the leader: to `to`, or to the next member; streams end, Marathon's own health results are forgotten.
    pub fn flip_leader(&self, to: Option<usize>) {
        flip(&self.shared, to);
    }

    /// Leaves the cluster without a leader until [`Sim::flip_leader`].
    pub fn no_leader(&self) {
        self.shared.cluster.set(None, false);
    }

    /// Who leads.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.shared.cluster.leadership().leader
    }

    /// Forgets what Marathon's own health checks found.
    pub fn forget_health(&self) {
        self.shared.act(World::forget_health);
    }

    /// Waits until no deployment runs and every app has its instances ready; false when `limit` passes before.
    pub async fn wait_settled(&self, limit: Duration) -> bool {
        let settled = async {
            while !self.shared.look(World::is_settled) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        tokio::time::timeout(limit, settled).await.is_ok()
    }

    /// The sequence number that the next event will have.
    #[must_use]
    pub fn event_position(&self) -> u64 {
        self.shared.hub.position()
    }

    /// The events emitted from `sequence` on, with the moment of each.
    #[must_use]
    pub fn events_since(&self, sequence: u64) -> Vec<Record> {
        self.shared.hub.since(sequence)
    }

    /// The first event from `sequence` on that is `wanted`, waiting for it; `None` when `limit` passes before.
    pub async fn wait_event(&self, sequence: u64, wanted: impl Fn(&Record) -> bool, limit: Duration) -> Option<Record> {
        let mut from = sequence;
        let waiting = async {
            loop {
                let records = self.events_since(from);
                if let Some(record) = records.iter().find(|record| wanted(record)) {
                    return record.clone();
                }
                from = records.last().map_or(from, |record| record.sequence + 1);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(limit, waiting).await.ok()
    }

    /// How many requests of `kind` (`apps`, `app`, `events`, …) a member (all: `None`) got.
    #[must_use]
    pub fn requests(&self, member: Option<usize>, kind: &str) -> u64 {
        let requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = requests.iter().filter(|((m, k), _)| *k == kind && member.is_none_or(|only| only == *m));
        wanted.map(|(_, count)| count).sum()
    }

    /// Open event streams, all members.
    #[must_use]
    pub fn streams_open(&self) -> usize {
        self.shared.hub.open().values().sum()
    }

    /// Agents, tasks, requests and streams, as `GET /state` of the control API shows them.
    #[must_use]
    pub fn state(&self) -> Value {
        control::state(&self.shared)
    }

    /// Ends all tokens (DC/OS mode).
    pub fn expire_tokens(&self) {
        self.shared.gate.expire_tokens();
    }

    fn with_task(&self, task: &str, act: impl FnOnce(&Arc<Shared>, String) -> bool) -> bool {
        let found = self.shared.look(|world| world.by_task(task).map(|i| i.id.clone()));
        found.is_some_and(|id| act(&self.shared, id))
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.tasks.cancel();
    }
}

/// Changes the leader to `to` or the next member: nobody leads during the election, then the new one loads its state.
pub fn flip(shared: &Arc<Shared>, to: Option<usize>) {
    let members = shared.cluster.addresses().len();
    let last = shared.cluster.leadership().leader;
    let next = to.unwrap_or_else(|| last.map_or(0, |leader| (leader + 1) % members));
    let exiting = last.filter(|_| shared.config.leader_exits);
    if let Some(member) = exiting {
        shared.cluster.refuse(member, true);
    }
    let interregnum = shared.cluster.set(None, false);
    shared.act(World::forget_health);
    let shared = Arc::clone(shared);
    let tasks = Arc::clone(&shared);
    tasks.tasks.spawn(async move {
        tokio::time::sleep(shared.config.election).await;
        if let Some(member) = exiting {
            shared.cluster.refuse(member, false);
        }
        if shared.cluster.leadership().term != interregnum {
            return;
        }
        let term = shared.cluster.set(Some(next), false);
        tokio::time::sleep(shared.config.not_ready).await;
        shared.cluster.set_ready(term);
    });
}

/// As [`Sim::load`].
pub(super) fn load(shared: &Arc<Shared>, bulk: &Bulk) -> Result<(), Rejection> {
    let mut bulk = bulk.clone();
    if let BulkBacking::Shared(address) = &mut bulk.backing {
        let bound = shared.stage.start_shared(shared, *address);
        *address = bound.map_err(|error| Rejection::Internal(error.to_string()))?;
    }
    shared.act(|world, now| world.load(&bulk, now))
}

/// As [`Sim::move_task`].
pub(super) fn move_task(shared: &Arc<Shared>, app: &str) -> Option<String> {
    let app = PathId::from_url(app);
    shared.act(|world, now| {
        let running = world.instances_of(&app).find(|i| i.condition == Condition::Running)?;
        let (id, task) = (running.id.clone(), running.task_id.clone());
        world.kill(&id, now);
        Some(task)
    })
}

fn object(value: &Value) -> Result<&Doc, Rejection> {
    value.as_object().ok_or_else(|| Rejection::Syntax(json!("expected an object").to_string()))
}
