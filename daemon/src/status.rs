//! What `baton status` shows: one report, written as JSON by `admin` and read back by the CLI.
//!
//! The only file that knows this format. Times are seconds since 1970, so that a reader needs no
//! clock of ours; every state says why it is as it is.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use haproxy::issue::Issue;

use crate::ha::report::VipReport;
use crate::source::SourceStatus;
use crate::source::status::Trouble;

/// The whole report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `baton`'s version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started.
    pub started_at: f64,
    /// Where apps come from.
    pub source: SourceReport,
    /// What they became.
    pub applied: AppliedReport,
    /// The process that serves them.
    pub haproxy: HaproxyReport,
    /// The floating addresses.
    pub vrrp: VipReport,
    /// What is wrong with which app.
    pub issues: Vec<IssueReport>,
}

/// Where apps come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The member or file of the last good answer.
    pub origin: Option<String>,
    /// Marathon's leader.
    pub leader: Option<String>,
    /// Whether what is served may be out of date.
    pub stale: bool,
    /// When the last good answer came.
    pub fetched_at: Option<f64>,
    /// How long it took, in milliseconds.
    pub fetch_ms: Option<f64>,
    /// The apps in it.
    pub apps: usize,
    /// Good and failed fetches.
    pub fetches: u64,
    /// Failed ones by kind.
    pub failed: BTreeMap<String, u64>,
    /// Why fetching does not work now, and since when.
    pub trouble: Option<TroubleReport>,
    /// Fetches of all apps started, by reason.
    pub fetch_reasons: BTreeMap<String, u64>,
    /// The bytes of the answers to them.
    pub fetch_bytes: u64,
    /// Fetches of single apps.
    pub single: SingleReport,
    /// Why the last list of apps does not count yet, and since when.
    pub held: Option<TroubleReport>,
    /// Lists that were held back.
    pub holds: u64,
    /// Those of them that a second list confirmed.
    pub holds_confirmed: u64,
    /// When Marathon last vouched for what is served, while that comes from the store.
    pub restored_from: Option<f64>,
    /// Tasks that are served although no answer vouches for them.
    pub unconfirmed: usize,
    /// When what is served was last written down.
    pub stored_at: Option<f64>,
    /// How often it was.
    pub stores: u64,
    /// Why it cannot be, or could not be read at start, and since when.
    pub store_trouble: Option<TroubleReport>,
    /// The member whose event stream we are attached to.
    pub stream: Option<String>,
    /// Since when.
    pub attached_at: Option<f64>,
    /// Events so far.
    pub events: u64,
    /// Why there is no stream now, and since when.
    pub stream_trouble: Option<TroubleReport>,
}

/// Fetches of single apps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SingleReport {
    /// Good answers.
    pub fetches: u64,
    /// How long the last one took, in milliseconds.
    pub fetch_ms: f64,
    /// Those that said that the app does not exist.
    pub gone: u64,
    /// Those that came after a newer one.
    pub late: u64,
    /// Fetches without an answer; all apps were fetched instead.
    pub failed: u64,
    /// Fetches started, by reason.
    pub reasons: BTreeMap<String, u64>,
    /// The bytes of the answers.
    pub bytes: u64,
}

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TroubleReport {
    /// Since when.
    pub since: f64,
    /// What and why.
    pub text: String,
}

/// The certificates.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CertificatesReport {
    /// How many files HAProxy has of them.
    pub files: usize,
    /// What is wrong with which of the operator's files; HAProxy has what they held before, if anything.
    pub troubles: BTreeMap<String, String>,
}

