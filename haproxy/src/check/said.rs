//! One message of HAProxy, with the line and the app it is about.
//!
//! Parsed from what `haproxy -c` prints, and from the log that a synchronous `reload` answers with.

use std::fmt;
use std::path::Path;

use crate::bundle::{LineOwners, Owner};

/// One error or warning of HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How bad.
    pub level: Level,
    /// The line of `haproxy.cfg`, where it names one.
    pub line: Option<usize>,
    /// The message without HAProxy's prefix and the file's directory, continuation lines kept, control
    /// characters replaced.
    pub text: String,
    /// The app and port it is about, by line or else by the proxy it names.
    pub owner: Option<Owner>,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// HAProxy's levels, as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It will not start.
    Alert,
    /// It starts nevertheless.
    Warning,
}

/// Reads all alerts and warnings of an output about the configuration at `config`.
///
/// Lines are believed only with that exact path in front, which no app owner can know.
pub(crate) fn parse(output: &str, config: &Path, owners: &LineOwners) -> Vec<Said> {
    let mut messages: Vec<(Level, String)> = Vec::new();
    let mut open = false;
    for line in output.lines() {
        if let Some((level, text)) = head(line) {
            open = level.is_some();
            messages.extend(level.map(|level| (level, text.to_owned())));
        } else if let (true, Some((_, text))) = (open && !line.trim().is_empty(), messages.last_mut()) {
            text.push('\n');
            text.push_str(line.trim_end());
        }
    }
    let place = format!("{}:", config.display());
    let said = messages.into_iter().filter(|(_, text)| !is_summary(text)).map(|(level, text)| {
        let line = line_number(&text, &place);
        let owner = match line {
            Some(line) => owners.line(line).or_else(|| named_proxy(&text, owners)),
            None => named_proxy(&text, owners),
        };
        // The directory is another one with every check.
        let text = text.strip_prefix("config : ").unwrap_or(&text).replace(&place, "haproxy.cfg:");
        Said { level, line, owner: owner.cloned(), text: printable(&text) }
    });
    said.collect()
}

/// Splits `[ALERT]    (123) : text`; none for a continuation line. Level none: a notice.
fn head(line: &str) -> Option<(Option<Level>, &str)> {
    let (level, rest) = line.strip_prefix('[')?.split_once(']')?;
    let level = match level {
        "ALERT" => Some(Level::Alert),
        "WARNING" => Some(Level::Warning),
        "NOTICE" | "DIAG" | "INFO" => None,
        _ => return None,
    };
    let (pid, text) = rest.trim_start().strip_prefix('(')?.split_once(") : ")?;
    pid.bytes().all(|b| b.is_ascii_digit()).then_some((level, text))
}

/// The closing lines that only repeat that there were errors.
fn is_summary(text: &str) -> bool {
    let text = text.strip_prefix("config : ").unwrap_or(text);
    ["Error(s) found in configuration file", "Fatal errors found in configuration", "Loading failure!"]
        .iter()
        .any(|start| text.starts_with(start))
}

fn line_number(text: &str, place: &str) -> Option<usize> {
    let (_, rest) = text.split_once(place)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The first known proxy in quotes or after `frontend`/`backend`: `Proxy 'x'`, `'server x/y'`.
fn named_proxy<'a>(text: &str, owners: &'a LineOwners) -> Option<&'a Owner> {
    let words = text.split(|c: char| c.is_whitespace() || "'/:,()".contains(c));
    words.filter(|word| !word.is_empty()).find_map(|word| owners.proxy(word.trim_end_matches('.')))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).take(MAX_TEXT).collect()
}

/// Long enough for any real message, short enough for a log line.
const MAX_TEXT: usize = 2000;
