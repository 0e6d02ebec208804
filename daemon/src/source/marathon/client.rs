//! The members of one cluster: asks them in turn until one answers.
//!
//! Used by `refetch` (apps) and `stream` (events). Sticks to the member that worked
//! last; every kind of failure moves on to the next. Keeps no opinion on when to ask.
#![allow(clippy::disallowed_methods, reason = "measures how long an answer takes")]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use haproxy::app::AppId;
use haproxy::issue::printable;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Response, Url};
use tokio::time::{Instant, timeout};

use super::auth::Credentials;
use super::config::{MarathonConfig, MemberUrl, Timing};
use super::error::{AllFailed, MemberError, Reason};
use super::event;
use super::http::Http;
use super::wire::{self, Answer, Envelope};

/// Asks the members of one cluster.
#[derive(Debug)]
pub struct Client {
    http: Http,
    members: Vec<Member>,
    trusted_hosts: Vec<String>,
    timing: Timing,
    /// Where the list of apps is asked for first.
    fetch_from: AtomicUsize,
    /// Where a stream is asked for first.
    stream_from: AtomicUsize,
}

#[derive(Debug)]
struct Member {
    url: MemberUrl,
    auth: Option<Credentials>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    /// All apps.
    All,
    /// This one.
    One(&'a AppId),
}

/// Apps, as one member told them.
#[derive(Debug)]
pub struct Fetched {
    /// The apps.
    pub answer: Answer,
    /// Who answered.
    pub member: String,
    /// The leader that stood behind it.
    pub leader: Option<String>,
    /// When it was asked for.
    pub asked: Instant,
    /// How long it took.
    pub took: Duration,
    /// How long the text was.
    pub bytes: usize,
    /// Who was asked before, in vain.
    pub failures: Vec<MemberError>,
}

/// An open stream of events.
#[derive(Debug)]
pub struct Attached {
    /// Who sends it.
    pub member: String,
    /// The leader that stands behind it.
    pub leader: Option<String>,
    response: Response,
}

impl Client {
    /// A client; nothing is connected yet.
    pub fn new(config: &MarathonConfig) -> Self {
        let auth = |url: &MemberUrl| url.credentials().or_else(|| config.auth.clone());
        Self {
            http: Http::new(config),
            members: config.urls.iter().map(|url| Member { url: url.clone(), auth: auth(url) }).collect(),
            trusted_hosts: config.trusted_hosts.clone(),
            timing: config.timing.clone(),
            fetch_from: AtomicUsize::new(0),
            stream_from: AtomicUsize::new(0),
        }
    }

    /// The list of apps.
    ///
    /// # Errors
    /// When no member gave one.
    pub async fn apps(&self) -> Result<Fetched, AllFailed> {
        self.fetch(Wanted::All).await
    }

    /// One app. An answer without it and without an issue means that it does not exist.
    ///
    /// # Errors
    /// When no member gave an answer about it.
    pub async fn app(&self, id: &AppId) -> Result<Fetched, AllFailed> {
        self.fetch(Wanted::One(id)).await
    }

    async fn fetch(&self, wanted: Wanted<'_>) -> Result<Fetched, AllFailed> {
        let mut failures = Vec::new();
        for index in self.order(&self.fetch_from) {
            let member = &self.members[index];
            match self.fetch_of(member, wanted).await {
                Ok(fetched) => {
                    self.fetch_from.store(index, Ordering::Relaxed);
                    return Ok(Fetched { failures, ..fetched });
                }
                Err(reason) => failures.push(member.failed(reason)),
            }
        }
        Err(AllFailed::new(failures))
    }

