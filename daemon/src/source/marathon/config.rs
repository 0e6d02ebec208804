//! What the Marathon source needs to know. Plain values; the daemon's configuration fills them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::agenda::Pace;
use super::auth::{Credentials, Secret};
use super::guard::GuardConfig;

/// One Marathon cluster and how to follow it.
#[derive(Debug, Clone)]
pub struct MarathonConfig {
    /// The members of ONE cluster. Without any, every fetch fails.
    pub urls: Vec<MemberUrl>,
    /// Used for every member whose URL has none of its own.
    pub auth: Option<Credentials>,
    /// PEM certificates that replace the system's CA store.
    pub ca_file: Option<PathBuf>,
    /// Hosts besides the members that a redirect of `/v2/events` may name.
    pub trusted_hosts: Vec<String>,
    /// Follow the event stream; else ask every `poll`.
    pub events: bool,
    /// How often all is fetched without events, or while there is no stream of them.
    pub poll: Duration,
    /// How often all is fetched although events are followed.
    pub resync: Duration,
    /// The longest wait before another try.
    pub max_backoff: Duration,
    /// How careful to be with lists that take much away.
    pub guard: GuardConfig,
    /// What nobody but tests changes.
    pub timing: Timing,
}

impl MarathonConfig {
    /// The defaults, for these members.
    pub fn new(urls: Vec<MemberUrl>) -> Self {
        Self {
            urls,
            auth: None,
            ca_file: None,
            trusted_hosts: Vec::new(),
            events: true,
            poll: Duration::from_secs(60),
            resync: Duration::from_secs(300),
            max_backoff: Duration::from_secs(300),
            guard: GuardConfig { max_removal: 0.5, confirm: Duration::from_secs(10) },
            timing: Timing::default(),
        }
    }
}

/// Delays and limits.
#[derive(Debug, Clone)]
pub struct Timing {
    /// For a connection to be made.
    pub connect: Duration,
    /// For the head of an answer, and for each piece of its body.
    pub read: Duration,
    /// For a whole answer of one member.
    pub total: Duration,
    /// A stream without a byte for so long is dead; Marathon's heartbeat is 10 s.
    pub silence: Duration,
    /// A stream that lived shorter was none.
    pub proven: Duration,
    /// The first wait after failures; later ones grow.
    pub first_wait: Duration,
    /// How long the first fetch waits for the stream to be attached.
    pub attach_first: Duration,
    /// The least time between the starts of two fetches of everything.
    pub spacing: Duration,
    /// How single apps are fetched.
    pub apps: Pace,
    /// How long a start waits for Marathon before it serves what the store remembers.
    pub restore: Duration,
    /// The longest answer.
    pub max_body: usize,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(3050),
            read: Duration::from_secs(46),
            total: Duration::from_secs(180),
            silence: Duration::from_secs(30),
            proven: Duration::from_secs(10),
            first_wait: Duration::from_secs(3),
            attach_first: Duration::from_secs(2),
            spacing: Duration::from_millis(100),
            apps: Pace { at_once: 4, spacing: Duration::from_millis(20), trailing: Duration::from_secs(1) },
            restore: Duration::from_secs(3),
            max_body: super::wire::MAX_BODY,
        }
    }
}

/// The address of a Marathon: `http(s)://[user:password@]host[:port][/prefix]`. Shown without the
/// password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberUrl {
    base: Url,
    login: Option<(String, Secret)>,
}

impl MemberUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is no http or https URL with a host.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let mut base = Url::parse(text).map_err(|error| BadUrl::Syntax(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none_or(str::is_empty) {
            return Err(BadUrl::Scheme);
        }
        let login = match (base.username(), base.password()) {
            ("", None) => None,
            (user, password) => Some((decode(user), Secret::new(decode(password.unwrap_or_default())))),
        };
        let cleared = base.set_username("").and_then(|()| base.set_password(None));
        cleared.map_err(|()| BadUrl::Scheme)?;
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self { base, login })
    }

    /// The credentials that stood in the URL.
    pub fn credentials(&self) -> Option<Credentials> {
        self.login.as_ref().map(|(user, password)| Credentials::basic(user, password.clone()))
    }

    /// Its host, as in a URL (an IPv6 address in brackets).
    pub fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// The URL without credentials.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A resource below it, whether or not the URL ends with a slash.
    pub fn join(&self, path: &str, query: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(Some(query));
        url
    }
}

impl fmt::Display for MemberUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

/// Why a text is no address of a Marathon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Not a URL.
    #[error("no URL such as http://10.0.0.1:8080 ({0})")]
    Syntax(String),
    /// A URL of another kind.
    #[error("no URL such as http://10.0.0.1:8080 (only http and https, with a host)")]
    Scheme,
}

/// Undoes `%xx`, for credentials in a URL.
fn decode(text: &str) -> String {
    let hex = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match tail.get(..2).filter(|_| first == b'%').and_then(hex) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown, apps) in [
            ("http://a:8080", "http://a:8080", "http://a:8080/v2/apps?x=y"),
            ("http://a:8080/", "http://a:8080", "http://a:8080/v2/apps?x=y"),
            ("https://a/service/marathon/", "https://a/service/marathon", "https://a/service/marathon/v2/apps?x=y"),
            ("http://u:p%3Aw@a/?q#f", "http://a", "http://a/v2/apps?x=y"),
            ("http://[::1]:8080", "http://[::1]:8080", "http://[::1]:8080/v2/apps?x=y"),
        ] {
            let url = MemberUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.join("/v2/apps", "x=y").as_str(), apps);
        }
        for bad in ["", "a:8080", "10.0.0.1:8080", "ftp://a", "file:///etc", "http://"] {
            assert!(MemberUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_is_decoded_and_never_shown() {
        let url = MemberUrl::parse("http://user:p%40%3ass%zz@a:8080").unwrap();
        assert_eq!(url.login, Some(("user".to_owned(), Secret::new("p@:ss%zz"))));
        let config = MarathonConfig::new(vec![url]);
        assert!(!format!("{config:?} {}", config.urls[0]).contains("ss%zz"));
    }
}
