//! What the loop does so that a refused app or listener costs nobody else.
//!
//! Part of the loop's task: remembers what was accepted, takes a search on between rounds, tries
//! refused listeners again, leaves them out.
#![allow(clippy::disallowed_methods, reason = "schedules retries")]

use std::sync::Arc;
use std::time::Instant;

use haproxy::app::Snapshot;
use haproxy::preflight::Unbindable;
use haproxy::reload::Reloader;

use super::build::Built;
use super::repair::{self, Repair};
use super::{RETRY_LISTENERS, Reconcile, Task, Work};

impl Task {
    /// HAProxy runs what was made from these apps.
    pub(super) async fn accepted(&mut self, snapshot: &Arc<Snapshot>) {
        self.left_out.apps.accepted(snapshot);
        self.remembered.keep(self.left_out.apps.replacements()).await;
    }

    /// Takes the search for whom HAProxy refuses a step on, while all others are served.
    pub(super) async fn search(&mut self, snapshot: &Arc<Snapshot>) -> anyhow::Result<()> {
        if self.left_out.apps.is_searching() {
            self.repairer(snapshot).search(repair::SEARCH).await?;
            self.reporter.checked(self.inputs.reloader.checks());
            self.want(Work::because("telling apart what HAProxy refuses together"));
        }
        Ok(())
    }

    /// Listeners that the kernel refused get another try if it does not refuse them any more.
    pub(super) async fn probe_listeners(&mut self) {
        let binds = self.left_out.binds();
        let count = binds.len();
        self.retry_listeners = None;
        match self.inputs.reloader.probe(binds).await {
            Ok(refused) if refused.len() < count => {
                self.left_out.retry_listeners_but(&refused);
                self.want(Work::because("refused listeners are free"));
            }
            Ok(_) => self.retry_listeners = Some(Instant::now() + RETRY_LISTENERS),
            Err(why) => {
                log::debug!("probe refused listeners: {why}");
                self.retry_listeners = Some(Instant::now() + RETRY_LISTENERS);
            }
        }
    }

    pub(super) fn repairer<'a>(&'a mut self, snapshot: &'a Arc<Snapshot>) -> Repair<'a, Reloader> {
        let Reconcile { builder, reloader, .. } = &mut self.inputs;
        Repair { builder, snapshot, left_out: &mut self.left_out, kept: &mut self.kept, checker: reloader }
    }

    /// Leaves out the apps' listeners that the kernel refuses; false if one is not an app's.
    pub(super) fn leave_out_listeners(&mut self, refused: &[Unbindable], built: &Built) -> bool {
        let is_dynamic =
            |refused: &Unbindable| refused.bind.owner.is_none() && built.state.dynamic.has(refused.bind.port);
        if refused.is_empty() || refused.iter().any(|one| one.bind.owner.is_none() && !is_dynamic(one)) {
            return false;
        }
        for unbindable in refused {
            if is_dynamic(unbindable) {
                self.left_out.taken(unbindable);
            }
            let mine = built.state.frontends.iter().filter(|(_, frontend)| {
                Some(&frontend.owner.app) == unbindable.bind.owner.as_ref() && frontend.port == unbindable.bind.port
            });
            for (id, _) in mine {
                self.left_out.unbindable(id.clone(), unbindable);
            }
        }
        true
    }
}
