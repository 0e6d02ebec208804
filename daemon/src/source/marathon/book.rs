//! What is known of all apps: answers and events merged, in whatever order they come.
//!
//! Owned by `refetch`; pure, time is an argument. The rule: **the answer that was asked for last
//! wins**, app by app, because it tells of everything that had happened when it was asked for. An
//! event acts at once and against every answer asked for before it; a task that an event ended
//! stays ended for a while whatever any answer says.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use haproxy::app::{App, AppId, Health, Instance, Networking, TaskState};
use haproxy::issue::Issue;

use super::event::Fate;
use super::wire::Answer;

/// When something was asked for or heard. Ordered, also where the clock stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    number: u64,
    at: Instant,
}

/// The apps as known now.
#[derive(Debug, Default)]
pub struct Book {
    apps: BTreeMap<AppId, Arc<App>>,
    issues: Vec<Issue>,
    /// Moments so far.
    count: u64,
    /// When the list that is in here was asked for.
    all: Option<Moment>,
    /// Apps that were asked for one by one after that, found or not.
    singly: BTreeMap<AppId, Moment>,
    fates: HashMap<String, Told>,
    /// Tasks from the store or held by the guard: no answer vouches for them.
    unconfirmed: BTreeSet<String>,
    changed: bool,
}

/// What an event said about a task.
#[derive(Debug)]
struct Told {
    fate: Fate,
    app: AppId,
    at: Moment,
    /// An answer asked for later lists it all the same.
    denied: bool,
}

/// One port of one task.
pub type Endpoint = (String, u16);

/// What an answer would take away.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The endpoints that the answer decides about.
    pub of: usize,
    /// Those that it no longer has.
    pub lost: HashSet<Endpoint>,
}

impl Book {
    /// What the store remembers; none of it is confirmed.
    pub fn restored(apps: BTreeMap<AppId, Arc<App>>) -> Self {
        let unconfirmed = tasks(&apps).map(|task| task.id.clone()).collect();
        Self { apps, unconfirmed, ..Self::default() }
    }

    /// Stamps a request that starts now.
    pub fn ask(&mut self, now: Instant) -> Moment {
        self.count += 1;
        Moment { number: self.count, at: now }
    }

    /// An event said this about a task.
    pub fn told(&mut self, app: &AppId, task: &str, fate: Fate, now: Instant) {
        let at = self.ask(now);
        let known = self.fates.get(task).is_some_and(|told| told.fate == Fate::Ended);
        let fate = if known { Fate::Ended } else { fate };
        let told = Told { fate, app: app.clone(), at, denied: false };
        self.fates.insert(task.to_owned(), told);
        let Some(app) = self.apps.get_mut(app) else { return };
        let Some(index) = app.instances.iter().position(|instance| instance.id == task) else { return };
        match fate {
            Fate::Ended => {
                Arc::make_mut(app).instances.remove(index);
                self.unconfirmed.remove(task);
                self.changed = true;
            }
            Fate::Going if app.instances[index].state != TaskState::Killing => {
                Arc::make_mut(app).instances[index].state = TaskState::Killing;
                self.changed = true;
            }
            Fate::Going => (),
        }
    }

    /// The answer about one app: as it is, or none where it does not exist or cannot be served.
    /// False when a newer answer is here already. One that cannot be read stays as it was.
    pub fn take_app(&mut self, asked: Moment, id: &AppId, app: Option<App>, issues: Vec<Issue>) -> bool {
        if self.known_since(id) >= Some(asked) {
            return false;
        }
        self.singly.insert(id.clone(), asked);
        if app.is_none() && !issues.is_empty() {
            self.doubt(id);
        } else {
            self.replace(asked, id, app);
        }
        let others = self.issues.iter().filter(|issue| issue.app != id.as_str()).cloned();
        let mut issues: Vec<_> = others.chain(issues).collect();
        issues.sort();
        issues.dedup();
        self.changed |= issues != self.issues;
        self.issues = issues;
        true
    }

