//! What HAProxy's verdict on a configuration depends on: all but map entries, and which servers there are.
//!
//! Made with each bundle; `reload` keeps what HAProxy accepted and asks again only where something is new. Servers
//! come and go all day, often the last of a backend, and a check of a large configuration takes long.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use super::Digest;

/// The shape of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The configuration without its servers, and the files beside it but for the maps.
    frame: Digest,
    /// The options that servers have, each with its backend, as hashes.
    servers: BTreeSet<u64>,
}

impl Shape {
    /// The configuration without servers, and what it is to be with them.
    pub(super) fn of(config: &str, frame: impl FnOnce(&str) -> Digest) -> Self {
        let mut rest = String::with_capacity(config.len() / 2);
        let mut servers = BTreeSet::new();
        let (mut section, mut last) = ("", None);
        for line in config.lines() {
            match server_options(line) {
                Some(options) if last.as_ref() == Some(&options) => (),
                Some(options) => {
                    let mut hasher = DefaultHasher::new();
                    (section, &options).hash(&mut hasher);
                    servers.insert(hasher.finish());
                    last = Some(options);
                }
                None => {
                    if !line.starts_with([' ', '\t']) {
                        (section, last) = (line, None);
                    }
                    rest.push_str(line);
                    rest.push('\n');
                }
            }
        }
        Self { frame: frame(&rest), servers }
    }

    /// Where HAProxy accepted a configuration of this shape, it accepts every one of the other.
    pub fn covers(&self, other: &Self) -> bool {
        self.frame == other.frame && other.servers.is_subset(&self.servers)
    }

    /// HAProxy accepted the other, too.
    pub fn and(mut self, other: &Self) -> Self {
        if self.frame != other.frame {
            return other.clone();
        }
        self.servers.extend(&other.servers);
        self
    }
}

/// What follows `server NAME ADDRESS id N`, without what differs between the servers of a backend and cannot be
/// wrong: cookie, weight, and whether it is disabled. None for any other line.
fn server_options(line: &str) -> Option<Vec<&str>> {
    let mut words = line.trim_start().strip_prefix("server ")?.split(' ');
    let (_name, _address, id, number) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if id != "id" || number.parse::<u32>().is_err() {
        return None;
    }
    let mut options = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "disabled" => (),
            "weight" | "cookie" => {
                let value = words.next()?;
                if word == "weight" && !value.parse::<u16>().is_ok_and(|weight| weight <= 256) {
                    options.extend([word, value]);
                }
            }
            _ => options.push(word),
        }
    }
    Some(options)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Bundle, Draft, MapName};
    use super::Shape;

    fn shape(servers: &str, map: &str) -> Shape {
        let draft = Draft {
            config: format!("description baton:@DIGEST@\nbackend b\n{servers}frontend f\n"),
            maps: BTreeMap::from([(MapName::parse("a.map").unwrap(), map.to_owned())]),
            files: BTreeMap::new(),
            certs: None,
            owners: super::super::LineOwners::default(),
            binds: Vec::new(),
        };
        Bundle::seal(draft).unwrap().shape().clone()
    }

    #[test]
    fn what_was_accepted_covers_other_servers_and_map_entries() {
        let base = shape("  server a 10.0.0.1:80 id 1 check\n", "");
        for other in [
            shape("  server b 10.0.0.2:81 id 2 check\n", "x y\n"),
            shape("  server a 10.0.0.1:80 id 1 check\n  server b 10.0.0.2:80 id 2 check\n", ""),
            shape("  server a 10.0.0.1:80 id 1 weight 0 cookie c1 check\n", ""),
            shape("  server a 10.0.0.1:80 id 1 check disabled\n", ""),
            shape("", ""),
        ] {
            assert!(base.covers(&other), "{other:?}");
        }
        for other in [
            shape("  server a 10.0.0.1:80 id 1 check inter 5s\n", ""),
            shape("  server a 10.0.0.1:80 id 1 check\n  server b 10.0.0.2:80 id 2\n", ""),
            shape("  server a 10.0.0.1:80 check\n", ""),
            shape("  server a 10.0.0.1:80 id x check\n", ""),
            shape("  server a 10.0.0.1:80 id 1 weight many check\n", ""),
            shape("  server a 10.0.0.1:80 id 1 check\n  option x\n", ""),
            shape("backend c\n  server a 10.0.0.1:80 id 1 check\n", ""),
        ] {
            assert!(!base.covers(&other), "{other:?}");
        }
    }

    #[test]
    fn options_stay_known_while_their_backend_is_empty() {
        let (full, empty) = (shape("  server a 10.0.0.1:80 id 1 check\n", ""), shape("", ""));
        assert!(!empty.covers(&full), "nobody has asked about these options");
        assert!(full.clone().and(&empty).covers(&full) && empty.and(&full).covers(&full));
        let other = shape("  option x\n", "");
        assert!(!full.and(&other).covers(&shape("  option x\n  server a 10.0.0.1:80 id 1 check\n", "")));
    }
}
