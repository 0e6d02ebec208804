//! `vrrp_script`: programs whose exit code keepalived watches.
//!
//! Read before the instances that name them; `translate` notes those that nobody names.

use super::Place;
use super::command::{arguments, looks_for_haproxy};
use super::known;
use super::notes::{Kind, Ledger};
use super::parse::Statement;
use super::value::micros;

/// A check.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Script {
    pub(super) name: String,
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// Whether Baton does the same without it.
    pub(super) haproxy: bool,
    /// Milliseconds.
    pub(super) interval: u64,
    /// Milliseconds.
    pub(super) timeout: Option<u64>,
    pub(super) rise: u32,
    pub(super) fall: u32,
    pub(super) weight: i16,
    /// Where the weight stands.
    pub(super) weight_place: Option<Place>,
}

/// The check that `statement` is.
pub(super) fn script(statement: &Statement, ledger: &mut Ledger) -> Option<Script> {
    let find = |keyword: &str| statement.inside().iter().rfind(|inner| inner.keyword() == keyword);
    let text = find("script").map(|inner| inner.values().join(" ")).unwrap_or_default();
    if statement.value().is_empty() || text.trim().is_empty() {
        ledger.list(Kind::Lost, statement, "it has no name or no script");
        return None;
    }
    let mut script = Script {
        name: statement.value().to_owned(),
        command: arguments(text.trim()),
        haproxy: looks_for_haproxy(&text),
        interval: 1_000,
        timeout: None,
        rise: 1,
        fall: 1,
        weight: 0,
        weight_place: None,
    };
    if script.haproxy {
        ledger.list(Kind::Needless, statement, "Baton sees by itself, and sooner, whether HAProxy runs and answers");
        return Some(script);
    }
    ledger.head(statement, 1);
    for inner in statement.inside() {
        if find(inner.keyword()).is_some_and(|last| !std::ptr::eq(last, inner)) {
            ledger.list(Kind::Lost, inner, "it is said again further down");
            continue;
        }
        key(&mut script, inner, ledger);
    }
    Some(script)
}

fn key(script: &mut Script, inner: &Statement, ledger: &mut Ledger) {
    let value = inner.value();
    match inner.keyword() {
        "script" => ledger.leaf(inner, usize::MAX),
        "interval" | "timeout" => {
            match micros(value).map(|micros| micros / 1_000).filter(|millis| *millis <= LONGEST) {
                Some(millis) => {
                    if millis < SHORTEST {
                        ledger.list(Kind::Changed, inner, "100 ms is the least");
                    }
                    ledger.leaf(inner, 1);
                    let millis = millis.max(SHORTEST);
                    match inner.keyword() {
                        "interval" => script.interval = millis,
                        _ => script.timeout = Some(millis),
                    }
                }
                None => ledger.list(Kind::Lost, inner, "no number of seconds that can be; the default counts"),
            }
        }
        "rise" | "fall" => match value.parse().ok().filter(|times| (1..=1_000_000).contains(times)) {
            Some(times) => {
                ledger.leaf(inner, 1);
                match inner.keyword() {
                    "rise" => script.rise = times,
                    _ => script.fall = times,
                }
            }
            None => ledger.list(Kind::Lost, inner, "no number that can be; 1 counts"),
        },
        "weight" => match weight(inner.values()) {
            Ok(weight) => {
                ledger.leaf(inner, usize::MAX);
                script.weight = weight;
                script.weight_place = Some(inner.place.clone());
            }
            Err(why) => ledger.list(Kind::Lost, inner, why),
        },
        "user" => ledger.list(Kind::Lost, inner, "it runs as the user that the unit of baton names"),
        "init_fail" => ledger.list(Kind::Lost, inner, "a check counts from its first result on"),
        other => {
            let (kind, why) = known::instance(other);
            ledger.list(kind, inner, why);
        }
    }
}

/// A weight and what follows it.
pub(super) fn weight(words: &[String]) -> Result<i16, String> {
    let [number, rest @ ..] = words else { return Err("there is no weight".to_owned()) };
    let weight = number.parse::<i16>().ok().filter(|weight| weight.unsigned_abs() <= 253);
    let weight = weight.ok_or_else(|| "a weight is -253 to 253".to_owned())?;
    match rest.first().map(String::as_str) {
        None | Some("noreverse" | "no_reverse") => Ok(weight),
        Some("reverse") => Err("a reversed weight cannot be said: give the other side's a sign".to_owned()),
        Some(other) => Err(format!("{other:?} is not known here")),
    }
}

/// Milliseconds that a check's interval has at least.
const SHORTEST: u64 = 100;

/// A day in milliseconds.
const LONGEST: u64 = 86_400_000;
