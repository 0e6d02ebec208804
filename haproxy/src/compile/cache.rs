//! What one compilation leaves for the next, so that a change costs what it changes.
//!
//! Kept by the reconcile loop; `compile` itself starts with an empty one. It never changes a result:
//! whatever is in it, [`Cache::compile`] gives what `compile` gives. Apps are told apart by pointer
//! first: a source that hands on the same value says that nothing about it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::{App, AppId, Snapshot};
use crate::issue::Issue;
use crate::model::{Backend, LbState};
use crate::pairs::pairs;

use super::ports::{self, Inventor, ServicePort};
use super::{Policy, backend, owns, share};

/// The last compilation.
#[derive(Debug, Default)]
pub struct Cache {
    policy: Policy,
    parts: BTreeMap<AppId, Part>,
    state: LbState,
    /// Issues with what apps share.
    shared: Vec<Issue>,
}

/// What follows from one app alone.
#[derive(Debug)]
struct Part {
    app: Arc<App>,
    /// Its service ports by index, invented ones among them.
    numbers: Vec<Option<u16>>,
    served: Vec<Served>,
    /// Issues whatever becomes of its ports.
    issues: Vec<Issue>,
}

/// One port of an app, and its backend if no other port has the same name.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) port: ServicePort,
    pub(super) backend: Arc<Backend>,
    /// Issues with the backend.
    issues: Vec<Issue>,
}

impl Served {
    fn of(port: ServicePort, policy: &Policy) -> Self {
        let mut issues = Vec::new();
        let backend = Arc::new(backend(&port, policy, &mut issues));
        Self { port, backend, issues }
    }

    /// Whether what apps share is the same with either.
    fn shares(&self, other: &Self) -> bool {
        let known = |served: &Self| (served.port.index, served.port.port, served.backend.mode);
        known(self) == known(other) && self.port.options == other.port.options
    }
}

impl Part {
    fn of(app: &Arc<App>, numbers: Vec<Option<u16>>, policy: &Policy) -> Self {
        let mut issues = Vec::new();
        let ports = ports::served(app, &numbers, policy, &mut issues);
        let served = ports.into_iter().map(|port| Served::of(port, policy)).collect();
        Self { app: Arc::clone(app), numbers, served, issues }
    }

    fn shares(&self, other: &Self) -> bool {
        self.served.len() == other.served.len() && self.served.iter().zip(&other.served).all(|(a, b)| a.shares(b))
    }
}

impl Cache {
    /// The wanted state, and what is wrong with whom (sorted).
    pub fn compile(&mut self, snapshot: &Snapshot, policy: &Policy) -> (LbState, Vec<Issue>) {
        if self.policy != *policy {
            *self = Self { policy: policy.clone(), ..Self::default() };
        }
        let mut again = self.parts.is_empty();
        for (id, numbers) in self.changed(snapshot) {
            again |= match (snapshot.apps.get(&id), numbers) {
                (Some(app), Some(numbers)) => self.replace(Part::of(app, numbers, policy)),
                _ => self.parts.remove(&id).is_some(),
            };
        }
        if again {
            self.share();
        }
        (self.state.clone(), self.issues(snapshot))
    }

    /// The apps that are not as they were, with their service ports, or none where they are gone.
    fn changed(&self, snapshot: &Snapshot) -> Vec<(AppId, Option<Vec<Option<u16>>>)> {
        let differ = |app: Option<&Arc<App>>, part: Option<&Part>| match (app, part) {
            (Some(app), Some(part)) => !Arc::ptr_eq(app, &part.app) && *app != part.app,
            _ => true,
        };
        let both = || pairs(&snapshot.apps, &self.parts);
        let asks = |app: Option<&Arc<App>>| app.and_then(|app| ports::asks(app).map(<[_]>::to_vec));
        let Some(range) = &self.policy.invented_ports else {
            let changed = both().filter(|(_, app, part)| differ(*app, *part));
            return changed.map(|(id, app, _)| (id.clone(), app.map(|app| ports::given(app)))).collect();
        };
        // What is invented for one app depends on all that ask before it.
        let anew = both().any(|(_, app, part)| differ(app, part) && asks(app) != asks(part.map(|part| &part.app)));
        let mut inventor = anew.then(|| Inventor::new(range.clone()));
        let mut changed = Vec::new();
        for (id, app, part) in both() {
            let Some(app) = app else {
                changed.push((id.clone(), None));
                continue;
            };
            let asked = ports::asks(app).filter(|_| self.policy.own_app.as_ref() != Some(id));
            let numbers = match (&mut inventor, asked, part) {
                (Some(inventor), Some(asked), _) => inventor.invent(id, asked),
                // It asks for what it asked for, and so does everybody else.
                (None, Some(_), Some(part)) => part.numbers.clone(),
                _ => ports::given(app),
            };
            if differ(Some(app), part) || part.is_some_and(|part| part.numbers != numbers) {
                changed.push((id.clone(), Some(numbers)));
            }
        }
        changed
    }

    /// Puts a part in the place of the app's old one; whether what apps share is to be made again.
    fn replace(&mut self, mut part: Part) -> bool {
        let id = part.app.id.clone();
        let Some(old) = self.parts.get(&id).filter(|old| part.shares(old)) else {
            self.parts.insert(id, part);
            return true;
        };
        for (served, old) in part.served.iter_mut().zip(&old.served) {
            let name = &served.port.backend;
            if served.backend == old.backend {
                served.backend = Arc::clone(&old.backend);
            } else if owns(&served.port, self.state.backends.get(name)) {
                self.state.backends.insert(name.clone(), Arc::clone(&served.backend));
            }
        }
        self.parts.insert(id, part);
        false
    }

    /// Makes what apps share; what comes out as it was stays the same value.
    fn share(&mut self) {
        let served: Vec<_> = self.parts.values().flat_map(|part| &part.served).collect();
        self.shared.clear();
        let mut state = share(&served, &self.policy, &mut self.shared);
        keep(&self.state.frontends, &mut state.frontends);
        keep(&self.state.routes, &mut state.routes);
        keep(&self.state.app_ids, &mut state.app_ids);
        self.state = state;
    }

    fn issues(&self, snapshot: &Snapshot) -> Vec<Issue> {
        let mut issues: Vec<_> = snapshot.issues.iter().chain(&self.shared).cloned().collect();
        for part in self.parts.values() {
            issues.extend_from_slice(&part.issues);
            for served in part.served.iter().filter(|served| !served.issues.is_empty()) {
                if owns(&served.port, self.state.backends.get(&served.port.backend)) {
                    issues.extend_from_slice(&served.issues);
                }
            }
        }
        issues.sort();
        issues.dedup();
        issues
    }
}

/// The old value in the place of an equal new one.
fn keep<T: PartialEq>(old: &Arc<T>, new: &mut Arc<T>) {
    if **old == **new {
        *new = Arc::clone(old);
    }
}

#[cfg(test)]
mod tests;