    /// The answer about all apps. What was asked for singly since then stays. Gives the apps that
    /// it takes away, and those that are in it and cannot be read: they stay as they were.
    pub fn take_all(&mut self, asked: Moment, answer: Answer) -> Vec<AppId> {
        let Answer { mut apps, issues } = answer;
        self.singly.retain(|_, at| *at > asked);
        let newer: BTreeSet<_> = self.singly.keys().cloned().collect();
        for id in &newer {
            apps.remove(id);
        }
        let gone = self.apps.keys().filter(|id| !apps.contains_key(id) && !newer.contains(id));
        let gone: Vec<_> = gone.cloned().collect();
        let unread: Vec<_> = gone.iter().filter(|id| is_unread(id, &issues)).collect();
        for id in gone.iter().filter(|id| !unread.contains(id)) {
            self.replace(asked, id, None);
        }
        // An answer for every app: singly for some, this one for the rest.
        self.unconfirmed.clear();
        for id in unread {
            self.doubt(id);
        }
        for (id, app) in apps {
            self.replace(asked, &id, Some(Arc::unwrap_or_clone(app)));
        }
        let singly = |issue: &Issue| newer.iter().any(|id| id.as_str() == issue.app);
        let kept = self.issues.iter().filter(|issue| singly(issue)).cloned();
        let mut issues: Vec<_> = kept.chain(issues.into_iter().filter(|issue| !singly(issue))).collect();
        issues.sort();
        issues.dedup();
        self.changed |= issues != self.issues;
        self.issues = issues;
        self.all = Some(asked);
        gone
    }

    /// What this answer about all apps would take away.
    pub fn loss(&self, asked: Moment, answer: &Answer) -> Loss {
        let there: HashSet<_> = endpoints(tasks(&answer.apps)).collect();
        let decided = self
            .apps
            .iter()
            .filter(|(id, _)| self.singly.get(id).is_none_or(|at| *at < asked) && !is_unread(id, &answer.issues));
        let have: Vec<_> = endpoints(decided.flat_map(|(_, app)| &app.instances)).collect();
        let lost = have.iter().filter(|endpoint| !there.contains(endpoint)).cloned();
        Loss { of: have.len(), lost: lost.map(|(id, port)| (id.to_owned(), port)).collect() }
    }

    /// Whether any of these is still there, or any app at all where they are none.
    pub fn has_any(&self, wanted: &HashSet<Endpoint>) -> bool {
        match wanted.is_empty() {
            true => !self.apps.is_empty(),
            false => endpoints(tasks(&self.apps)).any(|(id, port)| wanted.contains(&(id.to_owned(), port))),
        }
    }

    /// The guard holds this answer back: what it lacks stays, unconfirmed, save what it gives to
    /// another app.
    pub fn hold(&mut self, asked: Moment, answer: &Answer) {
        let listed: HashSet<_> = tasks(&answer.apps).map(|task| task.id.as_str()).collect();
        let decided = self.apps.iter().filter(|(id, _)| self.singly.get(id).is_none_or(|at| *at < asked));
        for task in decided.flat_map(|(_, app)| &app.instances) {
            if listed.contains(task.id.as_str()) {
                self.unconfirmed.remove(&task.id);
            } else {
                self.unconfirmed.insert(task.id.clone());
            }
        }
        self.drop_reused(answer.apps.values().map(AsRef::as_ref));
    }

    /// Ends what was remembered long enough; gives the apps about whose tasks an answer and an
    /// event disagreed, now that such an answer would be believed.
    pub fn forget(&mut self, now: Instant) -> BTreeSet<AppId> {
        let age = |told: &Told| now.saturating_duration_since(told.at.at);
        let denied = self.fates.values_mut().filter(|told| told.denied && age(told) >= SETTLED);
        let again = denied.map(|told| {
            told.denied = false;
            told.app.clone()
        });
        let again = again.collect();
        self.fates.retain(|_, told| age(told) < REMEMBERED);
        again
    }

    /// The apps.
    pub fn apps(&self) -> &BTreeMap<AppId, Arc<App>> {
        &self.apps
    }

    /// Tasks that are served although no answer vouches for them.
    pub fn unconfirmed(&self) -> &BTreeSet<String> {
        &self.unconfirmed
    }

    /// What is in here is to be published, although nothing changed.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether anything changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All of it, to be published.
    pub fn answer(&self) -> Answer {
        Answer { apps: self.apps.clone(), issues: self.issues.clone() }
    }

    fn known_since(&self, id: &AppId) -> Option<Moment> {
        self.singly.get(id).copied().or(self.all)
    }

    /// Puts what an answer says in the place of what was known of the app.
    fn replace(&mut self, asked: Moment, id: &AppId, app: Option<App>) {
        let app = app.map(|mut app| {
            self.believe_events(asked, &mut app);
            if let Some(known) = self.apps.get(id) {
                recall(&known.instances, &mut app.instances);
            }
            app
        });
        if app.as_ref() == self.apps.get(id).map(AsRef::as_ref) {
            self.confirm(id);
            return;
        }
        self.confirm(id);
        self.changed = true;
        match app {
            None => {
                self.apps.remove(id);
            }
            Some(app) => {
                self.drop_reused(std::iter::once(&app));
                self.apps.insert(id.clone(), Arc::new(app));
            }
        }
    }

