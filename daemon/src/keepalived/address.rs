//! The lines of `virtual_ipaddress`: an address and what `ip address` would be told about it.
//!
//! Used by `instance`. Pure, but for the account of what cannot be said.

use ipnet::IpNet;

use super::notes::{Kind, Ledger};
use super::parse::Statement;
use super::value::checked;
use crate::config::vrrp::Floating;

/// The address of a line on `interface`, if it can float there.
pub(super) fn address(line: &Statement, interface: Option<&str>, ledger: &mut Ledger) -> Option<IpNet> {
    let net = match checked::<Floating>(line.keyword()) {
        Ok(net) => net.0,
        Err(why) => {
            ledger.list(Kind::Lost, line, why);
            return None;
        }
    };
    let mut words = line.values().iter().map(String::as_str);
    let mut parts = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "dev" => {
                let dev = words.next().unwrap_or_default();
                if interface.is_none() {
                    parts.push((Kind::Lost, format!("dev {dev}"), "the instance has no interface of its own"));
                } else if interface != Some(dev) {
                    let why = format!(
                        "a router's addresses are on its own interface: write a [[vrrp]] for {dev} with another \
                         virtual_router_id on it, and the same group for both"
                    );
                    ledger.list(Kind::Lost, line, why);
                    return None;
                }
            }
            "label" => {
                let label = words.next().unwrap_or_default();
                parts.push((Kind::Lost, format!("label {label}"), "addresses get no label"));
            }
            "scope" => match words.next().unwrap_or_default() {
                "global" => (),
                scope => parts.push((Kind::Lost, format!("scope {scope}"), "addresses have the scope global")),
            },
            "brd" | "broadcast" => {
                let brd = words.next().unwrap_or_default();
                parts.push((Kind::Needless, format!("{word} {brd}"), "a floating address needs no broadcast address"));
            }
            "peer" | "preferred_lft" | "track_group" => {
                let value = words.next().unwrap_or_default();
                parts.push((Kind::Lost, format!("{word} {value}"), "cannot be said"));
            }
            "noprefixroute" | "nodad" | "-nodad" | "home" => {
                parts.push((Kind::Needless, word.to_owned(), "Baton sets what a floating address needs"));
            }
            "no_track" => {
                parts.push((Kind::Lost, word.to_owned(), "an address that somebody removes is put back at once"));
            }
            other => parts.push((Kind::Lost, other.to_owned(), "not known here")),
        }
    }
    ledger.leaf(line, usize::MAX);
    for (kind, text, why) in parts {
        ledger.part(kind, &line.place, &text, why);
    }
    Some(net)
}
