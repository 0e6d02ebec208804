//! Ids of apps and groups: absolute paths.
//!
//! Relative ids of a group update are resolved here; everything further in sees absolute ones only.

use std::fmt;

/// `/`, `/group`, `/group/app`: always absolute, never with a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(String);

/// The pattern that Marathon quotes when an id is refused.
pub const SEGMENT_RULE: &str = "must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])\\.)*([a-z0-9]|[a-z0-9][a-z0-9\\-]*[a-z0-9])|(\\.|\\.\\.)$'";

impl PathId {
    /// The root group.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Resolves `text` against `base`: `/a` stands for itself, `b`, `./b` and `../b` are relative.
    #[must_use]
    pub fn resolve(text: &str, base: &Self) -> Self {
        let mut segments: Vec<&str> = if text.starts_with('/') { Vec::new() } else { base.segments().collect() };
        for part in text.split('/').filter(|part| !part.is_empty()) {
            match part {
                "." => (),
                ".." => {
                    segments.pop();
                }
                name => segments.push(name),
            }
        }
        Self(format!("/{}", segments.join("/")))
    }

    /// The id that stands in a URL; leading slashes may be absent or doubled.
    #[must_use]
    pub fn from_url(text: &str) -> Self {
        Self::resolve(text, &Self::root())
    }

    /// The written form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root group.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The names between the slashes.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The enclosing group; root's is root.
    #[must_use]
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            Some(0) | None => Self::root(),
            Some(at) => Self(self.0[..at].to_owned()),
        }
    }

    /// Whether this id lies below `group`, at any depth.
    #[must_use]
    pub fn is_below(&self, group: &Self) -> bool {
        !self.is_root()
            && (group.is_root() || self.0.strip_prefix(group.0.as_str()).is_some_and(|rest| rest.starts_with('/')))
    }

    /// All groups around this id, outermost (not root) first.
    #[must_use]
    pub fn ancestors(&self) -> Vec<Self> {
        let ends = self.0.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        ends.map(|at| Self(self.0[..at].to_owned())).collect()
    }

    /// The form that begins task ids: `group_app`.
    #[must_use]
    pub fn task_prefix(&self) -> String {
        self.segments().collect::<Vec<_>>().join("_")
    }

    /// Whether every segment follows [`SEGMENT_RULE`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.segments().all(|segment| segment.split('.').all(is_label))
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    bytes.iter().all(inner) && matches!((bytes.first(), bytes.last()), (Some(a), Some(z)) if *a != b'-' && *z != b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_ids_resolve_against_the_enclosing_group() {
        let base = PathId::from_url("/wordpress");
        for (text, expected) in [
            ("web-app", "/wordpress/web-app"),
            ("../db", "/db"),
            ("./x", "/wordpress/x"),
            ("/a//b", "/a/b"),
            ("", "/wordpress"),
        ] {
            assert_eq!(PathId::resolve(text, &base).as_str(), expected);
        }
        assert_eq!(PathId::from_url("//wordpress/web-app").as_str(), "/wordpress/web-app");
    }

    #[test]
    fn the_segment_rule_refuses_capitals_and_underscores() {
        for (text, valid) in
            [("/a.b/c-1", true), ("/A", false), ("/a_b", false), ("/-a", false), ("/a-", false), ("/", true)]
        {
            assert_eq!(PathId::from_url(text).is_valid(), valid, "{text}");
        }
        assert!(PathId::from_url("/ab/c").is_below(&PathId::from_url("/ab")));
        assert!(!PathId::from_url("/abc").is_below(&PathId::from_url("/ab")));
        assert_eq!(PathId::from_url("/a/b/c").ancestors(), [PathId::from_url("/a"), PathId::from_url("/a/b")]);
    }
}
