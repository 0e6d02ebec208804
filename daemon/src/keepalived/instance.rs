//! `vrrp_instance`: its keywords one by one.
//!
//! Called by `translate`, which then settles what takes more than one instance. What a keyword
//! becomes depends on others of the same block, so a first pass collects and a second decides.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Place;
use super::address::address;
use super::known;
use super::notes::{Kind, Ledger};
use super::parse::Statement;
use super::script::weight;
use super::value::{checked, checked_number, micros};
use crate::config::vrrp::{BasePriority, Host, Interface, RouterId};

/// What `global_defs` says that an instance falls back to.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) version: Option<u8>,
    pub(super) interface: Option<String>,
    pub(super) message_checksum: bool,
    pub(super) strict: bool,
}

/// An instance, as far as it can be said in Baton's words.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) interface: Option<String>,
    pub(super) vrid: Option<u8>,
    pub(super) priority: Option<(u8, Place)>,
    pub(super) version: u8,
    /// Why the version is not the one that the file says, or that it says none.
    pub(super) version_because: Option<&'static str>,
    /// Centiseconds.
    pub(super) interval: Option<u64>,
    pub(super) addresses: Vec<(IpNet, Place)>,
    pub(super) excluded: Vec<(IpNet, Place)>,
    /// Whether there is a list of peers, even if none of it can be used.
    pub(super) unicast: bool,
    pub(super) peers: Vec<(IpAddr, Place)>,
    pub(super) source: Option<(IpAddr, Place)>,
    pub(super) preempt: bool,
    /// Whether the file says so.
    pub(super) preempt_said: bool,
    /// Milliseconds.
    pub(super) preempt_delay: Option<u64>,
    pub(super) virtual_mac: bool,
    pub(super) auth_pass: Option<String>,
    pub(super) message_checksum: bool,
    pub(super) group: Option<String>,
    pub(super) interfaces: Vec<Track>,
    /// Checks, with the weight that the instance gives them.
    pub(super) scripts: Vec<Track>,
    pub(super) notify: Notify,
    /// What a group that this instance speaks for has to be told of.
    pub(super) group_notify: Option<(String, Notify)>,
}

/// An interface or a check, by its name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Track {
    pub(super) name: String,
    pub(super) weight: Option<i16>,
    pub(super) place: Place,
}

/// Commands that are told of changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Notify {
    /// Told of each.
    pub(super) all: Option<Vec<String>>,
    /// Told of one state.
    pub(super) states: BTreeMap<&'static str, Vec<String>>,
}

impl Notify {
    /// Whether nobody is told.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_none() && self.states.is_empty()
    }

    /// Takes a notify keyword; false if it is none.
    pub(super) fn take(&mut self, statement: &Statement, ledger: &mut Ledger) -> bool {
        let state = match statement.keyword() {
            "notify" => None,
            "notify_master" => Some("MASTER"),
            "notify_backup" => Some("BACKUP"),
            "notify_fault" => Some("FAULT"),
            "notify_stop" => Some("STOP"),
            _ => return false,
        };
        if statement.value().trim().is_empty() {
            ledger.list(Kind::Lost, statement, "no program is named");
            return true;
        }
        ledger.leaf(statement, usize::MAX);
        if let Some(user) = statement.values().get(1..).filter(|user| !user.is_empty()) {
            let why = "it runs as the user that the unit of baton names";
            ledger.part(Kind::Lost, &statement.place, &format!("… {}", user.join(" ")), why);
        }
        let command = super::command::arguments(statement.value().trim());
        match state {
            None => self.all = Some(command),
            Some(state) => drop(self.states.insert(state, command)),
        }
        true
    }
}

