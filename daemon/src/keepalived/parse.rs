//! Lines to statements: words, and a block of further statements where there are braces.
//!
//! Reads what `read` delivers; says nothing about the meaning. Total: braces and quotes that do not
//! match are noted and read as well as they can be.

use std::collections::BTreeSet;

use super::Place;
use super::notes::{Kind, Ledger, SECRET, plain};
use super::read::Line;

/// A keyword, its values and maybe a block.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) place: Place,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Block>,
}

/// What stands between braces.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) inside: Vec<Statement>,
    /// Where the opening brace stands, if on a line of its own.
    pub(super) opened: Option<Place>,
    /// Where it is closed.
    pub(super) end: Place,
}

impl Statement {
    /// The word that says what this is.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words after it.
    pub(super) fn values(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first of them.
    pub(super) fn value(&self) -> &str {
        self.values().first().map_or("", String::as_str)
    }

    /// The statements of its block.
    pub(super) fn inside(&self) -> &[Self] {
        self.block.as_ref().map_or(&[], |block| &block.inside)
    }

    /// It on one line, without any password.
    pub(super) fn text(&self) -> String {
        let words = if SECRET.contains(&self.keyword()) && self.words.len() > 1 {
            format!("{} …", self.keyword())
        } else {
            self.words.join(" ")
        };
        plain(&if self.block.is_some() { format!("{words} {{…}}") } else { words })
    }

    /// Every line of it.
    pub(super) fn places(&self, found: &mut BTreeSet<Place>) {
        found.insert(self.place.clone());
        if let Some(block) = &self.block {
            found.extend(block.opened.clone());
            found.insert(block.end.clone());
            block.inside.iter().for_each(|statement| statement.places(found));
        }
    }
}

/// The statements of `lines`.
pub(super) fn parse(lines: &[Line], ledger: &mut Ledger) -> Vec<Statement> {
    let mut parser = Parser { ledger, open: Vec::new(), top: Vec::new(), pending: None, ignored: 0 };
    for line in lines {
        parser.line(line);
    }
    parser.flush();
    if let Some(last) = lines.last() {
        parser.close_all(&last.place);
    }
    parser.top
}

struct Parser<'a> {
    ledger: &'a mut Ledger,
    /// Blocks that wait for their closing brace.
    open: Vec<Statement>,
    top: Vec<Statement>,
    /// The last statement: a block may follow it on the next line.
    pending: Option<Statement>,
    /// Opening braces too deep to mean anything.
    ignored: usize,
}

impl Parser<'_> {
    fn line(&mut self, line: &Line) {
        let (tokens, closed) = tokens(&line.text);
        if !closed {
            let why = "a quote is not closed: read up to the end of the line";
            self.ledger.part(Kind::Changed, &line.place, &line.text, why);
        }
        let mut fresh = true;
        for token in tokens {
            match token {
                Token::Word(word) => {
                    if fresh {
                        self.flush();
                        self.recover(&word, &line.place);
                        self.pending = Some(Statement { place: line.place.clone(), words: Vec::new(), block: None });
                        fresh = false;
                    }
                    if let Some(statement) = &mut self.pending {
                        statement.words.push(word);
                    }
                }
                Token::Open => {
                    self.open(&line.place);
                    fresh = true;
                }
                Token::Close => {
                    self.flush();
                    self.close(&line.place);
                    fresh = true;
                }
            }
        }
    }

    /// A block that only the top level has ends whatever is still open.
    fn recover(&mut self, word: &str, place: &Place) {
        if !self.open.is_empty() && TOP.contains(&word) {
            self.close_all(place);
        }
    }

    fn open(&mut self, place: &Place) {
        if self.open.len() >= DEEPEST {
            self.flush();
            self.ignored += 1;
            self.ledger.part(Kind::Lost, place, "{", format!("braces more than {DEEPEST} deep"));
            return;
        }
        let opener = self.pending.take();
        let mut statement =
            opener.unwrap_or_else(|| Statement { place: place.clone(), words: Vec::new(), block: None });
        let opened = (statement.place != *place).then(|| place.clone());
        statement.block = Some(Block { inside: Vec::new(), opened, end: place.clone() });
        self.open.push(statement);
    }

    fn close(&mut self, place: &Place) {
        if self.ignored > 0 {
            self.ignored -= 1;
            self.ledger.done(place);
            return;
        }
        match self.open.pop() {
            Some(mut statement) => {
                if let Some(block) = &mut statement.block {
                    block.end = place.clone();
                }
                self.add(statement);
            }
            None => self.ledger.part(Kind::Lost, place, "}", "there is no block to close"),
        }
    }

    fn close_all(&mut self, place: &Place) {
        self.ignored = 0;
        while let Some(statement) = self.open.pop() {
            let why = format!("the block is not closed: read up to {place}");
            self.ledger.part(Kind::Changed, &statement.place, &statement.text(), why);
            self.add(statement);
        }
    }

    fn flush(&mut self) {
        if let Some(statement) = self.pending.take() {
            self.add(statement);
        }
    }

    fn add(&mut self, statement: Statement) {
        match self.open.last_mut().and_then(|parent| parent.block.as_mut()) {
            Some(block) => block.inside.push(statement),
            None => self.top.push(statement),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Open,
    Close,
}

/// The tokens of a line, and whether every quote is closed.
fn tokens(line: &str) -> (Vec<Token>, bool) {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    // Within ${…}, where a brace is no brace.
    let mut parameter = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', _) if chars.peek().is_some() => {
                let escaped = chars.next().unwrap_or('\\');
                word.get_or_insert_default().push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('{', None) if word.as_ref().is_some_and(|word| word.ends_with('$')) => {
                parameter = true;
                word.get_or_insert_default().push(c);
            }
            ('}', None) if parameter => {
                parameter = false;
                word.get_or_insert_default().push(c);
            }
            ('{' | '}', None) => {
                found.extend(word.take().map(Token::Word));
                found.push(if c == '{' { Token::Open } else { Token::Close });
            }
            (c, None) if c.is_whitespace() => {
                parameter = false;
                found.extend(word.take().map(Token::Word));
            }
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word.take().map(Token::Word));
    (found, quote.is_none())
}

/// Keywords that only stand at the top level.
const TOP: [&str; 8] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_process",
    "vrrp_track_file",
    "virtual_server",
    "virtual_server_group",
];

/// Blocks within blocks.
const DEEPEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_braces() {
        let words = |line: &str| {
            let found = tokens(line).0.into_iter().map(|token| match token {
                Token::Word(word) => word,
                Token::Open => "{".to_owned(),
                Token::Close => "}".to_owned(),
            });
            found.collect::<Vec<_>>()
        };
        assert_eq!(words("a{ b }"), ["a", "{", "b", "}"]);
        assert_eq!(words("script \"killall -0 'x y'\""), ["script", "killall -0 'x y'"]);
        assert_eq!(words("abcd\" efg \"mnop"), ["abcd efg mnop"]);
        assert_eq!(words("\\\"a ${B}c"), ["\"a", "${B}c"]);
        assert_eq!(words("\"\""), [""]);
        assert!(!tokens("a \"b").1);
    }
}
