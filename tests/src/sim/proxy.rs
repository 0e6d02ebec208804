//! A standby's relay to the leader: over a real connection, so that a refusing leader is felt.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::TcpStream;

use super::config::Personality;
use super::http::{Connection, Request, Response};
use super::shared::Shared;

/// `leader_proxy_connection_timeout_ms`.
const CONNECT: Duration = Duration::from_secs(5);

/// Hands the request to the leader and the answer back, byte for byte; the connection ends with it.
///
/// # Errors
/// I/O errors of the client's connection.
pub(super) async fn relay(
    shared: &Arc<Shared>,
    member: usize,
    leader: usize,
    connection: &mut Connection,
    request: &Request,
) -> io::Result<()> {
    let via = format!("1.1 {}", shared.cluster.name(member));
    let mut closing = request.clone();
    closing.last = true;
    if request.header_all("x-marathon-via").any(|value| value.split(',').any(|entry| entry.trim() == via)) {
        return connection.answer(&closing, &Response::html(502, "Detected proxying loop.")).await;
    }
    let Some(address) = shared.cluster.addresses().get(leader).copied() else { return Ok(()) };
    let mut upstream = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
        Ok(Ok(upstream)) => upstream,
        Ok(Err(_)) => {
            let status = if shared.config.personality >= Personality::V1_8 { 502 } else { 503 };
            return connection.answer(&closing, &Response::html(status, "Connection to leader refused.")).await;
        }
        Err(_) => return connection.answer(&closing, &Response::html(504, "Connection to leader timed out.")).await,
    };
    upstream.set_nodelay(true)?;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        let framing = ["connection", "transfer-encoding", "content-length", "expect", "keep-alive"];
        if !framing.contains(&name.to_lowercase().as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!(
        "X-Marathon-Via: {via}\r\nX-Forwarded-For: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        request.peer.ip(),
        request.body.len()
    ));
    upstream.write_all(head.as_bytes()).await?;
    upstream.write_all(&request.body).await?;
    let (mut from_client, mut to_client) = connection.stream().split();
    let limit = shared.config.proxy_read_timeout;
    let answer = pass_on(&mut upstream, &mut to_client, limit);
    tokio::pin!(answer);
    let mut nowhere = tokio::io::sink();
    tokio::select! {
        passed = &mut answer => return passed,
        _ = copy(&mut from_client, &mut nowhere) => (),
    }
    // A client that hangs up ends its stream, or it would be held until the next event; one that only finished
    // sending still gets its answer.
    if request.path() == "/v2/events" { Ok(()) } else { answer.await }
}

/// Copies until the leader ends or keeps silent for longer than `limit`.
async fn pass_on(
    leader: &mut TcpStream,
    client: &mut (impl AsyncWrite + Unpin),
    limit: Option<Duration>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = leader.read(&mut buffer);
        let read = match limit {
            Some(limit) => tokio::time::timeout(limit, read).await.unwrap_or(Ok(0))?,
            None => read.await?,
        };
        if read == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..read]).await?;
    }
}
