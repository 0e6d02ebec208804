//! Virtual routers as `baton status` and `baton vip` show them: one format, written as JSON.
//!
//! The only file that knows it; `ha` makes it from what the VRRP thread reports, the CLI reads it.
//! Every state says since when and why, every refused packet from whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vrrp::linux::report::{InterfaceStatus, Refused, RouterStatus};
use vrrp::machine::io::{Count, Fault, Phase, Reason};
use vrrp::types::{Centiseconds, Family};
use vrrp::wire::counters::Counters;
use vrrp::wire::reject::Rung;

use super::saved::Held;
use crate::status::seconds;

/// The part of the status that is about floating addresses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VipReport {
    /// The virtual routers, as they are configured.
    pub routers: Vec<RouterReport>,
    /// Packets on an interface that belong to none of them.
    pub strays: BTreeMap<String, StrayReport>,
    /// What the VRRP thread complains about.
    pub warnings: Vec<String>,
}

/// One virtual router.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RouterReport {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// Its number there.
    pub virtual_router_id: u8,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// 2 or 3.
    pub version: u8,
    /// `init`, `fault`, `backup`, `active` or `leaving`.
    pub state: String,
    /// Since when.
    pub since: f64,
    /// Why.
    pub reason: Option<String>,
    /// The priority configured.
    pub base_priority: u8,
    /// The priority in effect.
    pub priority: u8,
    /// The interval of the Active router, in milliseconds.
    pub active_interval_ms: u32,
    /// Whom we heard last.
    pub peer: Option<PeerReport>,
    /// The addresses that this host holds.
    pub held: Vec<String>,
    /// An operator keeps it out.
    pub hold: Option<Held>,
    /// HAProxy ran a configuration at least once.
    pub ready: bool,
    /// Why it should not hold the addresses.
    pub faults: Vec<String>,
    /// What else to say.
    pub remarks: Vec<String>,
    /// Since when another host acts as Active, too, as far as this one hears.
    pub contended: Option<f64>,
    /// Who advertises other addresses than ours, and which.
    pub differing: BTreeMap<String, Vec<String>>,
    /// Who sent packets that were refused, the latest ones.
    pub refused: Vec<RefusedReport>,
    /// Everything that is counted.
    pub counters: BTreeMap<String, u64>,
}

/// Another router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// The source of its advertisements.
    pub address: String,
    /// Its priority; 0 = it resigned.
    pub priority: u8,
    /// Its interval in milliseconds.
    pub interval_ms: u32,
    /// When it was heard last.
    pub heard: f64,
}

/// Packets refused from one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusedReport {
    /// The source.
    pub source: String,
    /// Why, the last time.
    pub reason: String,
    /// When, the last time.
    pub at: f64,
    /// How often.
    pub count: u64,
}

/// Packets of no router of ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StrayReport {
    /// Refusals by reason.
    pub counters: BTreeMap<String, u64>,
    /// Who sent them, the latest ones.
    pub refused: Vec<RefusedReport>,
}

impl RouterReport {
    /// A router that the thread has not told about yet.
    pub(super) fn unknown(name: String) -> Self {
        Self { name, state: word(Phase::Init).to_owned(), ..Self::default() }
    }

    /// What the thread told.
    pub(super) fn from(status: &RouterStatus, hold: Option<Held>, contended: Option<f64>) -> Self {
        let text = |list: &[std::net::IpAddr]| list.iter().map(ToString::to_string).collect();
        Self {
            name: status.name.clone(),
            interface: status.interface.clone(),
            virtual_router_id: status.vrid.get(),
            family: family(status.family).to_owned(),
            version: status.version.number(),
            state: word(status.phase).to_owned(),
            since: seconds(status.since),
            reason: status.reason.map(|reason| why(reason).to_owned()),
            base_priority: status.base_priority.0,
            priority: status.priority.0,
            active_interval_ms: milliseconds(status.active_interval),
            peer: status.peer.map(|peer| PeerReport {
                address: peer.address.to_string(),
                priority: peer.priority.0,
                interval_ms: milliseconds(peer.interval),
                heard: seconds(peer.heard),
            }),
            held: text(&status.held),
            hold,
            contended,
            ready: status.ready,
            faults: status.faults.iter().map(|fault| fault_text(fault).to_owned()).collect(),
            remarks: status.remarks.iter().map(ToString::to_string).collect(),
            differing: status.differing.iter().map(|(source, list)| (source.to_string(), text(list))).collect(),
            refused: refused(&status.refused),
            counters: counters(status),
        }
    }
}