/// What the apps became.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AppliedReport {
    /// The configuration that HAProxy runs.
    pub digest: Option<String>,
    /// Which snapshot it was made from.
    pub revision: u64,
    /// When it was confirmed.
    pub at: Option<f64>,
    /// How it was applied: `start`, `reload` or `runtime`.
    pub how: Option<String>,
    /// How long that took, in milliseconds, from the check to the confirmation.
    pub took_ms: Option<f64>,
    /// Servers that finish their connections before they go.
    pub draining: usize,
    /// Changes applied at run time since start.
    pub runtime: u64,
    /// Configurations applied by reload since start.
    pub reloads: u64,
    /// Attempts that did not succeed since start.
    pub failures: u64,
    /// Configurations that HAProxy was asked about (`haproxy -c`) since start.
    pub checks: u64,
    /// How long it took last time until HAProxy accepted what it had refused at first, apps taken
    /// out, in milliseconds.
    pub repair_ms: Option<f64>,
    /// Whether a newer one waits or is being applied.
    pub pending: bool,
    /// Why the newest wanted configuration does not run.
    pub trouble: Option<TroubleReport>,
    /// Why the files do not say what HAProxy was brought to run, and since when.
    pub files_trouble: Option<TroubleReport>,
    /// The certificates that HAProxy has.
    pub certificates: CertificatesReport,
    /// The apps left out because HAProxy or the kernel refuses their part, with the words it said.
    pub left_out: BTreeMap<String, String>,
    /// Frontends of service ports.
    pub frontends: usize,
    /// Backends.
    pub backends: usize,
    /// Servers in them.
    pub servers: usize,
    /// Hosts that are routed.
    pub hosts: usize,
}

/// The process that serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HaproxyReport {
    /// Its version.
    pub version: String,
    /// Who starts it: `child` or `systemd`.
    pub manage: String,
    /// Its master's process id, where `baton` started it.
    pub pid: Option<u32>,
    /// How often it was started again after it ended by itself.
    pub restarts: u64,
    /// Why it does not run, and since when.
    pub trouble: Option<TroubleReport>,
    /// Workers that reloads replaced and that go on for the connections that they have.
    pub old_workers: Vec<OldWorkerReport>,
}

/// A worker of an earlier configuration: a whole process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OldWorkerReport {
    /// Its process id.
    pub pid: u32,
    /// When it was replaced.
    pub since: f64,
    /// When HAProxy ends it, whatever it has.
    pub until: f64,
    /// Its connections, which are why it is still there; none if it cannot be asked.
    pub connections: Option<u32>,
}

/// One issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IssueReport {
    /// The app.
    pub app: String,
    /// The label to blame.
    pub label: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl From<&Issue> for IssueReport {
    fn from(issue: &Issue) -> Self {
        Self { app: issue.app.clone(), label: issue.label.clone(), problem: issue.problem.clone() }
    }
}

impl From<&Trouble> for TroubleReport {
    fn from(trouble: &Trouble) -> Self {
        Self { since: seconds(trouble.since), text: trouble.text.clone() }
    }
}

impl From<&SourceStatus> for SourceReport {
    fn from(status: &SourceStatus) -> Self {
        let last = status.fetch.last.as_ref();
        let single = &status.single;
        Self {
            origin: status.origin.clone(),
            leader: status.leader.clone(),
            stale: status.is_stale(),
            fetched_at: last.map(|fetch| seconds(fetch.at)),
            fetch_ms: last.map(|fetch| millis(fetch.took)),
            apps: last.map_or(0, |fetch| fetch.apps),
            fetches: status.fetch.ok,
            failed: named(&status.fetch.failed),
            trouble: status.fetch.trouble.as_ref().map(TroubleReport::from),
            fetch_reasons: named(&status.fetch.reasons),
            fetch_bytes: status.fetch.bytes,
            single: SingleReport {
                fetches: single.ok,
                fetch_ms: millis(single.took),
                gone: single.gone,
                late: single.late,
                failed: single.failed,
                reasons: named(&single.reasons),
                bytes: single.bytes,
            },
            held: status.guard.held.as_ref().map(TroubleReport::from),
            holds: status.guard.holds,
            holds_confirmed: status.guard.confirmed,
            restored_from: status.restored.map(seconds),
            unconfirmed: status.unconfirmed.len(),
            stored_at: status.store.written.map(seconds),
            stores: status.store.writes,
            store_trouble: status.store.trouble.as_ref().map(TroubleReport::from),
            stream: status.stream.member.clone().filter(|_| status.stream.attached_at.is_some()),
            attached_at: status.stream.attached_at.map(seconds),
            events: status.stream.events.values().sum(),
            stream_trouble: status.stream.trouble.as_ref().map(TroubleReport::from),
        }
    }
}

fn named(counts: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counts.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}

/// Seconds since 1970.
pub fn seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Milliseconds, to a tenth.
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
