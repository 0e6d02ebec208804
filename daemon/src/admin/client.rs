//! Asks a running `baton` over its control socket.
//!
//! Used by the commands `status` and `reload`.

use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// The answer to one request.
///
/// # Errors
/// When nobody answers at `socket`, or with something else than what was asked for.
pub async fn ask<T: DeserializeOwned>(socket: &Path, method: Method, path: &str) -> anyhow::Result<(StatusCode, T)> {
    let stream = UnixStream::connect(socket).await.with_context(|| {
        format!("no baton answers on {} (is it running? --socket names another one)", socket.display())
    })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context("talk to baton")?;
    let request = Request::builder().method(method).uri(path).header("host", "baton").body(Empty::<Bytes>::new())?;
    // Both ends of one exchange; neither is of use without the other.
    let exchange = async {
        let answer = sender.send_request(request).await.context("ask baton")?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|why| anyhow::anyhow!("read baton's answer: {why}"))?.to_bytes();
        anyhow::Ok((status, body))
    };
    tokio::pin!(exchange, connection);
    let (status, body) = tokio::select! {
        answer = &mut exchange => answer?,
        ended = &mut connection => {
            ended.context("talk to baton")?;
            bail!("baton hung up");
        }
    };
    let answer =
        serde_json::from_slice(&body).with_context(|| format!("baton answered {status} with something else"))?;
    Ok((status, answer))
}

/// A status of a large cluster is a few megabytes.
const MAX_ANSWER: usize = 256 << 20;
