//! The supervisor: starting, adopting, giving up on bad binaries, stopping softly and hard.

use std::path::Path;
use std::time::Duration;

use haproxy::child::{Event, StartError, Stopped, Supervisor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::lab::{Lab, binary, setup};

#[tokio::test]
async fn nothing_is_started_while_there_is_nothing_to_start_from() {
    let mut lab = Lab::new();
    let early = tokio::time::timeout(Duration::from_millis(100), lab.supervisor.next()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(lab.supervisor.stop().await, Stopped::NotRunning);
}

#[tokio::test]
async fn a_new_daemon_adopts_the_haproxy_of_the_last_one() {
    let mut lab = Lab::started().await;
    let pid = lab.supervisor.pid().unwrap();
    let first = std::mem::replace(&mut lab.supervisor, Supervisor::new(setup(&binary(), &lab.disk, lab.dir.path())));
    let Event::Adopted { pid: adopted } = lab.event().await else { panic!() };
    assert_eq!((adopted, lab.get().await.as_str()), (pid, "first"));
    assert_eq!(lab.supervisor.stop().await, Stopped::Gracefully);
    assert!(lab.master.processes().await.is_err());
    drop(first);
}

#[tokio::test]
async fn a_soft_stop_lets_a_request_finish() {
    let mut lab = Lab::started().await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", lab.port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let request = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.write_all(b"Host: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (stopped, answer) = tokio::join!(lab.supervisor.stop(), request);
    assert_eq!(stopped, Stopped::Gracefully);
    assert!(answer.ends_with("first"), "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_does_not_end_is_cut_after_the_grace_time() {
    let mut lab = Lab::started().await;
    let mut quick = setup(&binary(), &lab.disk, lab.dir.path());
    quick.times.grace = Duration::from_millis(200);
    lab.supervisor = Supervisor::new(quick);
    lab.event().await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", lab.port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(lab.supervisor.stop().await, Stopped::Cut);
}

#[tokio::test]
async fn a_binary_that_cannot_run_is_reported_and_tried_again_with_growing_pauses() {
    let mut lab = Lab::with(Path::new("/bin/false"));
    stage(&lab);
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let Event::NotStarted { error: StartError::Exited { status }, restart_in } = lab.event().await else {
            panic!()
        };
        assert_eq!(status.code(), Some(1));
        pauses.push(restart_in.as_millis());
    }
    assert_eq!(pauses, [0, 200, 400]);
    let mut lab = Lab::with(Path::new("/nowhere/haproxy"));
    stage(&lab);
    let Event::NotStarted { error, .. } = lab.event().await else { panic!() };
    assert!(matches!(&error, StartError::Spawn { .. }) && error.to_string().contains("/nowhere/haproxy"), "{error}");
}

#[tokio::test]
async fn a_start_may_be_interrupted_and_goes_on() {
    let mut lab = Lab::new();
    stage(&lab);
    let mut turns = 0;
    let event = loop {
        // As in the daemon's select loop, where other events drop the future all the time.
        match tokio::time::timeout(Duration::from_millis(5), lab.supervisor.next()).await {
            Ok(event) => break event,
            Err(_) => turns += 1,
        }
        assert!(turns < 1000);
    };
    let Event::Started { pid, .. } = event else { panic!("{event:?}") };
    assert_eq!((lab.processes().await.master.pid, lab.supervisor.pid()), (pid, Some(pid)));
    assert!(turns > 0);
}

fn stage(lab: &Lab) {
    let first = lab.bundle("first", "");
    lab.disk.write(&first).unwrap();
    lab.disk.select(first.digest()).unwrap();
}
