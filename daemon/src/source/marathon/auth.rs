//! How we identify ourselves to Marathon: basic, a fixed token, or a DC/OS service account.
//!
//! A service account signs a short-lived JWT, trades it for a token at its login endpoint and
//! keeps that until shortly before it expires or Marathon answers 401. No secret is ever shown.
#![allow(clippy::disallowed_methods, reason = "a JWT and a token expire by the clock")]

mod jwt;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::Reason;
use super::http::Http;
use jwt::Key;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Credentials for a cluster.
#[derive(Debug, Clone)]
pub struct Credentials(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Basic { user: String, password: Secret },
    Token(Secret),
    Account(Arc<Account>),
}

impl Credentials {
    /// User and password.
    pub fn basic(user: impl Into<String>, password: Secret) -> Self {
        Self(Kind::Basic { user: user.into(), password })
    }

    /// `user:password`; the password may hold colons.
    ///
    /// # Errors
    /// When there is no colon.
    pub fn user_pass(text: &str) -> Result<Self, BadCredentials> {
        let (user, password) = text.trim_end_matches(['\r', '\n']).split_once(':').ok_or(BadCredentials::NoColon)?;
        Ok(Self::basic(user, Secret::new(password)))
    }

    /// A token, sent as `Authorization: token=…`.
    pub fn token(token: &str) -> Self {
        Self(Kind::Token(Secret::new(token.trim())))
    }

    /// A DC/OS service account: JSON with `uid`, `private_key` and `login_endpoint`.
    ///
    /// # Errors
    /// When one of them is missing or the key is no RSA key in PEM (PKCS#8 or PKCS#1).
    pub fn service_account(json: &str) -> Result<Self, BadCredentials> {
        // Only the position is told: serde_json's text would quote what stands there.
        let text: AccountText = serde_json::from_str(json)
            .map_err(|error| BadCredentials::Json { line: error.line(), column: error.column() })?;
        let login = Url::parse(&text.login_endpoint).map_err(|_| BadCredentials::Endpoint)?;
        if !matches!(login.scheme(), "http" | "https") {
            return Err(BadCredentials::Endpoint);
        }
        if text.scheme.is_some_and(|scheme| scheme != "RS256") {
            return Err(BadCredentials::Scheme);
        }
        let key = Key::from_pem(&text.private_key).ok_or(BadCredentials::Key)?;
        Ok(Self(Kind::Account(Arc::new(Account { uid: text.uid, login, key, token: Mutex::new(None) }))))
    }

    /// Whether a 401 may mean that a new token is due.
    pub(super) fn can_renew(&self) -> bool {
        matches!(self.0, Kind::Account(_))
    }

    /// The value of `Authorization`; logs in if need be. `refused` is a value that got a 401.
    pub(super) async fn header(&self, http: &Http, refused: Option<&HeaderValue>) -> Result<HeaderValue, Reason> {
        let text = match &self.0 {
            Kind::Basic { user, password } => {
                format!("Basic {}", jwt::base64(format!("{user}:{}", password.0).as_bytes()))
            }
            Kind::Token(token) => format!("token={}", token.0),
            Kind::Account(account) => return account.header(http, refused).await,
        };
        sensitive(&text)
    }
}

/// Why credentials cannot be used. Says nothing of their content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCredentials {
    /// Not `user:password`.
    #[error("no user:password")]
    NoColon,
    /// Not the JSON of a service account.
    #[error("no JSON object with the strings uid, private_key and login_endpoint (see line {line}, column {column})")]
    Json {
        /// Where it goes wrong.
        line: usize,
        /// Where it goes wrong.
        column: usize,
    },
    /// Not a URL.
    #[error("login_endpoint is no http or https URL")]
    Endpoint,
    /// Another way to sign.
    #[error("the scheme of the account is not RS256")]
    Scheme,
    /// Not a key.
    #[error("private_key is no RSA key of at least 2048 bits in PEM (PKCS#8 or PKCS#1)")]
    Key,
}

