//! Marathon's address in a benchmark: a list of apps that is kept ready, the simulator for the rest.
//!
//! The simulator makes its answer anew for every request, which takes longer than anything that is
//! measured here. So it has the moving apps only; the apps that never change are text that this
//! front puts before the simulator's. Whoever asks for events is sent on, as by a standby.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A running front; dropping it ends it.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What a front answers with.
#[derive(Debug)]
struct Answers {
    /// The apps that never change, as the list has them, without its brackets.
    still: String,
    /// Where the simulator with the moving apps is.
    sim: Option<String>,
    client: reqwest::Client,
}

impl Front {
    /// Serves the apps of `answer` and those of the simulator at `sim`, on a thread of its own.
    ///
    /// # Errors
    /// When `answer` is no list of apps, or nothing can be started.
    pub fn start(answer: &str, sim: Option<String>) -> anyhow::Result<Self> {
        // A provider may already be there; either is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        let answers = Arc::new(Answers { still: apps(answer)?.to_owned(), sim, client });
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let ended = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("front".to_owned()).spawn(move || {
            runtime.block_on(ended.run_until_cancelled(serve(listener, &answers)));
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.cancel();
        // A front that panicked has been noticed by its client.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One client after the other: there is only one.
async fn serve(listener: std::net::TcpListener, answers: &Answers) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    while let Ok((stream, _)) = listener.accept().await {
        // The client notices and says so.
        let _ = tokio::time::timeout(PATIENCE, answers.give(stream)).await;
    }
}

impl Answers {
    async fn give(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        // A request of ours fits into one packet.
        let mut request = [0; 4096];
        let length = stream.read(&mut request).await?;
        let request = String::from_utf8_lossy(&request[..length]);
        let target = request.split(' ').nth(1).context("no request")?;
        match &self.sim {
            Some(sim) if target.starts_with("/v2/events") => {
                let head = format!("HTTP/1.1 302 Found\r\nLocation: {sim}{target}\r\nContent-Length: 0\r\n{CLOSE}");
                stream.write_all(head.as_bytes()).await?;
            }
            Some(sim) if target.starts_with("/v2/apps/") => {
                let answer = self.client.get(format!("{sim}{target}")).send().await?;
                ensure!(answer.status() == 200, "only apps that move are asked for singly");
                write(&mut stream, "", &[&answer.text().await?]).await?;
            }
            Some(sim) => {
                let answer = self.client.get(format!("{sim}{target}")).send().await?;
                let leader = answer.headers().get("x-marathon-leader").context("no leader")?.to_str()?.to_owned();
                let text = answer.text().await?;
                let moving = apps(&text)?;
                let comma = if self.still.is_empty() || moving.is_empty() { "" } else { "," };
                let list = [OPEN, &self.still, comma, moving, END];
                write(&mut stream, &format!("X-Marathon-Leader: {leader}\r\n"), &list).await?;
            }
            None => write(&mut stream, "", &[OPEN, &self.still, END]).await?,
        }
        Ok(stream.shutdown().await?)
    }
}

async fn write(stream: &mut TcpStream, header: &str, body: &[&str]) -> std::io::Result<()> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{header}Content-Length: {length}\r\n{CLOSE}");
    stream.write_all(head.as_bytes()).await?;
    for part in body {
        stream.write_all(part.as_bytes()).await?;
    }
    Ok(())
}

/// What stands between the brackets of a list of apps.
fn apps(answer: &str) -> anyhow::Result<&str> {
    let list = answer.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(END));
    ensure!(list.is_some(), "no list of apps: {}", answer.chars().take(200).collect::<String>());
    Ok(list.unwrap_or_default())
}

const OPEN: &str = r#"{"apps":["#;
const END: &str = "]}";
const CLOSE: &str = "Connection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);
