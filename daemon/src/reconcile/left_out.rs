//! What is left out because HAProxy or the kernel refuses it, until there is reason to try again.
//!
//! Kept by the reconcile loop. `compile` never sees it: both nodes compile the same state, and each
//! takes out what it alone cannot serve.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use haproxy::bundle::Bind;
use haproxy::issue::Issue;
use haproxy::model::{BackendId, Frontend, LbState};
use haproxy::preflight::Unbindable;
use haproxy::text::{BindAddr, Word};

use super::refused::Refusals;

/// The apps and listeners left out.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOut {
    /// What HAProxy refuses.
    pub(super) apps: Refusals,
    /// What the kernel refuses: the addresses of each listener, one of a family.
    listeners: BTreeMap<BackendId, BTreeMap<Family, Unbindable>>,
    /// Dynamic ports that the kernel refuses.
    ports: BTreeMap<u16, Unbindable>,
}

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl LeftOut {
    /// The kernel refused an address of the listener.
    pub(super) fn unbindable(&mut self, listener: BackendId, unbindable: &Unbindable) {
        let family = if unbindable.bind.addr.ip.is_ipv6() { Family::V6 } else { Family::V4 };
        self.listeners.entry(listener).or_default().insert(family, unbindable.clone());
    }

    /// The kernel refused a dynamic port.
    pub(super) fn taken(&mut self, unbindable: &Unbindable) {
        self.ports.insert(unbindable.bind.port, unbindable.clone());
    }

    /// Whether a listener is left out: somebody else may let go of its address at any time.
    pub(super) fn has_listeners(&self) -> bool {
        !self.listeners.is_empty() || !self.ports.is_empty()
    }

    /// The addresses that the kernel refused.
    pub(super) fn binds(&self) -> Vec<Bind> {
        let refused = self.listeners.values().flat_map(BTreeMap::values).chain(self.ports.values());
        refused.map(|unbindable| unbindable.bind.clone()).collect()
    }

    /// Listeners get another try.
    pub(super) fn retry_listeners(&mut self) {
        self.listeners.clear();
        self.ports.clear();
    }

    /// Listeners get another try, but on the addresses that are still refused.
    pub(super) fn retry_listeners_but(&mut self, refused: &[Unbindable]) {
        let is_refused = |unbindable: &Unbindable| refused.iter().any(|still| still.bind == unbindable.bind);
        for families in self.listeners.values_mut() {
            families.retain(|_, unbindable| is_refused(unbindable));
        }
        self.ports.retain(|_, unbindable| is_refused(unbindable));
        self.listeners.retain(|_, families| !families.is_empty());
    }

    /// `state` without what is left out, and an issue for each of it. `ipv6`: a listener on every
    /// address has both families, and goes on with the one that is not refused.
    pub(super) fn apply(&self, mut state: LbState, ipv6: bool, issues: &mut Vec<Issue>) -> LbState {
        issues.extend(self.apps.issues());
        let apps = self.apps.out();
        if !apps.is_empty() {
            state = state.without(&apps);
        }
        state.dynamic.taken.extend(self.ports.keys());
        for (listener, refused) in &self.listeners {
            let Some(mut frontend) = Arc::make_mut(&mut state.frontends).remove(listener) else { continue };
            let both = ipv6 && frontend.addr == BindAddr::Any;
            let left = match refused.keys().collect::<Vec<_>>().as_slice() {
                [Family::V4] if both => Some(Family::V6),
                [Family::V6] if both => Some(Family::V4),
                _ => None,
            };
            let (index, why) = (frontend.owner.index, said(refused));
            let problem = match left {
                Some(Family::V4) => format!("port {index} listens on IPv4 only: {why}"),
                Some(Family::V6) => format!("port {index} listens on IPv6 only: {why}"),
                None => format!("port {index} has no listener: {why}"),
            };
            issues.push(Issue::app(&frontend.owner.app, problem));
            if let Some(family) = left {
                narrow(&mut frontend, family);
                Arc::make_mut(&mut state.frontends).insert(listener.clone(), frontend);
            }
        }
        issues.sort();
        state
    }

    /// Names and reasons, for the status.
    pub(super) fn report(&self) -> BTreeMap<String, String> {
        let listeners = self.listeners.iter().map(|(id, refused)| (format!("listener {id}"), said(refused)));
        let ports = self.ports.iter().map(|(port, why)| (format!("dynamic port {port}"), why.to_string()));
        self.apps.report().chain(listeners).chain(ports).collect()
    }
}

/// Makes a listener on every address one on those of `family`.
fn narrow(frontend: &mut Frontend, family: Family) {
    match family {
        Family::V4 => frontend.addr = BindAddr::Ip(Ipv4Addr::UNSPECIFIED.into()),
        Family::V6 => {
            frontend.addr = BindAddr::Ip(Ipv6Addr::UNSPECIFIED.into());
            let v6only = Word::parse("v6only").expect("a keyword is a word");
            if !frontend.options.contains(&v6only) {
                frontend.options.push(v6only);
            }
        }
    }
}

/// What was said of a listener's addresses.
fn said(refused: &BTreeMap<Family, Unbindable>) -> String {
    refused.values().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
