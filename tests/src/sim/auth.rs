//! Who may call: nobody is asked, HTTP Basic, or a DC/OS service account's token.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::config::Auth;
use super::http::{Request, Response};
use super::rng::Rng;
use super::stamp::Stamp;

/// Where DC/OS service accounts log in.
pub const LOGIN: &str = "/acs/api/v1/auth/login";

/// Why the gate cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("read public key {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no RSA public key.
    #[error("{0} holds no PEM of an RSA public key")]
    Format(PathBuf),
}

/// Checks every request.
#[derive(Debug)]
pub struct Gate {
    auth: Auth,
    /// PKCS#1 form of the account's public key.
    key: Vec<u8>,
    issued: Mutex<Issued>,
}

#[derive(Debug)]
struct Issued {
    rng: Rng,
    tokens: BTreeMap<String, Stamp>,
}

impl Gate {
    /// Reads the key, where one is needed.
    ///
    /// # Errors
    /// When the key file cannot be read or understood.
    pub fn new(auth: Auth, seed: u64) -> Result<Self, KeyError> {
        let key = match &auth {
            Auth::Open | Auth::Basic { .. } => Vec::new(),
            Auth::Token { public_key, .. } => {
                let read = |source| KeyError::Read { path: public_key.clone(), source };
                let pem = std::fs::read_to_string(public_key).map_err(read)?;
                rsa_key(&pem).ok_or_else(|| KeyError::Format(public_key.clone()))?
            }
        };
        Ok(Self {
            auth,
            key,
            issued: Mutex::new(Issued { rng: Rng::new(seed ^ 0x70_6b_65_6e), tokens: BTreeMap::new() }),
        })
    }

    /// The answer to a request that may not pass, or to a login.
    pub fn check(&self, request: &Request, now: Stamp) -> Option<Response> {
        match &self.auth {
            Auth::Open => None,
            Auth::Basic { user, password } => {
                let expected = format!("{user}:{password}");
                let given = request.header("authorization").and_then(|value| {
                    let (scheme, rest) = value.split_once(' ')?;
                    scheme.eq_ignore_ascii_case("basic").then(|| base64(rest.trim()))?
                });
                (given.as_deref() != Some(expected.as_bytes()))
                    .then(|| Response::html(401, "Unauthorized").with("WWW-Authenticate", "basic realm=\"Mesosphere\""))
            }
            Auth::Token { uid, lifetime, .. } => {
                if request.path() == LOGIN {
                    let until = now.plus(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
                    return Some(self.log_in(request, uid, now, until));
                }
                let given = request.header("authorization").and_then(|value| value.strip_prefix("token="));
                let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
                let valid = given.and_then(|token| issued.tokens.get(token)).is_some_and(|until| now < *until);
                (!valid).then(unauthorised)
            }
        }
    }

    /// Ends all tokens, as a restart of the login service does.
    pub fn expire_tokens(&self) {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).tokens.clear();
    }

    fn log_in(&self, request: &Request, uid: &str, now: Stamp, until: Stamp) -> Response {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let jwt = body.get("token").and_then(Value::as_str).unwrap_or_default();
        let claims = verify(jwt, &self.key).filter(|claims| {
            let expires = claims.get("exp").and_then(Value::as_i64);
            claims.get("uid").and_then(Value::as_str) == Some(uid)
                && body.get("uid").and_then(Value::as_str) == Some(uid)
                && expires.is_none_or(|expires| expires > now.0 / 1000)
        });
        if request.method != "POST" || claims.is_none() {
            return Response::json(
                401,
                &json!({"title": "Bad credentials", "description": "Invalid JWT", "code": "ERR_INVALID_CREDENTIALS"}),
            );
        }
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        let token = format!("{}.{}.sim", issued.rng.instance_uuid(), issued.rng.instance_uuid());
        issued.tokens.insert(token.clone(), until);
        Response::json(200, &json!({"token": token}))
            .with("Set-Cookie", format!("dcos-acs-auth-cookie={token}; Path=/; HttpOnly"))
    }
}

/// What a request without a valid token gets.
#[must_use]
pub fn unauthorised() -> Response {
    Response::json(401, &json!({"message": "Invalid username or password."})).with("WWW-Authenticate", "acsjwt")
}

/// The claims of an RS256 JWT whose signature fits.
fn verify(jwt: &str, key: &[u8]) -> Option<Value> {
    let (signed, signature) = jwt.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Value = serde_json::from_slice(&base64(header)?).ok()?;
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return None;
    }
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(signed.as_bytes(), &base64(signature)?).ok()?;
    serde_json::from_slice(&base64(claims)?).ok()
}

/// The PKCS#1 key inside a PEM, whether it is bare or wrapped as SubjectPublicKeyInfo.
fn rsa_key(pem: &str) -> Option<Vec<u8>> {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let der = base64(&text)?;
    if pem.contains("BEGIN RSA PUBLIC KEY") {
        return Some(der);
    }
    let (spki, _) = element(&der, 0x30)?;
    let (_, rest) = element(spki, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// The content of a DER element and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, length) = (*der.first()?, usize::from(*der.get(1)?));
    let (start, length) = match length {
        0..0x80 => (2, length),
        _ => {
            let digits = length & 0x7f;
            let length = der.get(2..2 + digits)?.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            (2 + digits, length)
        }
    };
    (first == tag).then_some(())?;
    Some((der.get(start..start + length)?, der.get(start + length..)?))
}

/// Decodes Base64, of either alphabet, padded or not.
#[must_use]
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(out)
}
