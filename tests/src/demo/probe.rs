//! Single looks from outside, each with an answer in words: what was found, or what was found instead.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::client::{connector, task};
use super::cluster::BALANCER;

/// `url` is answered by all `tasks` in turn, and by nobody else; how many.
///
/// # Errors
/// Who answered instead, or what.
pub(super) async fn answered_by(url: &str, tasks: &BTreeSet<String>) -> anyhow::Result<String> {
    ensure!(!tasks.is_empty(), "no task runs");
    let http = connector()?;
    let mut met = BTreeSet::new();
    // Requests go round; more than one for each task, because others ask too.
    for _ in 0..tasks.len() * 8 {
        met.insert(task(&http, url).await?);
        if met.len() == tasks.len() {
            break;
        }
    }
    let listed = |tasks: &BTreeSet<String>| tasks.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    ensure!(met == *tasks, "answered by {}, expected {}", listed(&met), listed(tasks));
    Ok(counted(tasks.len(), "task"))
}

/// `url` is answered with `status`.
///
/// # Errors
/// The status found.
pub(super) async fn status(url: &str, headers: &[(&str, &str)], status: u16) -> anyhow::Result<()> {
    let mut request = connector()?.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let found = request.send().await?.status();
    ensure!(found.as_u16() == status, "{found}, expected {status}");
    Ok(())
}

/// A real redis answers on `port` of the load balancer; its version.
///
/// # Errors
/// What answered instead.
pub(super) async fn redis(port: u16) -> anyhow::Result<String> {
    let mut stream = connect((BALANCER, port).into()).await?;
    let pong = exchange(&mut stream, "PING\r\n").await?;
    ensure!(pong.trim() == "+PONG", "PING was answered by {pong:?}");
    let info = exchange(&mut stream, "INFO server\r\n").await?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.context("it does not say its version")?.to_owned())
}

/// A task of `app` greets on `port` of the load balancer.
///
/// # Errors
/// What answered instead.
pub(super) async fn greeting(port: u16, app: &str) -> anyhow::Result<String> {
    let mut stream = connect((BALANCER, port).into()).await?;
    let words = read(&mut stream).await?;
    ensure!(words.starts_with(app), "greeted by {words:?}");
    Ok(format!("a greeting from {app}"))
}

/// Nobody answers on `port` of the load balancer, whose app was in tcp mode.
///
/// # Errors
/// When somebody does.
pub(super) async fn emptied(port: u16) -> anyhow::Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect((BALANCER, port)).await?;
        let mut byte = [0];
        stream.read(&mut byte).await
    };
    match tokio::time::timeout(PATIENCE, asked).await.context("neither an answer nor an end")? {
        Ok(1..) => anyhow::bail!("somebody still answers"),
        Ok(0) | Err(_) => Ok("nobody answers; closed by the next reload".to_owned()),
    }
}

/// `http://` and an address.
#[must_use]
pub(super) fn url(host: Ipv4Addr, port: u16) -> String {
    format!("http://{host}:{port}/")
}

async fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    Ok(tokio::time::timeout(PATIENCE, TcpStream::connect(to)).await.context("connect")??)
}

async fn exchange(stream: &mut TcpStream, words: &str) -> anyhow::Result<String> {
    stream.write_all(words.as_bytes()).await?;
    read(stream).await
}

/// What comes in one piece: all these answers are short.
async fn read(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut buffer = vec![0; 16_384];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.context("no answer")??;
    ensure!(read > 0, "the connection was closed");
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

/// `1 task`, `3 tasks`.
#[must_use]
pub(super) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

const PATIENCE: Duration = Duration::from_secs(5);
