//! The tasks behind HAProxy: listeners that answer with a name, over HTTP or bare TCP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A task; listens until it is dropped, and then resets what is left.
pub(crate) struct Origin {
    pub(crate) addr: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Origin {
    /// A task that calls itself `name`.
    pub(crate) fn new(name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::lab::free_port())).unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, name) = (stop.clone(), name.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let (name, stream) = (name.clone(), stream.unwrap());
                std::thread::spawn(move || serve(&stream, &name));
            }
        });
        Self { addr, stop }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.addr);
    }
}

/// HTTP with kept-alive connections, `/slow` taking half a second; `hello` gets the name, and the
/// connection stays open.
fn serve(mut stream: &TcpStream, name: &str) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let first = lines.next()?.ok()?;
        if !first.contains("HTTP/") {
            stream.write_all(format!("{name}\n").as_bytes()).ok()?;
            continue;
        }
        while !lines.next()?.ok()?.is_empty() {}
        if first.contains("/slow") {
            std::thread::sleep(Duration::from_millis(500));
        }
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()).as_bytes()).ok()?;
    }
}
