//! The HTTP clients: one for plain http, one for TLS that is built when first needed.
//!
//! Building a TLS client fails on a host without CA certificates; a Marathon that is reached by
//! plain http must not notice. The process must have installed rustls' ring provider.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Certificate, ClientBuilder, Request, Response, Url, redirect};
use tokio::time::timeout;

use super::config::MarathonConfig;
use super::error::Reason;

/// Sends requests; follows no redirect.
#[derive(Debug)]
pub struct Http {
    plain: OnceLock<reqwest::Client>,
    tls: OnceLock<reqwest::Client>,
    ca_file: Option<PathBuf>,
    connect: Duration,
    read: Duration,
}

impl Http {
    /// The clients for a cluster.
    pub fn new(config: &MarathonConfig) -> Self {
        let (connect, read) = (config.timing.connect, config.timing.read);
        Self { plain: OnceLock::new(), tls: OnceLock::new(), ca_file: config.ca_file.clone(), connect, read }
    }

    /// Gets the head of an answer.
    pub(super) async fn get(&self, url: Url, headers: HeaderMap) -> Result<Response, Reason> {
        let mut request = Request::new(reqwest::Method::GET, url);
        *request.headers_mut() = headers;
        self.send(request).await
    }

    /// Posts JSON and gets the head of the answer.
    pub(super) async fn post(&self, url: Url, json: String) -> Result<Response, Reason> {
        let mut request = Request::new(reqwest::Method::POST, url);
        request.headers_mut().insert("content-type", reqwest::header::HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(json.into());
        self.send(request).await
    }

    /// The whole body, if it has at most `cap` bytes.
    pub(super) async fn body(&self, mut response: Response, cap: usize) -> Result<Vec<u8>, Reason> {
        let promised = response.content_length().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        if promised > cap {
            return Err(Reason::TooLong(cap));
        }
        let mut body = Vec::with_capacity(promised.min(PREALLOCATED));
        while let Some(chunk) = self.chunk(&mut response, self.read).await? {
            if body.len() + chunk.len() > cap {
                return Err(Reason::TooLong(cap));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The next piece of the body, none at its end.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        patience: Duration,
    ) -> Result<Option<bytes::Bytes>, Reason> {
        let chunk = timeout(patience, response.chunk()).await.map_err(|_| Reason::Timeout(patience))?;
        chunk.map_err(|error| Reason::from_http(error, self.connect))
    }

    async fn send(&self, request: Request) -> Result<Response, Reason> {
        let client = if request.url().scheme() == "https" { self.tls()? } else { self.plain()? };
        let answer = timeout(self.read, client.execute(request)).await.map_err(|_| Reason::Timeout(self.read))?;
        answer.map_err(|error| Reason::from_http(error, self.connect))
    }

    /// Trusts nobody, which no plain connection asks for.
    fn plain(&self) -> Result<&reqwest::Client, Reason> {
        self.built(&self.plain, |builder| Ok(builder.tls_certs_only([])))
    }

    fn tls(&self) -> Result<&reqwest::Client, Reason> {
        self.built(&self.tls, |builder| match &self.ca_file {
            None => Ok(builder),
            Some(path) => {
                let trouble = |why: String| Reason::Tls(format!("ca_file {}: {why}", path.display()));
                let pem = fs::read(path).map_err(|error| trouble(error.to_string()))?;
                let bundle = Certificate::from_pem_bundle(&pem).map_err(|error| trouble(error.to_string()))?;
                if bundle.is_empty() {
                    return Err(trouble("holds no PEM certificate".to_owned()));
                }
                Ok(builder.tls_certs_only(bundle))
            }
        })
    }

    /// Not kept when it fails: the CA bundle may be installed later.
    fn built<'a>(
        &self,
        slot: &'a OnceLock<reqwest::Client>,
        trust: impl FnOnce(ClientBuilder) -> Result<ClientBuilder, Reason>,
    ) -> Result<&'a reqwest::Client, Reason> {
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("baton/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(self.connect)
            .tcp_keepalive(Duration::from_secs(15))
            // A kept connection to a member that died would look like a failure of the next one.
            .pool_max_idle_per_host(0);
        let client = trust(builder)?.build().map_err(|error| Reason::from_http(error, self.connect))?;
        Ok(slot.get_or_init(|| client))
    }
}

const PREALLOCATED: usize = 16 << 20;
