//! A Marathon member on the wire: accepts, applies faults, asks the gate, and sends each request where it belongs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::api;
use super::auth;
use super::config::Personality;
use super::fault::Fault;
use super::http::{Connection, Request, Response};
use super::proxy;
use super::shared::Shared;
use super::stage;
use super::stream;

/// Serves a member until the simulator stops; closes and re-opens its listener as told.
pub(super) async fn run(shared: Arc<Shared>, member: usize, listener: TcpListener) {
    let Some(mut refusing) = shared.cluster.refusing(member) else { return };
    let Some(address) = shared.cluster.addresses().get(member).copied() else { return };
    let mut listener = Some(listener);
    loop {
        match &listener {
            Some(open) => tokio::select! {
                accepted = open.accept() => if let Ok((stream, peer)) = accepted {
                    shared.tasks.spawn(client(Arc::clone(&shared), member, stream, peer));
                },
                _ = refusing.wait_for(|refuse| *refuse) => listener = None,
            },
            None => {
                if refusing.wait_for(|refuse| !*refuse).await.is_err() {
                    return;
                }
                match stage::listen(address) {
                    Ok(open) => listener = Some(open),
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
    }
}

/// One client connection; ends when the member begins to refuse.
async fn client(shared: Arc<Shared>, member: usize, stream: TcpStream, peer: SocketAddr) {
    let Some(mut refusing) = shared.cluster.refusing(member) else { return };
    tokio::select! {
        // Whatever goes wrong on a client's connection ends that connection only.
        _ = serve(&shared, member, Connection::new(stream, peer)) => (),
        _ = refusing.wait_for(|refuse| *refuse) => (),
    }
}

async fn serve(shared: &Arc<Shared>, member: usize, mut connection: Connection) -> io::Result<()> {
    while let Some(request) = connection.read().await? {
        let path = request.path();
        shared.count(member, kind(&path));
        let fault = shared.faults.meet(member, &path);
        match &fault {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Close) => return Ok(()),
            Some(Fault::Garbage) => {
                connection
                    .stream()
                    .write_all(b"\x16\x03\x01\x00\xa5 \xff\xfe not HTTP at all \x00\x01\r\n\r\n")
                    .await?;
                return Ok(());
            }
            Some(Fault::Slow { ms }) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            _ => (),
        }
        if let Some(fault) = &fault
            && let Some(response) = instead(fault)
        {
            connection.answer(&request, &response).await?;
        } else if let Some(refusal) = shared.gate.check(&request, shared.now()) {
            connection.answer(&request, &refusal).await?;
        } else if let Some(leader) = leader(shared, member, &mut connection, &request).await? {
            if path == "/v2/events" && (leader == member) {
                return stream::serve(shared, member, &mut connection, &request).await;
            }
            if leader != member {
                if path == "/v2/events" && shared.config.personality >= Personality::V1_8 {
                    let location = format!("http://{}{}", shared.cluster.name(leader), request.target);
                    let response = Response { status: 302, headers: Vec::new(), body: bytes::Bytes::new() };
                    connection.answer(&request, &response.with("Location", location)).await?;
                } else {
                    return proxy::relay(shared, member, leader, &mut connection, &request).await;
                }
            } else {
                let mut response = api::handle(shared, &request);
                if let Some(fault) = &fault {
                    bend(fault, &mut response);
                }
                connection.answer(&request, &dress(shared, leader, response)).await?;
            }
        }
        if request.last {
            return Ok(());
        }
    }
    Ok(())
}

/// The leading member, waiting for one; `None` when there is none and the client was told so.
async fn leader(
    shared: &Arc<Shared>,
    member: usize,
    connection: &mut Connection,
    request: &Request,
) -> io::Result<Option<usize>> {
    let mut leadership = shared.cluster.watch();
    let found =
        tokio::time::timeout(shared.config.leader_wait, leadership.wait_for(|leadership| leadership.leader.is_some()));
    if let Ok(Ok(leadership)) = found.await {
        return Ok(leadership.leader.or(Some(member)));
    }
    let status = if shared.config.personality >= Personality::V1_8 { 502 } else { 503 };
    let response = Response::html(status, "Could not determine the current leader");
    connection.answer(request, &response).await?;
    Ok(None)
}

/// The headers of every answer that the leader gives.
fn dress(shared: &Shared, leader: usize, response: Response) -> Response {
    let response = response
        .with("X-Marathon-Leader", format!("http://{}", shared.cluster.name(leader)))
        .with("Cache-Control", "no-cache, no-store, must-revalidate")
        .with("Pragma", "no-cache")
        .with("Expires", "0");
    match shared.config.personality {
        Personality::V1_4 => response.with("Server", "Jetty(9.3.z-SNAPSHOT)"),
        Personality::V1_8 => response.with("X-Frame-Options", "DENY").with("X-XSS-Protection", "1; mode=block"),
    }
}

/// Answers that a fault gives in place of the truth.
fn instead(fault: &Fault) -> Option<Response> {
    match fault {
        Fault::Unavailable => Some(Response::json(503, &json!({"message": "Futures timed out after [5 seconds]"}))),
        Fault::EmptyBody => Some(Response::new(200, "application/json", "")),
        Fault::BadGateway => Some(Response::html(502, "Bad Gateway")),
        Fault::Unauthorized => Some(auth::unauthorised()),
        _ => None,
    }
}

/// True answers that a fault distorts.
fn bend(fault: &Fault, response: &mut Response) {
    if matches!(fault, Fault::Truncated) {
        response.body.truncate(response.body.len() / 2);
        return;
    }
    if matches!(fault, Fault::NotUtf8) {
        response.body = without_utf8(&response.body).into();
        return;
    }
    let Ok(mut body) = serde_json::from_slice::<Value>(&response.body) else { return };
    if let (Fault::WrongTypes { .. }, Some(app)) = (fault, body.get_mut("app")) {
        spoil(app);
        response.body = body.to_string().into();
        return;
    }
    let Some(apps) = body.get_mut("apps").and_then(Value::as_array_mut) else { return };
    match fault {
        Fault::EmptyList => apps.clear(),
        Fault::PartialList { drop } => {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a fraction of a length"
            )]
            let dropped = (apps.len() as f64 * drop.clamp(0.0, 1.0)).ceil() as usize;
            apps.drain(..dropped.min(apps.len()));
        }
        Fault::WrongTypes { app } => {
            let wanted = |entry: &&mut Value| app.as_deref().is_none_or(|id| entry["id"] == id);
            if let Some(entry) = apps.iter_mut().find(wanted) {
                spoil(entry);
            }
        }
        Fault::Huge { bytes } => {
            let padding = "x".repeat(bytes.saturating_sub(response.body.len()));
            apps.push(json!({"id": "/sim/huge", "instances": 0, "labels": {"PADDING": padding}, "tasks": []}));
        }
        _ => return,
    }
    response.body = body.to_string().into();
}

