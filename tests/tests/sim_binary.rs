//! `marathon-sim` on the command line.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

/// The program; killed when the test is over.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marathon-sim"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ready(out: ChildStdout) -> String {
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).unwrap();
    line
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn it_says_where_it_listens_and_loads_a_group() {
    for version in ["1.4", "1.8"] {
        let group = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/marathon/11-post-group-wordpress.json");
        let arguments = [
            "--version-personality",
            version,
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
            "--control",
            "127.0.0.1:0",
            "--agent",
            "one=127.3.0.1",
            "--agent",
            "127.3.0.2",
            "--ports",
            "20000-20100",
            "--load",
            group,
        ];
        let mut child = Program(program(&arguments).spawn().unwrap());
        let line = ready(child.0.stdout.take().unwrap());
        assert!(line.contains("ready") && line.contains(&format!("marathon-sim {version}.")), "{line}");
        let urls: Vec<&str> = line
            .split("http://")
            .skip(1)
            .map(|part| part.trim_matches([' ', ',', '\n']).split([' ', ',']).next().unwrap())
            .collect();
        assert_eq!(urls.len(), 3, "two members and the control API: {line}");
        let apps = get(urls[1], "/v2/apps");
        assert!(apps.contains("\"id\":\"/wordpress/web-app\"") && apps.starts_with("HTTP/1.1 200 OK"), "{apps}");
        let state = get(urls[2], "/state");
        assert!(state.contains("\"name\":\"one\"") && state.contains("\"address\":\"127.3.0.2\""), "{state}");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(child.0.id()).unwrap()),
            nix::sys::signal::SIGTERM,
        )
        .unwrap();
        assert!(child.0.wait().unwrap().success(), "SIGTERM ends it well");
    }
}

#[test]
fn a_taken_address_ends_it_with_a_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = program(&["--listen", &address]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains(&address) && text.contains("in use"), "{text}");
}

#[test]
fn wrong_arguments_are_refused() {
    for (arguments, part) in [
        (vec!["--version-personality", "2.0"], "expected 1.4 or 1.8"),
        (vec!["--ports", "9-1"], "empty range"),
        (vec!["--agent", "one=two"], "no IPv4 address"),
        (vec!["--listen", "127.0.0.1:0", "--http-credentials", "nobody"], "USER:PASSWORD"),
        (vec!["--listen", "127.0.0.1:0", "--load", "/nonexistent.json"], "read /nonexistent.json"),
    ] {
        let output = program(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(part), "{arguments:?}: {text}");
    }
}
