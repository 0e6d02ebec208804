//! What the master CLI answers, as values.

use std::time::Duration;

use super::Reload;
use crate::bundle::Digest;

/// The answer to `show proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// The master; its `reloads` count all reloads, failed ones included.
    pub master: Process,
    /// The reloads that failed since the last one that did not.
    pub failed: u32,
    /// The worker that accepts connections (none for a moment while the master starts).
    pub workers: Vec<Process>,
    /// Workers of earlier generations that still have connections.
    pub old_workers: Vec<Process>,
}

/// One process of HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// A worker's age in reloads.
    pub reloads: u32,
    /// Its age.
    pub uptime: Duration,
    /// The release it runs.
    pub version: String,
}

impl Processes {
    /// How long each old worker has been one: since the next worker came that still lives.
    pub fn retired(&self) -> impl Iterator<Item = (&Process, Duration)> {
        let since = |old: &Process| {
            let younger = self.workers.iter().chain(&self.old_workers).filter(|other| other.reloads < old.reloads);
            younger.map(|other| other.uptime).max().unwrap_or_default()
        };
        self.old_workers.iter().map(move |old| (old, since(old)))
    }

    /// All process ids.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        let workers = self.workers.iter().chain(&self.old_workers);
        std::iter::once(&self.master).chain(workers).map(|process| process.pid)
    }

    /// Reads the table of 2.6 to 3.4; unknown sections (such as `# programs`) are skipped.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let mut lines = reply.lines();
        lines.find(|line| line.starts_with("#<PID>"))?;
        let (mut master, mut failed) = (None, 0);
        let (mut workers, mut old_workers, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let mut section = &mut others;
        for line in lines.filter(|line| !line.trim().is_empty()) {
            match line.trim() {
                "# workers" => section = &mut workers,
                "# old workers" => section = &mut old_workers,
                other if other.starts_with('#') => section = &mut others,
                row => match Row::parse(row)? {
                    Row { process, kind: "master", failures } => {
                        master = Some(process);
                        failed = failures;
                    }
                    Row { process, .. } => section.push(process),
                },
            }
        }
        // HAProxy 3.4 lists the worker that goes on after a failed reload among the old ones.
        if workers.is_empty()
            && failed > 0
            && let Some(youngest) = (0..old_workers.len()).min_by_key(|at| old_workers[*at].reloads)
        {
            workers.push(old_workers.remove(youngest));
        }
        Some(Self { master: master?, failed, workers, old_workers })
    }
}

struct Row<'a> {
    process: Process,
    kind: &'a str,
    failures: u32,
}

impl<'a> Row<'a> {
    /// `1162  master  5 [failed: 0]  0d00h02m07s  2.6.12`; the version may be missing.
    fn parse(row: &'a str) -> Option<Self> {
        let mut fields = row.split_ascii_whitespace().peekable();
        let pid = fields.next()?.parse().ok()?;
        let kind = fields.next()?;
        let reloads = fields.next()?.parse().ok()?;
        let mut failures = 0;
        if fields.next_if_eq(&"[failed:").is_some() {
            failures = fields.next()?.strip_suffix(']')?.parse().ok()?;
        }
        let uptime = uptime(fields.next()?)?;
        let version = fields.next().unwrap_or_default().to_owned();
        Some(Self { process: Process { pid, reloads, uptime, version }, kind, failures })
    }
}

/// `1d02h03m04s`.
fn uptime(text: &str) -> Option<Duration> {
    let (days, rest) = text.split_once('d')?;
    let (hours, rest) = rest.split_once('h')?;
    let (minutes, rest) = rest.split_once('m')?;
    let number = |digits: &str| digits.parse::<u32>().ok().map(u64::from);
    let (days, hours, minutes) = (number(days)?, number(hours)?, number(minutes)?);
    Some(Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + number(rest.strip_suffix('s')?)?))
}

/// The parts of `show info` that say who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The worker's process id.
    pub pid: u32,
    /// Its release.
    pub version: String,
    /// `description` of its `global` section; empty if it has none.
    pub description: String,
    /// It was told to finish its connections and end.
    pub stopping: bool,
    /// Its connections, those to the runtime API not among them.
    pub connections: u32,
}

impl Info {
    /// The bundle it runs; none if its configuration is not one of ours.
    pub fn digest(&self) -> Option<Digest> {
        Digest::from_description(&self.description)
    }

    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let value = |key: &str| {
            reply.lines().find_map(|line| line.split_once(": ").filter(|(k, _)| k.eq_ignore_ascii_case(key)))
        };
        let text = |key| value(key).map(|(_, text)| text.trim().to_owned());
        Some(Self {
            pid: text("Pid")?.parse().ok()?,
            version: text("Version")?,
            description: text("description").unwrap_or_default(),
            connections: text("CurrConns").and_then(|count| count.parse().ok()).unwrap_or_default(),
            stopping: text("Stopping").is_some_and(|stopping| stopping != "0"),
        })
    }
}

/// Reads the answer to `reload`: nothing, or `Success=1`, `--` and the log.
pub(super) fn reload(reply: &str) -> Option<Reload> {
    if reply.trim().is_empty() {
        return Some(Reload::Silent);
    }
    let (first, rest) = reply.split_once('\n').unwrap_or((reply, ""));
    let success = match first.trim() {
        "Success=1" => true,
        "Success=0" => false,
        _ => return None,
    };
    Some(Reload::Answered { success, log: rest.strip_prefix("--\n").unwrap_or(rest).to_owned() })
}
