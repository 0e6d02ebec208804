//! What is left out because HAProxy or the kernel refuses it, until there is reason to try again.
//!
//! Kept by the reconcile loop. `compile` never sees it: both nodes compile the same state, and each
//! takes out what it alone cannot serve.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use haproxy::app::{App, AppId, Snapshot};
use haproxy::issue::Issue;
use haproxy::model::{BackendId, Frontend, LbState};
use haproxy::preflight::Unbindable;
use haproxy::text::{BindAddr, Word};

/// The apps and listeners left out.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOut {
    apps: BTreeMap<AppId, Refused>,
    /// What was said of each family that is refused.
    listeners: BTreeMap<BackendId, BTreeMap<Family, String>>,
}

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// An app as it was when HAProxy refused it.
#[derive(Debug, Clone)]
struct Refused {
    app: App,
    said: String,
}

impl LeftOut {
    /// HAProxy refused the app's part.
    pub(super) fn refuse(&mut self, app: &App, said: String) {
        self.apps.insert(app.id.clone(), Refused { app: app.clone(), said });
    }

    /// The kernel refused an address of the listener.
    pub(super) fn unbindable(&mut self, listener: BackendId, unbindable: &Unbindable) {
        let family = if unbindable.bind.addr.ip.is_ipv6() { Family::V6 } else { Family::V4 };
        self.listeners.entry(listener).or_default().insert(family, unbindable.to_string());
    }

    /// Whether the app is left out.
    pub(super) fn has(&self, app: &AppId) -> bool {
        self.apps.contains_key(app)
    }

    /// Whether a listener is left out: somebody else may let go of its address at any time.
    pub(super) fn has_listeners(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Whether an app is left out: what it names may be mended at any time.
    pub(super) fn has_apps(&self) -> bool {
        !self.apps.is_empty()
    }

    /// Apps get another try.
    pub(super) fn retry_apps(&mut self) {
        self.apps.clear();
    }

    /// Listeners get another try.
    pub(super) fn retry_listeners(&mut self) {
        self.listeners.clear();
    }

    /// Apps whose definition changed get another try; tasks that come and go change nothing.
    pub(super) fn forget_changed(&mut self, snapshot: &Snapshot) {
        self.apps.retain(|id, refused| snapshot.apps.get(id).is_some_and(|app| same_definition(app, &refused.app)));
    }

    /// `state` without what is left out, and an issue for each of it. `ipv6`: a listener on every
    /// address has both families, and goes on with the one that is not refused.
    pub(super) fn apply(&self, mut state: LbState, ipv6: bool, issues: &mut Vec<Issue>) -> LbState {
        for (app, refused) in &self.apps {
            issues.push(Issue::app(app, format!("out of service, HAProxy refuses it: {}", refused.said)));
        }
        let apps: BTreeSet<_> = self.apps.keys().cloned().collect();
        if !apps.is_empty() {
            state = state.without(&apps);
        }
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
        let apps = self.apps.iter().map(|(app, refused)| (app.to_string(), refused.said.clone()));
        let listeners = self.listeners.iter().map(|(id, refused)| (format!("listener {id}"), said(refused)));
        apps.chain(listeners).collect()
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
fn said(refused: &BTreeMap<Family, String>) -> String {
    refused.values().map(String::as_str).collect::<Vec<_>>().join("; ")
}

fn same_definition(a: &App, b: &App) -> bool {
    (&a.labels, &a.ports, &a.checks, a.networking) == (&b.labels, &b.ports, &b.checks, b.networking)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use haproxy::app::{App, Networking, Port};
    use haproxy::bundle::Bind;
    use haproxy::compile::{Groups, Policy, compile};
    use nix::errno::Errno;

    use super::*;

    /// One app with one port, its listener on `addr`.
    fn state(addr: &str) -> LbState {
        let app = App {
            id: AppId::parse("/a").unwrap(),
            labels: BTreeMap::from([("HAPROXY_0_BIND_ADDR".to_owned(), addr.to_owned())]),
            networking: Networking::Host,
            ports: vec![Port { service_port: Some(10_000) }],
            checks: Vec::new(),
            instances: Vec::new(),
            wanted: 0,
        };
        let snapshot = Snapshot { apps: BTreeMap::from([(app.id.clone(), Arc::new(app))]), ..Snapshot::default() };
        compile(&snapshot, &Policy { groups: Groups::All, ..Policy::default() }).0
    }

    /// What is left of the listener when `refused` cannot be bound, and what is said about it.
    fn left(addr: &str, ipv6: bool, refused: &[&str]) -> (Option<String>, String) {
        let state = state(addr);
        let id = state.frontends.keys().next().unwrap().clone();
        let mut left_out = LeftOut::default();
        for ip in refused {
            let bind = Bind { addr: ip.parse::<IpAddr>().unwrap().into(), port: 10_000, owner: None };
            left_out.unbindable(id.clone(), &Unbindable { bind, errno: Errno::EADDRINUSE, holder: None });
        }
        let mut issues = Vec::new();
        let rest = left_out.apply(state, ipv6, &mut issues);
        let words = |frontend: &Frontend| {
            let options = frontend.options.iter().map(|word| format!(" {word}"));
            format!("{}{}", frontend.addr, options.collect::<String>())
        };
        (rest.frontends.get(&id).map(words), issues[0].problem.clone())
    }

    #[test]
    fn a_listener_goes_on_with_the_family_that_is_not_refused() {
        let case = |addr, ipv6, refused: &[&str], expected: Option<&str>, said: &str| {
            let (left, problem) = left(addr, ipv6, refused);
            assert_eq!(left.as_deref(), expected, "{addr} without {refused:?}");
            assert!(problem.starts_with(said), "{problem}");
        };
        case("*", true, &["::"], Some("0.0.0.0"), "port 0 listens on IPv4 only: ");
        case("*", true, &["0.0.0.0"], Some("[::] v6only"), "port 0 listens on IPv6 only: ");
        case("*", true, &["0.0.0.0", "::"], None, "port 0 has no listener: ");
        case("*", false, &["0.0.0.0"], None, "port 0 has no listener: ");
        case("::", true, &["::"], None, "port 0 has no listener: ");
    }
}
