//! Clients with kept-alive connections see nothing of reloads.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::lab::{Lab, assert_applied};

#[tokio::test]
async fn fifty_reloads_under_keep_alive_requests_fail_none() {
    let mut lab = Lab::started().await;
    let port = lab.port;
    let clients = clients(port, 4);
    tokio::pin!(clients);
    for round in 0..50 {
        let bundle = lab.bundle(&format!("round{round}"), "");
        let outcome = tokio::select! {
            outcome = lab.apply(&bundle) => outcome,
            failure = &mut clients => panic!("round {round}: {failure}"),
        };
        assert_applied(&outcome);
    }
}

/// Some clients at once; returns with the first failure of any.
async fn clients(port: u16, count: usize) -> String {
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..count {
        clients.spawn(client(port));
    }
    clients.join_next().await.unwrap().unwrap()
}

/// Requests without end over connections kept alive as long as HAProxy lets; returns on a failure.
async fn client(port: u16) -> String {
    let mut connection: Option<TcpStream> = None;
    loop {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => match TcpStream::connect(("127.0.0.1", port)).await {
                Ok(stream) => stream,
                Err(error) => return format!("connect: {error}"),
            },
        };
        if let Err(error) = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await {
            return format!("send: {error}");
        }
        let mut answer = Vec::new();
        while !answer.windows(5).any(|w| w == b"round") && !answer.ends_with(b"first") {
            match stream.read_buf(&mut answer).await {
                Ok(0) => return "closed before the answer".into(),
                Ok(_) => (),
                Err(error) => return format!("receive: {error}"),
            }
        }
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return text;
        }
        if !text.contains("connection: close") {
            connection = Some(stream);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
