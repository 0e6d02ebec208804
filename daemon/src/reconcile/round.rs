//! What a round of the loop is asked for, and the times that it waits for.
//!
//! Part of the reconcile loop; decides nothing.

use std::time::{Duration, Instant};

use haproxy::reload::queue::Pauses;

use crate::config::Config;

/// What is asked of the next round.
#[derive(Debug, Default, Clone)]
pub(super) struct Work {
    /// Why, for the log.
    pub(super) because: Vec<&'static str>,
}

impl Work {
    pub(super) fn because(reason: &'static str) -> Self {
        Self { because: vec![reason] }
    }

    /// This and what waited before it.
    pub(super) fn and(mut self, displaced: Self) -> Self {
        self.because.extend(displaced.because);
        self.because.sort_unstable();
        self.because.dedup();
        self
    }
}

/// Sets a timer where there is need of one and none runs, and ends it where there is none.
pub(super) fn schedule(timer: &mut Option<Instant>, needed: bool, at: Instant) {
    *timer = needed.then(|| timer.unwrap_or(at));
}

/// Waits for a time, or for ever where there is none.
pub(super) async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// The pauses that the operator asks for.
pub(super) fn pauses(config: &Config) -> Pauses {
    Pauses {
        settle: config.haproxy.settle.into(),
        settle_max: Duration::from(config.haproxy.settle) * 5,
        spacing: config.haproxy.min_reload_spacing.into(),
        ..Pauses::default()
    }
}
