//! Health checks: when they run, what their results change.
//!
//! The probing itself is the shell's (`probe`); the world asks for it and judges what comes back.

use std::net::Ipv4Addr;

use super::super::def::Protocol;
use super::super::event::Event;
use super::super::instance::{Backing, Condition, Findings};
use super::super::stamp::Stamp;
use super::{Out, Timer, World};

/// A probe to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeJob {
    /// The instance asked.
    pub instance: String,
    /// Which of its checks.
    pub index: usize,
    /// Goes back with the result: results of an earlier leader are dropped.
    pub epoch: u64,
    /// What to speak.
    pub protocol: Protocol,
    /// Where; `None` = the check has no port to probe.
    pub target: Option<(Ipv4Addr, u16)>,
    /// What to GET.
    pub path: String,
    /// How long to wait.
    pub timeout_ms: u64,
}

/// What a probe found: nothing wrong, or the cause.
pub type ProbeResult = Result<(), String>;

impl World {
    /// Arms the checks of a task that has just started: first result after min(interval, 5 s).
    pub(super) fn first_checks(&mut self, id: &str, now: Stamp) {
        let Some(instance) = self.instances.get(id) else { return };
        let waits: Vec<f64> = instance.def.facts.checks.iter().map(|check| check.interval.min(5.0)).collect();
        let epoch = self.health_epoch;
        for (index, wait) in waits.into_iter().enumerate() {
            let due = now.plus(self.seconds(wait));
            self.after(due, Timer::Check { instance: id.to_owned(), index, epoch });
        }
    }

    pub(super) fn check_due(&mut self, id: &str, index: usize, epoch: u64, now: Stamp) {
        let Some(instance) = self.instances.get(id) else { return };
        let Some(check) = instance.def.facts.checks.get(index) else { return };
        let outdated = !check.by_mesos && epoch != self.health_epoch;
        if outdated || !matches!(instance.condition, Condition::Running | Condition::Killing) {
            return;
        }
        let job = ProbeJob {
            instance: id.to_owned(),
            index,
            epoch,
            protocol: check.protocol,
            target: instance.probe_target(index),
            path: check.path.clone(),
            timeout_ms: self.seconds(check.timeout).max(1),
        };
        if instance.backing == Backing::Assumed {
            return self.probed(&job, Ok(()), now);
        }
        self.out.push_back(Out::Probe(job));
    }

    /// Takes the result of a probe and arms the next.
    pub fn probed(&mut self, job: &ProbeJob, result: ProbeResult, now: Stamp) {
        let Some(instance) = self.instances.get_mut(&job.instance) else { return };
        let Some(check) = instance.def.facts.checks.get(job.index).cloned() else { return };
        if (!check.by_mesos && job.epoch != self.health_epoch) || instance.condition > Condition::Killing {
            return;
        }
        let interval = self.config.second.as_secs_f64() * 1000.0 * check.interval;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let interval = interval.clamp(1.0, 1e12) as u64;
        let grace = self.config.second.as_secs_f64() * 1000.0 * check.grace;
        #[allow(clippy::cast_possible_truncation, reason = "milliseconds of a grace period")]
        let in_grace = instance.started_at.is_none_or(|start| now.0 - start.0 < grace as i64);
        let before_all = instance.healthy().filter(|_| instance.findings.iter().all(|f| f.reported));
        let findings = &mut instance.findings[job.index];
        let before = findings.reported.then(|| findings.alive());
        match &result {
            Ok(()) => {
                findings.first_success.get_or_insert(now);
                findings.last_success = Some(now);
                findings.consecutive = 0;
            }
            // Within grace and before the first success a failure is seen but does not count.
            Err(_) if in_grace && findings.first_success.is_none() => (),
            Err(cause) => {
                findings.last_failure = Some(now);
                findings.consecutive += 1;
                findings.cause = Some(if check.by_mesos { String::new() } else { cause.clone() });
            }
        }
        findings.reported = true;
        let (alive, consecutive) = (findings.alive(), findings.consecutive);
        let after_all = instance.healthy().filter(|_| instance.findings.iter().all(|f| f.reported));
        let app = instance.def.id.clone();
        let personality = self.config.personality;
        let mut events = Vec::new();
        if result.is_err() && !check.by_mesos {
            events.push(Event::failed_check(instance, &check.doc, personality, now));
        }
        if before_all != after_all {
            events.push(Event::instance_health(instance, after_all, now));
        }
        if before != Some(alive) {
            if check.by_mesos {
                events.insert(0, Event::status_update(instance, "", now));
            } else {
                events.push(Event::health_status(instance, alive, now));
            }
        }
        let killing = instance.condition == Condition::Killing;
        let doomed = !killing && check.max_failures > 0 && consecutive >= check.max_failures;
        if doomed && !check.by_mesos {
            events.push(Event::unhealthy_kill(instance, result.as_ref().err().map_or("", String::as_str), now));
        }
        self.out.extend(events.into_iter().map(Out::Event));
        if doomed {
            self.kill(&job.instance, now);
        } else {
            let timer = Timer::Check { instance: job.instance.clone(), index: job.index, epoch: job.epoch };
            self.after(now.plus(interval), timer);
        }
        self.dirty.insert(app);
    }

    /// A new leader knows nothing of what its predecessor's own checks found; Mesos-level results are learnt again.
    pub fn forget_health(&mut self, now: Stamp) {
        self.health_epoch += 1;
        let mut restart = Vec::new();
        for instance in self.instances.values_mut() {
            for (index, check) in instance.def.facts.checks.iter().enumerate() {
                if !check.by_mesos {
                    instance.findings[index] = Findings::default();
                    if instance.condition == Condition::Running {
                        restart.push((instance.id.clone(), index, check.interval.min(5.0)));
                    }
                }
            }
        }
        let epoch = self.health_epoch;
        for (instance, index, wait) in restart {
            let due = now.plus(self.seconds(wait));
            self.after(due, Timer::Check { instance, index, epoch });
        }
    }
}
