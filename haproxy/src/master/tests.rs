//! Captured answers, and sockets that misbehave.

use tokio::net::UnixListener;

use super::*;

const PROC_2_6: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
16085           master          3 [failed: 2]   0d00h00m35s     2.6.12-1+deb12u4\n\
# workers\n\
16265           worker          2               1d02h03m04s     2.6.12-1+deb12u4\n\
# old workers\n\
16088           worker          5               0d00h01m00s     2.6.11\n\
16090           worker          4               0d00h00m50s     2.6.11\n\
# programs\n\
\n";

/// 3.3 and newer have no programs; 3.2 numbers nothing else differently.
const PROC_3_2: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>\n\
7               master          0 [failed: 0]   0d00h00m00s     3.2.26-1\n\
# workers\n\
9               worker          0               0d00h00m00s     3.2.26-1\n\
# future section\n\
10              thing           0               0d00h00m00s     x\n\
\n";

/// After a reload that failed.
const PROC_3_4: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
21860           master          2 [failed: 1]   0d00h00m07s     3.4.7-1        \n\
# workers\n\
# old workers\n\
21869           worker          2               0d00h00m07s     3.4.7-1        \n\
21800           worker          3               0d00h01m07s     3.4.7-1        \n\
\n";

#[test]
fn the_worker_that_goes_on_after_a_failed_reload_is_the_current_one() {
    let table = Processes::parse(PROC_3_4).unwrap();
    assert_eq!(table.workers.iter().map(|worker| worker.pid).collect::<Vec<_>>(), [21869]);
    assert_eq!(table.old_workers.iter().map(|worker| worker.pid).collect::<Vec<_>>(), [21800]);
}

#[test]
fn the_process_table_of_2_6_is_read() {
    let table = Processes::parse(PROC_2_6).unwrap();
    let age = Duration::from_secs(26 * 3600 + 3 * 60 + 4);
    let worker = Process { pid: 16265, reloads: 2, uptime: age, version: "2.6.12-1+deb12u4".into() };
    assert_eq!((table.failed, table.master.reloads, &table.workers), (2, 3, &vec![worker]));
    assert_eq!(table.pids().collect::<Vec<_>>(), [16085, 16265, 16088, 16090]);
    assert_eq!(table.old_workers.len(), 2);
    // The first of them cannot be told from the table: its successor is gone.
    let retired: Vec<_> = table.retired().map(|(old, since)| (old.pid, since.as_secs())).collect();
    assert_eq!(retired, [(16088, 26 * 3600 + 3 * 60 + 4), (16090, 26 * 3600 + 3 * 60 + 4)]);
}

#[test]
fn the_process_table_of_3_2_is_read_and_unknown_sections_are_skipped() {
    let table = Processes::parse(PROC_3_2).unwrap();
    assert_eq!((table.failed, table.workers.len(), table.old_workers.len()), (0, 1, 0));
}

#[test]
fn a_table_cut_off_or_garbled_is_no_table() {
    assert_eq!(Processes::parse(""), None);
    assert_eq!(Processes::parse("#<PID> <type>\n"), None, "no master");
    assert_eq!(Processes::parse(&PROC_2_6.replace("0d00h00m35s", "soon")), None);
    assert_eq!(Processes::parse(&PROC_2_6.replace("16265 ", "many  ")), None);
    assert_eq!(Processes::parse("Unknown command, but maybe one of the following\n"), None);
}

#[test]
fn info_tells_who_runs_what() {
    let reply = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 16265\nnode: vm\nCurrConns: 3\n\
                 description: baton:0123456789abcdef\nStopping: 1\n\n";
    let info = Info::parse(reply).unwrap();
    assert_eq!((info.pid, info.stopping, info.version.as_str()), (16265, true, "2.6.12-1+deb12u4"));
    assert_eq!(info.connections, 3);
    assert_eq!(info.digest(), Digest::parse("0123456789abcdef"));
    let foreign = Info::parse("Version: 3.0\nPid: 1\ndescription: web proxy\n").unwrap();
    assert_eq!((foreign.digest(), foreign.stopping), (None, false));
    assert_eq!(Info::parse("Can't find the target PID matching the prefix '@1'\n"), None);
}

#[test]
fn all_answers_to_reload_are_known_or_refused() {
    let success = "Success=1\n--\n[NOTICE]   (482713) : New worker (482720) forked\n";
    let log = "[NOTICE]   (482713) : New worker (482720) forked\n".to_owned();
    assert_eq!(reply::reload(success), Some(Reload::Answered { success: true, log }));
    assert_eq!(reply::reload("Success=0\n"), Some(Reload::Answered { success: false, log: String::new() }));
    assert_eq!(reply::reload(""), Some(Reload::Silent));
    assert_eq!(reply::reload("\n"), Some(Reload::Silent));
    assert_eq!(reply::reload("Permission denied\n"), None);
}

#[tokio::test]
async fn nobody_at_the_socket_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    let error = Master::new(&path, LIMIT).processes().await.unwrap_err();
    assert!(matches!(&error, MasterError::Unreachable { source, .. } if source.kind() == io::ErrorKind::NotFound));
    drop(UnixListener::bind(&path).unwrap());
    let error = Master::new(&path, LIMIT).processes().await.unwrap_err();
    assert!(
        matches!(&error, MasterError::Unreachable { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    );
    assert!(error.may_pass());
}

#[tokio::test]
async fn a_silent_master_is_slow() {
    let error = ask_fake(None).await.unwrap_err();
    assert!(matches!(&error, MasterError::Slow { .. }), "{error:?}");
}

#[tokio::test]
async fn a_flood_and_an_unknown_answer_are_errors() {
    let error = ask_fake(Some("x".repeat(3 * 1024 * 1024))).await.unwrap_err();
    assert!(matches!(&error, MasterError::Flood { .. } | MasterError::Cut { .. }), "{error:?}");
    let error = ask_fake(Some("\x1b[31mPermission denied\nmore\n".into())).await.unwrap_err();
    assert!(matches!(&error, MasterError::Unknown { said, .. } if said == "?[31mPermission denied"), "{error:?}");
    assert!(!error.may_pass());
    assert!(ask_fake(Some(String::new())).await.unwrap_err().may_pass(), "no answer: the master is reloading");
}

#[tokio::test]
async fn one_command_is_sent_per_connection() {
    assert_eq!(ask_fake(Some(PROC_2_6.into())).await.unwrap().failed, 2);
}

/// Asks a master that answers with `reply`, or accepts and stays silent.
async fn ask_fake(reply: Option<String>) -> Result<Processes, MasterError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    let listener = UnixListener::bind(&path).unwrap();
    let fake = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Some(reply) = reply else { return std::future::pending().await };
        let mut command = String::new();
        stream.read_to_string(&mut command).await.unwrap();
        assert_eq!(command, "show proc\n");
        // A client that has seen enough closes: not this side's trouble.
        drop(stream.write_all(reply.as_bytes()).await);
        drop(stream);
        std::future::pending().await
    };
    let master = Master::new(&path, LIMIT);
    tokio::select! {
        result = master.processes() => result,
        () = fake => unreachable!("the fake ends never"),
    }
}

const LIMIT: Duration = Duration::from_millis(300);
