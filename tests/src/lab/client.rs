//! What a client sees: HTTP requests with a status and a body, or a refusal.

use std::time::Duration;

use serde_json::Value;

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status; 0 where there was no answer.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, or why there is none.
    pub body: String,
}

impl Answer {
    /// A header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, as the simulated tasks answer.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// GET `url` with `headers` on a connection of its own; redirects are not followed, certificates
/// not verified.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    // A provider may already be there; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(5))
        .build()
        .expect("a client without options that can fail");
    let mut request = client.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let refused = |why: reqwest::Error| Answer { status: 0, headers: Vec::new(), body: format!("{why:?}") };
    match request.send().await {
        Err(why) => refused(why),
        Ok(answer) => {
            let status = answer.status().as_u16();
            let text = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let headers = answer.headers().iter().map(text).collect();
            match answer.text().await {
                Ok(body) => Answer { status, headers, body },
                Err(why) => refused(why),
            }
        }
    }
}

/// GET `url` until `done` says so, for at most ten seconds; the last answer.
pub async fn get_until(url: &str, headers: &[(&str, &str)], mut done: impl FnMut(&Answer) -> bool) -> Answer {
    let mut answer = get(url, headers).await;
    for _ in 0..1_000 {
        if done(&answer) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = get(url, headers).await;
    }
    answer
}
