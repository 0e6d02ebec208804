//! Servers that nobody vouches for: they serve once HAProxy's own check of them passed.
//!
//! Used by the reconcile loop after a start of HAProxy with apps from memory. A server that was just
//! loaded counts as up until its checks fail; here it counts as down until they pass.

use std::collections::BTreeSet;
use std::time::Duration;

use super::command::Command;
use super::reply::{FAILED, NO_RESULT};
use super::{Client, RuntimeError, Worker, reply};
use crate::diff::Place;

impl Client {
    /// Takes those of `places` for down that HAProxy checks and has no result of yet; gives them.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn doubt(&self, worker: &Worker, places: &BTreeSet<Place>) -> Result<BTreeSet<Place>, RuntimeError> {
        self.judge(worker, places, |result| result == NO_RESULT, "down").await
    }

    /// Takes those of `places` for up whose check has not failed.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn trust(&self, worker: &Worker, places: &BTreeSet<Place>) -> Result<(), RuntimeError> {
        self.judge(worker, places, |result| result != FAILED, "up").await.map(drop)
    }

    /// Whether HAProxy was started, not reloaded, a moment ago.
    pub async fn is_fresh(&self) -> bool {
        self.master.processes().await.is_ok_and(|found| found.master.uptime < FRESH)
    }

    async fn judge(
        &self,
        worker: &Worker,
        places: &BTreeSet<Place>,
        which: impl Fn(u32) -> bool,
        health: &str,
    ) -> Result<BTreeSet<Place>, RuntimeError> {
        let judge = async {
            let (mut connection, _) = self.open(Some(worker)).await?;
            let show = Command::show_servers();
            let replies = connection.carry_out(std::slice::from_ref(&show)).await?;
            let reply = replies.into_iter().next().unwrap_or_default();
            let found = reply::checks(&reply).ok_or_else(|| RuntimeError::refused(&show, &reply))?;
            let of = |place: &Place| found.get(place.backend.as_str())?.get(&place.server).copied();
            let chosen: BTreeSet<Place> =
                places.iter().filter(|place| of(place).is_some_and(&which)).cloned().collect();
            let commands: Vec<_> = chosen.iter().map(|place| Command::health(place, health)).collect();
            connection.carry_out(&commands).await?;
            Ok(chosen)
        };
        self.bounded(super::READ_BACK + places.len(), judge).await
    }
}

/// Slow checks have no result for so long after a start.
const FRESH: Duration = Duration::from_secs(60);
