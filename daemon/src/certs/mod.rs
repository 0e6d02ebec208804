//! Certificates: the operator's files, what HAProxy gets of them, and one of our own where there is none.
//!
//! `files` reads, `keeper` decides what HAProxy gets, `watch` notices changes. The self-signed
//! certificate here is made once and kept, so that clients see the same one after every reload and
//! restart. Used by the reconcile loop and `baton render`.

mod files;
pub mod keeper;
pub mod watch;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::config::Config;
use crate::config::settings::{DEFAULT_CERT, needs_default_cert};

/// The certificate that a running daemon needs besides those it was given: none, or the
/// self-signed one, kept beside the directory of bundles.
///
/// # Errors
/// When the file can be neither read nor written.
pub fn for_config(config: &Config) -> anyhow::Result<Option<Arc<str>>> {
    if needs_default_cert(config) { self_made(config).map(Some) } else { Ok(None) }
}

/// The self-signed one, kept beside the directory of bundles.
pub(crate) fn self_made(config: &Config) -> anyhow::Result<Arc<str>> {
    let state_dir = &config.haproxy.state_dir;
    let path = state_dir.parent().unwrap_or(state_dir).join(DEFAULT_CERT);
    let (pem, made) = default_certificate(&path)?;
    if made {
        let path = path.display();
        log::warn!("no certificate to be had: made a self-signed one, {path} (haproxy.certs names real ones)");
    }
    Ok(Arc::from(pem))
}

/// The certificate and key at `path`, in PEM; made there if the file does not exist. Says whether
/// it was made now.
///
/// # Errors
/// When the file can be neither read nor written.
pub fn default_certificate(path: &Path) -> anyhow::Result<(String, bool)> {
    match fs::read_to_string(path) {
        Ok(pem) if pem.contains("PRIVATE KEY") && pem.contains("CERTIFICATE") => return Ok((pem, false)),
        Ok(_) => log::warn!(path:% = path.display(); "default certificate is incomplete and made anew"),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => (),
        Err(why) => return Err(why).with_context(|| format!("read {}", path.display())),
    }
    let pem = self_signed()?;
    let temporary = path.with_extension("pem.new");
    let mut options = fs::OpenOptions::new();
    let written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&temporary)
        .and_then(|mut file| file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.with_context(|| format!("write {}", path.display()))?;
    Ok((pem, true))
}

/// A certificate for every name, valid as long as rcgen's default says, and its key.
fn self_signed() -> anyhow::Result<String> {
    let key = rcgen::KeyPair::generate().context("make a key")?;
    let mut params = rcgen::CertificateParams::new(vec!["baton.invalid".to_owned()]).context("name a certificate")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "*");
    let cert = params.self_signed(&key).context("sign a certificate")?;
    Ok(format!("{}{}", cert.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("default.pem");
        let (first, made) = default_certificate(&path).unwrap();
        assert!(made && first.contains("BEGIN CERTIFICATE") && first.contains("PRIVATE KEY"));
        assert_eq!(default_certificate(&path).unwrap(), (first, false));
        fs::write(&path, "torn").unwrap();
        assert!(default_certificate(&path).unwrap().1);
    }
}