/// The instance that `statement` is.
pub(super) fn instance(statement: &Statement, defaults: &Defaults, ledger: &mut Ledger) -> Draft {
    let inside = statement.inside();
    let find = |keyword: &str| inside.iter().rfind(|inner| inner.keyword() == keyword);
    let interface = find("interface").map(|inner| inner.value().to_owned()).or_else(|| defaults.interface.clone());
    let mut draft = Draft {
        name: statement.value().to_owned(),
        place: statement.place.clone(),
        interface: interface.filter(|name| checked::<Interface>(name).is_ok()),
        vrid: None,
        priority: None,
        version: 2,
        version_because: None,
        interval: None,
        addresses: Vec::new(),
        excluded: Vec::new(),
        unicast: find("unicast_peer").is_some(),
        peers: Vec::new(),
        source: None,
        preempt: true,
        preempt_said: false,
        preempt_delay: None,
        virtual_mac: false,
        auth_pass: None,
        message_checksum: defaults.message_checksum,
        group: None,
        interfaces: Vec::new(),
        scripts: Vec::new(),
        notify: Notify::default(),
        group_notify: None,
    };
    ledger.head(statement, 1);
    for inner in inside {
        let last = find(inner.keyword()).filter(|_| !MANY.contains(&inner.keyword()));
        let again = last.filter(|last| !std::ptr::eq(*last, inner));
        match again {
            Some(last) => ledger.list(Kind::Lost, inner, format!("{} says it again, and that counts", last.place)),
            None => key(&mut draft, inner, ledger),
        }
    }
    version(&mut draft, find("version"), defaults, ledger);
    interval(&mut draft, find("advert_int"), ledger);
    preempt(&mut draft, inside, ledger);
    if let Some(authentication) = find("authentication") {
        let strict = find("strict_mode").map_or(defaults.strict, |inner| switched_on(inner.value()));
        password(&mut draft, authentication, strict, ledger);
    }
    one_family(&mut draft, ledger);
    draft
}

fn key(draft: &mut Draft, inner: &Statement, ledger: &mut Ledger) {
    let value = inner.value();
    let keep = |result: Result<(), String>, ledger: &mut Ledger| match result {
        Ok(()) => ledger.leaf(inner, 1),
        Err(why) => ledger.list(Kind::Lost, inner, why),
    };
    match inner.keyword() {
        "interface" => keep(checked::<Interface>(value).map(drop), ledger),
        "virtual_router_id" => {
            let read = checked_number::<RouterId>(value).map(|id| draft.vrid = Some(id.0.get()));
            keep(read, ledger);
        }
        "priority" if value == "255" => {
            ledger.list(Kind::Changed, inner, "254 is the most: 255 is for a host whose own address it is");
            draft.priority = Some((254, inner.place.clone()));
        }
        "priority" => {
            let place = inner.place.clone();
            let read = checked_number::<BasePriority>(value).map(|p| draft.priority = Some((p.0.0, place)));
            keep(read, ledger);
        }
        "mcast_src_ip" | "unicast_src_ip" => {
            let read = checked::<Host>(value).map(|source| draft.source = Some((source.0, inner.place.clone())));
            keep(read, ledger);
        }
        "use_vmac" => {
            draft.virtual_mac = true;
            ledger.leaf(inner, usize::MAX);
            for option in inner.values() {
                ledger.part(Kind::Lost, &inner.place, option, "Baton names the interface, the RFC its MAC");
            }
        }
        "v3_checksum_as_v2" => {
            draft.message_checksum = switched_on(value);
            ledger.leaf(inner, 1);
        }
        "state" => ledger.list(
            Kind::Needless,
            inner,
            "every router begins as Backup; which one becomes Active is up to priority and preempt",
        ),
        "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
            ledger.head(inner, 0);
            for line in inner.inside() {
                let Some(net) = address(line, draft.interface.as_deref(), ledger) else { continue };
                if draft.addresses.iter().chain(&draft.excluded).any(|(other, _)| other.addr() == net.addr()) {
                    ledger.list(Kind::Needless, line, "it stands there twice");
                } else if inner.keyword() == "virtual_ipaddress" {
                    draft.addresses.push((net, line.place.clone()));
                } else {
                    draft.excluded.push((net, line.place.clone()));
                }
            }
        }
        "unicast_peer" => peers(draft, inner, ledger),
        "track_interface" => {
            ledger.head(inner, 0);
            interfaces(&mut draft.interfaces, inner, draft.interface.as_deref(), ledger);
        }
        "track_script" => {
            ledger.head(inner, 0);
            scripts(&mut draft.scripts, inner, ledger);
        }
        // Decided once everything else is known.
        "version" | "advert_int" | "preempt" | "nopreempt" | "preempt_delay" | "authentication" => (),
        _ if draft.notify.take(inner, ledger) => (),
        other => {
            let (kind, why) = known::instance(other);
            ledger.list(kind, inner, why);
        }
    }
}