    /// What was known of this app's tasks is replaced by an answer, so none of it is in doubt.
    fn confirm(&mut self, id: &AppId) {
        if self.unconfirmed.is_empty() {
            return;
        }
        for task in self.apps.get(id).into_iter().flat_map(|app| &app.instances) {
            self.unconfirmed.remove(&task.id);
        }
    }

    /// Nothing vouches for this app's tasks.
    fn doubt(&mut self, id: &AppId) {
        let tasks = self.apps.get(id).into_iter().flat_map(|app| &app.instances);
        self.unconfirmed.extend(tasks.map(|task| task.id.clone()));
    }

    fn believe_events(&mut self, asked: Moment, app: &mut App) {
        let fates = &mut self.fates;
        app.instances.retain_mut(|instance| {
            let Some(told) = fates.get_mut(&instance.id) else { return true };
            match told.fate {
                Fate::Ended if asked.at.saturating_duration_since(told.at.at) >= SETTLED => {
                    fates.remove(&instance.id);
                    true
                }
                Fate::Ended => {
                    told.denied |= asked > told.at && instance.state != TaskState::Ended;
                    false
                }
                Fate::Going => {
                    if asked < told.at && instance.state != TaskState::Ended {
                        instance.state = TaskState::Killing;
                    }
                    true
                }
            }
        });
    }

    /// Agents give a port to another task once its task is gone: a task in doubt whose place is
    /// taken by a task of another of `apps` is gone.
    fn drop_reused<'a>(&mut self, apps: impl Iterator<Item = &'a App>) {
        if self.unconfirmed.is_empty() {
            return;
        }
        let mut taken = HashMap::new();
        for app in apps {
            taken.extend(app.instances.iter().flat_map(|task| places(app, task)).map(|place| (place, &app.id)));
        }
        for (id, app) in &mut self.apps {
            let lost = |task: &Instance| places(app, task).any(|at| taken.get(&at).is_some_and(|by| *by != id));
            let doubtful = app.instances.iter().filter(|task| self.unconfirmed.contains(&task.id));
            let gone: BTreeSet<_> = doubtful.filter(|task| lost(task)).map(|task| task.id.clone()).collect();
            if !gone.is_empty() {
                Arc::make_mut(app).instances.retain(|task| !gone.contains(&task.id));
                self.unconfirmed.retain(|task| !gone.contains(task));
                self.changed = true;
            }
        }
    }
}

/// Whether an answer that lacks the app does so because it cannot be read.
fn is_unread(id: &AppId, issues: &[Issue]) -> bool {
    issues.iter().any(|issue| issue.app == id.as_str())
}

fn tasks(apps: &BTreeMap<AppId, Arc<App>>) -> impl Iterator<Item = &Instance> {
    apps.values().flat_map(|app| &app.instances)
}

/// The ports of tasks that may serve.
fn endpoints<'a>(tasks: impl Iterator<Item = &'a Instance>) -> impl Iterator<Item = (&'a str, u16)> {
    let serving = tasks.filter(|task| matches!(task.state, TaskState::Running | TaskState::Unreachable));
    serving.flat_map(|task| task.ports.iter().flatten().map(|port| (task.id.as_str(), *port)))
}

/// Where a task listens: host and port, and on a container network its own address as well.
fn places<'a>(app: &App, task: &'a Instance) -> impl Iterator<Item = (&'a str, Option<IpAddr>, u16)> + use<'a> {
    let addr = task.addr.filter(|_| app.networking == Networking::Container);
    let there = task.state != TaskState::Ended;
    task.ports.iter().flatten().filter(move |_| there).map(move |port| (task.host.as_str(), addr, *port))
}

/// Marathon keeps the results of its own checks in the leader's memory: after a leader change they
/// are missing until the next check. A task of which nothing is said keeps what was last said.
fn recall(known: &[Instance], answered: &mut [Instance]) {
    let silent = answered.iter().any(|task| task.health == Health::Unknown);
    if !silent || known.iter().all(|task| task.health == Health::Unknown) {
        return;
    }
    let verdicts: HashMap<_, _> = known.iter().map(|task| (task.id.as_str(), task.health)).collect();
    for task in answered.iter_mut().filter(|task| task.health == Health::Unknown) {
        task.health = verdicts.get(task.id.as_str()).copied().unwrap_or_default();
    }
}

/// After which an answer that lists a task as running is believed although an event ended it:
/// Marathon up to 1.3 starts a resident task again under the same id.
pub const SETTLED: Duration = Duration::from_secs(10);

/// Longer than any answer is on its way.
pub const REMEMBERED: Duration = Duration::from_secs(240);

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;
