//! `baton vip`: who holds the floating addresses, and planned moves of them.
//!
//! A handover or hold returns when a peer has the addresses, so that maintenance can begin, or says
//! that nobody took them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Value;

use super::status::span;
use crate::admin::VipAnswer;
use crate::admin::client::ask;
use crate::ha::report::{RouterReport, VipReport};
use crate::status::{Report, seconds};

/// Arguments of `baton vip`.
#[derive(Debug, Args)]
pub struct VipArgs {
    #[command(subcommand)]
    what: What,

    /// The running baton's control socket
    #[arg(long, global = true, value_name = "PATH", default_value = "/run/baton/baton.sock")]
    socket: PathBuf,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show each virtual router: state, reason, priority, peers, what was refused
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give the addresses to a peer once, without losing a connection attempt; exit code 1 and no
    /// change where no peer takes them
    Handover {
        /// The virtual router; all without it
        router: Option<String>,
    },
    /// Hand over and stay out, also after restarts, until released
    Hold {
        /// The virtual router; all without it
        router: Option<String>,
        /// Give the addresses up although no peer takes them
        #[arg(long)]
        force: bool,
    },
    /// Take part again after a hold
    Release {
        /// The virtual router; all without it
        router: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// When no baton answers.
#[allow(clippy::disallowed_methods, reason = "a report says how long ago things were")]
pub async fn run(args: VipArgs) -> anyhow::Result<ExitCode> {
    let (what, router, force) = match args.what {
        What::Status { json } => {
            let (_, report): (_, Value) = ask(&args.socket, Method::GET, "/status").await?;
            let text = if json {
                format!("{:#}\n", report["vrrp"])
            } else {
                table(&serde_json::from_value::<Report>(report)?.vrrp, seconds(SystemTime::now()))
            };
            // A reader that hung up is no error of ours.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return Ok(ExitCode::SUCCESS);
        }
        What::Handover { router } => ("handover", router, false),
        What::Hold { router, force } => ("hold", router, force),
        What::Release { router } => ("release", router, false),
    };
    let mut query = url_query(&[("by", &who()), ("force", if force { "true" } else { "false" })]);
    if let Some(router) = router {
        query = format!("{query}&{}", url_query(&[("router", &router)]));
    }
    let (_, answer): (_, VipAnswer) = ask(&args.socket, Method::POST, &format!("/vip/{what}?{query}")).await?;
    match answer.error {
        Some(error) => {
            super::warn(&error);
            Ok(ExitCode::FAILURE)
        }
        None => {
            for line in answer.done {
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Who asks, for the log and the status.
fn who() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    named.unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()))
}

/// `name=value&…`, every byte but the plainest escaped.
fn url_query(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

/// The lines of `baton status` about floating addresses.
pub(super) fn rows(report: &VipReport, now: f64) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    for router in &report.routers {
        rows.push(("vip", headline(router, now)));
        rows.extend(troubles(router, now).into_iter().map(|text| ("", format!("! {text}"))));
    }
    rows.extend(report.warnings.iter().map(|text| ("vip", format!("! {text}"))));
    rows
}

fn headline(router: &RouterReport, now: f64) -> String {
    let reason = router.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let held = if router.held.is_empty() { String::new() } else { format!(", holds {}", router.held.join(" ")) };
    let since = if router.since > 0.0 { format!(" for {}", span(now - router.since)) } else { String::new() };
    format!("{}: {}{since}{reason}{held}", router.name, router.state.to_uppercase())
}

fn troubles(router: &RouterReport, now: f64) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(hold) = &router.hold {
        all.push(format!("held out by {} until `baton vip release`", hold.by));
    }
    if let Some(since) = router.contended {
        let peer = router.peer.as_ref().map_or("another host", |peer| peer.address.as_str());
        all.push(format!("{peer} acts as Active, too, for {}: does it hear this host?", span(now - since)));
    }
    all.extend(router.faults.iter().cloned());
    all.extend(router.remarks.iter().cloned());
    for (source, addresses) in &router.differing {
        all.push(format!(
            "{source} advertises other addresses: {} (keepalived before 2.3.3 drops such advertisements, and then \
             both are Active: make the lists equal, or use excluded_addresses)",
            addresses.join(" ")
        ));
    }
    all
}

/// The report for people.
fn table(report: &VipReport, now: f64) -> String {
    let mut lines = Vec::new();
    if report.routers.is_empty() {
        lines.push("no [[vrrp]] is configured".to_owned());
    }
    for router in &report.routers {
        lines.push(headline(router, now));
        let id = format!(
            "{}, VRID {}, VRRPv{} over {}",
            router.interface, router.virtual_router_id, router.version, router.family
        );
        lines.push(format!("  {id}, priority {} (base {})", router.priority, router.base_priority));
        match &router.peer {
            Some(peer) => lines.push(format!(
                "  peer {}, priority {}, every {} ms, heard {} ago",
                peer.address,
                peer.priority,
                peer.interval_ms,
                span(now - peer.heard)
            )),
            None => lines.push("  no peer was heard yet".to_owned()),
        }
        lines.extend(troubles(router, now).into_iter().map(|text| format!("  ! {text}")));
        for refused in &router.refused {
            let ago = span(now - refused.at);
            lines.push(format!(
                "  refused {} times from {}: {} ({ago} ago)",
                refused.count, refused.source, refused.reason
            ));
        }
        let counted: Vec<_> =
            router.counters.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {n}")).collect();
        lines
            .push(format!("  counted: {}", if counted.is_empty() { "nothing".to_owned() } else { counted.join(", ") }));
    }
    for (interface, strays) in &report.strays {
        for refused in &strays.refused {
            lines.push(format!(
                "on {interface}, for no router of ours: {} times from {}: {}",
                refused.count, refused.source, refused.reason
            ));
        }
    }
    lines.extend(report.warnings.iter().map(|text| format!("! {text}")));
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(url_query(&[("by", "ann b&c"), ("x", "y")]), "by=ann%20b%26c&x=y");
    }

    #[test]
    fn who_holds_what_and_why_is_in_the_table() {
        let router = RouterReport {
            name: "public".to_owned(),
            state: "active".to_owned(),
            since: 10.0,
            reason: Some("no advertisement for one down interval".to_owned()),
            held: vec!["192.0.2.10".to_owned()],
            remarks: vec!["odd".to_owned()],
            ..RouterReport::default()
        };
        let text = table(&VipReport { routers: vec![router], ..VipReport::default() }, 70.0);
        for part in ["public: ACTIVE for 1 min 0 s (no advertisement", "holds 192.0.2.10", "! odd", "no peer was heard"]
        {
            assert!(text.contains(part), "{part} not in\n{text}");
        }
    }
}