/// Gives an app fields of types that no reader expects.
fn spoil(app: &mut Value) {
    for (key, value) in [("labels", json!(["no", "object"])), ("tasks", json!("none")), ("instances", json!("three"))] {
        app[key] = value;
    }
}

/// Puts bytes that are no UTF-8 into the first label, or else the executor, of every app.
fn without_utf8(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    let marks: [&[u8]; 2] = [b"\"labels\":{\"", b"\"executor\":\""];
    let mut rest = body;
    while !rest.is_empty() {
        let mark = marks.iter().find(|mark| rest.starts_with(mark)).map_or(&rest[..1], |mark| mark);
        out.extend_from_slice(mark);
        if mark.len() > 1 {
            out.extend_from_slice(b"\xff\xfe\xc3\x28");
        }
        rest = &rest[mark.len()..];
    }
    out
}

/// Under which name a request is counted.
fn kind(path: &str) -> &'static str {
    match path.trim_end_matches('/') {
        "/v2/apps" => "apps",
        "/v2/events" => "events",
        "/v2/tasks" => "tasks",
        "/v2/leader" => "leader",
        "/v2/info" => "info",
        "/ping" => "ping",
        auth::LOGIN => "login",
        path if path.starts_with("/v2/apps/") => "app",
        path if path.starts_with("/v2/groups") => "groups",
        path if path.starts_with("/v2/deployments") => "deployments",
        path if path.starts_with("/v2/tasks/") => "tasks",
        _ => "other",
    }
}
