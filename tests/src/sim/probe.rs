//! One health check, carried out: connect, or GET and look at the status.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::def::Protocol;
use super::http::reason;
use super::world::{ProbeJob, ProbeResult};

/// Runs the check; causes are worded as Marathon words them.
///
/// # Errors
/// What is wrong with the task.
pub(super) async fn run(job: &ProbeJob) -> ProbeResult {
    if job.protocol == Protocol::Command {
        return Ok(());
    }
    let Some(target) = job.target else { return Err("no port to check".to_owned()) };
    let limit = Duration::from_millis(job.timeout_ms);
    match tokio::time::timeout(limit, ask(SocketAddr::from(target), job)).await {
        Ok(result) => result,
        Err(_) if job.protocol == Protocol::Http => Err(format!("AskTimeoutException: no answer in {limit:?}")),
        Err(_) => Err("SocketTimeoutException: connect timed out".to_owned()),
    }
}

async fn ask(target: SocketAddr, job: &ProbeJob) -> ProbeResult {
    let refused = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "ConnectException: Connection refused".to_owned(),
        _ => format!("ConnectException: {error}"),
    };
    let mut stream = TcpStream::connect(target).await.map_err(refused)?;
    if job.protocol != Protocol::Http {
        return Ok(());
    }
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: Marathon\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        job.path
    );
    stream.write_all(request.as_bytes()).await.map_err(refused)?;
    let mut head = Vec::new();
    while head.len() < 13 {
        let mut buffer = [0; 512];
        match stream.read(&mut buffer).await.map_err(refused)? {
            0 => return Err("EOFException: connection closed".to_owned()),
            n => head.extend_from_slice(&buffer[..n]),
        }
    }
    let status = String::from_utf8_lossy(&head[9..12]).parse().unwrap_or(0);
    match status {
        200..400 => Ok(()),
        _ => Err(format!("{status} {}", reason(status))),
    }
}
