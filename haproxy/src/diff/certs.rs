//! Certificates that are new, renewed or gone: their part of a plan.
//!
//! Called by the reconcile loop with the files' contents, which no state holds. The operations go
//! before all others, so that a host is routed when its certificate is there. Only a listener whose
//! certificates come from a list or a directory can take new ones and lose old ones.

use std::collections::BTreeMap;
use std::fmt;

use super::Op;
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

/// What happens to a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertChange {
    /// A new one, in this list (or directory, as the configuration names it).
    Add {
        /// The list.
        list: Word,
        /// What it contains.
        pem: Pem,
    },
    /// Another one under the name of an old one.
    Renew {
        /// What it contains.
        pem: Pem,
    },
    /// It goes from this list.
    Remove {
        /// The list.
        list: Word,
    },
}

/// What leads from the certificates that `list` has to those that it shall have.
pub fn certificates(list: &Word, running: &BTreeMap<Word, Pem>, wanted: &BTreeMap<Word, Pem>) -> Vec<Op> {
    let mut ops = Vec::new();
    for (file, pem) in wanted {
        let change = match running.get(file) {
            None => CertChange::Add { list: list.clone(), pem: pem.clone() },
            Some(old) if old != pem => CertChange::Renew { pem: pem.clone() },
            Some(_) => continue,
        };
        ops.push(Op::Cert { file: file.clone(), change });
    }
    for file in running.keys().filter(|file| !wanted.contains_key(*file)) {
        ops.push(Op::Cert { file: file.clone(), change: CertChange::Remove { list: list.clone() } });
    }
    ops
}