impl From<&InterfaceStatus> for StrayReport {
    fn from(status: &InterfaceStatus) -> Self {
        Self { counters: refusals(&status.received), refused: refused(&status.refused) }
    }
}

fn refused(list: &[Refused]) -> Vec<RefusedReport> {
    let report = |refused: &Refused| RefusedReport {
        source: refused.source.to_string(),
        reason: refused.last.to_string(),
        at: seconds(refused.at),
        count: refused.count,
    };
    list.iter().map(report).collect()
}

fn counters(status: &RouterStatus) -> BTreeMap<String, u64> {
    let received = &status.received;
    let mut all = refusals(received);
    let named = [
        ("sent", status.sent),
        ("send_errors", status.send_errors),
        ("announced", status.announced),
        ("became_active", status.became_active),
        ("accepted", received.accepted),
        ("checksum_pseudo_header", received.checksum_pseudo_header),
        ("checksum_message", received.checksum_message),
        ("addresses_differ", received.addresses_differ),
        ("not_link_local", received.not_link_local),
        ("owner", received.owner),
    ];
    all.extend(named.map(|(name, count)| (name.to_owned(), count)));
    all.extend(COUNTS.map(|(count, name)| (name.to_owned(), status.counts.get(&count).copied().unwrap_or(0))));
    all
}

fn refusals(received: &Counters) -> BTreeMap<String, u64> {
    Rung::ALL.iter().map(|rung| (format!("refused_{}", rung.name()), received.refused(*rung))).collect()
}

fn milliseconds(interval: Centiseconds) -> u32 {
    u32::from(interval.get()) * 10
}

fn family(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// The word for a state.
pub(super) fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Init => "init",
        Phase::Fault => "fault",
        Phase::Backup => "backup",
        Phase::Active => "active",
        Phase::Leaving => "leaving",
    }
}

fn fault_text(fault: &Fault) -> &str {
    match fault {
        Fault::Down(text) | Fault::Limping(text) | Fault::Tracked(text) => text,
    }
}

/// The words for a reason.
pub(super) fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Started => "started",
        Reason::Resumed => "goes on where it was before an upgrade or a new configuration",
        Reason::Leftover => "found its addresses after a crash",
        Reason::Silence => "no advertisement for one down interval",
        Reason::PeerResigned => "the Active router resigned",
        Reason::Preempted => "took over from a router of lower priority",
        Reason::Outranked => "another router outranks this one",
        Reason::Late => "woke too late: another router may have taken over",
        Reason::LeaseEnded => "woke after its lease had ended",
        Reason::Link => "the interface cannot be used",
        Reason::Unfit => "HAProxy is unfit",
        Reason::Tracked => "something tracked has failed",
        Reason::Recovered => "recovered",
        Reason::NobodyElse => "nobody else took over",
        Reason::HandOver => "handed over by an operator",
        Reason::Hold => "held out by an operator",
        Reason::Release => "released by an operator",
        Reason::Taken => "a peer has taken over",
        Reason::Shutdown => "shutting down",
        Reason::Suspend => "upgrading in place",
        Reason::Group => "moved with its group",
    }
}

const COUNTS: [(Count, &str); 6] = [
    (Count::Resignation, "resignations"),
    (Count::Contention, "contentions"),
    (Count::IntervalDiffers, "interval_differs"),
    (Count::Late, "late"),
    (Count::AddressRestored, "addresses_restored"),
    (Count::Rival, "rivals"),
];
