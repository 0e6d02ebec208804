//! What the simulator's tests share: a plain HTTP client, an event stream as bytes, waiting.

#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "test code; clippy sees `#[test]` functions only")]
#![allow(clippy::disallowed_methods, reason = "tests wait for real time to pass")]

use std::path::PathBuf;
use std::time::Duration;

use e2e::sim::{Config, Personality, Sim};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const BOTH: [Personality; 2] = [Personality::V1_4, Personality::V1_8];
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// An answer, as a client sees it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    }
}

pub(crate) async fn start(personality: Personality) -> Sim {
    Sim::start(Config::for_test(personality)).await.unwrap()
}

pub(crate) fn fixture(name: &str) -> Value {
    serde_json::from_str(&fixture_text(name)).unwrap()
}

pub(crate) fn fixture_text(name: &str) -> String {
    std::fs::read_to_string(fixture_path(name)).unwrap()
}

pub(crate) fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/marathon").join(name)
}

pub(crate) async fn get(url: &str) -> Answer {
    call("GET", url, &[], None).await
}

pub(crate) async fn send(method: &str, url: &str, body: &Value) -> Answer {
    call(method, url, &[("Content-Type", "application/json")], Some(body.to_string())).await
}

pub(crate) async fn delete(url: &str) -> Answer {
    call("DELETE", url, &[], None).await
}

/// One request on a connection of its own, read to its end.
pub(crate) async fn call(method: &str, url: &str, headers: &[(&str, &str)], body: Option<String>) -> Answer {
    let bytes = exchange(method, url, headers, body).await;
    parse(&bytes).unwrap_or_else(|| panic!("no HTTP: {:?}", String::from_utf8_lossy(&bytes)))
}

pub(crate) async fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: Option<String>) -> Vec<u8> {
    let mut stream = request(method, url, headers, body).await;
    let mut bytes = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("answer in time").unwrap();
    bytes
}

async fn request(method: &str, url: &str, headers: &[(&str, &str)], body: Option<String>) -> TcpStream {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).await.unwrap();
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\n");
    if !headers.iter().any(|(name, _)| *name == "Connection") && method != "STREAM" {
        head.push_str("Connection: close\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.unwrap_or_default();
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, head, body: bytes[end + 4..].to_vec() };
    if answer.header("transfer-encoding").as_deref() == Some("chunked") {
        answer.body = dechunk(&answer.body);
    }
    Some(answer)
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let at = rest.windows(2).position(|window| window == b"\r\n").expect("chunk size");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 2 + size + 2..];
        if size == 0 {
            return body;
        }
    }
}

/// An open event stream, raw.
pub(crate) struct Stream {
    socket: TcpStream,
    pub(crate) head: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) ended: bool,
}

impl Stream {
    pub(crate) async fn open(url: &str, headers: &[(&str, &str)]) -> Self {
        let mut all = vec![("Accept", "text/event-stream"), ("Connection", "keep-alive")];
        all.extend_from_slice(headers);
        let mut socket = request("GET", url, &all, None).await;
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            let read = tokio::time::timeout(SOON, socket.read_buf(&mut bytes)).await.expect("head in time").unwrap();
            assert!(read > 0, "stream ended in its head: {:?}", String::from_utf8_lossy(&bytes));
        };
        let rest = bytes.split_off(end + 4);
        Self { socket, head: String::from_utf8_lossy(&bytes).into_owned(), bytes: rest, ended: false }
    }

    /// Reads until `enough` or the end of the stream; panics when that takes too long.
    pub(crate) async fn until(&mut self, enough: impl Fn(&Self) -> bool) {
        let reading = async {
            while !self.ended && !enough(self) {
                self.ended = self.socket.read_buf(&mut self.bytes).await.map_or(true, |n| n == 0);
            }
        };
        let done = tokio::time::timeout(SOON, reading).await;
        assert!(done.is_ok(), "not in time, have: {}", String::from_utf8_lossy(&self.bytes));
    }

    pub(crate) async fn until_event(&mut self, kind: &str) {
        self.until(|stream| stream.kinds().iter().any(|k| k == kind)).await;
        assert!(self.kinds().iter().any(|k| k == kind), "stream ended before {kind}");
    }

    /// Whole events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let whole = text.rsplit_once("\r\n\r\n").map(|(whole, _)| whole).unwrap_or_default();
        whole.lines().filter_map(|line| line.strip_prefix("data: ")).map(|d| serde_json::from_str(d).unwrap()).collect()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.events().iter().map(|event| event["eventType"].as_str().unwrap().to_owned()).collect()
    }
}

/// Polls until `condition` holds; panics when that takes too long.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, waiting).await.is_ok(), "never: {what}");
}
