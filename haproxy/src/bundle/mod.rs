//! Everything one HAProxy process needs, as text: the configuration, its maps and generated files.
//!
//! `render` fills a [`Draft`] and seals it; `check`, `disk` and `reload` take the sealed
//! [`Bundle`]. Sealing writes the bundle's own digest into the configuration, so that a running
//! worker can be asked which bundle it runs. Pure: no files here, no clock.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::app::AppId;
use crate::certs::{self, Certificates};

mod bind;
mod shape;

pub use bind::{Bind, BindAddr};
pub use shape::Shape;

/// The line that `render` puts into the `global` section; sealing replaces its token.
pub const MARKER: &str = "description baton:@DIGEST@";

/// What starts the description of a worker that runs one of our bundles.
const DESCRIPTION: &str = "baton:";

/// A bundle before it is sealed. No `Debug`: a file may be a private key.
#[derive(Clone, Default)]
pub struct Draft {
    /// The text of `haproxy.cfg`, one line of it (blanks around allowed) being [`MARKER`].
    pub config: String,
    /// The maps, which the configuration names bare (`map(hosts.map)` under `default-path config`).
    pub maps: BTreeMap<MapName, String>,
    /// Other generated files beside the configuration, such as `default.pem`.
    pub files: BTreeMap<FileName, String>,
    /// The certificates that the configuration names below `certs/`.
    pub certs: Option<Arc<Certificates>>,
    /// Which app each line of the configuration comes from.
    pub owners: LineOwners,
    /// All listening addresses of the configuration.
    pub binds: Vec<Bind>,
}

