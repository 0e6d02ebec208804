//! Takes apps out, or puts them back, until HAProxy accepts the rest.
//!
//! Called by the reconcile loop when `haproxy -c` refuses a configuration. Whom HAProxy names by line
//! is believed where its definition is new. Else everything new is set aside, so that the others
//! go on, and searched by halves. Every step is a build and a check, and their number is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use haproxy::app::{AppId, Snapshot};
use haproxy::bundle::Bundle;
use haproxy::check::{CheckError, Rejected, Verdict, blame};
use haproxy::reload::{Outcome, ReloadError, Reloader};

use super::build::{self, Builder, Built, Kept};
use super::left_out::LeftOut;
use super::refused::Fault;

/// Why HAProxy does not take a configuration.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The apps that it names.
    pub(super) named: BTreeMap<AppId, Fault>,
    /// All its words.
    pub(super) said: String,
    /// It did not answer in time.
    slow: bool,
}

impl Refusal {
    /// What `outcome` says against the configuration; none where that is not to blame.
    pub(super) fn of(outcome: &Outcome, built: &Built, snapshot: &Snapshot) -> Option<Self> {
        match outcome {
            Outcome::Rejected(rejected) => Some(Self::rejected(rejected, built, snapshot)),
            Outcome::Failed { error: ReloadError::Check(error), .. } => Self::broken(error),
            _ => None,
        }
    }

    fn rejected(rejected: &Rejected, built: &Built, snapshot: &Snapshot) -> Self {
        let mut named: BTreeMap<AppId, Fault> = BTreeMap::new();
        for said in &rejected.said {
            let app = said.owner.as_ref().and_then(|owner| snapshot.apps.get(&owner.app));
            let Some(app) = app else { continue };
            let label = blame::label(said, &built.bundle, app);
            match named.get_mut(&app.id) {
                None => {
                    named.insert(app.id.clone(), Fault { label, said: said.to_string() });
                }
                Some(fault) => {
                    fault.said = format!("{}; {said}", fault.said);
                    fault.label = fault.label.take().or(label);
                }
            }
        }
        let said: Vec<_> = rejected.said.iter().map(ToString::to_string).collect();
        Self { named, said: said.join("; "), slow: false }
    }

    fn broken(error: &CheckError) -> Option<Self> {
        let refusal = Self { named: BTreeMap::new(), said: error.to_string(), slow: error.is_slow() };
        error.may_be_the_bundles().then_some(refusal)
    }
}

/// Who asks HAProxy about a configuration.
pub(super) trait Checker {
    /// Asks.
    fn check(&mut self, bundle: &Bundle) -> impl Future<Output = Result<Verdict, CheckError>> + Send;
}

impl Checker for Reloader {
    async fn check(&mut self, bundle: &Bundle) -> Result<Verdict, CheckError> {
        Self::check(self, bundle).await
    }
}

/// A repair under way.
pub(super) struct Repair<'a, C> {
    pub(super) builder: &'a Builder,
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) left_out: &'a mut LeftOut,
    pub(super) kept: &'a mut Kept,
    pub(super) checker: &'a mut C,
}

/// What came of asking once.
enum Answer {
    Accepted,
    Refused(Refusal),
    /// HAProxy cannot be asked.
    None,
}

