//! From arguments to a complete configuration, with every complaint in the operator's words.
//!
//! Shared by the commands that need one, and by `run` again on SIGHUP.

use crate::config::Config;
use crate::config::load::{ConfigError, Sources};

use super::flags::Flags;

/// Where a command's configuration comes from; kept so that it can be read again.
#[derive(Debug, Clone)]
pub struct Loader {
    sources: Sources,
    flags: Flags,
}

/// A configuration and what is worth a line about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Flags that no longer mean anything.
    pub remarks: Vec<&'static str>,
}

impl Loader {
    /// Files, environment and these flags.
    pub fn new(flags: Flags) -> Self {
        let sources = match &flags.config {
            Some(file) => Sources { file: file.clone(), required: true },
            None => Sources::default(),
        };
        Self { sources, flags }
    }

    /// The configuration as it stands now.
    ///
    /// # Errors
    /// When a file, a variable or a flag does not fit.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut config = self.sources.read()?;
        let remarks = self.flags.apply(&mut config).map_err(ConfigError::Meaning)?;
        config.validate()?;
        Ok(Loaded { config, remarks })
    }

    /// The files that were read, for messages.
    ///
    /// # Errors
    /// When the directory of further files cannot be read.
    pub fn files(&self) -> Result<Vec<std::path::PathBuf>, ConfigError> {
        self.sources.files()
    }
}