    /// A stream of events. Standbys send us to the leader: the other members are asked first, one
    /// of them is it. Only if none of them has a stream the first redirect is followed, one hop.
    ///
    /// # Errors
    /// When no member gave one.
    pub async fn attach(&self) -> Result<Attached, AllFailed> {
        let mut queue: VecDeque<usize> = self.order(&self.stream_from).collect();
        let mut redirect = None;
        let mut failures = Vec::new();
        while let Some(index) = queue.pop_front() {
            let member = &self.members[index];
            match self.events_of(member, member.url.join("/v2/events", &event::query())).await {
                Ok(Events::Open(attached)) => {
                    self.stream_from.store(index, Ordering::Relaxed);
                    self.fetch_from.store(index, Ordering::Relaxed);
                    return Ok(attached);
                }
                Ok(Events::Elsewhere(url)) => {
                    let named = |i: &usize| self.members[*i].url.base().host() == url.host();
                    if let Some(index) = queue.iter().position(named).and_then(|at| queue.remove(at)) {
                        queue.push_front(index);
                    }
                    failures.push(member.failed(Reason::Redirect(place(&url))));
                    redirect.get_or_insert((index, url));
                }
                Err(reason) => failures.push(member.failed(reason)),
            }
        }
        if let Some((index, url)) = redirect {
            let member = &self.members[index];
            match self.follow(member, url).await {
                Ok(attached) => return Ok(attached),
                Err(reason) => failures.push(member.failed(reason)),
            }
        }
        Err(AllFailed::new(failures))
    }

    /// The next piece of a stream, none at its end. May be dropped and called again.
    pub(super) async fn read(&self, stream: &mut Attached, patience: Duration) -> Result<Option<bytes::Bytes>, Reason> {
        self.http.chunk(&mut stream.response, patience).await
    }

    /// The next stream is asked of another member first.
    pub(super) fn rotate_stream(&self) {
        self.stream_from.fetch_add(1, Ordering::Relaxed);
    }

    fn order(&self, from: &AtomicUsize) -> impl Iterator<Item = usize> + use<> {
        let (start, n) = (from.load(Ordering::Relaxed), self.members.len());
        (0..n).map(move |i| (start % n + i) % n)
    }

    async fn fetch_of(&self, member: &Member, wanted: Wanted<'_>) -> Result<Fetched, Reason> {
        let asked = Instant::now();
        let total = self.timing.total;
        let url = match wanted {
            Wanted::All => member.url.join("/v2/apps", "embed=apps.tasks"),
            Wanted::One(id) => member.url.join(&format!("/v2/apps{id}"), "embed=app.tasks"),
        };
        let read = timeout(total, async {
            let response = self.get(member, url, "application/json").await?;
            let leader = leader(&response);
            if response.status().as_u16() == 200 {
                return Ok((leader, Some(self.http.body(response, self.timing.max_body).await?)));
            }
            match (wanted, self.refusal(response).await) {
                (Wanted::One(id), Reason::Status { status: 404, said }) if said == unknown(id) => Ok((leader, None)),
                (_, reason) => Err(reason),
            }
        });
        let (leader, body) = read.await.map_err(|_| Reason::Timeout(total))??;
        let bytes = body.as_ref().map_or(0, Vec::len);
        let answer = match (body, wanted) {
            (None, _) => Answer::default(),
            (Some(body), Wanted::One(id)) if bytes <= SMALL => wire::read_one(&body, id)?,
            // Seconds of work for a huge answer: not on a thread that others wait for.
            (Some(body), Wanted::One(id)) => {
                let id = id.clone();
                elsewhere(move || wire::read_one(&body, &id)).await??
            }
            (Some(body), Wanted::All) => elsewhere(move || wire::read(&body, Envelope::Object)).await??,
        };
        let member = member.url.to_string();
        Ok(Fetched { answer, member, leader, asked, took: asked.elapsed(), bytes, failures: Vec::new() })
    }

    async fn events_of(&self, member: &Member, url: Url) -> Result<Events, Reason> {
        let response = self.get(member, url, "text/event-stream").await?;
        let status = response.status();
        if status.is_redirection() {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let url = location.and_then(|text| response.url().join(text).ok());
            return match url.filter(|url| matches!(url.scheme(), "http" | "https")) {
                Some(mut url) => {
                    if url.query().is_none() {
                        url.set_query(Some(&event::query()));
                    }
                    Ok(Events::Elsewhere(url))
                }
                None => Err(Reason::Redirect("nowhere".to_owned())),
            };
        }
        if status.as_u16() != 200 {
            return Err(self.refusal(response).await);
        }
        let kind = response.headers().get("content-type").map(|value| String::from_utf8_lossy(value.as_bytes()));
        if let Some(kind) = kind.filter(|kind| !kind.to_ascii_lowercase().contains("text/event-stream")) {
            return Err(Reason::NoStream(printable(&kind)));
        }
        Ok(Events::Open(Attached { member: member.url.to_string(), leader: leader(&response), response }))
    }

