//! Certificates as they lie on disk: a file with chain and key, the key beside it, or a directory.
//!
//! Used by `keeper`. Blocking. By the rules of HAProxy: of a directory every plain file counts whose
//! name does not begin with a dot, and what has one of the extensions below belongs to the file
//! named before it. Nothing but plain files is opened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use haproxy::certs::{Certificate, Pem};
use nix::fcntl::OFlag;

/// What a path holds.
pub(super) enum Found {
    /// One certificate, or why it is none.
    File(Result<Certificate, String>),
    /// One for each file.
    Directory(BTreeMap<PathBuf, Result<Certificate, String>>),
}

/// Reads what is at `path`.
pub(super) fn read(path: &Path) -> Found {
    if !path.is_dir() {
        return Found::File(certificate(path));
    }
    match entries(path) {
        Ok(paths) => Found::Directory(paths.into_iter().map(|path| (path.clone(), certificate(&path))).collect()),
        Err(why) => Found::File(Err(why.to_string())),
    }
}

/// The files of a directory that count as certificates.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)?.take(MAX_ENTRIES) {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && !is_beside(&path) && path.is_file() {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Whether a file belongs to another one.
fn is_beside(path: &Path) -> bool {
    path.extension().is_some_and(|extension| KEY == extension || BESIDE.iter().any(|beside| *beside == extension))
}

/// Every file that may belong to the certificate at `path`.
pub(super) fn family(path: &Path) -> impl Iterator<Item = PathBuf> {
    let more = [KEY].into_iter().chain(BESIDE).map(|extension| appended(path, extension));
    [path.to_owned(), path.with_extension(KEY)].into_iter().chain(more)
}

fn certificate(path: &Path) -> Result<Certificate, String> {
    let text = |path: &Path| String::from_utf8(plain(path)?).map_err(|_| NO_PEM.to_owned());
    let mut pem = text(path)?;
    if !pem.contains("PRIVATE KEY") {
        let own = appended(path, KEY);
        let sibling = path.with_extension(KEY);
        let key = [&own, &sibling].into_iter().find(|key| key.exists());
        let Some(key) = key else { return Err(format!("there is no key in it, and no {}", own.display())) };
        let key = text(key).map_err(|why| format!("{}: {why}", key.display()))?;
        pem = format!("{pem}\n{key}");
    }
    let pem = Pem::new(&pem).ok_or(NO_PEM)?;
    let mut beside = BTreeMap::new();
    for extension in BESIDE {
        let path = appended(path, extension);
        if path.exists() {
            beside.insert(extension, plain(&path).map_err(|why| format!("{}: {why}", path.display()))?);
        }
    }
    Ok(Certificate { pem, beside })
}

/// Reads a plain file.
fn plain(path: &Path) -> Result<Vec<u8>, String> {
    let refused = |why: io::Error| why.to_string();
    // What is no plain file may have whoever opens it wait for ever.
    if !fs::metadata(path).map_err(refused)?.is_file() {
        return Err("no plain file".to_owned());
    }
    let file = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let mut content = Vec::new();
    file.and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut content)).map_err(refused)?;
    if u64::try_from(content.len()).is_ok_and(|size| size > MAX_SIZE) {
        return Err(format!("longer than {MAX_SIZE} bytes"));
    }
    Ok(content)
}

/// `a.pem` and `ocsp` are `a.pem.ocsp`.
fn appended(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

const KEY: &str = "key";

/// What HAProxy reads beside a certificate, besides the key.
const BESIDE: [&str; 3] = ["issuer", "ocsp", "sctl"];

const NO_PEM: &str = "no PEM file";

/// Of one directory.
const MAX_ENTRIES: usize = 10_000;

/// Of one file.
const MAX_SIZE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use super::*;

    #[test]
    fn keys_lie_in_or_beside_and_what_is_no_certificate_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let put = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        let key = "-----BEGIN PRIVATE KEY-----";
        put("whole.pem", &format!("chain\n\n{key}\n"));
        put("a.pem", "chain");
        put("a.pem.key", key);
        put("a.pem.ocsp", "\u{1}");
        put("b.crt", "chain");
        put("b.key", key);
        put("none.pem", "chain");
        put(".hidden", "x");
        fs::create_dir(at("sub")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let Found::Directory(found) = read(dir.path()) else { panic!("a directory") };
        let pems: Vec<_> = found.iter().filter_map(|(path, read)| Some((path.clone(), read.as_ref().ok()?))).collect();
        let names: Vec<_> = pems.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.pem", "b.crt", "whole.pem"]);
        assert!(pems.iter().all(|(_, cert)| cert.pem.as_str() == format!("chain\n{key}\n")));
        assert_eq!(pems[0].1.beside.keys().collect::<Vec<_>>(), [&"ocsp"]);
        let why = found[&at("none.pem")].clone().unwrap_err();
        assert!(why.contains("no key") && why.contains("none.pem.key"), "{why}");
        for (name, expected) in [("pipe", "no plain file"), ("missing", "No such file")] {
            let Found::File(Err(why)) = read(&at(name)) else { panic!("{name}") };
            assert!(why.contains(expected), "{why}");
        }
    }
}
