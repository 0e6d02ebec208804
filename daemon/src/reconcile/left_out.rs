//! What is left out because HAProxy or the kernel refuses it, until there is reason to try again.
//!
//! Kept by the reconcile loop. `compile` never sees it: both nodes compile the same state, and each
//! takes out what it alone cannot serve.

use std::collections::{BTreeMap, BTreeSet};

use haproxy::app::{App, AppId, Snapshot};
use haproxy::issue::Issue;
use haproxy::model::{BackendId, LbState};

/// The apps and listeners left out.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOut {
    apps: BTreeMap<AppId, Refused>,
    listeners: BTreeMap<BackendId, String>,
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

    /// The kernel refused the listener.
    pub(super) fn unbindable(&mut self, listener: BackendId, why: String) {
        self.listeners.insert(listener, why);
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

    /// `state` without what is left out, and an issue for each of it.
    pub(super) fn apply(&self, mut state: LbState, issues: &mut Vec<Issue>) -> LbState {
        for (app, refused) in &self.apps {
            issues.push(Issue::app(app, format!("out of service, HAProxy refuses it: {}", refused.said)));
        }
        let apps: BTreeSet<_> = self.apps.keys().cloned().collect();
        if !apps.is_empty() {
            state = state.without(&apps);
        }
        for (listener, why) in &self.listeners {
            if let Some(frontend) = state.frontends.remove(listener) {
                issues.push(Issue::app(
                    &frontend.owner.app,
                    format!("port {} has no listener: {why}", frontend.owner.index),
                ));
            }
        }
        issues.sort();
        state
    }

    /// Names and reasons, for the status.
    pub(super) fn report(&self) -> BTreeMap<String, String> {
        let apps = self.apps.iter().map(|(app, refused)| (app.to_string(), refused.said.clone()));
        let listeners = self.listeners.iter().map(|(id, why)| (format!("listener {id}"), why.clone()));
        apps.chain(listeners).collect()
    }
}

fn same_definition(a: &App, b: &App) -> bool {
    (&a.labels, &a.ports, &a.checks, a.networking) == (&b.labels, &b.ports, &b.checks, b.networking)
}
