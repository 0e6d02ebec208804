//! A client that asks a floating address every two milliseconds, and servers that say who they are.

#![allow(unreachable_pub, reason = "a module of several tests")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::lab::{Lab, now};

const PORT: u16 = 7000;
const EVERY: Duration = Duration::from_millis(2);

/// A running client.
pub struct Probe {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Outcome>,
    servers: Vec<JoinHandle<()>>,
}

/// What the client noticed.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Questions asked.
    pub sent: usize,
    /// Questions not answered.
    pub lost: usize,
    /// The longest time between two answers.
    pub gap: Duration,
    /// How many servers answered, one after the other, in the order of the questions.
    pub servers: usize,
}

impl Probe {
    /// Starts servers on some hosts and the client on another; returns after the first answer.
    pub fn start(lab: &Lab, client: usize, servers: &[usize], vip: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let any = if vip.contains(':') { "[::]" } else { "0.0.0.0" };
        let servers = servers.iter().map(|&host| {
            let socket = lab.on(host, || UdpSocket::bind(format!("{any}:{PORT}"))).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let (stop, name) = (Arc::clone(&stop), u8::try_from(host).unwrap());
            thread::spawn(move || serve(&socket, name, &stop))
        });
        let servers = servers.collect();
        let socket = lab.on(client, || UdpSocket::bind(format!("{any}:0"))).unwrap();
        socket.set_nonblocking(true).unwrap();
        let to = if vip.contains(':') { format!("[{vip}]:{PORT}") } else { format!("{vip}:{PORT}") };
        let answered = Arc::new(AtomicBool::new(false));
        let (stopping, answering) = (Arc::clone(&stop), Arc::clone(&answered));
        let client = thread::spawn(move || ask(&socket, &to, &stopping, &answering));
        super::lab::within(3000, "first answer", || answered.load(Ordering::Relaxed).then_some(()));
        Self { stop, client, servers }
    }

    /// Ends everything; what is still under way is waited for.
    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        for server in self.servers {
            server.join().unwrap();
        }
        self.client.join().unwrap()
    }
}

fn serve(socket: &UdpSocket, name: u8, stop: &AtomicBool) {
    let mut buffer = [0; 16];
    // Those who ask stop first.
    let mut idle = 0;
    while !stop.load(Ordering::Relaxed) || idle < 3 {
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                idle = 0;
                buffer[length] = name;
                let _ = socket.send_to(&buffer[..=length], from);
            }
            Err(_) => idle += 1,
        }
    }
}

fn ask(socket: &UdpSocket, to: &str, stop: &AtomicBool, answered: &AtomicBool) -> Outcome {
    let mut outcome = Outcome { sent: 0, lost: 0, gap: Duration::ZERO, servers: 0 };
    let (mut last, mut answers) = (now(), Vec::new());
    let mut buffer = [0; 16];
    let mut closing = 0;
    while closing < 50 {
        if stop.load(Ordering::Relaxed) {
            closing += 1;
        } else {
            let _ = socket.send_to(&u64::try_from(outcome.sent).unwrap().to_be_bytes(), to);
            outcome.sent += 1;
        }
        thread::sleep(EVERY);
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((length, _)) => {
                    let number = usize::try_from(u64::from_be_bytes(buffer[..8].try_into().unwrap())).unwrap();
                    if answered.swap(true, Ordering::Relaxed) {
                        outcome.gap = outcome.gap.max(last.elapsed());
                    }
                    last = now();
                    answers.push((number, buffer[length - 1]));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break,
            }
        }
    }
    answers.sort_unstable();
    let first = answers.first().map_or(outcome.sent, |(number, _)| *number);
    outcome.lost = (outcome.sent - first).saturating_sub(answers.len());
    answers.dedup_by_key(|(_, server)| *server);
    outcome.servers = answers.len();
    outcome
}
