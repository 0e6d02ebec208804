//! What the demo prints: short aligned lines on standard output, colour only on a terminal.

use std::io::{IsTerminal as _, Write as _};

/// The terminal, or whatever standard output is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    colour: bool,
    terminal: bool,
}

/// What a line is marked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// A fact.
    None,
    /// A probe that found what it should.
    Good,
    /// One that did not.
    Bad,
}

impl Screen {
    /// Standard output; `NO_COLOR` is obeyed.
    #[must_use]
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()), terminal }
    }

    /// Whether somebody reads along.
    #[must_use]
    pub(super) fn is_terminal(self) -> bool {
        self.terminal
    }

    /// A heading, after an empty line.
    pub(super) fn heading(self, text: &str) {
        self.line("");
        self.line(&self.painted(BOLD, text));
    }

    /// A line below a heading: what it is about, and what is said about it.
    pub(super) fn row(self, mark: Mark, name: &str, text: &str) {
        let sign = match mark {
            Mark::None => " ".to_owned(),
            Mark::Good => self.painted(GREEN, "✓"),
            Mark::Bad => self.painted(RED, "✗"),
        };
        let name = self.painted(DIM, &format!("{name:<9}"));
        let mut lines = wrapped(text).into_iter();
        self.line(&format!("   {name} {sign} {}", lines.next().unwrap_or_default()));
        lines.for_each(|line| self.line(&format!("{:15}{line}", "")));
    }

    /// A command to be copied: never wrapped.
    pub(super) fn command(self, name: &str, command: &str) {
        self.line(&format!("   {} {command}", self.painted(DIM, &format!("{name:<6}"))));
    }

    /// A line as it is.
    #[allow(clippy::unused_self, reason = "the one place that writes")]
    fn line(self, text: &str) {
        // A reader that hung up is no error of ours.
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    fn painted(self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// `text` in lines of [`WIDTH`] characters, unless a word is longer.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            // Blanks that align columns stay.
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// With what stands before it, 105 columns.
const WIDTH: usize = 90;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_between_words() {
        let text = "word ".repeat(30);
        assert_eq!(wrapped(text.trim_end()), ["word ".repeat(18).trim_end(), "word ".repeat(12).trim_end()]);
        assert_eq!(wrapped("a   b"), ["a   b"]);
        assert_eq!(wrapped(&"x".repeat(200)), ["x".repeat(200)]);
    }
}
