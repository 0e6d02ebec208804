//! One probe under way: connect, ask, read the answer, without ever waiting.
//!
//! Driven by the client's thread in [`probe`](super). Knows no schedule and gives nothing up.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::log::Outcome;

/// A connection and what came over it.
#[derive(Debug)]
pub(super) struct Flight {
    socket: Socket,
    connected: bool,
    answer: Vec<u8>,
    /// When it was sent.
    pub(super) sent: Instant,
}

/// How a probe stands.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing to say yet.
    Going,
    /// It is over.
    Ended(Outcome),
}

impl Flight {
    /// Begins to connect.
    pub(super) fn begin(target: SocketAddr, sent: Instant) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // Closed by a reset: thousands of waiting ends would use up the ports.
        socket.set_linger(Some(Duration::ZERO))?;
        match socket.connect(&target.into()) {
            Err(why) if why.raw_os_error() != Some(IN_PROGRESS) => Err(why),
            _ => Ok(Self { socket, connected: false, answer: Vec::new(), sent }),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether it waits for the answer already.
    pub(super) fn connected(&self) -> bool {
        self.connected
    }

    /// Does what can be done at once.
    pub(super) fn advance(&mut self) -> Progress {
        match self.step() {
            Ok(progress) => progress,
            Err(why) if why.kind() == ErrorKind::WouldBlock => Progress::Going,
            Err(why) => Progress::Ended(Outcome::Failed(why.kind().to_string().into())),
        }
    }

    fn step(&mut self) -> std::io::Result<Progress> {
        if !self.connected {
            if let Some(why) = self.socket.take_error()? {
                return Err(why);
            }
            match self.socket.peer_addr() {
                Err(why) if why.kind() == ErrorKind::NotConnected => return Ok(Progress::Going),
                other => other.map(drop)?,
            }
            self.connected = true;
            self.socket.write_all(REQUEST)?;
        }
        let mut buffer = [0; 1024];
        loop {
            let size = self.socket.read(&mut buffer)?;
            self.answer.extend_from_slice(&buffer[..size]);
            if size == 0 || self.answer.len() > MOST || is_whole(&self.answer) {
                return Ok(Progress::Ended(outcome(&self.answer)));
            }
        }
    }
}

/// Whether nothing more is to come: an answer is over with its last byte, not with the end of the connection.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    length.is_some_and(|length| body.len() >= length)
}

/// The answer's body is the server's name.
fn outcome(answer: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Outcome::Failed("closed without an answer".into());
    };
    match head.split(' ').nth(1) {
        Some("200") => Outcome::Answered(body.trim().into()),
        status => Outcome::Failed(format!("status {}", status.unwrap_or("?")).into()),
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: who\r\nConnection: close\r\n\r\n";

/// `EINPROGRESS`, which [`ErrorKind`] does not name.
const IN_PROGRESS: i32 = nix::errno::Errno::EINPROGRESS as i32;

/// Nobody's name is longer.
const MOST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_a_good_answer_is_the_name() {
        let of = |text: &str| outcome(text.as_bytes());
        assert_eq!(of("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlb1\n"), Outcome::Answered("lb1".into()));
        assert_eq!(of("HTTP/1.1 503 Service Unavailable\r\n\r\nno"), Outcome::Failed("status 503".into()));
        assert_eq!(of(""), Outcome::Failed("closed without an answer".into()));
    }

    #[test]
    fn an_answer_is_over_with_its_last_byte() {
        let whole = |text: &str| is_whole(text.as_bytes());
        assert!(whole("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nlb1"));
        assert!(!whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlb"));
        assert!(!whole("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"));
        assert!(!whole("HTTP/1.1 200 OK\r\n\r\nlb1"));
    }
}
