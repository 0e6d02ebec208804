//! Why a member gave no answer: which one, what happened, and a short name for the metric.

use std::fmt;
use std::io;
use std::time::Duration;

use haproxy::issue::printable;

use super::wire::WireError;

/// One member asked in vain.
#[derive(Debug, thiserror::Error)]
#[error("{member}: {reason}")]
pub struct MemberError {
    /// Its URL without credentials.
    pub member: String,
    /// What happened.
    pub reason: Reason,
}

/// Every member asked in vain.
#[derive(Debug, Default)]
pub struct AllFailed(Vec<MemberError>);

impl AllFailed {
    /// These failures, by member: the text stays the same whoever was asked first.
    pub fn new(mut failures: Vec<MemberError>) -> Self {
        failures.sort_by(|a, b| a.member.cmp(&b.member));
        Self(failures)
    }

    /// The failures.
    pub fn members(&self) -> &[MemberError] {
        &self.0
    }
}

impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no Marathon is configured");
        }
        for (n, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for AllFailed {}

/// What happened.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Name not found, refused, unreachable.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Too slow.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// A certificate that is not trusted, or no TLS at all.
    #[error("TLS: {0}")]
    Tls(String),
    /// Connected, then the connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// Another status than 200.
    #[error("answered {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Status {
        /// The status.
        status: u16,
        /// The `message` of the body, if it has one.
        said: String,
    },
    /// 200, but not with a list of apps.
    #[error(transparent)]
    Answer(#[from] WireError),
    /// The answer does not end.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The answer could not be read here.
    #[error("reading the answer failed: {0}")]
    Internal(String),
    /// The DC/OS login did not work.
    #[error("login at {endpoint}: {reason}")]
    Login {
        /// Where.
        endpoint: String,
        /// Why.
        reason: Box<Self>,
    },
    /// The login worked but gave no token.
    #[error("the answer holds no token")]
    NoToken,
    /// A standby that sends us elsewhere.
    #[error("redirects to {0}")]
    Redirect(String),
    /// A redirect that is not followed.
    #[error("redirects to {0}, which is no member of the cluster and not in trusted_hosts")]
    Untrusted(String),
    /// A redirect from https to http.
    #[error("redirects to {0}, where the credentials would travel in clear text")]
    Downgrade(String),
    /// 200, but no event stream.
    #[error("/v2/events answered with {0} instead of an event stream")]
    NoStream(String),
}

impl Reason {
    /// A word for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Timeout(_) => "timeout",
            Self::Tls(_) => "tls",
            Self::Broken(_) => "broken",
            Self::Status { .. } => "status",
            Self::Answer(WireError::Empty) => "empty",
            Self::Answer(WireError::Syntax(_)) => "json",
            Self::Answer(WireError::NoApps) => "no_apps",
            Self::Answer(WireError::NotThisApp) => "not_this_app",
            Self::TooLong(_) => "too_long",
            Self::Internal(_) => "internal",
            Self::Login { .. } | Self::NoToken => "login",
            Self::Redirect(_) | Self::Untrusted(_) | Self::Downgrade(_) => "redirect",
            Self::NoStream(_) => "no_stream",
        }
    }

    /// Sorts an error of the HTTP client. Its text holds no URL, so no credentials.
    pub(super) fn from_http(error: reqwest::Error, connect: Duration) -> Self {
        let error = error.without_url();
        let mut innermost: &dyn std::error::Error = &error;
        let mut tls = false;
        loop {
            // hyper-rustls hides what the handshake said in an I/O error within an I/O error.
            let held = innermost.downcast_ref::<io::Error>().and_then(|e| e.get_ref());
            tls |= held.is_some_and(|e| e.is::<rustls::Error>() || e.is::<io::Error>());
            match innermost.source() {
                Some(source) => innermost = source,
                None => break,
            }
        }
        let text = printable(&innermost.to_string());
        match () {
            () if tls => Self::Tls(text),
            () if error.is_timeout() => Self::Timeout(connect),
            () if error.is_builder() => Self::Tls(text),
            () if error.is_connect() => Self::Connect(text),
            () => Self::Broken(text),
        }
    }
}
