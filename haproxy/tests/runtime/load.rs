//! Clients with kept-alive connections see nothing of tasks that come and go.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use haproxy::diff::Plan;

use crate::lab::{Lab, Spec};
use crate::origin::Origin;

/// Some releases of 2.6 have crashed when a server was deleted that still had streams.
#[tokio::test]
async fn a_hundred_moves_under_load_fail_no_request() {
    for checked in [false, true] {
        let origins: Vec<_> = (0..6).map(|n| Origin::new(&format!("task{n}"))).collect();
        let spec = Spec::new("/a", "http");
        let spec = if checked { spec.checked() } else { spec };
        let chosen = |round: usize| -> Vec<SocketAddr> {
            (0..3).map(|n| origins[(round + n * 2) % origins.len()].addr).collect()
        };
        let mut lab = Lab::started(vec![spec.with(&chosen(0))]).await;
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (stop, done, port) = (stop.clone(), done.clone(), spec.port);
                std::thread::spawn(move || client(port, &stop, &done))
            })
            .collect();
        for round in 1..=100 {
            lab.change(vec![spec.with(&chosen(round))]).await;
            lab.drained().await;
        }
        stop.store(true, Ordering::Release);
        for client in clients {
            client.join().unwrap().unwrap();
        }
        println!("{} requests over 100 moves, checked: {checked}", done.load(Ordering::Relaxed));
        assert!(done.load(Ordering::Relaxed) > 1_000);
        assert_eq!(lab.verified().await, Plan::Unchanged);
    }
}

/// Requests without end, on one connection as long as HAProxy keeps it.
fn client(port: u16, stop: &AtomicBool, done: &AtomicU64) -> Result<(), String> {
    while !stop.load(Ordering::Acquire) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| error.to_string())?;
        let mut reader = BufReader::new(stream.try_clone().map_err(|error| error.to_string())?);
        let mut open = true;
        while open && !stop.load(Ordering::Acquire) {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").map_err(|error| format!("send: {error}"))?;
            let mut length = 0;
            let mut first = String::new();
            reader.read_line(&mut first).map_err(|error| format!("receive: {error}"))?;
            if !first.starts_with("HTTP/1.1 200") {
                return Err(format!("{first:?}"));
            }
            for line in reader.by_ref().lines() {
                let line = line.map_err(|error| format!("receive: {error}"))?.to_ascii_lowercase();
                if let Some(number) = line.strip_prefix("content-length: ") {
                    length = number.parse().map_err(|_| line.clone())?;
                }
                open &= line != "connection: close";
                if line.is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).map_err(|error| format!("body: {error}"))?;
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
