//! What the HAProxy binary at hand can do, asked once at start (`haproxy -vv`).
//!
//! Used by `check`, `reload`, `runtime` and `render` to choose between ways. Knows the oldest
//! version we support; whether a missing Lua matters is the caller's decision.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::check::run::{RunError, run};

/// The oldest HAProxy that Baton drives.
pub const OLDEST: Version = Version { major: 2, minor: 6, patch: 0 };

/// One HAProxy binary's version and build options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// Its version in numbers.
    pub version: Version,
    /// Its version as it writes it: `2.6.12-1+deb12u4`.
    pub release: String,
    /// The Lua it embeds, such as `5.3.6`; none if it was built without.
    pub lua: Option<String>,
    /// Has the Prometheus exporter.
    pub prometheus: bool,
    /// Which regular expressions it was built with.
    pub regex: Regex,
    /// The TLS library it runs with, such as `OpenSSL 3.0.22 25 Aug 2026`; none without TLS.
    pub tls: Option<String>,
    /// Can tell systemd that it is ready (`-Ws`).
    pub systemd: bool,
    /// Can bind addresses this host does not own (`bind … transparent`).
    pub transparent: bool,
    /// The most threads it can be given.
    pub max_threads: Option<u32>,
}

impl Features {
    /// Asks the binary.
    ///
    /// # Errors
    /// See [`ProbeError`]. A binary without Lua is no error here: ask [`Self::need_lua`].
    pub async fn probe(binary: &Path) -> Result<Self, ProbeError> {
        let ran = run(binary, ["-vv"], LIMIT).await?;
        let garbage = || ProbeError::Garbage { path: binary.to_owned(), said: first_line(&ran.stdout, &ran.stderr) };
        if !ran.status.success() {
            return Err(garbage());
        }
        let features = Self::parse(&ran.stdout).ok_or_else(garbage)?;
        if features.version < OLDEST {
            return Err(ProbeError::TooOld { path: binary.to_owned(), found: features.release });
        }
        Ok(features)
    }

    /// Answers synchronously to `reload` on the master CLI, with what the new worker said.
    pub fn answers_reload(&self) -> bool {
        self.version >= Version { major: 2, minor: 7, patch: 0 }
    }

    /// Takes `cookie` in `add server`: 3.0, and 2.8 since it was carried back.
    pub fn dynamic_cookies(&self) -> bool {
        let Version { major, minor, patch } = self.version;
        (major, minor) >= (3, 0) || ((major, minor) == (2, 8) && patch >= 25)
    }

    /// Finds the entry that `set map` and `del map` mean without walking the whole map.
    pub fn indexed_maps(&self) -> bool {
        self.version >= Version { major: 3, minor: 0, patch: 0 }
    }

    /// Refuses a frontend that has the name of a backend.
    pub fn tells_proxies_apart_by_name(&self) -> bool {
        self.version >= Version { major: 3, minor: 3, patch: 0 }
    }

    /// Makes backends while it runs: `add backend`.
    pub fn dynamic_backends(&self) -> bool {
        self.version >= Version { major: 3, minor: 4, patch: 0 }
    }

    /// # Errors
    /// When this HAProxy embeds no Lua.
    pub fn need_lua(&self) -> Result<(), NoLua> {
        self.lua.as_ref().map(drop).ok_or(NoLua)
    }

    /// Reads the output of `haproxy -vv`; none if it does not look like one.
    fn parse(text: &str) -> Option<Self> {
        let first = text.lines().next()?;
        let release = first.strip_prefix("HAProxy version ").or_else(|| first.strip_prefix("HA-Proxy version "))?;
        let release = release.split_ascii_whitespace().next()?;
        let value = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()));
        let options = value("Feature list :")?;
        let has = |name: &str| options.split_ascii_whitespace().any(|o| o.strip_prefix('+') == Some(name));
        Some(Self {
            version: Version::parse(release)?,
            release: release.to_owned(),
            lua: value("Built with Lua version : Lua ").filter(|_| has("LUA")),
            prometheus: has("PROMEX"),
            regex: match () {
                () if has("PCRE2_JIT") => Regex::Pcre2Jit,
                () if has("PCRE2") || has("STATIC_PCRE2") => Regex::Pcre2,
                () if has("PCRE") || has("STATIC_PCRE") => Regex::Pcre,
                () => Regex::Posix,
            },
            tls: value("Running on OpenSSL version :").or_else(|| value("Running on SSL version :")),
            // 3.1 and newer always can, and no longer list it.
            systemd: has("SYSTEMD") || Version::parse(release)? >= Version { major: 3, minor: 1, patch: 0 },
            transparent: has("TPROXY") || has("LINUX_TPROXY"),
            max_threads: text.split_once("MAX_THREADS=").and_then(|(_, rest)| {
                let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
                digits.parse().ok()
            }),
        })
    }
}

/// `major.minor.patch`; a development version counts as patch 0 of what it will become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 2 in 2.6.12.
    pub major: u16,
    /// 6 in 2.6.12.
    pub minor: u16,
    /// 12 in 2.6.12.
    pub patch: u16,
}

impl Version {
    /// Reads `2.6.12-1+deb12u4`, `3.4-dev13-0a1b2c-7` or `3.0.11`.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split(['-', '+', ' ']).next()?;
        let mut parts = numbers.split('.').map(|part| part.parse::<u16>().ok());
        let (major, minor) = (parts.next()??, parts.next()??);
        Some(Self { major, minor, patch: parts.next().unwrap_or(Some(0))? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The regular expression libraries HAProxy can be built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regex {
    /// PCRE2 with its compiler.
    Pcre2Jit,
    /// PCRE2, interpreted.
    Pcre2,
    /// The first PCRE.
    Pcre,
    /// The C library's.
    Posix,
}

/// Why the binary cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It did not run to its end.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It is a HAProxy of before 2.6.
    #[error("{} is HAProxy {found}: Baton needs {OLDEST} or newer; install one or set haproxy.binary to it", path.display())]
    TooOld {
        /// Which binary.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// It does not answer like HAProxy.
    #[error("{} -vv does not answer like HAProxy, it says: {said}", path.display())]
    Garbage {
        /// Which binary.
        path: PathBuf,
        /// The first line it printed.
        said: String,
    },
}

/// The binary embeds no Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this HAProxy was built without Lua; install one built with USE_LUA=1 or remove the lua-load lines")]
pub struct NoLua;

fn first_line(stdout: &str, stderr: &str) -> String {
    let line = stdout.lines().chain(stderr.lines()).find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(200).collect()
}

const LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
