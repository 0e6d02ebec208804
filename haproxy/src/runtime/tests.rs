//! Captured answers, sockets that misbehave, and the end of servers as a table.
#![allow(clippy::disallowed_methods, reason = "a start for times that are added up")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc;
use std::time::Instant;

use proptest::prelude::*;

use super::drains::Drains;
use super::*;
use crate::app::AppId;
use crate::model::{Admin, Server, Weight};

const INFO: &str = "Name: HAProxy\nVersion: 2.6.12\nPid: 7\ndescription: baton:0123456789abcdef\nStopping: 0\n\n> ";

fn worker() -> Worker {
    Worker { pid: 7, digest: Digest::parse("0123456789abcdef") }
}

fn backend() -> BackendId {
    BackendId::new(&AppId::parse("/a").unwrap(), 80)
}

fn place(server: &str) -> Place {
    Place { backend: backend(), server: server.into() }
}

/// What the fake says to one line.
enum Say {
    Text(Vec<u8>),
    /// As much, and then the end of the connection.
    Close(Vec<u8>),
    /// Nothing ever.
    Hang,
    /// One byte now and then.
    Drip,
    /// Bytes without end.
    Flood,
}

fn text(text: &str) -> Say {
    Say::Text(text.as_bytes().to_vec())
}

/// A worker's socket that answers as told; the lines it got come out of the channel.
struct Fake {
    client: Client,
    lines: mpsc::Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Fake {
    fn new(answer: impl Fn(&str) -> Say + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let (heard, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let _ = serve(&stream, &heard, answer);
        });
        let client = Client::new(dir.path().join("s"), dir.path().join("m"), Duration::from_millis(400));
        Self { client, lines, _dir: dir }
    }

    /// Greets as HAProxy does and answers what follows with `answer`.
    fn greeting(answer: impl Fn(&str) -> Say + Send + 'static) -> Self {
        Self::new(move |line| match line {
            "prompt" => text("\n> "),
            "show info" => text(INFO),
            line => answer(line),
        })
    }
}

fn serve(mut stream: &UnixStream, heard: &mpsc::Sender<String>, answer: impl Fn(&str) -> Say) -> std::io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let _ = heard.send(line.clone());
        match answer(&line) {
            Say::Text(text) => stream.write_all(&text)?,
            Say::Close(text) => return stream.write_all(&text),
            Say::Hang => std::thread::sleep(Duration::from_secs(2)),
            Say::Drip => {
                for _ in 0..40 {
                    stream.write_all(b"x")?;
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            Say::Flood => loop {
                stream.write_all(&[b'x'; 65_536])?;
            },
        }
    }
    Ok(())
}

fn ops() -> Vec<Op> {
    let addr: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let server =
        Server { name: "s".into(), id: 5, addr, check_port: None, weight: Weight::default(), admin: Admin::Ready };
    let words = "s 10.0.0.1:80 id 5 check".to_owned();
    let map = MapName::parse("routes.map").unwrap();
    vec![
        Op::Add { backend: backend(), server, words, checked: true },
        Op::Map { map, change: MapChange::Add { key: "h/p;a b".into(), value: "a_80".into() } },
        Op::Drain { place: place("old") },
    ]
}

#[tokio::test]
async fn a_batch_is_one_conversation_that_begins_with_who_is_there() {
    let fake = Fake::greeting(|line| match line {
        line if line.starts_with("add server") => text("New server registered.\n\n> "),
        _ => text("\n> "),
    });
    fake.client.apply(&worker(), &ops()).await.unwrap();
    let lines: Vec<_> = fake.lines.try_iter().collect();
    assert_eq!(
        lines,
        [
            "prompt",
            "show info",
            "add server a_80/s 10.0.0.1:80 id 5 check",
            "enable health a_80/s",
            "set server a_80/s state ready",
            r"add map routes.map h/p\;a\ b a_80",
            "set server a_80/old state drain",
        ]
    );
}

#[tokio::test]
async fn every_misbehaviour_is_an_error_in_time() {
    type Answer = fn(&str) -> Say;
    let cases: [(&str, Answer); 8] = [
        ("Refused", |_| text("\0\u{fffd}bogus\n> ")),
        ("Refused", |_| text("New server registered. Or not.\n> ")),
        ("Refused", |_| text("New server registered.\n[ALERT] but\n\n> ")),
        ("Refused", |_| Say::Text(b"\xff\xfe\n> ".to_vec())),
        ("Cut", |_| Say::Close(b"New server regi".to_vec())),
        ("Cut", |_| Say::Close(Vec::new())),
        ("Slow", |_| Say::Hang),
        ("Slow", |_| Say::Drip),
    ];
    for (n, (expected, answer)) in cases.into_iter().enumerate() {
        let fake = Fake::greeting(answer);
        let error = fake.client.apply(&worker(), &ops()).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{n}: {error:?}");
    }
    let fake = Fake::greeting(|_| Say::Flood);
    let error = fake.client.apply(&worker(), &ops()).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Flood | RuntimeError::Slow { .. }), "{error:?}");
}

