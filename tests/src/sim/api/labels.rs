//! The `label` parameter: `k`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, joined by commas.

use std::collections::BTreeMap;

/// A parsed selector; all parts must match.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selector(Vec<Term>);

#[derive(Debug, PartialEq, Eq)]
enum Term {
    Exists(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Parses the parameter, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        let mut terms = Vec::new();
        loop {
            let (key, after) = token(rest)?;
            let after = after.trim_start();
            let (term, after) = if let Some(after) = after.strip_prefix("==") {
                let (value, after) = token(after)?;
                (Term::In(key, vec![value]), after)
            } else if let Some(after) = after.strip_prefix("!=") {
                let (value, after) = token(after)?;
                (Term::NotIn(key, vec![value]), after)
            } else if let Some(after) = after.strip_prefix("notin") {
                let (values, after) = set(after)?;
                (Term::NotIn(key, values), after)
            } else if let Some(after) = after.strip_prefix("in") {
                let (values, after) = set(after)?;
                (Term::In(key, values), after)
            } else {
                (Term::Exists(key), after)
            };
            terms.push(term);
            rest = after.trim_start();
            if rest.is_empty() {
                return Ok(Self(terms));
            }
            rest =
                rest.strip_prefix(',').ok_or_else(|| format!("Can not parse label selector: unexpected '{rest}'"))?;
        }
    }

    /// Whether `labels` fit.
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| match term {
            Term::Exists(key) => labels.contains_key(key),
            Term::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Term::NotIn(key, values) => labels.get(key).is_some_and(|value| !values.contains(value)),
        })
    }
}

fn token(text: &str) -> Result<(String, &str), String> {
    let text = text.trim_start();
    let (mut out, mut end, mut escaped) = (String::new(), 0, false);
    for (at, letter) in text.char_indices() {
        let plain = letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if !escaped && letter == '\\' {
            escaped = true;
        } else if escaped || plain {
            out.push(letter);
            escaped = false;
        } else {
            break;
        }
        end = at + letter.len_utf8();
    }
    if out.is_empty() {
        Err(format!("Can not parse label selector: token expected at '{text}'"))
    } else {
        Ok((out, &text[end..]))
    }
}

fn set(text: &str) -> Result<(Vec<String>, &str), String> {
    let mut rest = text.trim_start().strip_prefix('(').ok_or("Can not parse label selector: '(' expected")?;
    let mut values = Vec::new();
    loop {
        let (value, after) = token(rest)?;
        values.push(value);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => {
                let after = after.strip_prefix(')').ok_or("Can not parse label selector: ')' expected")?;
                return Ok((values, after));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_documented() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b/c".to_owned(), "x y".to_owned())]);
        for (text, expected) in [
            ("a", true),
            ("z", false),
            ("a==1", true),
            ("a!=1", false),
            ("a!=2", true),
            ("z!=1", false),
            ("a in (1, 2), b\\/c", true),
            ("a notin (2,3)", true),
            ("b\\/c==x\\ y", true),
        ] {
            assert_eq!(Selector::parse(text).unwrap().matches(&labels), expected, "{text}");
        }
        for text in ["", "a==", "a in 1", "a b"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
