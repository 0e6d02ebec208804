//! What the tasks do: answer as JSON who they are and what they got, or greet over TCP.
#![allow(clippy::disallowed_methods, reason = "the tasks end with the runtime of their host")]

use std::net::SocketAddr;

use e2e::sim::http::{Connection, Request, Response};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{address, host_port};

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Answers HTTP. A request with `?location=X` is redirected there.
    Http,
    /// As `Http`, but its port 1 is unwell: it answers 503.
    SickPortOne,
    /// Greets with its app's id and closes.
    Tcp,
}

/// Starts the tasks of an app.
pub(super) async fn start(kind: Kind, app: &str, position: usize, tasks: u8, ports: usize) {
    for (task, port) in (1..=tasks).flat_map(|task| (0..ports).map(move |port| (task, port))) {
        let at = SocketAddr::from((address(position, task), host_port(port)));
        let listener = TcpListener::bind(at).await.unwrap();
        let card = Card { app: app.to_owned(), task, port, sick: kind == Kind::SickPortOne && port == 1 };
        tokio::spawn(serve(listener, kind, card));
    }
}

/// Who a task is.
#[derive(Debug, Clone)]
struct Card {
    app: String,
    task: u8,
    port: usize,
    sick: bool,
}

async fn serve(listener: TcpListener, kind: Kind, card: Card) {
    loop {
        let (mut stream, peer) = listener.accept().await.unwrap();
        let card = card.clone();
        tokio::spawn(async move {
            // A client that goes away is none of the task's business.
            let _ = match kind {
                Kind::Tcp => stream.write_all(format!("{}\n", card.app).as_bytes()).await,
                Kind::Http | Kind::SickPortOne => answer(stream, peer, &card).await,
            };
        });
    }
}

async fn answer(stream: TcpStream, peer: SocketAddr, card: &Card) -> std::io::Result<()> {
    let mut connection = Connection::new(stream, peer);
    while let Some(request) = connection.read().await? {
        let status = if card.sick { 503 } else { 200 };
        let response = match request.parameter("location") {
            Some(location) => Response::new(302, "text/plain", "").with("Location", location),
            None => Response::json(status, &describe(&request, card)),
        };
        connection.answer(&request, &response).await?;
        if request.last {
            break;
        }
    }
    Ok(())
}

fn describe(request: &Request, card: &Card) -> Value {
    let headers: Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.to_lowercase(), value.as_str().into())).collect();
    json!({"app": card.app, "task": card.task, "port": card.port, "path": request.target, "headers": headers})
}