/// HAProxy reads no further while nobody takes its answers: whoever only writes waits for ever.
#[tokio::test]
async fn answers_are_taken_while_commands_are_sent() {
    let map = MapName::parse("routes.map").unwrap();
    let add = |n| MapChange::Add { key: format!("{n}{}", "k".repeat(10_000)), value: "v".into() };
    let ops: Vec<_> = (0..400).map(|n| Op::Map { map: map.clone(), change: add(n) }).collect();
    let fake = Fake::greeting(|_| Say::Text([&b"x".repeat(10_000)[..], b"\n> "].concat()));
    let error = fake.client.apply(&worker(), &ops).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Refused { .. }), "{error:?}");
    let fake = Fake::greeting(|_| text("\n> "));
    fake.client.apply(&worker(), &ops).await.unwrap();
}

#[tokio::test]
async fn nothing_is_sent_to_whoever_does_not_prove_who_it_is() {
    for info in [
        INFO.replace("Pid: 7", "Pid: 8"),
        INFO.replace("0123456789abcdef", "fedcba9876543210"),
        INFO.replace("Stopping: 0", "Stopping: 1"),
        "who knows\n> ".to_owned(),
    ] {
        let fake = Fake::new(move |line| match line {
            "prompt" => text("\n> "),
            _ => text(&info),
        });
        let error = fake.client.apply(&worker(), &ops()).await.unwrap_err();
        assert!(matches!(error, RuntimeError::OtherWorker { .. } | RuntimeError::Refused { .. }), "{error:?}");
        assert_eq!(fake.lines.try_iter().collect::<Vec<_>>(), ["prompt", "show info"]);
    }
}

#[tokio::test]
async fn a_map_is_replaced_in_its_own_version_or_the_version_is_thrown_away() {
    let swap = || {
        let entries = vec![("a/".to_owned(), "x".to_owned()), ("b/".to_owned(), "y".to_owned())];
        vec![Op::Map { map: MapName::parse("routes.map").unwrap(), change: MapChange::Swap { entries } }]
    };
    let prepared = |line: &str| line.starts_with("prepare").then(|| text("New version created: 9\n\n> "));
    let fake = Fake::greeting(move |line| prepared(line).unwrap_or_else(|| text("\n> ")));
    fake.client.apply(&worker(), &swap()).await.unwrap();
    let lines: Vec<_> = fake.lines.try_iter().skip(2).collect();
    let staged = ["add map @9 routes.map a/ x", "add map @9 routes.map b/ y"];
    assert_eq!(lines, [&["prepare map routes.map"], &staged[..], &["commit map @9 routes.map"]].concat());

    let fake = Fake::greeting(move |line| {
        prepared(line).unwrap_or_else(|| text(if line.contains(" b/") { "Out of memory.\n\n> " } else { "\n> " }))
    });
    let error = fake.client.apply(&worker(), &swap()).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Refused { .. }), "{error:?}");
    let lines: Vec<_> = fake.lines.try_iter().skip(2).collect();
    assert_eq!(lines, [&["prepare map routes.map"], &staged[..], &["clear map @9 routes.map"]].concat());
}

#[tokio::test]
async fn a_server_that_cannot_be_deleted_yet_is_busy_and_one_unknown_is_gone() {
    use Removed::{Busy, Closed, Gone};
    let fake = Fake::greeting(|line| match line {
        "del server a_80/x" => text("Server still has connections attached to it, cannot remove it.\n> "),
        "del server a_80/y" => text("Server deleted.\n> "),
        line if line.ends_with('z') || line.contains("a_80/z ") => text("No such server.\n\n> "),
        _ => text("\n> "),
    });
    let close = |server, cut| Removal { place: place(server), cut, delete: false };
    let delete = |server, cut| Removal { place: place(server), cut, delete: true };
    let removals = [close("v", true), close("w", false), delete("x", true), delete("y", false), close("z", false)];
    let results = fake.client.remove(&worker(), &removals).await.unwrap();
    assert_eq!(results.into_iter().map(|(_, how)| how).collect::<Vec<_>>(), [Closed, Closed, Busy, Gone, Gone]);
    let lines: Vec<_> = fake.lines.try_iter().filter(|line| line.contains("a_80/")).collect();
    let begins = |what: &str| lines.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((begins("shutdown sessions server"), begins("del server")), (2, 2), "{lines:?}");
    let to_x: Vec<_> = lines.iter().filter(|line| line.ends_with("/x")).collect();
    assert_eq!(to_x, ["shutdown sessions server a_80/x", "del server a_80/x"], "out of maintenance not even shortly");
    let fake = Fake::greeting(|_| text("Permission denied\n\n> "));
    assert!(fake.client.remove(&worker(), &[delete("x", false)]).await.is_err());
}

