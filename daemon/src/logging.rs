//! Where log lines go: the journal under systemd, standard error elsewhere.
//!
//! Set up once by `main`. Fields of a line become journal fields (`APP`, `REASON`, …) or follow the
//! text. The level can be changed while running, by a re-read configuration.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use log::LevelFilter;

use crate::config::Level;

/// Starts logging.
///
/// # Errors
/// When a logger is already there.
pub fn start(level: Level) -> anyhow::Result<()> {
    if systemd_journal_logger::connected_to_journal() {
        let logger = systemd_journal_logger::JournalLog::new().context("connect to the journal")?;
        logger.with_syslog_identifier("baton".to_owned()).install().context("start logging")?;
    } else {
        let mut builder = env_logger::Builder::new();
        builder.filter_level(LevelFilter::Trace).filter_module("rustls", LevelFilter::Warn);
        if std::io::stderr().is_terminal() {
            builder.format_target(false);
        }
        builder.target(env_logger::Target::Stderr).try_init().context("start logging")?;
    }
    set_level(level);
    Ok(())
}

/// Changes what is logged from now on.
pub fn set_level(level: Level) {
    log::set_max_level(match level {
        Level::Error => LevelFilter::Error,
        Level::Warn => LevelFilter::Warn,
        Level::Info => LevelFilter::Info,
        Level::Debug => LevelFilter::Debug,
        Level::Trace => LevelFilter::Trace,
    });
}
