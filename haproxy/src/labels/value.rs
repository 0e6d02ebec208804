//! The values of labels: from an app owner's text to a checked type.
//!
//! Called by the setters of the table with text whose surrounding blanks are gone. Each function
//! says what is wrong; the table adds what is accepted and what it costs. Lists come back with
//! their good parts and one problem for each bad one.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::options::{Auth, Mode, Paths};
use crate::app::AppId;
use crate::issue::printable;
use crate::text::{BadText, CryptHash, Host, PathPrefix, Realm, Word};

/// Without surrounding blanks. Only blanks and tabs: any other white space is a mistake to show.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(BLANKS)
}

/// The offending text for a message: quoted, on one line, and cut.
pub(super) fn shown(text: &str) -> String {
    let printable = printable(text);
    match printable.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("\"{}…\"", &printable[..cut]),
        None => format!("\"{printable}\""),
    }
}

/// true t yes y, false f no n 0 off and nothing at all; upper and lower case are the same.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" => Ok(true),
        "false" | "f" | "no" | "n" | "0" | "off" | "" => Ok(false),
        _ => Err(format!("{} is neither true nor false", shown(text))),
    }
}

/// A whole number that fits its type.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{} is no number that can be used here", shown(text)))
}

/// A port to listen on.
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{} is no port", shown(text))),
    }
}

/// tcp or http.
pub(super) fn mode(text: &str) -> Result<Mode, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Mode::Tcp),
        "http" => Ok(Mode::Http),
        _ => Err(format!("{} is no mode", shown(text))),
    }
}

/// A value of one of the checked text types.
pub(super) fn text<T>(parse: impl FnOnce(&str) -> Result<T, BadText>, text: &str) -> Result<T, String> {
    parse(text).map_err(|bad| wrong(text, bad))
}

/// An app id or group path, with or without its leading slash, kept as written.
pub(super) fn app_path(text: &str) -> Result<Word, String> {
    AppId::parse(text).map_err(|bad| wrong(text, bad))?;
    Word::parse(text).map_err(|bad| wrong(text, bad))
}

/// Group names between commas. All or nothing: a port must not be served to the wrong clients.
pub(super) fn groups(text: &str) -> Result<BTreeSet<String>, String> {
    let name = |part: &str| match trim(part) {
        "" => Err(format!("{} holds an empty group name", shown(text))),
        name if name.len() > 255 => Err(format!("the group {} is longer than 255 bytes", shown(name))),
        name => match name.chars().find(|c| c.is_whitespace() || c.is_control()) {
            Some(bad) => Err(wrong(name, BadText::Character(bad))),
            None => Ok(name.to_owned()),
        },
    };
    text.split(',').map(name).collect()
}

/// Host names between commas.
pub(super) fn hosts(text: &str) -> (Vec<Host>, Vec<String>) {
    distinct(text.split(',').map(trim), Host::parse)
}

/// Path prefixes between blanks, led by `-i` where case does not matter.
pub(super) fn paths(text: &str) -> (Paths, Vec<String>) {
    let mut words = words(text).peekable();
    let ignore_case = words.next_if_eq(&"-i").is_some();
    let (prefixes, mut problems) = distinct(words, PathPrefix::parse);
    if prefixes.is_empty() && problems.is_empty() {
        problems.push(format!("{} holds no prefix", shown(text)));
    }
    (Paths { ignore_case, prefixes }, problems)
}

/// `realm:user:hash`. The text is never shown: it may hold a password.
pub(super) fn auth(text: &str) -> Result<Auth, String> {
    let fields: Vec<&str> = text.split(':').collect();
    let [realm, user, hash] = fields.as_slice() else {
        return Err(format!("{} fields between colons instead of 3", fields.len()));
    };
    Ok(Auth {
        realm: Realm::parse(realm).map_err(|bad| format!("the realm: {bad}"))?,
        user: Word::parse(user).map_err(|bad| format!("the user: {bad}"))?,
        hash: CryptHash::parse(hash).map_err(|bad| match bad {
            BadText::Length { .. } => format!("the password: {bad}"),
            _ => format!("the password: {}", BadText::NoHash),
        })?,
    })
}

/// Networks between blanks. All or nothing: an empty list would let everybody in.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let mut networks = Vec::new();
    for word in words(text) {
        let network = network(word).ok_or_else(|| format!("{} is no IP address or network", shown(word)))?;
        networks.push(network);
    }
    if networks.is_empty() {
        return Err(format!("{} holds no network", shown(text)));
    }
    Ok(networks)
}

/// An address, a network with its prefix length, or (IPv4) with its netmask; host bits cleared.
fn network(text: &str) -> Option<IpNet> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.into());
    }
    if let Ok(network) = text.parse::<IpNet>() {
        return Some(network.trunc());
    }
    let (ip, mask) = text.split_once('/')?;
    let (ip, mask) = (ip.parse::<Ipv4Addr>().ok()?, mask.parse::<Ipv4Addr>().ok()?);
    Ipv4Net::with_netmask(ip, mask).ok().map(|network| network.trunc().into())
}

/// The parts that `parse` accepts, in order and each once, and what is wrong with the others.
fn distinct<'a, T: Ord + Clone>(
    parts: impl Iterator<Item = &'a str>,
    parse: impl Fn(&str) -> Result<T, BadText>,
) -> (Vec<T>, Vec<String>) {
    let mut seen = BTreeSet::new();
    let mut good = Vec::new();
    let mut problems = Vec::new();
    for part in parts {
        match parse(part) {
            Ok(value) => {
                if seen.insert(value.clone()) {
                    good.push(value);
                }
            }
            Err(bad) => problems.push(wrong(part, bad)),
        }
    }
    (good, problems)
}

/// The words between blanks.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(BLANKS).filter(|word| !word.is_empty())
}

/// What is wrong with `text`.
fn wrong(text: &str, why: impl Display) -> String {
    format!("{}: {why}", shown(text))
}

/// What may surround a value.
const BLANKS: [char; 2] = [' ', '\t'];

/// The longest offending text shown, in characters: what is accepted must fit behind it.
const SHOWN: usize = 60;
