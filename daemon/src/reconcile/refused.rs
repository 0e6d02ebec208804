//! The apps that HAProxy refuses, and what is served in their place.
//!
//! Part of what is left out. An app goes on with the definition that HAProxy accepted last, its
//! servers following its tasks; without one it is out of service. Remembered until its definition
//! changes or somebody asks for another try, so that what happens to other apps costs no check.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use haproxy::app::{App, AppId, Snapshot};
use haproxy::issue::Issue;

use super::halves::Halves;
use super::repair::Refusal;

/// What is known of the apps' definitions.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals {
    /// The apps as HAProxy accepted them last.
    accepted: Option<Arc<Snapshot>>,
    /// What was served then of those whose definition in it was not; none = nothing.
    earlier: BTreeMap<AppId, Option<Arc<App>>>,
    refused: BTreeMap<AppId, Refused>,
    search: Option<Search>,
}

/// An app whose definition HAProxy refuses.
#[derive(Debug, Clone)]
struct Refused {
    /// The definition.
    app: App,
    fault: Fault,
    /// The definition before it is refused as well, or there is none.
    out: bool,
}

/// What HAProxy said against an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The label to blame, where it is known.
    pub(super) label: Option<String>,
    /// HAProxy's words.
    pub(super) said: String,
}

/// Apps that HAProxy refuses together while nothing tells whose fault it is.
#[derive(Debug, Clone)]
struct Search {
    halves: Halves,
    /// Those tried beside what is accepted.
    tried: BTreeSet<AppId>,
    /// Not even what was accepted last can be served of them.
    out: bool,
}

impl Refusals {
    /// HAProxy accepted what was made from these apps.
    pub(super) fn accepted(&mut self, snapshot: &Arc<Snapshot>) {
        let replaced: Vec<_> = self.refused.keys().chain(self.waiting()).cloned().collect();
        let earlier = replaced.into_iter().map(|id| {
            let served = self.served_instead(&id).map(|app| Arc::new(App { instances: Vec::new(), ..app.clone() }));
            (id, served)
        });
        self.earlier = earlier.collect();
        self.accepted = Some(snapshot.clone());
    }

    /// The definitions that are served in place of those that were refused when HAProxy last accepted something.
    pub(super) fn replacements(&self) -> BTreeMap<AppId, Arc<App>> {
        self.earlier.iter().filter_map(|(id, app)| Some((id.clone(), app.clone()?))).collect()
    }

    /// A start: these were served in place of refused ones.
    pub(super) fn restore(&mut self, replacements: BTreeMap<AppId, Arc<App>>) {
        self.earlier = replacements.into_iter().map(|(id, app)| (id, Some(app))).collect();
    }

    /// Whether there is anything that HAProxy accepted.
    pub(super) fn has_accepted(&self) -> bool {
        self.accepted.is_some()
    }

    /// The apps whose definition is not the one that HAProxy accepted last, and is not replaced.
    pub(super) fn suspects(&self, snapshot: &Snapshot) -> BTreeSet<AppId> {
        let new = |app: &&Arc<App>| {
            !self.refused.contains_key(&app.id)
                && !self.last_good(&app.id).is_some_and(|good| same_definition(good, app))
        };
        snapshot.apps.values().filter(new).map(|app| app.id.clone()).collect()
    }

    /// HAProxy refuses the app's definition; one that is refused already, also that before it.
    pub(super) fn refuse(&mut self, app: &App, fault: Fault) {
        let again = self.refused.contains_key(&app.id);
        let good = self.last_good(&app.id).filter(|good| !again && !same_definition(good, app));
        let out = good.is_none();
        self.refused.insert(app.id.clone(), Refused { app: app.clone(), fault, out });
    }

    /// Whether nothing of the app is served.
    pub(super) fn is_out(&self, app: &AppId) -> bool {
        self.refused.get(app).is_some_and(|refused| refused.out)
    }

    /// Whether another definition, or nothing, is served of an app: what it names may be mended at any time.
    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    /// All get another try.
    pub(super) fn retry(&mut self) {
        self.refused.clear();
        self.search = None;
    }

    /// Apps whose definition changed get another try; tasks that come and go change nothing.
    pub(super) fn forget_changed(&mut self, snapshot: &Snapshot) {
        self.refused.retain(|id, refused| snapshot.apps.get(id).is_some_and(|app| same_definition(app, &refused.app)));
    }

    /// Begins to search `suspects`, all of which are set aside. `out`: nothing of them can be served.
    pub(super) fn search(&mut self, suspects: BTreeSet<AppId>, said: String, out: bool) {
        self.search = Some(Search { halves: Halves::new(suspects, said), tried: BTreeSet::new(), out });
    }

