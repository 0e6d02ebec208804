//! Certificates that are new, renewed or gone: their part of a plan.
//!
//! Called by the reconcile loop with the files' contents, which no state holds. The operations go
//! before all others, so that a host is routed when its certificate is there. Only a listener whose
//! certificates come from a list or a directory can take new ones and lose old ones.

use std::collections::{BTreeMap, BTreeSet};

use super::{Op, Reason};
use crate::bundle::FileName;
use crate::certs::{Certificates, Pem, word};
use crate::text::Word;

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

/// What leads from the certificates that a worker has to those that it shall have.
///
/// # Errors
/// Why that takes a reload.
pub fn certificates(running: &Certificates, wanted: &Certificates) -> Result<Vec<Op>, Reason> {
    if running.digest() == wanted.digest() {
        return Ok(Vec::new());
    }
    let mut ops = Vec::new();
    let mut listed: BTreeSet<&FileName> = BTreeSet::new();
    for (list, names) in wanted.lists() {
        let Some(old) = running.lists().get(list) else { return Err(Reason::Certificates) };
        let pems = |certificates: &Certificates, names: &[FileName]| -> BTreeMap<Word, Pem> {
            let pem = |name: &FileName| Some((word(name), certificates.files().get(name)?.pem.clone()));
            names.iter().filter_map(pem).collect()
        };
        ops.extend(in_list(&word(list), &pems(running, old), &pems(wanted, names)));
        listed.extend(names);
    }
    for (name, certificate) in wanted.files() {
        match running.files().get(name) {
            // The runtime API takes an OCSP response in another form, and refuses one of before.
            Some(old) if old.beside != certificate.beside => return Err(Reason::Certificates),
            Some(old) if *old != *certificate && !old.beside.is_empty() => return Err(Reason::Certificates),
            None if !listed.contains(name) || !certificate.beside.is_empty() => return Err(Reason::Certificates),
            Some(old) if old.pem != certificate.pem && !listed.contains(name) => {
                ops.push(renew(word(name), certificate.pem.clone()));
            }
            Some(_) | None => (),
        }
    }
    Ok(ops)
}

/// Puts every certificate in the place that it has already: for a worker of which it is known which
/// it has, but not what they contain.
pub fn certificates_again(wanted: &Certificates) -> Vec<Op> {
    wanted.files().iter().map(|(name, certificate)| renew(word(name), certificate.pem.clone())).collect()
}

/// What leads from the certificates that `list` has to those that it shall have.
pub fn in_list(list: &Word, running: &BTreeMap<Word, Pem>, wanted: &BTreeMap<Word, Pem>) -> Vec<Op> {
    let mut ops = Vec::new();
    for (file, pem) in wanted {
        match running.get(file) {
            None => {
                let change = CertChange::Add { list: list.clone(), pem: pem.clone() };
                ops.push(Op::Cert { file: file.clone(), change });
            }
            Some(old) if old != pem => ops.push(renew(file.clone(), pem.clone())),
            Some(_) => (),
        }
    }
    for file in running.keys().filter(|file| !wanted.contains_key(*file)) {
        ops.push(Op::Cert { file: file.clone(), change: CertChange::Remove { list: list.clone() } });
    }
    ops
}

fn renew(file: Word, pem: Pem) -> Op {
    Op::Cert { file, change: CertChange::Renew { pem } }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::certs::Certificate;

    /// `name=content` or, with an OCSP response, `name=content+response`.
    fn set(list: &[&str], files: &[&str]) -> Certificates {
        let name = |text: &str| FileName::parse(text).unwrap();
        let files = files.iter().map(|file| {
            let (file, content) = file.split_once('=').unwrap();
            let (pem, ocsp) = content.split_once('+').map_or((content, None), |(pem, ocsp)| (pem, Some(ocsp)));
            let beside = ocsp.map(|ocsp| ("ocsp", ocsp.as_bytes().to_vec())).into_iter().collect();
            (name(file), Arc::new(Certificate { pem: Pem::new(pem).unwrap(), beside }))
        });
        let lists = [(name("all.list"), list.iter().map(|file| name(file)).collect())];
        Certificates::new(lists.into(), files.collect())
    }

    fn check(running: &Certificates, wanted: &Certificates, expected: Option<&[&str]>) {
        let ops = certificates(running, wanted);
        let shown = ops.map(|ops| ops.iter().map(ToString::to_string).collect::<Vec<_>>()).ok();
        let expected = expected.map(|expected| expected.iter().map(ToString::to_string).collect());
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_a_list_can_take_is_done_at_run_time_and_the_rest_is_a_reload() {
        let now = set(&["a.pem", "b.pem"], &["a.pem=1", "b.pem=2", "own.pem=3"]);
        check(&now, &now.clone(), Some(&[]));
        check(
            &now,
            &set(&["a.pem", "c.pem"], &["a.pem=x", "c.pem=4", "own.pem=y"]),
            Some(&[
                "renew certificate certs/a.pem",
                "add certificate certs/c.pem to certs/all.list",
                "take certificate certs/b.pem from certs/all.list",
                "renew certificate certs/own.pem",
            ]),
        );
        // A listener goes: HAProxy keeps what it names until then.
        check(&now, &set(&["a.pem", "b.pem"], &["a.pem=1", "b.pem=2"]), Some(&[]));
        let reloads = [
            set(&["a.pem", "b.pem"], &["a.pem=1", "b.pem=2", "own.pem=3", "second.pem=4"]),
            set(&["a.pem", "b.pem"], &["a.pem=1+o", "b.pem=2", "own.pem=3"]),
            set(&["a.pem", "b.pem", "c.pem"], &["a.pem=1", "b.pem=2", "c.pem=1+o", "own.pem=3"]),
        ];
        for wanted in &reloads {
            check(&now, wanted, None);
        }
        check(&reloads[1], &set(&["a.pem", "b.pem"], &["a.pem=5+o", "b.pem=2", "own.pem=3"]), None);
        assert_eq!(certificates_again(&now).len(), 3);
    }
}
