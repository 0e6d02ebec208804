//! Asks HAProxy which certificates it would load.
//!
//! Called by the daemon for files that are new or changed, before they reach a configuration: one
//! bad file must not cost the others. Many are asked about at once, and halved until the bad ones
//! are found.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use super::CheckError;
use super::run;
use crate::bundle::FileName;
use crate::certs::{Certificate, Certificates, DIRECTORY};
use crate::disk::CONFIG;

/// Those of `certificates` that HAProxy refuses, and what it says. One run may take `limit`.
///
/// # Errors
/// When HAProxy could not be asked.
pub async fn refused(
    binary: &Path,
    certificates: &BTreeMap<FileName, Arc<Certificate>>,
    limit: Duration,
) -> Result<BTreeMap<FileName, String>, CheckError> {
    let mut refused = BTreeMap::new();
    let all: Vec<(&FileName, &Arc<Certificate>)> = certificates.iter().collect();
    let mut parts = vec![all.as_slice()];
    while let Some(part) = parts.pop() {
        let Some(said) = ask(binary, part, limit).await? else { continue };
        match part {
            [] => (),
            [(name, _)] => drop(refused.insert((*name).clone(), said)),
            _ => {
                let (left, right) = part.split_at(part.len() / 2);
                parts.extend([left, right]);
            }
        }
    }
    Ok(refused)
}

/// What HAProxy says against these certificates, if anything.
async fn ask(
    binary: &Path,
    part: &[(&FileName, &Arc<Certificate>)],
    limit: Duration,
) -> Result<Option<String>, CheckError> {
    if part.is_empty() {
        return Ok(None);
    }
    let scratch = tempfile::Builder::new().prefix("baton-certs-").tempdir().map_err(CheckError::Scratch)?;
    let list = FileName::parse(LIST).expect("a plain name");
    let lists = BTreeMap::from([(list, part.iter().map(|(name, _)| (*name).clone()).collect())]);
    let files = part.iter().map(|(name, certificate)| ((*name).clone(), Arc::clone(certificate))).collect();
    write(&scratch.path().join(DIRECTORY), &Certificates::new(lists, files)).map_err(CheckError::Scratch)?;
    let config = scratch.path().join(CONFIG);
    fs::write(&config, TRIAL).map_err(CheckError::Scratch)?;
    let ran = run::run(binary, ["-c".as_ref(), "-f".as_ref(), config.as_os_str()], limit).await?;
    if ran.status.success() {
        return Ok(None);
    }
    let alerts = ran.stderr.lines().filter(|line| line.contains("[ALERT]"));
    let said = alerts.filter_map(|line| line.split_once(" : ").map(|(_, said)| said.trim()));
    Ok(Some(said.take(1).collect::<Vec<_>>().join("; ")))
}

/// Writes certificates where nobody else reads them.
pub(super) fn write(dir: &Path, certificates: &Certificates) -> io::Result<()> {
    fs::create_dir(dir)?;
    certificates.contents().iter().try_for_each(|(name, content)| fs::write(dir.join(name), content))
}

const LIST: &str = "trial.list";

/// A listener and nothing else.
const TRIAL: &str = "global\n  default-path config\ndefaults\n  mode http\n  timeout client 1s\n\
                     frontend trial\n  bind 127.0.0.1:1 ssl crt-list certs/trial.list\n";
