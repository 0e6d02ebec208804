//! Label names: `HAPROXY_{n}_NAME` and `HAPROXY_NAME`.
//!
//! Finds the table's entry and the port for a key, or says why there is none.

use super::table::{Label, Scope, TABLE};
use super::templates::{TEMPLATES, Template};
use super::value::shown;

/// A key that begins with `HAPROXY_`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// The digits of `{n}`.
    index: Option<&'a str>,
    name: &'a str,
}

impl<'a> Key<'a> {
    /// None: the key is somebody else's.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let rest = key.strip_prefix("HAPROXY_")?;
        let indexed = rest.split_once('_').filter(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        Some(match indexed {
            Some((index, name)) => Self { index: Some(index), name },
            None => Self { index: None, name: rest },
        })
    }

    /// The label and the port it is for; no port = the whole app.
    pub(super) fn resolve(self, ports: usize) -> Result<(&'static Label, Option<usize>), Unusable<'a>> {
        let find = |scope| TABLE.iter().find(|label| label.name == self.name && label.scope() == scope);
        match self.index {
            Some(index) => match find(Scope::Port) {
                Some(label) => port_index(index, ports).map(|n| (label, Some(n))),
                None => Err(find(Scope::App).map_or_else(|| self.unknown(), Unusable::AppWide)),
            },
            None => match find(Scope::App) {
                Some(label) => Ok((label, None)),
                None => {
                    Err(find(Scope::Port).map_or_else(|| self.unknown(), |label| Unusable::NoIndex { label, ports }))
                }
            },
        }
    }

    /// No value label has this name.
    fn unknown(self) -> Unusable<'a> {
        match TEMPLATES.iter().find(|template| template.name == self.name) {
            Some(Template { by_label: true, .. }) => Unusable::Template(self.name),
            Some(_) => Unusable::GlobalTemplate(self.name),
            None => Unusable::Unknown(self),
        }
    }

    /// The known key that was probably meant, as one would write it.
    fn nearest(self) -> Option<String> {
        if self.name.len() > LONGEST {
            return None;
        }
        let allowed = if self.name.len() > 4 { 2 } else { 1 };
        let labels = TABLE.iter().map(|label| (label.name, label.scope()));
        let templates = TEMPLATES.iter().map(|template| (template.name, Scope::Port));
        let upper = self.name.to_ascii_uppercase();
        let wanted = if self.index.is_some() { Scope::Port } else { Scope::App };
        let (_, _, name, scope) = labels
            .chain(templates)
            .filter(|(name, _)| name.len().abs_diff(upper.len()) <= allowed)
            .map(|(name, scope)| (distance(&upper, name), scope != wanted, name, scope))
            .filter(|(distance, ..)| *distance <= allowed)
            .min_by_key(|(distance, elsewhere, ..)| (*distance, *elsewhere))?;
        Some(match scope {
            Scope::App => format!("HAPROXY_{name}"),
            Scope::Port => format!("HAPROXY_{}_{name}", self.index.unwrap_or("0")),
        })
    }
}

fn port_index(digits: &str, ports: usize) -> Result<usize, Unusable<'_>> {
    let canonical = digits == "0" || !digits.starts_with('0');
    match digits.parse::<usize>() {
        Ok(index) if canonical && index < ports => Ok(index),
        _ => Err(Unusable::NoPort { digits, ports }),
    }
}

