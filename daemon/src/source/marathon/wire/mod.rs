//! Marathon's JSON to core types: the answers of `/v2/apps` and `/v2/apps/{id}`, of any Marathon.
//!
//! Called by the Marathon client and by the file source. Fields are read by presence, never by
//! version, and `null` is the same as absent at every level. Only broken JSON or a missing `apps`
//! array fails an answer; a bad app costs itself, a bad task itself, and each says so in an
//! [`Issue`]. Apps are converted one by one while the text is parsed, so memory is bounded by the
//! answer's text and the core types.

mod app;
mod check;
mod field;
mod lean;
mod notes;
mod ports;
mod task;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use haproxy::app::{App, AppId};
use haproxy::issue::Issue;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use lean::Lean;

/// The most bytes an answer may have; a longer one is refused unread.
pub const MAX_BODY: usize = 256 << 20;

/// The most ports an app may have; one with more is refused.
pub const MAX_PORTS: usize = 1000;

/// What one answer said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The apps by id.
    pub apps: BTreeMap<AppId, Arc<App>>,
    /// What could not be read, sorted.
    pub issues: Vec<Issue>,
}

/// Why an answer as a whole is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nothing but blanks.
    #[error("the answer is empty")]
    Empty,
    /// Not JSON, or cut short.
    #[error("the answer is not JSON: {0}")]
    Syntax(serde_json::Error),
    /// JSON, but no list of apps.
    #[error("the answer has no `apps` array")]
    NoApps,
    /// JSON, but not the app that was asked for.
    #[error("the answer is not about this app")]
    NotThisApp,
}

/// Where the list of apps may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// `{"apps":[…]}` only, as Marathon answers.
    Object,
    /// That, or the bare array, as people keep in files.
    ObjectOrArray,
    /// `{"app":{…}}`, as Marathon answers about one.
    One,
}

/// Reads a whole answer. Bytes that are no UTF-8 become U+FFFD, so they cost the label or name
/// they stand in and not the answer.
///
/// # Errors
/// When it is no JSON or has no list of apps.
pub fn read(body: &[u8], envelope: Envelope) -> Result<Answer, WireError> {
    // Looking for what is no UTF-8 takes many times as long as seeing that there is none.
    let text = std::str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.trim_ascii().is_empty() {
        return Err(WireError::Empty);
    }
    let mut reader = Reader { answer: Answer::default(), seen: 0, found: false };
    let mut json = serde_json::Deserializer::from_str(text);
    let document = Document { reader: &mut reader, envelope };
    match document.deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) if reader.found => {
            reader.answer.issues.sort();
            reader.answer.issues.dedup();
            Ok(reader.answer)
        }
        Ok(()) => Err(WireError::NoApps),
        Err(error) if error.is_data() => Err(WireError::NoApps),
        Err(error) => Err(WireError::Syntax(error)),
    }
}

/// Reads an answer about one app. It holds that app, or none and the reason if it cannot be served.
///
/// # Errors
/// When it is no JSON or about something else.
pub fn read_one(body: &[u8], id: &AppId) -> Result<Answer, WireError> {
    let answer = match read(body, Envelope::One) {
        Err(WireError::NoApps) => return Err(WireError::NotThisApp),
        other => other?,
    };
    let about = |issue: &Issue| issue.app == id.as_str();
    let other = match answer.apps.keys().next() {
        Some(found) => found != id,
        None => answer.issues.is_empty() || !answer.issues.iter().all(about),
    };
    if other { Err(WireError::NotThisApp) } else { Ok(answer) }
}

/// Collects apps while the text is parsed.
struct Reader {
    answer: Answer,
    seen: usize,
    found: bool,
}

impl Reader {
    fn app(&mut self, value: &Value) {
        self.seen += 1;
        let Some(app) = app::read(value, self.seen, &mut self.answer.issues) else { return };
        match self.answer.apps.entry(app.id.clone()) {
            Entry::Vacant(slot) => {
                slot.insert(Arc::new(app));
            }
            Entry::Occupied(slot) => {
                let problem = "the answer lists this app twice; the first one is used";
                self.answer.issues.push(Issue::app(slot.key(), problem));
            }
        }
    }
}

/// The outermost value.
struct Document<'a> {
    reader: &'a mut Reader,
    envelope: Envelope,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `apps`")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "apps" && self.envelope != Envelope::One {
                map.next_value_seed(Apps(&mut *self.reader))?;
            } else if key == "app" && self.envelope == Envelope::One && !self.reader.found {
                let app = map.next_value_seed(Lean::default())?;
                self.reader.found = app.is_object();
                self.reader.app(&app);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<(), S::Error> {
        match self.envelope {
            Envelope::ObjectOrArray => Apps(self.reader).visit_seq(seq),
            Envelope::Object | Envelope::One => Err(S::Error::custom("an array")),
        }
    }
}

/// The list of apps.
struct Apps<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for Apps<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Apps<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of apps")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        self.0.found = true;
        while let Some(value) = seq.next_element_seed(Lean::default())? {
            if !value.is_null() {
                self.0.app(&value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
