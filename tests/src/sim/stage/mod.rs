//! Where tasks really run: listeners on the agents' addresses, or processes.
//!
//! Called by `shared` under its lock, so starting and stopping is synchronous: bind, then hand over to a task.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::instance::{Backing, Instance};
use super::shared::Shared;

mod exec;
mod serve;

/// How a task treats its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Answers 200.
    #[default]
    Healthy,
    /// Answers 503.
    Unhealthy,
    /// Answers 200 after so many milliseconds.
    Slow(u64),
    /// Closes each connection at once.
    Closing,
    /// Accepts and never answers.
    Hanging,
}

/// The tasks that run.
#[derive(Debug, Default)]
pub struct Stage {
    running: Mutex<BTreeMap<String, Actor>>,
}

#[derive(Debug)]
struct Actor {
    mode: Arc<Mutex<Mode>>,
    stop: CancellationToken,
}

impl Stage {
    /// Lets a task listen, or starts its process.
    ///
    /// # Errors
    /// When an address cannot be bound or the process cannot be started.
    pub fn start(&self, shared: &Arc<Shared>, instance: &Instance) -> io::Result<()> {
        if instance.backing == Backing::Assumed {
            return Ok(());
        }
        let actor = Actor { mode: Arc::default(), stop: CancellationToken::new() };
        if let Some(command) = instance.def.facts.env.get("SIM_EXEC") {
            exec::start(shared, instance, command, actor.stop.clone())?;
        } else {
            let listeners: Vec<TcpListener> = endpoints(instance).into_iter().map(listen).collect::<io::Result<_>>()?;
            for listener in listeners {
                let work = serve::run(listener, instance, actor.mode.clone(), actor.stop.clone());
                shared.tasks.spawn(work);
            }
        }
        self.lock().insert(instance.id.clone(), actor);
        Ok(())
    }

    /// Listens at the address that many bulk tasks name as theirs; port 0 picks one.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn start_shared(&self, shared: &Shared, address: SocketAddrV4) -> io::Result<SocketAddrV4> {
        let listener = listen(address.into())?;
        let port = listener.local_addr()?.port();
        shared.tasks.spawn(serve::run_shared(listener));
        Ok(SocketAddrV4::new(*address.ip(), port))
    }

    /// Ends a task: listeners close, connections are cut, a process is killed.
    pub fn stop(&self, id: &str) {
        if let Some(actor) = self.lock().remove(id) {
            actor.stop.cancel();
        }
    }

    /// Sets how a task treats its clients; false when it does not run here.
    pub fn set_mode(&self, id: &str, mode: Mode) -> bool {
        match self.lock().get(id) {
            Some(actor) => {
                *actor.mode.lock().unwrap_or_else(PoisonError::into_inner) = mode;
                true
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Actor>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A listener like those of tasks, for whoever shares one.
///
/// # Errors
/// When the address cannot be bound.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    let named = |error: io::Error| io::Error::new(error.kind(), format!("bind {address}: {error}"));
    socket.bind(address).map_err(named)?;
    socket.listen(1024).map_err(named)
}

/// Where the task listens: its host ports on the agent, and its own address if it has one.
fn endpoints(instance: &Instance) -> Vec<SocketAddr> {
    let mut found: Vec<(Ipv4Addr, u16)> = Vec::new();
    for (index, port) in instance.def.facts.ports.iter().enumerate() {
        if !port.protocol.contains("tcp") {
            continue;
        }
        let mapped = instance.endpoint(index);
        found.extend(mapped);
        if instance.def.facts.network == super::def::Network::Container
            && let Some(address) = instance.container_address
        {
            let same = mapped.map(|(_, port)| port);
            let inner = port.container.filter(|port| *port != 0).or(same);
            found.extend(inner.map(|port| (address, port)));
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(SocketAddr::from).collect()
}
