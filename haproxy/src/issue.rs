//! What is wrong with one app, in words its owner can act on.
//!
//! Made by the sources, `labels`, `compile` and `reload`; shown by `render`, the status page, the
//! log and a metric. An issue never aborts anything: it costs the part it names and nothing else.

use std::fmt;

/// One problem of one app. Ordered, so that lists of issues are the same for the same input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Issue {
    /// The app's id as Marathon wrote it, control characters replaced.
    pub app: String,
    /// The label to blame, e.g. `HAPROXY_0_VHOST`; none when the trouble is not a label's.
    pub label: Option<String>,
    /// What is wrong, what it costs and what would be accepted. No final period.
    pub problem: String,
}

impl Issue {
    /// An issue about the app as a whole.
    pub fn app(app: impl fmt::Display, problem: impl Into<String>) -> Self {
        Self { app: printable(&app.to_string()), label: None, problem: printable(&problem.into()) }
    }

    /// An issue about one label of the app.
    pub fn label(app: impl fmt::Display, label: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { label: Some(printable(&label.into())), ..Self::app(app, problem) }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.app)?;
        if let Some(label) = &self.label {
            write!(f, "{label}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// `text` safe to print on one line: control characters and Unicode blanks shown as escapes, at
/// most 400 characters of it.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN {
            shown.push('…');
            break;
        }
        if c.is_control() || (c.is_whitespace() && c != ' ') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The longest text shown from outside, in characters.
const SHOWN: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_is_one_line_whatever_the_app_wrote() {
        let issue = Issue::label("/a\n", "HAPROXY_0_VHOST", "bad host \"x\u{a0}y\r\nlua-load\"");
        assert_eq!(issue.to_string(), "/a\\u{a}: HAPROXY_0_VHOST: bad host \"x\\u{a0}y\\u{d}\\u{a}lua-load\"");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(printable(&"x".repeat(65_536)).chars().count(), SHOWN + 1);
    }
}