fn peers(draft: &mut Draft, inner: &Statement, ledger: &mut Ledger) {
    ledger.head(inner, 0);
    for line in inner.inside() {
        match checked::<Host>(line.keyword()) {
            Ok(peer) if draft.peers.iter().any(|(other, _)| *other == peer.0) => {
                ledger.list(Kind::Needless, line, "it stands there twice")
            }
            Ok(peer) => {
                draft.peers.push((peer.0, line.place.clone()));
                ledger.leaf(line, usize::MAX);
                if !line.values().is_empty() {
                    let options = line.values().join(" ");
                    ledger.part(Kind::Lost, &line.place, &options, "the TTL of unicast is not looked at");
                }
            }
            Err(why) => ledger.list(Kind::Lost, line, why),
        }
    }
}

/// The lines of `track_interface`.
pub(super) fn interfaces(found: &mut Vec<Track>, block: &Statement, own: Option<&str>, ledger: &mut Ledger) {
    for line in block.inside() {
        let name = line.keyword();
        let read = checked::<Interface>(name).and_then(|_| tracked_weight(line));
        match read {
            Ok(_) if own == Some(name) => ledger.list(Kind::Needless, line, "a router's own interface always counts"),
            Ok(_) if found.iter().any(|other| other.name == name) => {
                ledger.list(Kind::Needless, line, "it stands there twice");
            }
            Ok(weight) => {
                found.push(Track { name: name.to_owned(), weight, place: line.place.clone() });
                ledger.leaf(line, usize::MAX);
            }
            Err(why) => ledger.list(Kind::Lost, line, why),
        }
    }
}

/// The lines of `track_script`.
pub(super) fn scripts(found: &mut Vec<Track>, block: &Statement, ledger: &mut Ledger) {
    for line in block.inside() {
        match tracked_weight(line) {
            Ok(_) if found.iter().any(|other| other.name == line.keyword()) => {
                ledger.list(Kind::Needless, line, "it stands there twice");
            }
            Ok(weight) => {
                found.push(Track { name: line.keyword().to_owned(), weight, place: line.place.clone() });
                ledger.leaf(line, usize::MAX);
            }
            Err(why) => ledger.list(Kind::Lost, line, why),
        }
    }
}

fn tracked_weight(line: &Statement) -> Result<Option<i16>, String> {
    match line.values() {
        [] => Ok(None),
        [word, rest @ ..] if word == "weight" => weight(rest).map(Some),
        [other, ..] => Err(format!("{other:?} is not known here")),
    }
}

fn version(draft: &mut Draft, said: Option<&Statement>, defaults: &Defaults, ledger: &mut Ledger) {
    let six = draft.addresses.first().is_some_and(|(net, _)| net.addr().is_ipv6());
    if let Some(inner) = said {
        match inner.value() {
            "2" | "3" => {
                draft.version = if inner.value() == "3" { 3 } else { 2 };
                ledger.leaf(inner, 1);
            }
            _ => {
                ledger.list(Kind::Lost, inner, "there are versions 2 and 3");
                draft.version_because = Some("keepalived's default");
            }
        }
    } else if let Some(version) = defaults.version {
        draft.version = version;
        draft.version_because = Some("vrrp_version in global_defs");
    } else {
        draft.version_because = Some("keepalived's default; 3 is better, once all peers have it");
    }
    if six && draft.version == 2 {
        draft.version = 3;
        draft.version_because = Some("as keepalived takes for IPv6");
    }
}

fn interval(draft: &mut Draft, said: Option<&Statement>, ledger: &mut Ledger) {
    let Some(inner) = said else { return };
    let unit = if draft.version == 2 { 1_000_000 } else { 10_000 };
    let most = if draft.version == 2 { 255 } else { 4_095 };
    let Some(micros) = micros(inner.value()).filter(|micros| *micros / unit <= most) else {
        return ledger.list(Kind::Lost, inner, "no interval that this version has; 1 s counts");
    };
    let units = ((micros + unit / 2) / unit).clamp(1, most);
    if units * unit == micros {
        ledger.leaf(inner, 1);
    } else {
        let why = format!("version {} has steps of {}", draft.version, if unit == 10_000 { "10 ms" } else { "1 s" });
        ledger.list(Kind::Changed, inner, why);
    }
    draft.interval = Some(units * unit / 10_000);
}