const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
    srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
    bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
    srv_agent_addr srv_agent_port\n";

#[test]
fn the_state_of_servers_is_read() {
    let rows = "3 b1 12 s2 127.0.0.1 2 0 5 1 0 1 0 2 6 0 0 1 - 28082 - 0 28081 - - 28081\n\
                3 b1 13 s3 ::1 2 8 1 1 0 1 0 2 2 0 0 1 - 80 - 0 0 - - 0\n\
                4 b2 1 d 127.0.0.1 0 5 0 1 0 1 0 0 2 0 0 1 - 80 - 0 0 - - 0\n\
                5 stats 1 own unix 2 0 1 1 0 1 0 2 6 0 0 1 - 0 - 0 0 - - 0\n";
    let servers = reply::servers(&format!("{STATE}{rows}\n")).unwrap();
    let seen = |addr: &str, id, weight, admin, checked| crate::diff::Seen {
        id,
        addr: addr.parse().unwrap(),
        weight: Weight::new(weight).unwrap(),
        admin,
        checked,
    };
    let row = |name: &str, seen| (name.to_owned(), seen);
    let b1 = [
        row("s2", seen("127.0.0.1:28082", 12, 5, Admin::Ready, true)),
        row("s3", seen("[::1]:80", 13, 1, Admin::Drain, false)),
    ];
    let b2 = [row("d", seen("127.0.0.1:80", 1, 0, Admin::Maint, false))];
    assert_eq!(servers, BTreeMap::from([("b1".into(), b1.into()), ("b2".into(), b2.into())]));
    assert_eq!(reply::servers(&format!("{STATE}\n")), Some(BTreeMap::new()));
    for bad in [
        "",
        "2\n",
        "1\n# be_id\n",
        &format!("{STATE}3 b1 12 s2 127.0.0.1\n"),
        &format!("{STATE}{}", rows.replace("28082", "x")),
        &format!("{STATE}{}", rows.replace(" 5 1 0 1 0 2 6", " 999 1 0 1 0 2 6")),
    ] {
        assert_eq!(reply::servers(bad), None, "{bad}");
    }
}

#[test]
fn what_checks_found_is_read() {
    let rows = "3 b1 12 new 127.0.0.1 2 0 5 1 0 1 0 2 6 0 0 1 - 28082 - 0 28081 - - 28081\n\
                3 b1 13 passed 127.0.0.1 2 0 1 1 0 6 3 4 6 0 0 1 - 80 - 0 0 - - 0\n\
                3 b1 14 failed 127.0.0.1 0 0 1 1 0 8 2 0 6 0 0 1 - 80 - 0 0 - - 0\n\
                4 b2 1 blind 127.0.0.1 2 0 0 1 0 1 0 0 0 0 0 1 - 80 - 0 0 - - 0\n";
    let found = reply::checks(&format!("{STATE}{rows}\n"));
    let expected = [("new", reply::NO_RESULT), ("passed", 3), ("failed", reply::FAILED)];
    let expected = expected.map(|(server, result)| (server.to_owned(), result));
    assert_eq!(found, Some(BTreeMap::from([("b1".to_owned(), BTreeMap::from(expected))])));
    assert_eq!(reply::checks("No such command\n"), None);
}

#[test]
fn sessions_and_numbers_and_maps_are_read_or_refused() {
    let stat = "# pxname,svname,qcur,qmax,scur,smax,\nb,s,2,0,3,9,\nb,t,0,0,0,0,\n\n";
    assert_eq!(reply::sessions(stat), Some(BTreeMap::from([("s".into(), 5), ("t".into(), 0)])));
    assert_eq!(reply::sessions("No such proxy.\n"), None);
    assert_eq!(reply::sessions(&stat.replace(",3,9", ",,9")), None);
    let conn = "# bkname/svname bkid/svid addr port - purge_delay used_cur\nb1/s2 3/12 127.0.0.1 28082 - 0 0\n";
    assert_eq!(reply::number(conn), Some(Some(3)));
    assert_eq!(reply::number(conn.lines().next().unwrap()), Some(None));
    assert_eq!(reply::number("Can't find backend.\n"), None);
    let map = "0x55b7 a/ b1\n0x55b8 a/ b2\n0x55b9 b/ b3\n\n";
    let read = BTreeMap::from([("a/".into(), "b1".into()), ("b/".into(), "b3".into())]);
    assert_eq!(reply::map(map), Some(read));
    assert_eq!(reply::map("Unknown map identifier. Please use #<id> or <file>.\n"), None);
}

