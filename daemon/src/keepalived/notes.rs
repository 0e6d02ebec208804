//! The account of every line: translated, or noted with the reason why not.
//!
//! Kept by all parts of the translation; its notes end up on standard error and as comments.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Place;
use super::parse::Statement;

/// What happened to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It had an effect that the result has not.
    Lost,
    /// It has an effect, but not exactly the one it had.
    Changed,
    /// Baton does it by itself, or it has nothing to do with floating addresses.
    Needless,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "not translated",
            Self::Changed => "changed",
            Self::Needless => "not needed",
        })
    }
}

/// A line, or a block of them, that is not translated as it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Its first line.
    pub place: Place,
    /// Its last line in the same file.
    pub last: usize,
    /// What happened.
    pub kind: Kind,
    /// What it says, on one line; never a password.
    pub text: String,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if self.last > self.place.line {
            write!(f, "-{}", self.last)?;
        }
        write!(f, ": {}: {}: {}", self.kind, self.text, self.why)
    }
}

/// The account.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Lines that are translated or noted.
    covered: BTreeSet<Place>,
    notes: BTreeSet<Note>,
    /// The last of the lines that are joined to one, by the first.
    joined: BTreeMap<Place, usize>,
}

impl Ledger {
    /// The line is translated.
    pub(super) fn done(&mut self, place: &Place) {
        self.covered.insert(place.clone());
    }

    /// The line `more` belongs to the one at `place`, whatever becomes of it.
    pub(super) fn join(&mut self, place: &Place, more: usize) {
        self.joined.insert(place.clone(), more);
        self.done(&Place { file: place.file.clone(), line: more });
    }

    /// A statement without a block is translated, with its first `used` values.
    pub(super) fn leaf(&mut self, statement: &Statement, used: usize) {
        self.head(statement, used);
        for inner in statement.inside() {
            self.list(Kind::Lost, inner, format!("no block is expected after {}", statement.keyword()));
        }
    }

    /// What holds a block together is translated, with its first `used` values; what is inside has
    /// an account of its own.
    pub(super) fn head(&mut self, statement: &Statement, used: usize) {
        self.done(&statement.place);
        if let Some(block) = &statement.block {
            self.done(&block.end);
            block.opened.iter().for_each(|place| self.done(place));
        }
        let surplus = statement.values().get(used..).unwrap_or_default();
        if !surplus.is_empty() {
            let why = format!("nothing is expected there after {}", statement.keyword());
            self.part(Kind::Lost, &statement.place, &surplus.join(" "), why);
        }
    }

    /// The statement and all that is in its block are not translated as they stand.
    pub(super) fn list(&mut self, kind: Kind, statement: &Statement, why: impl Into<String>) {
        let mut places = BTreeSet::new();
        statement.places(&mut places);
        let why = why.into();
        let own: Vec<_> = places.iter().filter(|place| place.file == statement.place.file).collect();
        let first = own.first().map_or(statement.place.line, |place| place.line);
        let last = own.last().map_or(statement.place.line, |place| place.line);
        let place = Place { file: statement.place.file.clone(), line: first };
        self.push(Note { kind, place, last, text: statement.text(), why: why.clone() });
        self.covered.extend(places.iter().cloned());
        // What an included file has of the block has lines of its own.
        for place in places.iter().filter(|place| place.file != statement.place.file) {
            let text = format!("part of {}", statement.text());
            self.push(Note { kind, place: place.clone(), last: place.line, text, why: why.clone() });
        }
    }

    /// A line, or a part of it, is not translated as it stands.
    pub(super) fn part(&mut self, kind: Kind, place: &Place, text: &str, why: impl Into<String>) {
        let text = match SECRET.iter().find_map(|word| text.find(word).map(|at| at + word.len())) {
            Some(end) => format!("{} …", &text[..end]),
            None => text.to_owned(),
        };
        self.push(Note { kind, place: place.clone(), last: place.line, text: plain(&text), why: why.into() });
    }

    /// Whatever nobody has accounted for is noted.
    pub(super) fn account(&mut self, place: &Place, text: &str) {
        if !self.covered.contains(place) {
            self.part(Kind::Lost, place, text, "not understood here");
        }
    }

    /// The notes in order of place.
    pub(super) fn finish(self) -> Vec<Note> {
        self.notes.into_iter().collect()
    }

    fn push(&mut self, mut note: Note) {
        note.why = plain(&note.why);
        let last = Place { file: note.place.file.clone(), line: note.last };
        note.last = self.joined.get(&last).map_or(note.last, |joined| *joined);
        self.covered.insert(note.place.clone());
        self.notes.insert(note);
    }
}

/// `text` on one line and of bearable length, whatever is in it.
pub(super) fn plain(text: &str) -> String {
    let mut made = String::new();
    for c in text.trim().chars() {
        if made.len() > LONGEST {
            made.push('…');
            break;
        }
        match c {
            c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => made.extend(c.escape_default()),
            c => made.push(c),
        }
    }
    made
}

/// Keywords whose value is not shown.
pub(super) const SECRET: [&str; 2] = ["auth_pass", "auth_hmac"];

const LONGEST: usize = 300;
