//! The lines of a configuration and of the files it includes, in the order keepalived reads them.
//!
//! Feeds `parse`. Comments are gone, lines that a backslash joins are one, `@id` lines are chosen and
//! `$NAME`s replaced; what cannot be included becomes a note.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Place;
use super::glob::matches;
use super::notes::{Kind, Ledger};

/// A line that says something.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) text: String,
}

/// The configuration cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read {path}")]
pub struct ReadError {
    /// The file.
    path: PathBuf,
    /// The system's reason.
    source: std::io::Error,
}

/// The lines of `file`.
pub(super) fn read(file: &Path, id: Option<&str>, ledger: &mut Ledger) -> Result<Vec<Line>, ReadError> {
    let text = load(file).map_err(|source| ReadError { path: file.to_owned(), source })?;
    let mut reader = Reader { id, ledger, names: BTreeMap::new(), open: Vec::new(), files: 0, lines: Vec::new() };
    reader.file(file, &text);
    Ok(reader.lines)
}

/// The text of a file; bytes that are no UTF-8 are replaced.
fn load(file: &Path) -> std::io::Result<String> {
    let length = fs::metadata(file)?.len();
    if length > LARGEST {
        return Err(std::io::Error::other(format!("{length} bytes are no configuration")));
    }
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}

struct Reader<'a> {
    id: Option<&'a str>,
    ledger: &'a mut Ledger,
    names: BTreeMap<String, String>,
    /// The files that are being read, each included by the one before.
    open: Vec<PathBuf>,
    files: usize,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, text: &str) {
        self.files += 1;
        self.open.push(path.canonicalize().unwrap_or_else(|_| path.to_owned()));
        let name: Arc<str> = Arc::from(path.display().to_string());
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let place = Place { file: name.clone(), line: number + 1 };
            let mut line = uncommented(line);
            while line.ends_with('\\') {
                line.pop();
                let Some((number, more)) = lines.next() else { break };
                self.ledger.join(&place, number + 1);
                line.push_str(&uncommented(more));
            }
            if !line.trim().is_empty() {
                self.line(path, place, line.trim());
            }
        }
        self.open.pop();
    }

    fn line(&mut self, path: &Path, place: Place, text: &str) {
        let mut text = text;
        if let Some(rest) = text.strip_prefix('@') {
            let (id, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let chosen = match (id.strip_prefix('^'), self.id) {
                (Some(other), given) => Some(other) != given,
                (None, given) => Some(id) == given,
            };
            if !chosen {
                let why = match self.id {
                    Some(given) => format!("it is not for {given:?}, which --config-id names"),
                    None => "--config-id ID chooses such lines, as keepalived's -i does".to_owned(),
                };
                self.ledger.part(Kind::Lost, &place, text, why);
                return;
            }
            self.ledger.done(&place);
            text = rest.trim();
        }
        if let Some((name, value)) = text.strip_prefix('$').and_then(|rest| rest.split_once('='))
            && is_name(name)
        {
            self.ledger.done(&place);
            let value = self.replaced(value.trim());
            self.names.insert(name.to_owned(), value);
            return;
        }
        let mut words = text.split_whitespace();
        if let (Some(keyword), Some(what)) = (words.next(), words.next())
            && INCLUDES.contains(&keyword)
        {
            return self.include(path, &place, text, what.trim_matches('"'));
        }
        let text = self.replaced(text);
        if !text.trim().is_empty() {
            self.lines.push(Line { place, text });
        }
    }

    fn include(&mut self, path: &Path, place: &Place, text: &str, what: &str) {
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let found = match matches(base, what) {
            Ok(found) => found,
            Err(why) => return self.ledger.part(Kind::Lost, place, text, why),
        };
        if found.is_empty() {
            return self.ledger.part(Kind::Lost, place, text, "there is no such file");
        }
        self.ledger.done(place);
        for file in found {
            let shown = file.display();
            let canonical = file.canonicalize().unwrap_or_else(|_| file.clone());
            let refused = if self.open.contains(&canonical) {
                Some(format!("{shown} includes itself"))
            } else if self.open.len() >= DEEPEST {
                Some(format!("{shown}: includes {DEEPEST} deep"))
            } else if self.files >= MOST {
                Some(format!("{shown}: more than {MOST} files"))
            } else {
                None
            };
            match (refused, load(&file)) {
                (Some(why), _) => self.ledger.part(Kind::Lost, place, text, why),
                (None, Err(why)) => self.ledger.part(Kind::Lost, place, text, format!("read {shown}: {why}")),
                (None, Ok(inner)) => self.file(&file, &inner),
            }
        }
    }

    /// `text` with the parameters in it replaced; what is none stays as it is.
    fn replaced(&self, text: &str) -> String {
        let mut made = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            made.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, length) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((name, _)) => (name, name.len() + 2),
                None => {
                    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    (&after[..end], end)
                }
            };
            match self.names.get(name).filter(|value| made.len() + value.len() < LONGEST) {
                Some(value) => {
                    made.push_str(value);
                    rest = &after[length..];
                }
                None => {
                    made.push('$');
                    rest = after;
                }
            }
        }
        made + rest
    }
}

/// `line` up to its comment. Quotes protect `#` and `!`, a backslash too.
fn uncommented(line: &str) -> String {
    let mut made = String::new();
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if quote == Some(c) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(c),
            '\\' if quote.is_none() && matches!(chars.peek(), Some('#' | '!')) => {
                made.extend(chars.next());
                continue;
            }
            '\\' => {
                made.push(c);
                made.extend(chars.next());
                continue;
            }
            '#' | '!' if quote.is_none() => break,
            _ => (),
        }
        made.push(c);
    }
    made.truncate(made.trim_end().len());
    made
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

/// Includes within includes.
const DEEPEST: usize = 16;

/// Files altogether.
const MOST: usize = 500;

/// Bytes of one file.
const LARGEST: u64 = 4 << 20;

/// Bytes of a line with its parameters replaced.
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// As keepalived 2.2.7 does.
    #[test]
    fn comments_end_lines_outside_quotes() {
        for (line, expected) in [
            ("a # b", "a"),
            ("a!b", "a"),
            ("! a", ""),
            ("\"a # b\" # c", "\"a # b\""),
            ("'a!b' ! c", "'a!b'"),
            ("\"it's\" # c", "\"it's\""),
            ("\"a\\\"#\" # c", "\"a\\\"#\""),
        ] {
            assert_eq!(uncommented(line), expected);
        }
    }
}