proptest! {
    #[test]
    fn no_answer_is_too_odd(text in "[ -~\n]{0,300}", table in "([0-9a-z.: -]{0,30}\n){0,8}") {
        for text in [text, format!("{STATE}{table}")] {
            let _ = (reply::servers(&text), reply::sessions(&text), reply::number(&text), reply::map(&text));
        }
    }
}

#[test]
fn a_server_goes_when_its_sessions_are_through_or_its_time_is_up() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let counts = |x, y| BTreeMap::from([(place("x"), x), (place("y"), y)]);
    let close = |server: &str, cut| Removal { place: place(server), cut, delete: false };
    let delete = |server: &str, cut| Removal { place: place(server), cut, delete: true };
    let mut drains = Drains::new(Duration::from_secs(1));
    assert_eq!(drains.deadline(), None);
    drains.note(&[Op::Drain { place: place("x") }, Op::Drain { place: place("y") }], start);
    assert_eq!((drains.deadline(), drains.backends(start)), (Some(at(50)), BTreeSet::from([backend()])));
    assert_eq!(drains.tick(&counts(2, 0), at(50)), [close("y", false)]);
    drains.ended(&place("y"), Removed::Closed, at(800));
    assert_eq!((drains.draining(), drains.deadline()), (1, Some(at(150))));
    for now in [150, 350, 750] {
        assert_eq!(drains.tick(&counts(2, 0), at(now)), [], "who failed with y may wait yet");
    }
    assert_eq!(drains.deadline(), Some(at(800)), "the deletion of y, not the next look");
    assert_eq!(drains.tick(&counts(2, 1), at(800)), [], "who came before it was closed is not through");
    assert_eq!(drains.deadline(), Some(at(1_000)), "the time of both");
    assert_eq!(drains.tick(&counts(2, 0), at(1_000)), [close("x", true), close("y", false)]);
    drains.ended(&place("x"), Removed::Closed, at(6_500));
    drains.ended(&place("y"), Removed::Closed, at(6_500));
    assert_eq!((drains.draining(), drains.backends(at(2_000))), (0, BTreeSet::new()), "nobody is asked about");
    assert_eq!(drains.tick(&BTreeMap::new(), at(2_000)), [], "they are cut already");
    assert_eq!(drains.deadline(), Some(at(6_500)));
    assert_eq!(drains.backends(at(6_500)), BTreeSet::from([backend()]));
    assert_eq!(drains.tick(&counts(1, 0), at(6_500)), [delete("x", true), delete("y", false)]);
    drains.ended(&place("y"), Removed::Gone, at(6_500));
    drains.ended(&place("x"), Removed::Busy, at(6_500));
    assert_eq!((drains.draining(), drains.deadline()), (1, Some(at(7_500))));
    assert_eq!(drains.tick(&counts(0, 0), at(7_500)), [close("x", false)], "all of it again");
    drains.ended(&place("x"), Removed::Closed, at(13_000));
    assert_eq!(drains.tick(&BTreeMap::new(), at(13_000)), [delete("x", true)], "not listed");
    drains.ended(&place("x"), Removed::Gone, at(13_000));
    assert_eq!((drains.is_empty(), drains.deadline()), (true, None));
}

#[test]
fn who_comes_back_or_is_reloaded_away_is_not_waited_for() {
    let start = Instant::now();
    let mut drains = Drains::new(Duration::from_secs(1));
    drains.note(&[Op::Drain { place: place("x") }], start);
    drains.note(&[Op::Let { place: place("x"), admin: Admin::Ready, checked: false }], start);
    assert_eq!((drains.draining(), drains.deadline()), (0, None));
    drains.note(&[Op::Drain { place: place("x") }], start);
    drains.forget();
    assert_eq!((drains.draining(), drains.deadline()), (0, None));
    drains.note(&[Op::Drain { place: place("x") }], start);
    drains.adopt([place("y")], start + Duration::from_secs(5));
    let busy = BTreeMap::from([(place("y"), 1)]);
    assert_eq!(drains.tick(&busy, start + Duration::from_millis(5_500)), []);
    assert_eq!(
        drains.tick(&busy, start + Duration::from_secs(6)),
        [Removal { place: place("y"), cut: true, delete: false }]
    );
}