#[derive(Deserialize)]
struct AccountText {
    uid: String,
    private_key: String,
    login_endpoint: String,
    scheme: Option<String>,
}

struct Account {
    uid: String,
    login: Url,
    key: Key,
    token: Mutex<Option<Token>>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({} at {})", self.uid, self.login)
    }
}

struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

impl Account {
    async fn header(&self, http: &Http, refused: Option<&HeaderValue>) -> Result<HeaderValue, Reason> {
        let mut token = self.token.lock().await;
        if let Some(known) = &*token
            && Instant::now() < known.renew_at
            && Some(&known.header) != refused
        {
            return Ok(known.header.clone());
        }
        *token = None;
        let header = self.log_in(http).await.map_err(|reason| {
            let endpoint = format!("{}{}", self.login.host_str().unwrap_or_default(), self.login.path());
            Reason::Login { endpoint, reason: Box::new(reason) }
        })?;
        *token = Some(Token { header: header.clone(), renew_at: Instant::now() + TOKEN_LIFE - RENEW_EARLY });
        Ok(header)
    }

    async fn log_in(&self, http: &Http) -> Result<HeaderValue, Reason> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let jwt = self.key.jwt(&self.uid, now + JWT_LIFE).ok_or_else(|| Reason::Internal("signing".to_owned()))?;
        let expires = (now + TOKEN_LIFE).as_secs();
        let request = serde_json::json!({ "uid": self.uid, "token": jwt, "exp": expires });
        let response = http.post(self.login.clone(), request.to_string()).await?;
        if response.status().as_u16() != 200 {
            return Err(Reason::Status { status: response.status().as_u16(), said: String::new() });
        }
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().cloned().collect();
        let body = http.body(response, LOGIN_ANSWER).await?;
        let answer: Option<LoginAnswer> = serde_json::from_slice(&body).ok();
        let in_cookie = || {
            let texts = cookies.iter().filter_map(|cookie| cookie.to_str().ok());
            texts.filter_map(|text| text.strip_prefix("dcos-acs-auth-cookie=")).find_map(|rest| rest.split(';').next())
        };
        let token = answer.as_ref().map(|answer| answer.token.as_str()).or_else(in_cookie).ok_or(Reason::NoToken)?;
        sensitive(&format!("token={token}"))
    }
}

#[derive(Deserialize)]
struct LoginAnswer {
    token: String,
}

fn sensitive(text: &str) -> Result<HeaderValue, Reason> {
    let header = HeaderValue::from_bytes(text.as_bytes());
    let mut header = header.map_err(|_| Reason::Internal("the credentials hold a control character".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

const JWT_LIFE: Duration = Duration::from_secs(60);
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
const RENEW_EARLY: Duration = Duration::from_secs(600);
const LOGIN_ANSWER: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_colons_and_nothing_is_shown() {
        let credentials = Credentials::user_pass("me:a:b:c\n").unwrap();
        let Kind::Basic { user, password } = &credentials.0 else { panic!() };
        assert_eq!((user.as_str(), password.0.as_str()), ("me", "a:b:c"));
        assert_eq!(Credentials::user_pass("me").unwrap_err(), BadCredentials::NoColon);
        for shown in [format!("{credentials:?}"), format!("{:?}", Credentials::token("a:b:c"))] {
            assert!(!shown.contains("a:b:c"), "{shown}");
        }
    }

    #[test]
    fn bad_accounts_are_refused_without_quoting_them() {
        for bad in [
            "SECRET",
            r#"{"uid":"SECRET"}"#,
            r#"{"uid":"u","private_key":"SECRET","login_endpoint":"http://x"}"#,
            r#"{"uid":"u","private_key":"SECRET","login_endpoint":"SECRET"}"#,
            r#"{"uid":"u","private_key":["SECRET"],"login_endpoint":"http://x"}"#,
        ] {
            let error = Credentials::service_account(bad).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error}");
        }
    }
}
