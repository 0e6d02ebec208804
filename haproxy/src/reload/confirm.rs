//! The second half of the cycle: reload until a new worker answers with the digest, or go back.
//!
//! HAProxy before 2.7 answers nothing to `reload`; then the counters of `show proc` tell a failed
//! load from one still under way. Reloads close together (an operator's `kill -USR2`) can lose the
//! later configuration or the command, so what the new worker runs is compared and the reload repeated.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Before, Outcome, ReloadError, Reloader, blocking};
use crate::bundle::{Bundle, Digest};
use crate::check::said;
use crate::child::process::start_time;
use crate::disk::Previous;
use crate::master::{Info, MasterError, Processes, Reload};

/// A reload that did not come to its end.
#[derive(Debug)]
pub(super) struct Broken {
    error: ReloadError,
    /// What HAProxy said, from 2.7 on.
    log: String,
}

impl<E: Into<ReloadError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self { error: error.into(), log: String::new() }
    }
}

impl Reloader {
    /// Reloads until the new worker runs `digest`.
    pub(super) async fn reload_to(&self, digest: Digest, before: &Before) -> Result<Processes, Broken> {
        let mut worker = before.info.pid;
        let mut reloads = before.processes.master.reloads;
        for _ in 0..ATTEMPTS {
            let deadline = Instant::now() + self.times.reload;
            let silent = match self.trigger(before, deadline).await? {
                Reload::Silent => true,
                Reload::Answered { success: true, .. } => false,
                Reload::Answered { success: false, log } => return Err(Broken { error: ReloadError::LoadFailed, log }),
            };
            let Some((found, now)) = self.next_worker(before, worker, silent.then_some(reloads), deadline).await?
            else {
                continue;
            };
            if found.digest() == Some(digest) {
                return Ok(now);
            }
            (worker, reloads) = (found.pid, now.master.reloads);
        }
        let runs = self.master.running().await?;
        Err(ReloadError::Other { runs }.into())
    }

    /// Sends `reload`; while the master executes itself anew for somebody else, its socket refuses.
    async fn trigger(&self, before: &Before, deadline: Instant) -> Result<Reload, Broken> {
        loop {
            match self.master.reload(self.times.reload).await {
                Ok(answer) => return Ok(answer),
                Err(_) if start_time(before.processes.master.pid).is_none() => {
                    return Err(ReloadError::MasterGone.into());
                }
                Err(error @ MasterError::Unreachable { .. }) if error.may_pass() && Instant::now() < deadline => {
                    sleep(self.times.poll).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for whoever starts HAProxy for the first time.
    pub(super) async fn wait_for_start(&self, digest: Digest) -> Result<Processes, Broken> {
        let deadline = Instant::now() + self.times.reload;
        while Instant::now() < deadline {
            match self.look().await {
                Ok(found) if found.info.digest() == Some(digest) => return Ok(found.processes),
                // Started a moment before the bundle was made current.
                Ok(other) => return self.reload_to(digest, &other).await,
                Err(error) if error.may_pass() => sleep(self.times.poll).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ReloadError::Slow { limit: self.times.reload }.into())
    }

    /// The first worker after `worker`, and the processes then. After a silent reload, `reloads` is
    /// the count before it; none if that reload got lost in a reload by somebody else.
    async fn next_worker(
        &self,
        before: &Before,
        worker: u32,
        reloads: Option<u32>,
        deadline: Instant,
    ) -> Result<Option<(Info, Processes)>, Broken> {
        let master = before.processes.master.pid;
        let lost = Instant::now() + LOST;
        while Instant::now() < deadline {
            match self.master.processes().await {
                Ok(now) if now.master.pid != master => return Err(ReloadError::MasterGone.into()),
                Ok(now) if reloads.is_some_and(|reloads| now.master.reloads <= reloads) => {
                    if Instant::now() >= lost {
                        return Ok(None);
                    }
                }
                Ok(now) if reloads.is_some() && now.failed > 0 => return Err(ReloadError::LoadFailed.into()),
                Ok(now) => match self.master.info().await {
                    Ok(info) if info.pid != worker => return Ok(Some((info, now))),
                    Err(error) if !error.may_pass() => return Err(error.into()),
                    Ok(_) | Err(_) => (),
                },
                Err(error) if !error.may_pass() => return Err(error.into()),
                Err(_) if start_time(master).is_none() => return Err(ReloadError::MasterGone.into()),
                Err(_) => (),
            }
            sleep(self.times.poll).await;
        }
        Err(ReloadError::Slow { limit: self.times.reload }.into())
    }

    /// Puts the disk back and, if the old worker does not serve any more, HAProxy too.
    pub(super) async fn revert(
        &self,
        bundle: &Arc<Bundle>,
        before: Option<&Before>,
        previous: Previous,
        broken: Broken,
    ) -> Outcome {
        let Broken { error: because, log } = broken;
        let disk = self.disk.clone();
        let to = match blocking(move || disk.put_back(&previous)).await {
            Ok(to) => to,
            Err(undo) => return Outcome::Failed { error: because, undo: Some(undo.into()) },
        };
        let Some(before) = before.filter(|_| !matches!(because, ReloadError::MasterGone)) else {
            return Outcome::Failed { error: because, undo: None };
        };
        if let Err(Broken { error: undo, .. }) = self.restore(to, before, &because).await {
            return Outcome::Failed { error: because, undo: Some(undo) };
        }
        let said = said::parse(&log, &self.disk.config(), bundle.owners());
        let unbindable = self.unbindable(bundle, Some(before)).await;
        Outcome::Reverted { to, because, said, unbindable }
    }

    /// Makes sure that the worker of before the reload, or one with `to`, serves.
    async fn restore(&self, to: Option<Digest>, before: &Before, because: &ReloadError) -> Result<(), Broken> {
        let Some(now) = self.before().await? else { return Err(ReloadError::MasterGone.into()) };
        // A slow worker may still come up with the bad bundle: only a further reload replaces it.
        let late = matches!(because, ReloadError::Slow { .. });
        if now.info.pid == before.info.pid && !late {
            return Ok(());
        }
        match to {
            Some(digest) => self.reload_to(digest, &now).await.map(drop),
            None => {
                let deadline = Instant::now() + self.times.reload;
                self.trigger(&now, deadline).await?;
                self.next_worker(&now, now.info.pid, None, deadline).await.map(drop)
            }
        }
    }
}

/// A reload is repeated when the new worker had read an earlier configuration, or it got lost.
const ATTEMPTS: u32 = 5;

/// A master that answers and has not begun to reload after this long will not: 2.6 begins before
/// it does anything else.
const LOST: Duration = Duration::from_millis(500);
