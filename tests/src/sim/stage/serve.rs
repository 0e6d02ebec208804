//! What a simulated task answers: who it is and what it got, over HTTP; a greeting and an echo, over TCP.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::http::{Connection, Request, Response};
use super::super::instance::Instance;
use super::Mode;

/// Who a task is, for its answers.
struct Card {
    app: String,
    task: String,
    host: String,
    port: u16,
    tcp: bool,
}

/// Serves one port of a task until it is stopped.
pub(super) fn run(
    listener: TcpListener,
    instance: &Instance,
    mode: Arc<Mutex<Mode>>,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let facts = &instance.def.facts;
    let tcp = [&facts.env, &facts.labels].iter().any(|map| map.get("SIM_TASK").is_some_and(|kind| kind == "tcp"));
    let card = Card {
        app: instance.def.id.to_string(),
        task: instance.task_id.clone(),
        host: instance.host.clone(),
        port: listener.local_addr().map_or(0, |address| address.port()),
        tcp,
    };
    async move {
        stop.run_until_cancelled(clients(listener, card, mode)).await;
    }
}

/// Serves the one port that many tasks name as theirs.
pub(super) async fn run_shared(listener: TcpListener) {
    let address = listener.local_addr().ok();
    let card = Card {
        app: "shared".to_owned(),
        task: "shared".to_owned(),
        host: address.map(|address| address.ip().to_string()).unwrap_or_default(),
        port: address.map_or(0, |address| address.port()),
        tcp: false,
    };
    clients(listener, card, Arc::default()).await;
}

async fn clients(listener: TcpListener, card: Card, mode: Arc<Mutex<Mode>>) {
    let card = Arc::new(card);
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, peer)) = listener.accept() => {
                let (card, mode) = (card.clone(), mode.clone());
                clients.spawn(async move {
                    // A client that goes away is none of the task's business.
                    let _ = if card.tcp {
                        echo(stream, &card, &mode).await
                    } else {
                        answer(stream, peer, &card, &mode).await
                    };
                });
            }
            Some(_) = clients.join_next(), if !clients.is_empty() => (),
        }
    }
}

async fn answer(stream: TcpStream, peer: std::net::SocketAddr, card: &Card, mode: &Mutex<Mode>) -> io::Result<()> {
    let mut connection = Connection::new(stream, peer);
    loop {
        if now(mode) == Mode::Closing {
            return Ok(());
        }
        let Some(request) = connection.read().await? else { return Ok(()) };
        let status = match now(mode) {
            Mode::Healthy => 200,
            Mode::Unhealthy => 503,
            Mode::Slow(ms) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                200
            }
            Mode::Closing => return Ok(()),
            Mode::Hanging => std::future::pending().await,
        };
        connection.answer(&request, &Response::json(status, &describe(&request, card))).await?;
        if request.last {
            return Ok(());
        }
    }
}

fn describe(request: &Request, card: &Card) -> Value {
    let headers: Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.to_lowercase(), value.as_str().into())).collect();
    json!({
        "app": card.app, "task": card.task, "host": card.host, "port": card.port,
        "method": request.method, "path": request.target, "headers": headers,
        "client": request.peer.to_string(), "body_bytes": request.body.len(),
    })
}

async fn echo(mut stream: TcpStream, card: &Card, mode: &Mutex<Mode>) -> io::Result<()> {
    match now(mode) {
        Mode::Closing | Mode::Unhealthy => return Ok(()),
        Mode::Hanging => std::future::pending().await,
        Mode::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Mode::Healthy => (),
    }
    stream.write_all(format!("{} {} {}:{}\n", card.app, card.task, card.host, card.port).as_bytes()).await?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

fn now(mode: &Mutex<Mode>) -> Mode {
    *mode.lock().unwrap_or_else(PoisonError::into_inner)
}
