//! A Marathon member as small as it can be: what it answers is a function of the request.
//!
//! Threads and blocking sockets, so that nothing here shares a runtime with what is tested.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn is_events(&self) -> bool {
        self.path.contains("/v2/events")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What a member does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes, then close.
    Raw(Vec<u8>),
    /// These bytes after a while, then close.
    Slow(Duration, Vec<u8>),
    /// These bytes, then silence.
    Hang(Vec<u8>),
    /// An event stream, open until `cut`. With these extra header lines.
    Stream(String),
}

impl Reply {
    /// 200 with this JSON.
    pub(crate) fn json(body: &str) -> Self {
        Self::status("200 OK", "Content-Type: application/json;qs=2\r\n", body)
    }

    pub(crate) fn status(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Raw(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes())
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self::status("302 Found", &format!("Location: {location}\r\n"), "")
    }

    /// The same later.
    pub(crate) fn after(self, wait: Duration) -> Self {
        match self {
            Self::Raw(bytes) => Self::Slow(wait, bytes),
            other => other,
        }
    }
}

type Behave = Box<dyn FnMut(&Request) -> Reply + Send>;

/// A running member.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behave: Mutex<Behave>,
    requests: Mutex<Vec<Request>>,
    streams: Mutex<Vec<mpsc::Sender<Vec<u8>>>>,
    stopped: AtomicBool,
}

impl Fake {
    /// A member that lists these apps and has an event stream.
    pub(crate) fn with_apps(apps: &str) -> Self {
        Self::new(normal(apps))
    }

    pub(crate) fn new(behave: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::on("127.0.0.1:0", behave)
    }

    pub(crate) fn on(addr: &str, behave: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind(addr).unwrap();
        let shared = Arc::new(Shared {
            behave: Mutex::new(Box::new(behave)),
            requests: Mutex::default(),
            streams: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let fake = Self { addr: listener.local_addr().unwrap(), shared: shared.clone() };
        thread::spawn(move || {
            for socket in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || shared.serve(socket.unwrap()));
            }
        });
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on it behaves so.
    pub(crate) fn set(&self, behave: impl FnMut(&Request) -> Reply + Send + 'static) {
        *self.shared.behave.lock().unwrap() = Box::new(behave);
    }

    /// Sends bytes on every open stream.
    pub(crate) fn send(&self, bytes: &str) {
        self.shared.streams.lock().unwrap().retain(|stream| stream.send(bytes.as_bytes().to_vec()).is_ok());
    }

    /// Sends an event.
    pub(crate) fn event(&self, kind: &str) {
        self.send(&format!("event: {kind}\r\ndata: {{\"eventType\":\"{kind}\"}}\r\n\r\n"));
    }

    /// Ends every open stream.
    pub(crate) fn cut(&self) {
        self.shared.streams.lock().unwrap().clear();
    }

    /// Refuses connections from now on.
    pub(crate) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        self.cut();
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How often the list of apps was asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.requests().iter().filter(|request| !request.is_events()).count()
    }

    /// How often a stream was asked for.
    pub(crate) fn attaches(&self) -> usize {
        self.requests().iter().filter(|request| request.is_events()).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Lists these apps, has an event stream.
pub(crate) fn normal(apps: &str) -> impl FnMut(&Request) -> Reply + Send + use<> {
    let apps = apps.to_owned();
    move |request| if request.is_events() { Reply::Stream(String::new()) } else { Reply::json(&apps) }
}

impl Shared {
    fn serve(&self, mut socket: TcpStream) {
        let Some(request) = read(&socket) else { return };
        self.requests.lock().unwrap().push(request.clone());
        let reply = (self.behave.lock().unwrap())(&request);
        // What the other side makes of it is its business; it may be gone.
        let _ = match reply {
            Reply::Raw(bytes) => socket.write_all(&bytes),
            Reply::Slow(wait, bytes) => {
                thread::sleep(wait);
                socket.write_all(&bytes)
            }
            Reply::Hang(bytes) => {
                let sent = socket.write_all(&bytes);
                thread::sleep(Duration::from_secs(20));
                sent
            }
            Reply::Stream(headers) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\nConnection: close\r\n";
                let sent = socket.write_all(format!("{head}{headers}\r\n").as_bytes());
                let (sender, bytes) = mpsc::channel::<Vec<u8>>();
                self.streams.lock().unwrap().push(sender);
                bytes.iter().try_for_each(|bytes| socket.write_all(&bytes)).and(sent)
            }
        };
    }
}

fn read(socket: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(socket);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
