//! From answers to published snapshots: addresses filled in, only when something differs.
//!
//! Runs beside the loop of each source and owns the [`Resolver`]. An answer is published at once
//! with the addresses known; what lookups add follows in one batch.
#![allow(clippy::disallowed_methods, reason = "gathers the answers of lookups for some milliseconds")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use haproxy::app::{App, AppId, Snapshot};
use haproxy::issue::Issue;
use haproxy::pairs::pairs;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::marathon::wire::Answer;
use super::resolve::{Resolver, named};

/// Publishes until the sender of answers is gone.
pub async fn run(mut answers: mpsc::Receiver<Answer>, resolver: Resolver, snapshots: &watch::Sender<Arc<Snapshot>>) {
    let mut publisher = Publisher { resolver, said: BTreeMap::new(), apps: BTreeMap::new(), issues: Vec::new() };
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            answer = answers.recv() => {
                let Some(answer) = answer else { return };
                let moved = publisher.take(answer);
                publisher.publish(snapshots);
                if moved {
                    publisher.resolver.want(&publisher.said);
                }
            }
            () = publisher.resolver.changed() => due = due.or_else(|| Some(Instant::now() + GATHER)),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                publisher.fill();
                publisher.publish(snapshots);
            }
        }
    }
}

/// The answer as a snapshot, all addresses looked up: for commands that read once.
pub async fn once(mut answer: Answer, mut resolver: Resolver) -> Snapshot {
    resolver.want(&answer.apps);
    resolver.settled().await;
    answer.apps.values_mut().for_each(|app| resolver.fill(app));
    Snapshot { apps: answer.apps, issues: answer.issues, revision: 1 }
}

/// What was answered last, and with addresses.
struct Publisher {
    resolver: Resolver,
    said: BTreeMap<AppId, Arc<App>>,
    /// As `said`, addresses filled in: the same value as long as nothing about the app changes.
    apps: BTreeMap<AppId, Arc<App>>,
    issues: Vec<Issue>,
}

impl Publisher {
    /// Takes over what changed; whether a host may be wanted no longer.
    fn take(&mut self, answer: Answer) -> bool {
        let same = |said: Option<&Arc<App>>, before: Option<&Arc<App>>| {
            said.zip(before).is_some_and(|(said, before)| Arc::ptr_eq(said, before))
        };
        let changed = pairs(&answer.apps, &self.said).filter(|(_, said, before)| !same(*said, *before));
        let changed: Vec<_> = changed.map(|(id, said, before)| (id.clone(), said.cloned(), before.cloned())).collect();
        let mut moved = false;
        for (id, said, before) in changed {
            moved |= before.is_some_and(|before| named(&before).next().is_some());
            match said {
                None => drop(self.apps.remove(&id)),
                Some(mut app) => {
                    self.resolver.want_also(&app);
                    self.resolver.fill(&mut app);
                    if self.apps.get(&id) != Some(&app) {
                        self.apps.insert(id, app);
                    }
                }
            }
        }
        (self.said, self.issues) = (answer.apps, answer.issues);
        moved
    }

    /// Lookups gave other addresses.
    fn fill(&mut self) {
        for (id, said) in &self.said {
            let mut app = Arc::clone(said);
            self.resolver.fill(&mut app);
            if self.apps.get(id) != Some(&app) {
                self.apps.insert(id.clone(), app);
            }
        }
    }

    fn publish(&self, snapshots: &watch::Sender<Arc<Snapshot>>) {
        snapshots.send_if_modified(|current| {
            if current.revision > 0 && current.apps == self.apps && current.issues == self.issues {
                return false;
            }
            let revision = current.revision + 1;
            log::debug!(revision, apps = self.apps.len(), issues = self.issues.len(); "publishing a snapshot");
            *current = Arc::new(Snapshot { apps: self.apps.clone(), issues: self.issues.clone(), revision });
            true
        });
    }
}

/// Lookups that answer one after the other are published together.
const GATHER: Duration = Duration::from_millis(20);
