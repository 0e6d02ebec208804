//! Agent host names to addresses, off the hot path.
//!
//! Owned by `publish`. Literal addresses never come here. A name is looked up when it is first
//! wanted and again every minute; a failure keeps the last address, so a DNS outage moves nothing.
#![allow(clippy::disallowed_methods, reason = "decides when names are looked up again")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use haproxy::app::{App, AppId, Instance, Networking};
use tokio::time::Instant;

/// Addresses of the hosts that are wanted now.
pub struct Resolver {
    lookup: Lookup,
    hosts: HashMap<String, Host>,
    waiting: VecDeque<String>,
    flying: FuturesUnordered<Flight>,
    refresh: Duration,
    refresh_at: Instant,
}

/// What is known of one name.
#[derive(Debug, Default)]
struct Host {
    addr: Option<IpAddr>,
    /// The last lookup failed; said once.
    failing: bool,
}

type Lookup = Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send>;
type Flight = Pin<Box<dyn Future<Output = (String, io::Result<Vec<IpAddr>>)> + Send>>;

impl Resolver {
    /// Asks the system's resolver.
    pub fn system() -> Self {
        Self::new(REFRESH, |host| async move {
            let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await;
            let addresses = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(addresses.map(|socket| socket.ip()).collect())
        })
    }

    /// Asks `lookup`, again for every name after each `refresh`.
    pub fn new<L, F>(refresh: Duration, lookup: L) -> Self
    where
        L: Fn(String) -> F + Send + 'static,
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Self {
            lookup: Box::new(move |host| Box::pin(lookup(host))),
            hosts: HashMap::new(),
            waiting: VecDeque::new(),
            flying: FuturesUnordered::new(),
            refresh,
            refresh_at: Instant::now() + refresh,
        }
    }

    /// Takes over the addresses of a snapshot from the store, until lookups say otherwise.
    pub fn remember(&mut self, apps: &BTreeMap<AppId, Arc<App>>) {
        for instance in apps.values().flat_map(|app| named(app)) {
            self.hosts.insert(instance.host.clone(), Host { addr: instance.addr, failing: false });
        }
        self.waiting = self.hosts.keys().cloned().collect();
    }

    /// From now on the hosts of these apps are wanted, and no others.
    pub fn want(&mut self, apps: &BTreeMap<AppId, Arc<App>>) {
        let mut known = std::mem::take(&mut self.hosts);
        for app in apps.values() {
            for Instance { host, .. } in named(app) {
                if let Some((host, entry)) = known.remove_entry(host) {
                    self.hosts.insert(host, entry);
                }
            }
            self.want_also(app);
        }
    }

    /// From now on the hosts of this app are wanted, too.
    pub fn want_also(&mut self, app: &App) {
        for Instance { host, .. } in named(app) {
            if !self.hosts.contains_key(host) {
                self.waiting.push_back(host.clone());
                self.hosts.insert(host.clone(), Host::default());
            }
        }
        self.launch();
    }

    /// Writes the addresses known now into the instances.
    pub fn fill(&self, app: &mut Arc<App>) {
        if self.hosts.is_empty() || app.networking == Networking::Container {
            return;
        }
        let known = |instance: &Instance| self.hosts.get(&instance.host).map(|host| host.addr);
        if app.instances.iter().any(|instance| known(instance).is_some_and(|addr| addr != instance.addr)) {
            for instance in &mut Arc::make_mut(app).instances {
                instance.addr = known(instance).unwrap_or(instance.addr);
            }
        }
    }

    /// Waits until an address has changed. May be dropped at any time and called again.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                Some((host, answer)) = self.flying.next() => {
                    self.launch();
                    if self.learn(host, answer) {
                        return;
                    }
                }
                () = tokio::time::sleep_until(self.refresh_at) => {
                    self.refresh_at = Instant::now() + self.refresh;
                    if self.flying.is_empty() {
                        self.waiting = self.hosts.keys().cloned().collect();
                        self.launch();
                    }
                }
            }
        }
    }

    /// Waits until every lookup has answered.
    pub async fn settled(&mut self) {
        while let Some((host, answer)) = self.flying.next().await {
            self.launch();
            self.learn(host, answer);
        }
    }

    fn launch(&mut self) {
        while self.flying.len() < AT_ONCE {
            let Some(host) = self.waiting.pop_front() else { return };
            if self.hosts.contains_key(&host) {
                let answer = (self.lookup)(host.clone());
                self.flying.push(Box::pin(async move { (host, answer.await) }));
            }
        }
    }

    fn learn(&mut self, name: String, answer: io::Result<Vec<IpAddr>>) -> bool {
        let Some(host) = self.hosts.get_mut(&name) else { return false };
        let found = answer.and_then(|all| choose(&all, host.addr).ok_or_else(|| io::ErrorKind::NotFound.into()));
        match found {
            Ok(addr) => {
                host.failing = false;
                let changed = host.addr != Some(addr);
                if let Some(old) = host.addr.replace(addr).filter(|_| changed) {
                    log::info!(host = name, old:% = old, new:% = addr; "a host has another address");
                }
                changed
            }
            Err(error) => {
                if !std::mem::replace(&mut host.failing, true) {
                    let keeps = host.addr.map_or_else(|| "no address".to_owned(), |addr| addr.to_string());
                    log::warn!(host = name, error:% = error, keeps; "cannot resolve a host");
                }
                false
            }
        }
    }
}

/// The tasks whose hosts are names to look up.
pub fn named(app: &App) -> impl Iterator<Item = &Instance> {
    let tasks = Some(&app.instances).filter(|_| app.networking != Networking::Container);
    tasks.into_iter().flatten().filter(|instance| instance.host.parse::<IpAddr>().is_err())
}

/// IPv4 first; the address in use stays while it is among the answers (round-robin DNS).
fn choose(all: &[IpAddr], current: Option<IpAddr>) -> Option<IpAddr> {
    let family: Vec<_> = all.iter().filter(|addr| addr.is_ipv4()).collect();
    let family = if family.is_empty() { all.iter().collect() } else { family };
    current.filter(|addr| family.contains(&addr)).or_else(|| family.first().map(|addr| **addr))
}

const REFRESH: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests;
