//! How long to wait before the next try. Pure: the jitter is an argument.

use std::time::Duration;

/// Waits that grow by half each time, up to a limit.
#[derive(Debug, Clone)]
pub struct Backoff {
    start: Start,
    limit: Duration,
    /// The upper end of the next wait; none = try at once.
    next: Option<Duration>,
}

/// What the first wait after a good time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// None at all, then from this on.
    AtOnce(Duration),
    /// This.
    After(Duration),
}

impl Backoff {
    /// Waits that start as given and never exceed `limit`.
    pub fn new(start: Start, limit: Duration) -> Self {
        let mut backoff = Self { start, limit, next: None };
        backoff.reset();
        backoff
    }

    /// After a good time: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next = match self.start {
            Start::AtOnce(_) => None,
            Start::After(first) => Some(first),
        };
    }

    /// After a failure: how long to wait. `jitter` in 0..1 spreads the wait over the upper half of
    /// its length, so that two nodes do not stay in step.
    pub fn failed(&mut self, jitter: f64) -> Duration {
        let (Start::AtOnce(first) | Start::After(first)) = self.start;
        let Some(longest) = self.next else {
            self.next = Some(first);
            return Duration::ZERO;
        };
        let longest = longest.min(self.limit);
        self.next = Some(longest.mul_f64(1.5).min(self.limit));
        longest.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// A number in 0..1 that differs from call to call and node to node. Not for secrets.
pub fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(random).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut backoff: Backoff, jitter: f64, n: usize) -> Vec<f64> {
        (0..n).map(|_| backoff.failed(jitter).as_secs_f64()).collect()
    }

    #[test]
    fn waits_grow_by_half_up_to_the_limit() {
        let (first, limit) = (Duration::from_secs(3), Duration::from_secs(10));
        let eager = || Backoff::new(Start::AtOnce(first), limit);
        assert_eq!(waits(eager(), 1.0, 6), [0.0, 3.0, 4.5, 6.75, 10.0, 10.0]);
        assert_eq!(waits(eager(), 0.0, 6), [0.0, 1.5, 2.25, 3.375, 5.0, 5.0]);
        assert_eq!(waits(Backoff::new(Start::After(first), limit), 1.0, 3), [3.0, 4.5, 6.75]);
        assert_eq!(waits(Backoff::new(Start::After(first), Duration::from_secs(1)), 1.0, 2), [1.0, 1.0]);
        let mut used = eager();
        used.failed(0.5);
        used.failed(0.5);
        used.reset();
        assert_eq!(waits(used, 1.0, 2), [0.0, 3.0]);
    }

    #[test]
    fn jitter_differs_and_stays_in_range() {
        let many: Vec<_> = (0..100).map(|_| jitter()).collect();
        assert!(many.iter().all(|j| (0.0..1.0).contains(j)));
        assert!(many.iter().any(|j| *j != many[0]));
    }
}
