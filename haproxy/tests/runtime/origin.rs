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
    /// Requests for `/slow` wait for this.
    open: Arc<AtomicBool>,
}

impl Origin {
    /// A task that calls itself `name`.
    pub(crate) fn new(name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::lab::free_port())).unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let open = Arc::new(AtomicBool::new(false));
        let (stopped, gate, name) = (stop.clone(), open.clone(), name.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let (name, gate, stream) = (name.clone(), gate.clone(), stream.unwrap());
                std::thread::spawn(move || serve(&stream, &name, &gate));
            }
        });
        Self { addr, stop, open }
    }

    /// Lets the requests for `/slow` be answered.
    pub(crate) fn release(&self) {
        self.open.store(true, Ordering::Release);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.addr);
    }
}

/// HTTP with kept-alive connections, `/slow` when it is let, or after 20 s; `hello` gets the name, and the
/// connection stays open.
fn serve(mut stream: &TcpStream, name: &str, gate: &AtomicBool) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let first = lines.next()?.ok()?;
        if !first.contains("HTTP/") {
            stream.write_all(format!("{name}\n").as_bytes()).ok()?;
            continue;
        }
        while !lines.next()?.ok()?.is_empty() {}
        let mut waits = if first.contains("/slow") { 2_000 } else { 0 };
        while waits > 0 && !gate.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
            waits -= 1;
        }
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()).as_bytes()).ok()?;
    }
}