fn preempt(draft: &mut Draft, inside: &[Statement], ledger: &mut Ledger) {
    let find = |keyword: &str| inside.iter().rfind(|inner| inner.keyword() == keyword);
    let master = find("state").is_some_and(|inner| inner.value() == "MASTER");
    let last = inside.iter().rfind(|inner| ["preempt", "nopreempt"].contains(&inner.keyword()));
    if let Some(last) = last {
        draft.preempt_said = true;
        if last.keyword() == "nopreempt" && master {
            let why = "keepalived ignores it beside `state MASTER`; preempt = false, which is Baton's default, does \
                       what it says";
            ledger.list(Kind::Changed, last, why);
        } else {
            draft.preempt = last.keyword() == "preempt";
            ledger.leaf(last, 0);
        }
        let other = if last.keyword() == "preempt" { "nopreempt" } else { "preempt" };
        if let Some(other) = find(other) {
            ledger.list(Kind::Lost, other, format!("{} says the opposite", last.place));
        }
    }
    let Some(delay) = find("preempt_delay") else { return };
    match micros(delay.value()).map(|micros| micros / 1_000).filter(|millis| *millis <= 1_000_000) {
        Some(0) => ledger.list(Kind::Needless, delay, "0 is the default"),
        Some(_) if !draft.preempt => ledger.list(Kind::Lost, delay, "with nopreempt there is nothing to delay"),
        Some(_) if master => ledger.list(Kind::Lost, delay, "keepalived ignores it beside `state MASTER`"),
        Some(millis) => {
            draft.preempt_delay = Some(millis);
            ledger.leaf(delay, 1);
        }
        None => ledger.list(Kind::Lost, delay, "expected 0 to 1000 seconds"),
    }
}

fn password(draft: &mut Draft, block: &Statement, strict: bool, ledger: &mut Ledger) {
    let find = |keyword: &str| block.inside().iter().rfind(|inner| inner.keyword() == keyword);
    let kind = find("auth_type").map_or("", Statement::value);
    let why = match (draft.version, kind) {
        (3, _) => Some("version 3 has no authentication; keepalived ignores it too"),
        _ if strict => Some("keepalived ignores it in strict mode, so its peers expect none"),
        (_, "AH" | "ah") => Some("AH is not spoken: set the peers to auth_type PASS, or remove it everywhere"),
        (_, "PASS" | "pass") => None,
        _ => Some("auth_type is not PASS"),
    };
    let Some(secret) = find("auth_pass").filter(|_| why.is_none()) else {
        return ledger.list(Kind::Lost, block, why.unwrap_or("there is no auth_pass"));
    };
    ledger.head(block, 0);
    for inner in block.inside() {
        match inner.keyword() {
            "auth_type" | "auth_pass" => ledger.leaf(inner, 1),
            _ => ledger.list(Kind::Lost, inner, "no keyword that is known here"),
        }
    }
    let text = secret.value();
    let mut end = text.len().min(8);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end < text.len() {
        ledger.part(Kind::Changed, &secret.place, "auth_pass …", "only its first 8 bytes count, there as here");
    }
    if end == 0 {
        return ledger.list(Kind::Lost, block, "auth_pass is empty");
    }
    draft.auth_pass = Some(text[..end].to_owned());
}

/// Whether a keyword that may be followed by a switch is on.
pub(super) fn switched_on(value: &str) -> bool {
    !["off", "no", "false"].contains(&value)
}

/// Leaves out what is of another family than the first address.
fn one_family(draft: &mut Draft, ledger: &mut Ledger) {
    let Some(six) = draft.addresses.first().map(|(net, _)| net.addr().is_ipv6()) else { return };
    let alien = |address: IpAddr| address.is_ipv6() != six;
    for (net, place) in draft.addresses.extract_if(.., |(net, _)| alien(net.addr())) {
        let why = "keepalived ignores an address of another family here; excluded_addresses would hold it";
        ledger.part(Kind::Lost, &place, &net.to_string(), why);
    }
    for (peer, place) in draft.peers.extract_if(.., |(peer, _)| alien(*peer)) {
        ledger.part(Kind::Lost, &place, &peer.to_string(), "it is of another family than the addresses");
    }
    if let Some((source, place)) = draft.source.take_if(|(source, _)| alien(*source)) {
        ledger.part(Kind::Lost, &place, &source.to_string(), "it is of another family than the addresses");
    }
    let own = draft.source.as_ref().map(|(source, _)| *source);
    for (peer, place) in draft.peers.extract_if(.., |(peer, _)| own == Some(*peer)) {
        ledger.part(Kind::Needless, &place, &peer.to_string(), "it is this host's own address, unicast_src_ip");
    }
}

/// Blocks of which there may be more than one.
const MANY: [&str; 5] =
    ["virtual_ipaddress", "virtual_ipaddress_excluded", "unicast_peer", "track_interface", "track_script"];
