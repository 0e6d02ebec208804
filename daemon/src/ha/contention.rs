//! Two hosts that both act as Active: when it began, and that it lasts.
//!
//! Used by the `vip` task with every status of the VRRP thread. A moment of it belongs to every
//! failback; only what comes again counts.
#![allow(clippy::disallowed_methods, reason = "says since when things are as they are")]

use std::time::{Duration, Instant, SystemTime};

use vrrp::linux::report::RouterStatus;
use vrrp::machine::io::Count;

use crate::status::seconds;

/// What is known about one router.
#[derive(Debug, Default)]
pub(super) struct Contention {
    counted: u64,
    episode: Option<Episode>,
}

#[derive(Debug)]
struct Episode {
    began: Instant,
    since: f64,
    last: Instant,
    told: bool,
}

impl Contention {
    /// Takes note of a status; since when there is a lasting contention.
    pub(super) fn note(&mut self, status: &RouterStatus) -> Option<f64> {
        let count = |kind| status.counts.get(&kind).copied().unwrap_or(0);
        let counted = count(Count::Contention) + count(Count::Rival);
        let (before, now) = (std::mem::replace(&mut self.counted, counted), Instant::now());
        self.step(counted > before, &status.name, now)
    }

    fn step(&mut self, again: bool, name: &str, now: Instant) -> Option<f64> {
        self.episode = self.episode.take().filter(|episode| now.duration_since(episode.last) < OVER);
        if again {
            let new = || Episode { began: now, since: seconds(SystemTime::now()), last: now, told: false };
            self.episode.get_or_insert_with(new).last = now;
        }
        let episode = self.episode.as_mut().filter(|episode| episode.last.duration_since(episode.began) >= LASTS)?;
        if !std::mem::replace(&mut episode.told, true) {
            log::error!(vrrp = name; "{name}: another host acts as Active, too: it does not hear this one, or will not");
        }
        Some(episode.since)
    }
}

/// From then on it is no mere moment.
const LASTS: Duration = Duration::from_secs(2);

/// Quiet for so long, it is over.
const OVER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_told_and_quiet_ends_it() {
        let (mut contention, start) = (Contention::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(contention.step(true, "r", at(0)), None);
        assert_eq!(contention.step(false, "r", at(3)), None);
        assert!(contention.step(true, "r", at(4)).is_some());
        assert!(contention.step(false, "r", at(13)).is_some());
        assert_eq!(contention.step(false, "r", at(14)), None);
    }
}