/// A complete, immutable configuration with its digest.
#[derive(Clone)]
pub struct Bundle {
    draft: Draft,
    digest: Digest,
    shape: Shape,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl Bundle {
    /// Computes the digest and writes it into the first marker line.
    ///
    /// # Errors
    /// When the configuration has no [`MARKER`] line.
    pub fn seal(mut draft: Draft) -> Result<Self, NoMarker> {
        let link = draft.certs.as_ref().map(|certs| certs_link(certs.digest()));
        let certs = link.iter().map(|link| (certs::DIRECTORY, link.as_str()));
        let files = draft.files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let maps = draft.maps.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let digest = Digest::of(&draft.config, files.clone().chain(maps).chain(certs));
        let shape = Shape::of(&draft.config, |frame| Digest::of(frame, files));
        draft.config = replace_line(&draft.config, MARKER, &marker(digest)).ok_or(NoMarker)?;
        Ok(Self { draft, digest, shape })
    }

    /// The text of `haproxy.cfg`, with the digest in it.
    pub fn config(&self) -> &str {
        &self.draft.config
    }

    /// The maps by name.
    pub fn maps(&self) -> &BTreeMap<MapName, String> {
        &self.draft.maps
    }

    /// The other generated files by name.
    pub fn files(&self) -> &BTreeMap<FileName, String> {
        &self.draft.files
    }

    /// Every file beside `haproxy.cfg`: maps and others, name and content.
    pub fn side_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let maps = self.maps().iter().map(|(name, text)| (name.as_str(), text.as_str()));
        maps.chain(self.files().iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// The certificates below `certs/`.
    pub fn certs(&self) -> Option<&Arc<Certificates>> {
        self.draft.certs.as_ref()
    }

    /// Which app each line of the configuration comes from.
    pub fn owners(&self) -> &LineOwners {
        &self.draft.owners
    }

    /// All listening addresses.
    pub fn binds(&self) -> &[Bind] {
        &self.draft.binds
    }

    /// What names this bundle on disk and in the running worker.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What HAProxy's verdict on it depends on. Certificates are no part of it: HAProxy accepted each of them before.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// The configuration has no line `description baton:@DIGEST@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has no line \"{MARKER}\"")]
pub struct NoMarker;

/// The name of a bundle: the first 64 bits of a SHA-256 over all its texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u64);

impl Digest {
    /// Reads 16 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        hex.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    /// The bundle that a worker with this `description` runs; none if it is not one of ours.
    pub fn from_description(description: &str) -> Option<Self> {
        Self::parse(description.strip_prefix(DESCRIPTION)?)
    }

    /// Computes the digest again from files as they were read back; `self` is what they claim.
    pub(crate) fn recompute(self, config: &str, side_files: &BTreeMap<String, Vec<u8>>) -> Option<Self> {
        Some(Self::hash(&replace_line(config, &marker(self), MARKER)?, side_files.iter()))
    }

    fn of<'a>(config: &str, side_files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        Self::hash(config, side_files.collect::<BTreeMap<_, _>>().into_iter())
    }

    /// The name of a set of files.
    pub(crate) fn of_files(files: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>) -> Self {
        Self::hash("", files)
    }

    fn hash(config: &str, side_files: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>) -> Self {
        let mut sha = Sha256::new();
        let mut field = |bytes: &[u8]| {
            sha.update(bytes.len().to_be_bytes());
            sha.update(bytes);
        };
        field(config.as_bytes());
        for (name, text) in side_files {
            field(name.as_ref());
            field(text.as_ref());
        }
        Self(sha.finalize().iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a map beside the configuration: `[a-z0-9_-]+\.map`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapName(String);

impl MapName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it does not end in `.map` or holds another character.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        if !name.ends_with(".map") {
            return Err(BadName);
        }
        plain(name).map(Self)
    }

    /// The name as the configuration writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of another generated file beside the configuration: `[a-z0-9_-]+(\.[a-z0-9]+)+`, no map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(String);

impl FileName {
    /// Reads a name.
    ///
    /// # Errors
    /// When it is a map's name, `haproxy.cfg` itself, or holds another character.
    pub fn parse(name: &str) -> Result<Self, BadName> {
        if name.ends_with(".map") || name == crate::disk::CONFIG {
            return Err(BadName);
        }
        plain(name).map(Self)
    }

    /// The name as the configuration writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is no name of a file beside the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file name beside haproxy.cfg is 1 to 64 of a-z 0-9 _ - . and does not start with a dot")]
pub struct BadName;

/// Where the directory of certificates beside haproxy.cfg leads.
pub(crate) fn certs_link(certs: Digest) -> String {
    format!("../{CERTS}{certs}")
}

/// What the name of a directory of certificates begins with.
pub(crate) const CERTS: &str = "certs-";

/// Which app a line of the configuration, or a whole proxy section, comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineOwners {
    /// First line → last line and owner; the ranges do not overlap.
    lines: BTreeMap<usize, (usize, Owner)>,
    proxies: BTreeMap<String, Owner>,
}

impl LineOwners {
    /// Says that these lines (the first line of the file is 1) come from `owner`.
    pub fn own(&mut self, lines: RangeInclusive<usize>, owner: Owner) {
        if !lines.is_empty() {
            self.lines.insert(*lines.start(), (*lines.end(), owner));
        }
    }

    /// Says that messages naming this frontend, backend or listener are about `owner`.
    pub fn own_proxy(&mut self, name: impl Into<String>, owner: Owner) {
        self.proxies.insert(name.into(), owner);
    }

    /// The owner of a line.
    pub fn line(&self, line: usize) -> Option<&Owner> {
        let (_, (last, owner)) = self.lines.range(..=line).next_back()?;
        (line <= *last).then_some(owner)
    }

    /// The owner of a proxy section.
    pub fn proxy(&self, name: &str) -> Option<&Owner> {
        self.proxies.get(name)
    }
}

/// The app, and the port of it, that a piece of configuration serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The app.
    pub app: AppId,
    /// The index of its port, where the piece is about one.
    pub port: Option<usize>,
}

fn marker(digest: Digest) -> String {
    MARKER.replace("@DIGEST@", &digest.to_string())
}

/// Replaces the first line that reads `from`, blanks around it kept; none if there is no such line.
fn replace_line(text: &str, from: &str, to: &str) -> Option<String> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim() == from {
            let at = start + line.find(from)?;
            return Some([&text[..at], to, &text[at + from.len()..]].concat());
        }
        start += line.len();
    }
    None
}

fn plain(name: &str) -> Result<String, BadName> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.".contains(&b);
    let good = (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed);
    if good { Ok(name.to_owned()) } else { Err(BadName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(config: &str) -> Draft {
        Draft { config: config.to_owned(), ..Draft::default() }
    }

    #[test]
    fn sealing_writes_the_digest_into_the_first_marker_line_only() {
        let bundle =
            Bundle::seal(draft("global\n  description baton:@DIGEST@\n# description baton:@DIGEST@\n")).unwrap();
        let digest = bundle.digest();
        let expected = format!("global\n  description baton:{digest}\n# description baton:@DIGEST@\n");
        assert_eq!(bundle.config(), expected);
        assert_eq!(Digest::from_description(&format!("baton:{digest}")), Some(digest));
    }

    #[test]
    fn a_configuration_without_marker_is_refused() {
        assert_eq!(Bundle::seal(draft("global\n log x description baton:@DIGEST@\n")).unwrap_err(), NoMarker);
    }

    #[test]
    fn every_text_and_name_counts() {
        let base = draft("description baton:@DIGEST@");
        let mut named = base.clone();
        named.maps.insert(MapName::parse("a.map").unwrap(), "x".into());
        let mut renamed = base.clone();
        renamed.maps.insert(MapName::parse("b.map").unwrap(), "x".into());
        let mut file = named.clone();
        file.files.insert(FileName::parse("default.pem").unwrap(), String::new());
        let digests: std::collections::BTreeSet<_> =
            [base, named, renamed, file].into_iter().map(|d| Bundle::seal(d).unwrap().digest()).collect();
        assert_eq!(digests.len(), 4);
    }

    #[test]
    fn what_was_sealed_recomputes_and_a_changed_byte_does_not() {
        let mut unsealed = draft("  description baton:@DIGEST@\nfrontend f\n");
        unsealed.maps.insert(MapName::parse("a.map").unwrap(), "k v\n".into());
        unsealed.files.insert(FileName::parse("0.pem").unwrap(), "key".into());
        let bundle = Bundle::seal(unsealed).unwrap();
        let mut side: BTreeMap<String, Vec<u8>> =
            bundle.side_files().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect();
        assert_eq!(bundle.digest().recompute(bundle.config(), &side), Some(bundle.digest()));
        side.insert("a.map".into(), b"k w\n".to_vec());
        assert_ne!(bundle.digest().recompute(bundle.config(), &side), Some(bundle.digest()));
        assert_eq!(bundle.digest().recompute("torn", &side), None);
    }

    #[test]
    fn names_cannot_leave_the_directory_or_shadow_the_configuration() {
        for bad in ["", "../a.map", "/a.map", ".a.map", "a b.map", "A.map", "a.txt"] {
            assert_eq!(MapName::parse(bad), Err(BadName), "{bad}");
        }
        assert_eq!(FileName::parse("haproxy.cfg"), Err(BadName));
        assert_eq!(FileName::parse("a.map"), Err(BadName));
        assert_eq!(FileName::parse("default.pem").unwrap().as_str(), "default.pem");
    }

    #[test]
    fn a_line_has_the_owner_of_its_range() {
        let owner = |id: &str| Owner { app: AppId::parse(id).unwrap(), port: Some(0) };
        let mut owners = LineOwners::default();
        owners.own(10..=12, owner("/a"));
        owners.own(20..=20, owner("/b"));
        owners.own_proxy("a_1", owner("/a"));
        let seen: Vec<_> = [9, 10, 12, 13, 20, 21].map(|l| owners.line(l).map(|o| o.app.to_string())).into();
        let a = Some("/a".to_owned());
        assert_eq!(seen, [None, a.clone(), a, None, Some("/b".to_owned()), None]);
        assert_eq!(owners.proxy("a_1"), Some(&owner("/a")));
    }
}
