//! What a client noted: every probe, and what is said of an outage by them.
//!
//! Filled by [`probe`](super); read by tests, the benchmark and the demo. Plain values.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server of this name answered.
    Answered(Arc<str>),
    /// Refused, reset, or another status than 200.
    Failed(Arc<str>),
    /// Nothing came in time.
    Lost,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// When it was sent.
    pub sent: Instant,
    /// When it was answered, failed or given up.
    pub ended: Instant,
    /// How it ended.
    pub outcome: Outcome,
}

impl Probe {
    fn answerer(&self) -> Option<&Arc<str>> {
        match &self.outcome {
            Outcome::Answered(by) => Some(by),
            Outcome::Failed(_) | Outcome::Lost => None,
        }
    }
}

/// Everything that a client noted, in the order of the probes' ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// When it began.
    pub began: Instant,
    /// From one probe to the next.
    pub spacing: Duration,
    /// The probes.
    pub probes: Vec<Probe>,
    /// Probes left out because the client itself was late.
    pub skipped: u32,
    /// How late the client itself was at most.
    pub latest: Duration,
}

impl Log {
    /// An empty one.
    pub fn new(began: Instant, spacing: Duration) -> Self {
        Self { began, spacing, probes: Vec::new(), skipped: 0, latest: Duration::ZERO }
    }

    pub(super) fn late(&mut self, by: Duration) {
        self.latest = self.latest.max(by);
    }

    /// The longest time without an answer: between two consecutive ones, less the spacing. A server that answers late,
    /// because the machine is busy, counts.
    pub fn gap(&self) -> Duration {
        self.longest(self.answered().map(|probe| probe.ended).collect())
    }

    /// The longest time in which a probe had to be sent to be answered never, or more than the patience later: between
    /// two consecutive ones that were answered, less the spacing.
    pub fn outage(&self) -> Duration {
        let mut sent: Vec<_> = self.answered().map(|probe| probe.sent).collect();
        sent.sort();
        self.longest(sent)
    }

    fn longest(&self, times: Vec<Instant>) -> Duration {
        let between = times.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0]));
        between.max().unwrap_or_default().saturating_sub(self.spacing)
    }

    /// How many probes were not answered.
    pub fn lost(&self) -> usize {
        self.probes.iter().filter(|probe| probe.answerer().is_none()).count()
    }

    /// How many of the lost ones were refused, reset or answered with an error. A connection that is just being made as
    /// the address moves is one: its second packet reaches a host that does not know of it.
    pub fn failed(&self) -> usize {
        self.probes.iter().filter(|probe| matches!(probe.outcome, Outcome::Failed(_))).count()
    }

    /// From the last answer of `old` before the first one of `new` to that; none where `new` never answered.
    pub fn switch(&self, old: &str, new: &str) -> Option<Duration> {
        let first = self.answered().find(|probe| probe.answerer().is_some_and(|by| &**by == new))?;
        let before = self.answered().take_while(|probe| probe.ended < first.ended);
        let last = before.filter(|probe| probe.answerer().is_some_and(|by| &**by == old)).last()?;
        Some(first.ended - last.ended)
    }

    /// Who answered, in turns: a name again only after another one. In the order of the questions: what was asked of the
    /// old Active may be answered after the first answer of the new one.
    pub fn turns(&self) -> Vec<Arc<str>> {
        let mut probes: Vec<&Probe> = self.answered().collect();
        probes.sort_by_key(|probe| probe.sent);
        let mut turns: Vec<Arc<str>> = probes.into_iter().filter_map(Probe::answerer).cloned().collect();
        turns.dedup();
        turns
    }

    /// Why probes failed that were neither answered nor lost, each reason once.
    pub fn failures(&self) -> Vec<Arc<str>> {
        let mut reasons: Vec<Arc<str>> = Vec::new();
        for probe in &self.probes {
            if let Outcome::Failed(why) = &probe.outcome
                && !reasons.contains(why)
            {
                reasons.push(Arc::clone(why));
            }
        }
        reasons
    }

    fn answered(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().filter(|probe| probe.answerer().is_some())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "an instant to count from")]
mod tests {
    use super::*;

    /// Probes every 2 ms from 0 on, each answered after 1 ms by the letter; `-` lost, `!` refused.
    fn log(text: &str) -> Log {
        let began = Instant::now();
        let mut log = Log::new(began, Duration::from_millis(2));
        for (number, letter) in (0u32..).zip(text.chars()) {
            let sent = began + Duration::from_millis(2) * number;
            let outcome = match letter {
                '-' => Outcome::Lost,
                '!' => Outcome::Failed("refused".into()),
                name => Outcome::Answered(name.to_string().into()),
            };
            log.probes.push(Probe { sent, ended: sent + Duration::from_millis(1), outcome });
        }
        log
    }

    #[test]
    fn a_gap_is_what_is_beyond_the_spacing() {
        for (text, gap, lost) in [("aaaa", 0, 0), ("aa-bb", 2, 1), ("aa---b!b", 6, 4), ("----", 0, 4), ("", 0, 0)] {
            let log = log(text);
            assert_eq!((log.gap().as_millis(), log.lost()), (gap, lost), "{text}");
            assert_eq!(log.outage(), log.gap(), "{text}");
        }
        let mut late = log("aaaa");
        late.probes[2].ended += Duration::from_millis(10);
        late.probes[3].ended += Duration::from_millis(10);
        assert_eq!((late.gap().as_millis(), late.outage().as_millis()), (10, 0));
    }

    #[test]
    fn turns_and_switches_tell_who_served() {
        let seen = log("aab-bab");
        assert_eq!(seen.turns().iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "a", "b"]);
        assert_eq!(seen.switch("a", "b"), Some(Duration::from_millis(2)));
        assert_eq!(seen.switch("a", "c"), None);
        assert_eq!((seen.failures().len(), seen.failed()), (0, 0));
        let mut late = log("aabb");
        late.probes.swap(1, 2);
        assert_eq!(late.turns().len(), 2, "an answer that came late is no turn");
    }

    #[test]
    fn a_failure_is_no_silence() {
        let log = log("a!-!b");
        assert_eq!((log.lost(), log.failed(), log.failures().len()), (3, 2, 1));
    }
}
