//! The tables that HAProxy answers, as values. A table that is not understood wholly is none.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::diff::Seen;
use crate::model::{Admin, Weight};

/// The servers of each backend by name.
pub(super) type Servers = BTreeMap<String, BTreeMap<String, Seen>>;

/// Reads `show servers state`, version 1, by the names of its columns. Servers that are no address
/// (unix sockets) are not ours and left out.
pub(super) fn servers(reply: &str) -> Option<Servers> {
    let mut lines = reply.lines().filter(|line| !line.trim().is_empty());
    if lines.next()?.trim() != "1" {
        return None;
    }
    let columns: Vec<&str> = lines.next()?.strip_prefix("# ")?.split_ascii_whitespace().collect();
    let at = |name: &str| columns.iter().position(|column| *column == name);
    let (backend, server, id) = (at("be_name")?, at("srv_name")?, at("srv_id")?);
    let (addr, port, weight) = (at("srv_addr")?, at("srv_port")?, at("srv_uweight")?);
    let (admin, check) = (at("srv_admin_state")?, at("srv_check_state")?);
    let mut servers = Servers::new();
    for line in lines {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if fields.len() < columns.len() {
            return None;
        }
        let Ok(ip) = fields[addr].parse::<IpAddr>() else { continue };
        let check: u32 = fields[check].parse().ok()?;
        let seen = Seen {
            id: fields[id].parse().ok()?,
            addr: SocketAddr::new(ip, fields[port].parse().ok()?),
            weight: Weight::new(fields[weight].parse().ok()?)?,
            admin: admin_of(fields[admin].parse().ok()?),
            checked: check & CHECK_ENABLED != 0,
        };
        servers.entry(fields[backend].to_owned()).or_default().insert(fields[server].to_owned(), seen);
    }
    Some(servers)
}

/// Reads from `show servers state` what the last check of each server found that is checked, by backend.
pub(super) fn checks(reply: &str) -> Option<BTreeMap<String, BTreeMap<String, u32>>> {
    let mut lines = reply.lines().filter(|line| !line.trim().is_empty());
    lines.next().filter(|line| line.trim() == "1")?;
    let columns: Vec<&str> = lines.next()?.strip_prefix("# ")?.split_ascii_whitespace().collect();
    let at = |name: &str| columns.iter().position(|column| *column == name);
    let (backend, server, result) = (at("be_name")?, at("srv_name")?, at("srv_check_result")?);
    let check = at("srv_check_state")?;
    let mut found: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let enabled = fields.get(check)?.parse::<u32>().ok()? & CHECK_ENABLED != 0;
        let result = fields.get(result)?.parse().ok()?;
        if enabled {
            let servers = found.entry((*fields.get(backend)?).to_owned()).or_default();
            servers.insert((*fields.get(server)?).to_owned(), result);
        }
    }
    Some(found)
}

fn admin_of(flags: u32) -> Admin {
    match flags {
        flags if flags & ANY_MAINT != 0 => Admin::Maint,
        flags if flags & ANY_DRAIN != 0 => Admin::Drain,
        _ => Admin::Ready,
    }
}

/// Reads `show servers conn` of one backend for the number HAProxy gave it; none without servers.
pub(super) fn number(reply: &str) -> Option<Option<u32>> {
    let mut lines = reply.lines().filter(|line| !line.trim().is_empty());
    lines.next().filter(|line| line.starts_with("# bkname/svname bkid/svid "))?;
    let Some(line) = lines.next() else { return Some(None) };
    let (number, _) = line.split_ascii_whitespace().nth(1)?.split_once('/')?;
    number.parse().ok().map(Some)
}

/// Reads `show stat` of a backend's servers: sessions under way and waiting, by server name.
pub(super) fn sessions(reply: &str) -> Option<BTreeMap<String, u32>> {
    let mut lines = reply.lines().filter(|line| !line.trim().is_empty());
    let columns: Vec<&str> = lines.next()?.strip_prefix("# ")?.split(',').collect();
    let at = |name: &str| columns.iter().position(|column| *column == name);
    let (server, queued, current) = (at("svname")?, at("qcur")?, at("scur")?);
    let row = |line: &str| {
        // None of these comes after a text that may hold a comma.
        let fields: Vec<&str> = line.split(',').collect();
        let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
        Some(((*fields.get(server)?).to_owned(), number(queued)?.saturating_add(number(current)?)))
    };
    lines.map(row).collect()
}

/// Reads `show map`: of two entries with one key the first, which is what a lookup finds.
pub(super) fn map(reply: &str) -> Option<BTreeMap<String, String>> {
    let mut entries = BTreeMap::new();
    for line in reply.lines().filter(|line| !line.trim().is_empty()) {
        let mut fields = line.split_ascii_whitespace();
        let (address, key, value) = (fields.next()?, fields.next()?, fields.next()?);
        if !address.starts_with("0x") || fields.next().is_some() {
            return None;
        }
        entries.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    Some(entries)
}

/// Maintenance by an operator, inherited from a tracked server, or for want of an address.
const ANY_MAINT: u32 = 0x01 | 0x02 | 0x20 | 0x40;

/// Drain by an operator or inherited.
const ANY_DRAIN: u32 = 0x08 | 0x10;

/// `CHK_RES_UNKNOWN`: no check has ended.
pub(super) const NO_RESULT: u32 = 0;

/// `CHK_RES_FAILED`.
pub(super) const FAILED: u32 = 2;

/// `CHK_ST_ENABLED`.
const CHECK_ENABLED: u32 = 0x04;