impl<C: Checker> Repair<'_, C> {
    /// Makes HAProxy accept what is left, given why it refused it; false if no app is to blame. A
    /// search may remain, for [`Repair::search`].
    ///
    /// # Errors
    /// When a template fails: no app can cause that.
    pub(super) async fn repair(&mut self, mut refusal: Refusal) -> anyhow::Result<bool> {
        let trusted = self.left_out.apps.has_accepted();
        let mut by_name = if trusted { NAMED } else { NAMED_AT_START };
        for _ in 0..MOST_ROUNDS {
            let suspects = self.left_out.apps.suspects(self.snapshot);
            let named = refusal.named.keys().filter(|app| suspects.contains(app)).cloned().collect::<BTreeSet<_>>();
            if !named.is_empty() && by_name > 0 {
                by_name -= 1;
                self.refuse(&refusal, &named);
            } else {
                if trusted && !suspects.is_empty() {
                    self.left_out.apps.search(suspects, refusal.said.clone(), false);
                    match self.ask().await? {
                        Answer::Accepted => return Ok(true),
                        Answer::Refused(without) => refusal = without,
                        Answer::None => return Ok(false),
                    }
                    self.left_out.apps.give_up();
                }
                // What is not new is refused as well: something that it names is not what it was.
                let named = refusal.named.keys().filter(|app| !self.left_out.apps.is_out(app));
                let named = named.cloned().collect::<BTreeSet<_>>();
                if named.is_empty() {
                    return self.everybody(&refusal).await;
                }
                self.refuse(&refusal, &named);
            }
            match self.ask().await? {
                Answer::Accepted => return Ok(true),
                Answer::Refused(more) => refusal = more,
                Answer::None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Takes the search on, by about so many checks.
    ///
    /// # Errors
    /// When a template fails: no app can cause that.
    pub(super) async fn search(&mut self, mut checks: usize) -> anyhow::Result<()> {
        while checks > 0 && self.left_out.apps.step(self.snapshot) {
            let refusal = match self.ask().await? {
                Answer::Accepted => None,
                Answer::Refused(refusal) => Some(refusal),
                // The next round meets the same trouble, says so and waits before it tries again.
                Answer::None => {
                    self.left_out.apps.give_up();
                    break;
                }
            };
            let slow = refusal.as_ref().is_some_and(|refusal| refusal.slow);
            checks = checks.saturating_sub(if slow { SLOW } else { 1 });
            self.left_out.apps.found(self.snapshot, refusal.as_ref());
        }
        Ok(())
    }

    /// Nothing tells whose fault it is, new or not: HAProxy is asked without any app first, and then
    /// half by half.
    async fn everybody(&mut self, refusal: &Refusal) -> anyhow::Result<bool> {
        let apps = self.snapshot.apps.keys().filter(|app| !self.left_out.apps.is_out(app)).cloned().collect();
        self.left_out.apps.search(apps, refusal.said.clone(), true);
        if !matches!(self.ask().await?, Answer::Accepted) {
            self.left_out.apps.give_up();
            return Ok(false);
        }
        self.search(SEARCH_OF_ALL).await?;
        Ok(true)
    }

    fn refuse(&mut self, refusal: &Refusal, apps: &BTreeSet<AppId>) {
        for (id, fault) in refusal.named.iter().filter(|(id, _)| apps.contains(*id)) {
            if let Some(app) = self.snapshot.apps.get(id) {
                self.left_out.apps.refuse(app, fault.clone());
            }
        }
    }

    async fn ask(&mut self) -> anyhow::Result<Answer> {
        let built = build::whole(self.builder, self.snapshot, self.left_out, self.kept).await?;
        Ok(match self.checker.check(&built.bundle).await {
            Ok(Verdict::Accepted { .. }) => Answer::Accepted,
            Ok(Verdict::Rejected(rejected)) => Answer::Refused(Refusal::rejected(&rejected, &built, self.snapshot)),
            Err(error) => Refusal::broken(&error).map_or(Answer::None, Answer::Refused),
        })
    }
}

/// HAProxy names all that it finds at one stage of reading, and there are few stages. Who is not
/// named by then is set aside, so that the others need not wait.
const NAMED: usize = 3;

/// As [`NAMED`], where nothing was ever accepted that the others could go on with.
const NAMED_AT_START: usize = 20;

/// All rounds together.
const MOST_ROUNDS: usize = 30;

/// Checks of a search while others wait that are served meanwhile.
pub(super) const SEARCH: usize = 5;

/// Checks of a search without which nobody is served.
const SEARCH_OF_ALL: usize = 64;

/// A check that hangs takes seconds: it counts as so many.
const SLOW: usize = 3;

#[cfg(test)]
mod tests;
