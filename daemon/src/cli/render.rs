//! `baton render`: what HAProxy would run, as files that start as they are.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use haproxy::features::Features;
use haproxy::render::Renderer;

use crate::certs::default_certificate;
use crate::config::origin::Origin;
use crate::config::settings::{Abilities, DEFAULT_CERT, Purpose, needs_default_cert};
use crate::reconcile::build::{Builder, Built};

use super::flags::Flags;
use super::load::Loader;
use super::{binary, warn};

/// Arguments of `baton render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    flags: Flags,

    /// Write haproxy.cfg, its maps and, if needed, a certificate into this directory; without it
    /// haproxy.cfg goes to standard output
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Renders once. Issues go to standard error and do not change the exit code.
///
/// # Errors
/// When there are no apps to be had, or the files cannot be written.
pub async fn run(args: RenderArgs) -> anyhow::Result<ExitCode> {
    let loaded = Loader::new(args.flags).load()?;
    loaded.remarks.iter().for_each(|remark| warn(remark));
    let config = Arc::new(loaded.config);
    let snapshot = Origin::new(&config)?.once().await?;

    let default_cert = match (&args.out, needs_default_cert(&config)) {
        (Some(dir), true) => {
            fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
            let (pem, made) = default_certificate(&dir.join(DEFAULT_CERT))?;
            if made {
                warn("no certificate given: made a self-signed one, default.pem (--ssl-certs names real ones)");
            }
            Some(Arc::from(pem))
        }
        _ => None,
    };
    // Where there is no HAProxy to ask, the one that will run is taken to be a usual one.
    let features = match binary(&config) {
        Some(path) => Features::probe(&path).await.ok(),
        None => None,
    };
    let abilities = Abilities::of(features.as_ref());
    let renderer = Arc::new(Renderer::new()?);
    let builder = Builder { renderer, config, purpose: Purpose::Standalone, abilities, default_cert, certs: None };
    let built = builder.build(&snapshot)?;
    match &args.out {
        Some(dir) => write(dir, &built)?,
        None => std::io::stdout().write_all(built.bundle.config().as_bytes()).context("write to standard output")?,
    }
    for issue in &built.issues {
        warn(&issue.to_string());
    }
    if let Some(dir) = &args.out {
        warn(&format!(
            "{} apps, {} served ports, {} hosts, {} issues: {}",
            snapshot.apps.len(),
            built.state.backends.len(),
            built.state.routes.len(),
            built.issues.len(),
            dir.join("haproxy.cfg").display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Each file is complete when its name appears; haproxy.cfg comes last.
fn write(dir: &Path, built: &Built) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let files = built.bundle.maps().iter().map(|(name, text)| (name.as_str(), text.as_str()));
    for (name, text) in files.chain([("haproxy.cfg", built.bundle.config())]) {
        let path = dir.join(name);
        let temporary = dir.join(format!("{name}.new"));
        // It may hold password hashes.
        let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary);
        written
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&temporary, &path))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
