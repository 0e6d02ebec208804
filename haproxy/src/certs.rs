//! The certificates that HAProxy is given: contents under names of ours, and the lists that listeners name.
//!
//! Made by the daemon from the operator's files, written by `disk` beside the bundle that uses them,
//! compared by `diff`. HAProxy reads copies and never the originals: a file that is torn or gone
//! cannot keep it from starting. Pure: reads no file, and does not know what a certificate is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::bundle::{Digest, FileName};
use crate::text::Word;

/// A certificate with its key, and perhaps its chain, as HAProxy takes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(String);

impl Pem {
    /// The text without empty lines, which would end it early on HAProxy's command line; none if
    /// nothing is left, or if it holds what no PEM file holds.
    pub fn new(text: &str) -> Option<Self> {
        let mut pem = String::with_capacity(text.len() + 1);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if !line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return None;
            }
            pem.push_str(line);
            pem.push('\n');
        }
        (!pem.is_empty()).then_some(Self(pem))
    }

    /// The text; each of its lines ends with a newline.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pem {
    /// It holds a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({} bytes)", self.0.len())
    }
}

/// One certificate and the files that HAProxy reads beside it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Chain and key.
    pub pem: Pem,
    /// `ocsp`, `sctl` and `issuer`, by extension.
    pub beside: BTreeMap<&'static str, Vec<u8>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("pem", &self.pem).finish_non_exhaustive()
    }
}

/// All certificates of one configuration. No `Debug`: they hold keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates {
    lists: BTreeMap<FileName, Vec<FileName>>,
    files: BTreeMap<FileName, Arc<Certificate>>,
    digest: Digest,
}

impl Certificates {
    /// These files, and these lists of some of them; a file that is in no list is named by listeners
    /// themselves. Names that a list has and `files` has not are left out.
    pub fn new(mut lists: BTreeMap<FileName, Vec<FileName>>, files: BTreeMap<FileName, Arc<Certificate>>) -> Self {
        for names in lists.values_mut() {
            names.retain(|name| files.contains_key(name));
        }
        let digest = Digest::of_files(contents(&lists, &files).into_iter());
        Self { lists, files, digest }
    }

    /// The certificates by file name.
    pub fn files(&self) -> &BTreeMap<FileName, Arc<Certificate>> {
        &self.files
    }

    /// The lists, each in its order: the first is the one for clients that name no host.
    pub fn lists(&self) -> &BTreeMap<FileName, Vec<FileName>> {
        &self.lists
    }

    /// What names these contents on disk.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Every file of the directory: name and content.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        contents(&self.lists, &self.files)
    }
}

fn contents(
    lists: &BTreeMap<FileName, Vec<FileName>>,
    files: &BTreeMap<FileName, Arc<Certificate>>,
) -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for (list, names) in lists {
        let lines: String = names.iter().map(|name| format!("{}\n", word(name))).collect();
        contents.insert(list.as_str().to_owned(), lines.into_bytes());
    }
    for (name, certificate) in files {
        contents.insert(name.as_str().to_owned(), certificate.pem.as_str().as_bytes().to_vec());
        for (extension, content) in &certificate.beside {
            contents.insert(format!("{}.{extension}", name.as_str()), content.clone());
        }
    }
    contents
}

/// How the configuration and the runtime API call a file: its path beside haproxy.cfg.
pub fn word(name: &FileName) -> Word {
    Word::parse(&format!("{DIRECTORY}/{}", name.as_str())).expect("a directory and a file name are a word")
}

/// What a `bind` line takes its certificates from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A certificate, or a directory of them.
    File(Word),
    /// A list of them, which can change while HAProxy runs.
    List(Word),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "crt {file}"),
            Self::List(list) => write!(f, "crt-list {list}"),
        }
    }
}

/// The directory beside haproxy.cfg.
pub(crate) const DIRECTORY: &str = "certs";

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FileName {
        FileName::parse(text).unwrap()
    }

    #[test]
    fn a_set_is_named_by_all_it_holds() {
        let cert = |text: &str, ocsp: &[u8]| {
            let beside = if ocsp.is_empty() { BTreeMap::new() } else { [("ocsp", ocsp.to_vec())].into() };
            Arc::new(Certificate { pem: Pem::new(text).unwrap(), beside })
        };
        let set = |names: &[&str], text, ocsp: &[u8]| {
            let lists = [(name("all.list"), names.iter().map(|n| name(n)).collect())].into();
            Certificates::new(lists, [(name("a.pem"), cert(text, ocsp)), (name("b.pem"), cert("b", b""))].into())
        };
        let base = set(&["a.pem", "b.pem"], "a", b"");
        assert_eq!(base.digest(), set(&["a.pem", "b.pem", "gone.pem"], "a", b"").digest());
        for other in [
            set(&["b.pem", "a.pem"], "a", b""),
            set(&["a.pem"], "a", b""),
            set(&["a.pem", "b.pem"], "x", b""),
            set(&["a.pem", "b.pem"], "a", b"x"),
        ] {
            assert_ne!(base.digest(), other.digest());
        }
        let files: Vec<_> =
            base.contents().into_iter().map(|(name, text)| (name, String::from_utf8(text).unwrap())).collect();
        let expected = [("a.pem", "a\n"), ("all.list", "certs/a.pem\ncerts/b.pem\n"), ("b.pem", "b\n")];
        assert_eq!(files, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
}