/// Why a `HAPROXY_` key is ignored.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Unusable<'a> {
    /// There is no such port.
    #[error("there is no port {}; {}; ignored", shown(.digits), has(*.ports))]
    NoPort {
        /// The index as written.
        digits: &'a str,
        /// How many ports the app has.
        ports: usize,
    },
    /// A per-port label without an index.
    #[error("needs a port index, such as HAPROXY_0_{}; {}; ignored", .label.name, has(*.ports))]
    NoIndex {
        /// What it would be.
        label: &'static Label,
        /// How many ports the app has.
        ports: usize,
    },
    /// An app-wide label with an index.
    #[error("is for the whole app: write HAPROXY_{}; ignored", .0.name)]
    AppWide(&'static Label),
    /// A template that marathon-lb takes from labels.
    #[error("template labels are not supported yet; the built-in template {0} is used")]
    Template(&'a str),
    /// A template that no label ever set.
    #[error("the template {0} is for the whole load balancer and cannot be set by a label; the built-in one is used")]
    GlobalTemplate(&'a str),
    /// None of the above.
    #[error("no such label{}; ignored", .0.nearest().map_or_else(String::new, |key| format!(", did you mean {key}?")))]
    Unknown(Key<'a>),
}

/// How many ports the app has, in words.
fn has(ports: usize) -> String {
    match ports {
        0 => "the app has no ports".to_owned(),
        1 => "the app has 1 port, index 0".to_owned(),
        n => format!("the app has {n} ports, index 0 to {}", n - 1),
    }
}

/// The number of single-character edits between two names (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.bytes().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Names longer than this resemble none of ours.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (key, want) in [
            ("HAPROXY_0_VHOST", Some((Some("0"), "VHOST"))),
            ("HAPROXY_12_BACKEND_WEIGHT", Some((Some("12"), "BACKEND_WEIGHT"))),
            ("HAPROXY_007_PORT", Some((Some("007"), "PORT"))),
            ("HAPROXY_GROUP", Some((None, "GROUP"))),
            ("HAPROXY_", Some((None, ""))),
            ("HAPROXY__VHOST", Some((None, "_VHOST"))),
            ("HAPROXY_0", Some((None, "0"))),
            ("HAPROXY_0_", Some((Some("0"), ""))),
            ("HAPROXY_é_X", Some((None, "é_X"))),
            ("haproxy_0_VHOST", None),
            ("HAPROXY", None),
            ("TRAEFIK_0_X", None),
            ("", None),
        ] {
            assert_eq!(Key::parse(key).map(|k| (k.index, k.name)), want, "{key}");
        }
    }

    #[test]
    fn what_a_key_without_effect_is_told() {
        for (key, ports, want) in [
            ("HAPROXY_2_VHOST", 2, "there is no port \"2\"; the app has 2 ports, index 0 to 1; ignored"),
            ("HAPROXY_0_VHOST", 0, "there is no port \"0\"; the app has no ports; ignored"),
            ("HAPROXY_00_VHOST", 1, "there is no port \"00\"; the app has 1 port, index 0; ignored"),
            (
                "HAPROXY_99999999999999999999_VHOST",
                1,
                "there is no port \"99999999999999999999\"; the app has 1 port, index 0; ignored",
            ),
            ("HAPROXY_VHOST", 1, "needs a port index, such as HAPROXY_0_VHOST; the app has 1 port, index 0; ignored"),
            ("HAPROXY_0_DEPLOYMENT_GROUP", 1, "is for the whole app: write HAPROXY_DEPLOYMENT_GROUP; ignored"),
            (
                "HAPROXY_0_BACKEND_HEAD",
                1,
                "template labels are not supported yet; the built-in template BACKEND_HEAD is used",
            ),
            (
                "HAPROXY_HTTP_FRONTEND_ACL",
                1,
                "template labels are not supported yet; the built-in template HTTP_FRONTEND_ACL is used",
            ),
            (
                "HAPROXY_HEAD",
                1,
                "the template HEAD is for the whole load balancer and cannot be set by a label; the built-in one is used",
            ),
            ("HAPROXY_0_VHOSTS", 1, "no such label, did you mean HAPROXY_0_VHOST?; ignored"),
            ("HAPROXY_3_vhost", 1, "no such label, did you mean HAPROXY_3_VHOST?; ignored"),
            ("HAPROXY_0_REDIRECT_TO_HTTP", 1, "no such label, did you mean HAPROXY_0_REDIRECT_TO_HTTPS?; ignored"),
            ("HAPROXY_GROUPS", 1, "no such label, did you mean HAPROXY_GROUP?; ignored"),
            ("HAPROXY_DEPLOYMENT_COLOR", 1, "no such label, did you mean HAPROXY_DEPLOYMENT_COLOUR?; ignored"),
            ("HAPROXY_0_FRONTEND_HEAT", 1, "no such label, did you mean HAPROXY_0_FRONTEND_HEAD?; ignored"),
            ("HAPROXY_0_FROBNICATE", 1, "no such label; ignored"),
            ("HAPROXY_", 1, "no such label; ignored"),
        ] {
            let unusable = Key::parse(key).unwrap().resolve(ports).unwrap_err();
            assert_eq!(unusable.to_string(), want, "{key}");
        }
    }
}
