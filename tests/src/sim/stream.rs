//! `GET /v2/events` on the leader: an endless answer without framing, with empty lines as a sign of life.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval_at};

use super::event::Event;
use super::http::{Connection, Request, Response};
use super::hub::{Frame, Subscription};
use super::shared::Shared;

/// Keeps the two bytes of a heartbeat in segments of their own.
const BETWEEN_FLUSHES: Duration = Duration::from_millis(1);

/// Serves one stream until the client, the leader or a fault ends it.
///
/// # Errors
/// I/O errors of the connection.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    member: usize,
    connection: &mut Connection,
    request: &Request,
) -> io::Result<()> {
    if let Some(refusal) = refusal(request) {
        return connection.answer(request, &refusal).await;
    }
    let mut leadership = shared.cluster.watch();
    let mine = *leadership.borrow_and_update();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\nConnection: close\r\n\
         X-Marathon-Leader: http://{}\r\nCache-Control: no-cache, no-store, must-revalidate\r\nPragma: no-cache\r\n\
         Expires: 0\r\n\r\n",
        shared.cluster.name(member)
    );
    let stream = connection.stream();
    stream.write_all(head.as_bytes()).await?;
    if mine.leader != Some(member) || !mine.ready {
        return Ok(());
    }
    let filter: BTreeSet<String> =
        request.query().into_iter().filter(|(key, _)| key == "event_type").map(|(_, value)| value).collect();
    let subscription = shared.hub.join(member, filter);
    let registration =
        Registration { shared: Arc::clone(shared), id: subscription.id, remote: request.peer.ip().to_string() };
    registration.announce("event_stream_attached");
    let ended = async {
        // Becoming ready is a change of leadership too, but not one that ends streams.
        let lost = leadership.wait_for(|now| now.leader != mine.leader || !now.ready);
        drop(lost.await.map(|_| ()));
    };
    tokio::select! {
        result = write(shared, member, stream, subscription) => result,
        () = ended => Ok(()),
    }
}

/// `Accept` must be exactly `text/event-stream`, the method GET, the version 1.1.
fn refusal(request: &Request) -> Option<Response> {
    if request.old {
        return Some(Response::html(400, "Bad Request"));
    }
    match request.method.as_str() {
        "OPTIONS" => Some(Response::new(200, "text/plain", "").with("Allow", "GET, HEAD, OPTIONS")),
        "GET" if request.header_all("accept").any(|value| value == "text/event-stream") => None,
        _ => Some(Response::html(405, "HTTP method GET is not supported by this URL")),
    }
}

async fn write(
    shared: &Shared,
    member: usize,
    stream: &mut TcpStream,
    mut subscription: Subscription,
) -> io::Result<()> {
    let period = shared.config.heartbeat;
    #[allow(clippy::disallowed_methods, reason = "the heartbeat counts from the start of this stream")]
    let start = tokio::time::Instant::now() + period;
    let mut heartbeat = interval_at(start, period);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut reader, mut writer) = stream.split();
    let mut ignored = [0; 256];
    loop {
        tokio::select! {
            biased;
            () = subscription.end.cancelled() => return Ok(()),
            frame = subscription.frames.recv() => match frame {
                Some(_) if shared.hub.is_silent(member) => (),
                Some(Frame::Whole(text)) => {
                    tokio::select! {
                        written = writer.write_all(text.as_bytes()) => written?,
                        () = subscription.end.cancelled() => return Ok(()),
                    }
                }
                Some(Frame::Half(text)) => {
                    writer.write_all(&text.as_bytes()[..text.len() / 2]).await?;
                    return Ok(());
                }
                None => return Ok(()),
            },
            _ = heartbeat.tick() => if !shared.hub.is_silent(member) {
                // Two flushes, as Jetty does; apart, so that readers do meet a lone CR at the end of a buffer.
                writer.write_all(b"\r").await?;
                tokio::time::sleep(BETWEEN_FLUSHES).await;
                writer.write_all(b"\n").await?;
            },
            read = reader.read(&mut ignored) => if read? == 0 { return Ok(()) },
        }
    }
}

/// Says farewell however the stream ends.
struct Registration {
    shared: Arc<Shared>,
    id: u64,
    remote: String,
}

impl Registration {
    fn announce(&self, kind: &'static str) {
        let event = Event::new(kind, self.shared.now(), json!({"remoteAddress": self.remote}));
        self.shared.hub.send(event);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.hub.leave(self.id);
        self.announce("event_stream_detached");
    }
}
