//! The files that an `include` names: a path, or a pattern with `*`, `?` and `[…]`.
//!
//! Used by `read`. Only what keepalived's own `glob()` is used for in practice: patterns in braces
//! are refused with a reason.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The files that `pattern` names below `base`, in order of name.
pub(super) fn matches(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    if pattern.contains(['{', '}', '~']) {
        return Err("patterns with braces or ~ are not followed: name the files".to_owned());
    }
    let mut found = vec![if pattern.starts_with('/') { PathBuf::from("/") } else { base.to_owned() }];
    for part in Path::new(pattern).components() {
        let part = match part {
            Component::RootDir | Component::Prefix(_) | Component::CurDir => continue,
            Component::ParentDir => "..".to_owned(),
            Component::Normal(name) => name.to_string_lossy().into_owned(),
        };
        if !part.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(&part));
            continue;
        }
        let mut next = Vec::new();
        for dir in &found {
            let here = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            let Ok(entries) = fs::read_dir(here) else { continue };
            let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            next.extend(names.filter(|name| fits(&part, name)).map(|name| dir.join(name)));
        }
        next.sort();
        found = next;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

/// Whether `name` fits `pattern`; a leading dot must be written.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    if name.first() == Some(&'.') && pattern.first() != Some(&'.') {
        return false;
    }
    // Where to go on when a `*` has to take one more character.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                retry = Some((p, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            Some('?') if n < name.len() => Some(1),
            Some('[') => name.get(n).and_then(|c| class(&pattern[p..], *c)),
            Some(c) if name.get(n) == Some(c) => Some(1),
            _ => None,
        };
        match (step, retry) {
            (Some(step), _) => {
                p += step;
                n += 1;
            }
            (None, Some((star, from))) if from < name.len() => {
                retry = Some((star, from + 1));
                (p, n) = (star + 1, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// The length of the class that `pattern` begins with, if it has `c`.
fn class(pattern: &[char], c: char) -> Option<usize> {
    let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
    let inside = pattern.get(1..end)?;
    let (negated, inside) = match inside.split_first() {
        Some(('!' | '^', rest)) => (true, rest),
        _ => (false, inside),
    };
    let mut found = false;
    let mut at = 0;
    while let Some(first) = inside.get(at) {
        match (inside.get(at + 1), inside.get(at + 2)) {
            (Some('-'), Some(last)) => {
                found |= (first..=last).contains(&&c);
                at += 3;
            }
            _ => {
                found |= *first == c;
                at += 1;
            }
        }
    }
    (found != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".a.conf", false),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[0-9]*", "10-x", true),
            ("[!0-9]*", "10-x", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*", "", true),
            ("[", "[", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        assert!(matches(Path::new("/"), "{a,b}").is_err());
    }
}
