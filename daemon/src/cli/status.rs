//! `baton status`: what a running daemon follows, what it applied and what is wrong.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::admin::client::ask;
use crate::status::{Report, TroubleReport, seconds};

/// Arguments of `baton status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The report as JSON
    #[arg(long)]
    json: bool,

    /// The running baton's control socket
    #[arg(long, value_name = "PATH", default_value = "/run/baton/baton.sock")]
    socket: PathBuf,
}

/// Prints the report. The exit code is 0 also where something in it is wrong.
///
/// # Errors
/// When no baton answers.
#[allow(clippy::disallowed_methods, reason = "a report says how long ago things were")]
pub async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let text = if args.json {
        let (_, report): (_, Value) = ask(&args.socket, Method::GET, "/status").await?;
        format!("{report:#}\n")
    } else {
        let (_, report): (_, Report) = ask(&args.socket, Method::GET, "/status").await?;
        table(&report, seconds(SystemTime::now()))
    };
    // A reader that hung up is no error of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The report for people.
fn table(report: &Report, now: f64) -> String {
    let ago = |at: Option<f64>| at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", span(now - at)));
    let mut rows: Vec<(&str, String)> = Vec::new();
    rows.push(("baton", format!("{}, pid {}, up {}", report.version, report.pid, span(now - report.started_at))));

    let source = &report.source;
    let origin = source.origin.as_deref().unwrap_or("nothing read yet");
    let leader = source.leader.as_deref().map(|leader| format!(" (leader {leader})")).unwrap_or_default();
    rows.push(("apps from", format!("{origin}{leader}, {} apps, read {}", source.apps, ago(source.fetched_at))));
    rows.extend(source.trouble.iter().map(|trouble| ("", trouble_line(trouble, now))));
    if let Some(held) = &source.held {
        rows.push(("", format!("! for {}: a list is held: {}", span(now - held.since), held.text)));
    }
    if let Some(as_of) = source.restored_from {
        rows.push(("", format!("! served from memory: Marathon last vouched for it {} ago", span(now - as_of))));
    } else if source.unconfirmed > 0 {
        rows.push(("", format!("! {} tasks are served that Marathon does not list now", source.unconfirmed)));
    }
    rows.extend(source.store_trouble.iter().map(|trouble| ("", trouble_line(trouble, now))));
    match &source.stream {
        Some(member) => {
            rows.push(("events", format!("{member}, attached {}, {} events", ago(source.attached_at), source.events)))
        }
        None if source.stream_trouble.is_some() => rows.push(("events", "not attached".to_owned())),
        None => (),
    }
    rows.extend(source.stream_trouble.iter().map(|trouble| ("", trouble_line(trouble, now))));

    let haproxy = &report.haproxy;
    let pid = haproxy.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let restarts = if haproxy.restarts > 0 { format!(", restarted {} times", haproxy.restarts) } else { String::new() };
    rows.push(("haproxy", format!("{}, {}{pid}{restarts}", haproxy.version, haproxy.manage)));
    rows.extend(haproxy.trouble.iter().map(|trouble| ("", trouble_line(trouble, now))));

    for old in &haproxy.old_workers {
        let why =
            old.connections.map_or_else(|| "does not answer".to_owned(), |count| format!("{count} connections open"));
        let (since, left) = (span(now - old.since), span(old.until - now));
        rows.push(("old worker", format!("pid {}, replaced {since} ago: {why}, ends within {left}", old.pid)));
    }

    let applied = &report.applied;
    let digest = applied.digest.as_deref().unwrap_or("nothing");
    let how = match (&applied.how, applied.took_ms) {
        (Some(how), Some(ms)) => format!(" by {how} in {ms} ms"),
        _ => String::new(),
    };
    let pending = if applied.pending { ", a newer one is on its way" } else { "" };
    rows.push(("applied", format!("{digest}{how}, {}{pending}", ago(applied.at))));
    rows.extend(applied.trouble.iter().map(|trouble| ("", trouble_line(trouble, now))));
    rows.extend(applied.files_trouble.iter().map(|trouble| ("", trouble_line(trouble, now))));
    rows.push((
        "serves",
        format!(
            "{} ports, {} hosts, {} backends, {} servers",
            applied.frontends, applied.hosts, applied.backends, applied.servers
        ),
    ));
    rows.push((
        "changes",
        format!(
            "{} at run time, {} by reload, {} attempts failed, {} servers draining",
            applied.runtime, applied.reloads, applied.failures, applied.draining
        ),
    ));
    for (path, why) in &applied.certificates.troubles {
        rows.push(("certificate", format!("! {path}: {why}")));
    }
    for (app, said) in &applied.left_out {
        rows.push(("left out", format!("{app}: {said}")));
    }

    rows.extend(super::vip::rows(&report.vrrp, now));

    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    }
    if !report.issues.is_empty() {
        let _ = writeln!(text, "\n{} issues", report.issues.len());
        for issue in &report.issues {
            let label = issue.label.as_deref().map(|label| format!("{label}: ")).unwrap_or_default();
            let _ = writeln!(text, "  {}: {label}{}", issue.app, issue.problem);
        }
    }
    text
}

fn trouble_line(trouble: &TroubleReport, now: f64) -> String {
    format!("! for {}: {}", span(now - trouble.since), trouble.text)
}

/// A length of time in its two largest units.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.clamp(0.0, 1e12) as u64;
    match whole {
        0..=59 => format!("{whole} s"),
        60..=3_599 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..=86_399 => format!("{} h {} min", whole / 3_600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::IssueReport;

    #[test]
    fn spans() {
        for (seconds, text) in [(0.4, "0 s"), (61.0, "1 min 1 s"), (3_700.0, "1 h 1 min"), (90_000.0, "1 d 1 h")] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn what_is_wrong_is_in_the_table() {
        let mut report = Report::default();
        report.source.trouble = Some(TroubleReport { since: 10.0, text: "connection refused".to_owned() });
        report.source.held = Some(TroubleReport { since: 10.0, text: "Marathon lists no apps".to_owned() });
        report.source.restored_from = Some(9.0);
        report.applied.left_out.insert("/bad".to_owned(), "no such file".to_owned());
        report.issues.push(IssueReport { app: "/a".to_owned(), label: Some("L".to_owned()), problem: "p".to_owned() });
        let text = table(&report, 70.0);
        for part in [
            "! for 1 min 0 s: connection refused",
            "/bad: no such file",
            "1 issues",
            "  /a: L: p",
            "! for 1 min 0 s: a list is held: Marathon lists no apps",
            "! served from memory: Marathon last vouched for it 1 min 1 s",
        ] {
            assert!(text.contains(part), "{part} not in\n{text}");
        }
    }
}
