//! Reads the configuration: files < `BATON_*` environment < flags.
//!
//! Called at start, by `baton check` and on SIGHUP, each time afresh. An error names the key, where
//! it stands and what would be accepted.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Toml};

use super::{Config, vrrp};

/// Where configuration comes from; kept for the next time it is read.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The main file; a missing one is an error only if it was asked for.
    pub file: PathBuf,
    /// Whether somebody named that file.
    pub required: bool,
}

impl Default for Sources {
    fn default() -> Self {
        Self { file: PathBuf::from("/etc/baton/baton.toml"), required: false }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that should be there is not.
    #[error("read {path}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A key or value that does not fit.
    #[error("{0}")]
    Key(Box<figment::Error>),
    /// Keys that do not fit together.
    #[error("{0}")]
    Meaning(String),
}

impl Sources {
    /// The configuration of the files and the environment, before any flag.
    ///
    /// # Errors
    /// When a file cannot be read, or a key is unknown or of the wrong type.
    pub fn read(&self) -> Result<Config, ConfigError> {
        let mut figment = Figment::new();
        for file in self.files()? {
            figment = figment.merge(Toml::file_exact(file));
        }
        figment.merge(Env::prefixed("BATON_").split("__")).extract().map_err(|why| ConfigError::Key(Box::new(why)))
    }

    /// The main file and the files of conf.d beside it, in the order they are read.
    ///
    /// # Errors
    /// When one of them is there and cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let mut files = Vec::new();
        match std::fs::metadata(&self.file) {
            Ok(_) => files.push(self.file.clone()),
            Err(source) if self.required || source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ConfigError::Read { path: self.file.clone(), source });
            }
            Err(_) => (),
        }
        let parts = self.file.parent().unwrap_or_else(|| Path::new("/")).join("conf.d");
        let entries = match std::fs::read_dir(&parts) {
            Ok(entries) => entries,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            Err(source) => return Err(ConfigError::Read { path: parts, source }),
        };
        let mut more = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| ConfigError::Read { path: parts.clone(), source })?.path();
            if path.extension().is_some_and(|ext| ext == "toml") {
                more.push(path);
            }
        }
        more.sort();
        files.extend(more);
        Ok(files)
    }
}

impl Config {
    /// Whether the keys fit together; called once flags are in.
    ///
    /// # Errors
    /// With the first thing that does not, and its remedy.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let meaning = |text: &str| Err(ConfigError::Meaning(text.to_owned()));
        let marathon = &self.marathon;
        match (marathon.urls.is_empty(), &marathon.file) {
            (false, Some(_)) => {
                return meaning("marathon.urls and marathon.file are both set: keep the one that apps shall come from");
            }
            (true, None) => {
                return meaning(
                    "no source of apps: set marathon.urls = [\"http://HOST:8080\"] (or marathon.file, or give -m URL)",
                );
            }
            _ => (),
        }
        if marathon.groups.is_empty() {
            return meaning(
                "no group: set marathon.groups = [\"external\"] (or give --group NAME); \"*\" serves every app",
            );
        }
        let (min, max) = (marathon.min_service_port_ip_per_task, marathon.max_service_port_ip_per_task);
        if (min == 0) != (max == 0) || min > max {
            return meaning(
                "marathon.min_service_port_ip_per_task and max_service_port_ip_per_task: the first must not be greater \
                 than the second, and both or neither 0",
            );
        }
        if !(0.0..=1.0).contains(&self.guard.max_removal) {
            return meaning("guard.max_removal is a part of the whole, 0 to 1: 0.5 is half of the endpoints");
        }
        if self.haproxy.maxconn == Some(0) || self.haproxy.proxy_maxconn == 0 {
            return meaning("haproxy.maxconn and haproxy.proxy_maxconn must be at least 1");
        }
        self.dynamic_ports_are_free()?;
        vrrp::routers(&self.vrrp)?;
        Ok(())
    }

    /// Baton's own listeners stay out of the dynamic ports.
    fn dynamic_ports_are_free(&self) -> Result<(), ConfigError> {
        let haproxy = &self.haproxy;
        let Some(ports) = &haproxy.dynamic.ports else { return Ok(()) };
        let own = [
            ("haproxy.http", &haproxy.http),
            ("haproxy.https", &haproxy.https),
            ("haproxy.app_id", &haproxy.app_id),
            ("haproxy.stats.listen", &haproxy.stats.listen),
        ];
        match own.iter().find(|(_, address)| ports.0.contains(&address.0.port)) {
            Some((key, address)) => Err(ConfigError::Meaning(format!(
                "haproxy.dynamic.ports has port {} of {key}: take a range without it",
                address.0.port
            ))),
            None => Ok(()),
        }
    }
}