    /// Whether there is a search.
    pub(super) fn is_searching(&self) -> bool {
        self.search.is_some()
    }

    /// Ends the search without a finding.
    pub(super) fn give_up(&mut self) {
        self.search = None;
    }

    /// Takes the search one step on: false when it is over, else a check of what is served now is
    /// due, whose result goes to `found`.
    pub(super) fn step(&mut self, snapshot: &Snapshot) -> bool {
        let Some(search) = &mut self.search else { return false };
        let mut blamed = Vec::new();
        let next = search.halves.next(&mut blamed);
        match next {
            Some(tried) => search.tried = tried,
            None => self.search = None,
        }
        for (id, said) in blamed {
            let Some(app) = snapshot.apps.get(&id) else { continue };
            self.refuse(app, Fault { label: None, said });
        }
        self.search.is_some()
    }

    /// What the check after `step` said: nothing, or why not. Whom it names of those tried is refused.
    pub(super) fn found(&mut self, snapshot: &Snapshot, refusal: Option<&Refusal>) {
        let Some(search) = &mut self.search else { return };
        let tried = std::mem::take(&mut search.tried);
        let Some(refusal) = refusal else { return search.halves.accepted() };
        let named: BTreeSet<_> = refusal.named.keys().filter(|app| tried.contains(*app)).cloned().collect();
        search.halves.refused(&named, &refusal.said);
        for id in named {
            if let (Some(app), Some(fault)) = (snapshot.apps.get(&id), refusal.named.get(&id)) {
                self.refuse(app, fault.clone());
            }
        }
    }

    /// The apps with the definitions that are to be served.
    pub(super) fn definitions<'a>(&self, snapshot: &'a Snapshot) -> Cow<'a, Snapshot> {
        let mut apps = Cow::Borrowed(snapshot);
        for id in self.refused.keys().chain(self.waiting()) {
            let Some(good) = self.served_instead(id) else { continue };
            let Some(app) = snapshot.apps.get(id).filter(|app| !same_definition(app, good)) else { continue };
            let instances = app.instances.clone();
            let served = App { instances, wanted: app.wanted, ..good.clone() };
            apps.to_mut().apps.insert(id.clone(), Arc::new(served));
        }
        apps
    }

    /// The apps of which nothing is to be served.
    pub(super) fn out(&self) -> BTreeSet<AppId> {
        let replaced = self.refused.keys().chain(self.waiting());
        replaced.filter(|id| self.served_instead(id).is_none()).cloned().collect()
    }

    /// An issue for each app that is not served as it is defined.
    pub(super) fn issues(&self) -> impl Iterator<Item = Issue> {
        let refused = self.refused.iter().map(|(id, refused)| {
            let problem = match refused.out {
                true => format!("out of service, HAProxy refuses it: {}", refused.fault.said),
                false => format!("HAProxy refuses it, what it was before is served: {}", refused.fault.said),
            };
            match &refused.fault.label {
                Some(label) => Issue::label(id, label, problem),
                None => Issue::app(id, problem),
            }
        });
        let waiting = self.waiting().map(|id| {
            Issue::app(id, "set aside: HAProxy refuses it or another app with it, and which one is being found out")
        });
        refused.chain(waiting)
    }

    /// Names and reasons, for the status.
    pub(super) fn report(&self) -> impl Iterator<Item = (String, String)> {
        self.refused.iter().map(|(app, refused)| (app.to_string(), refused.fault.said.clone()))
    }

    /// The apps that a search has set aside.
    fn waiting(&self) -> impl Iterator<Item = &AppId> {
        let search = self.search.iter();
        search.flat_map(|search| search.halves.apps().filter(|app| !search.tried.contains(*app)))
    }

    /// What is served of an app that is refused or set aside; none = nothing.
    fn served_instead(&self, id: &AppId) -> Option<&App> {
        let out = match self.refused.get(id) {
            Some(refused) => refused.out,
            None => self.search.as_ref().is_some_and(|search| search.out),
        };
        self.last_good(id).filter(|_| !out)
    }

    /// The definition of the app that HAProxy accepted last.
    fn last_good(&self, id: &AppId) -> Option<&App> {
        match self.earlier.get(id) {
            Some(earlier) => earlier.as_deref(),
            None => self.accepted.as_ref()?.apps.get(id).map(Arc::as_ref),
        }
    }
}

fn same_definition(a: &App, b: &App) -> bool {
    (&a.labels, &a.ports, &a.checks, a.networking) == (&b.labels, &b.ports, &b.checks, b.networking)
}