    /// Follows a redirect with the credentials of the member that sent it, if its host is ours.
    async fn follow(&self, member: &Member, url: Url) -> Result<Attached, Reason> {
        if !self.is_ours(&url).await {
            return Err(Reason::Untrusted(place(&url)));
        }
        if member.auth.is_some() && member.url.base().scheme() == "https" && url.scheme() == "http" {
            return Err(Reason::Downgrade(place(&url)));
        }
        let name = place(&url);
        match self.events_of(member, url).await? {
            Events::Open(attached) => Ok(Attached { member: name, ..attached }),
            Events::Elsewhere(url) => Err(Reason::Redirect(format!("{} again", place(&url)))),
        }
    }

    async fn is_ours(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let mut named =
            self.members.iter().map(|member| member.url.host()).chain(self.trusted_hosts.iter().map(String::as_str));
        if named.any(|name| bare(name).eq_ignore_ascii_case(bare(host))) {
            return true;
        }
        let wanted = self.addresses(host).await;
        for member in &self.members {
            if self.addresses(member.url.host()).await.iter().any(|addr| wanted.contains(addr)) {
                return true;
            }
        }
        false
    }

    async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let found = timeout(self.timing.connect, tokio::net::lookup_host((bare(host), 0))).await;
        found.ok().and_then(Result::ok).map(|all| all.map(|socket| socket.ip()).collect()).unwrap_or_default()
    }

    /// Gets a resource of a member; after a 401 once more with a fresh token, where there is one.
    async fn get(&self, member: &Member, url: Url, accept: &'static str) -> Result<Response, Reason> {
        let mut headers = HeaderMap::from_iter([
            (reqwest::header::ACCEPT, HeaderValue::from_static(accept)),
            (reqwest::header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ]);
        let Some(auth) = &member.auth else { return self.http.get(url, headers).await };
        let header = auth.header(&self.http, None).await?;
        headers.insert(AUTHORIZATION, header.clone());
        let response = self.http.get(url.clone(), headers.clone()).await?;
        if response.status().as_u16() != 401 || !auth.can_renew() {
            return Ok(response);
        }
        headers.insert(AUTHORIZATION, auth.header(&self.http, Some(&header)).await?);
        self.http.get(url, headers).await
    }

    /// An answer that is none, with the `message` of its body if it comes soon.
    async fn refusal(&self, response: Response) -> Reason {
        let status = response.status().as_u16();
        let body = timeout(REFUSAL_TIME, self.http.body(response, REFUSAL_SIZE)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let message = json.as_ref().and_then(|json| json.get("message")?.as_str()).unwrap_or_default();
        Reason::Status { status, said: printable(message) }
    }
}

impl Member {
    fn failed(&self, reason: Reason) -> MemberError {
        MemberError { member: self.url.to_string(), reason }
    }
}

/// What `/v2/events` answers.
enum Events {
    Open(Attached),
    Elsewhere(Url),
}

/// What Marathon says of an app that does not exist, whichever version it is.
fn unknown(id: &AppId) -> String {
    printable(&format!("App '{id}' does not exist"))
}

async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Reason> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Reason::Internal(error.to_string()))
}

fn leader(response: &Response) -> Option<String> {
    let value = response.headers().get("x-marathon-leader")?;
    Some(printable(&String::from_utf8_lossy(value.as_bytes()))).filter(|text| !text.is_empty())
}

/// Scheme, host and port: what may be shown of a URL that somebody else wrote.
fn place(url: &Url) -> String {
    printable(&url.origin().ascii_serialization())
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The answer about one app that is read on the spot.
const SMALL: usize = 256 << 10;
const REFUSAL_TIME: Duration = Duration::from_secs(2);
const REFUSAL_SIZE: usize = 64 << 10;
