//! The file of the last good apps: what comes back, what is refused, what a bad disk costs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use haproxy::app::{App, AppId, Check, CheckProtocol, CheckTarget, Health, Instance, Networking, Port, TaskState};
use proptest::prelude::*;

use super::*;
use crate::source::status::GoodFetch;

fn members() -> Vec<String> {
    vec!["http://m1:8080".to_owned(), "http://m2:8080".to_owned()]
}

fn snapshot(n: u16) -> Snapshot {
    let id = AppId::parse("/g/a").unwrap();
    let instance = Instance {
        id: "g_a.1".to_owned(),
        host: "agent.example".to_owned(),
        addr: Some("10.0.0.1".parse().unwrap()),
        ports: vec![Some(n), None],
        state: TaskState::Unreachable,
        health: Health::Dead,
    };
    let check = Check {
        protocol: CheckProtocol::MesosHttp,
        path: Some("/\u{e9}".to_owned()),
        target: CheckTarget::Index(1),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        max_consecutive_failures: 3,
    };
    let app = App {
        id: id.clone(),
        labels: BTreeMap::from([("HAPROXY_GROUP".to_owned(), "a\n\"b".to_owned())]),
        networking: Networking::Bridge,
        ports: vec![Port { service_port: Some(10_000) }, Port { service_port: None }],
        checks: vec![
            check.clone(),
            Check { target: CheckTarget::None, ..check.clone() },
            Check { target: CheckTarget::Port(80), ..check },
        ],
        instances: vec![instance],
        wanted: 2,
    };
    Snapshot { apps: BTreeMap::from([(id, Arc::new(app))]), issues: vec![], revision: 1 }
}

fn as_of() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_500_000_000_123)
}

#[test]
fn what_was_written_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(&dir.path().join("last-good"), members());
    assert_eq!(store.load().unwrap(), None);
    store.save(&snapshot(1), as_of()).unwrap();
    store.save(&snapshot(2), as_of()).unwrap();
    let other = Store::new(&dir.path().join("last-good"), vec!["http://m9".to_owned(), members()[1].clone()]);
    let restored = other.load().unwrap().unwrap();
    assert_eq!(restored, Restored { apps: snapshot(2).apps, written: as_of() });
    let files: Vec<_> = fs::read_dir(dir.path().join("last-good")).unwrap().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].as_ref().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_is_not_exactly_ours_is_refused() {
    let good = format::write(&snapshot(1), &members(), as_of());
    let body = good.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
    let with_head = |head: &str| [head.as_bytes(), b"\n", body].concat();
    let kind = |text: &[u8]| match format::read(text, &members()) {
        Ok(_) => "ok",
        Err(Refused::Foreign) => "foreign",
        Err(Refused::Newer(2)) => "newer",
        Err(Refused::Newer(_)) => "?",
        Err(Refused::Torn) => "torn",
        Err(Refused::Content(_)) => "content",
        Err(Refused::OtherCluster(_)) => "other",
    };
    assert_eq!(kind(&good), "ok");
    for (text, want) in [
        (vec![], "foreign"),
        (b"{\"apps\":[]}\n".to_vec(), "foreign"),
        (vec![0; 4096], "foreign"),
        (with_head("baton-apps"), "foreign"),
        (with_head("baton-apps x y z"), "foreign"),
        (with_head("baton-apps 0 y 9"), "foreign"),
        (with_head("baton-apps 2 whatever comes"), "newer"),
        (with_head("baton-apps 1 00 12"), "torn"),
        ([good.clone(), b" ".to_vec()].concat(), "torn"),
    ] {
        assert_eq!(kind(&text), want, "{}", String::from_utf8_lossy(&text));
    }
    assert!(matches!(format::read(&good, &["http://elsewhere".to_owned()]), Err(Refused::OtherCluster(_))));
    let without = format::write(&snapshot(1), &[], as_of());
    assert_eq!(kind(&without), "other");
}

proptest! {
    #[test]
    fn no_cut_and_no_changed_byte_is_accepted(at in 0_usize..2_000, flip in 1_u8..=255) {
        let good = format::write(&snapshot(1), &members(), as_of());
        let at = at % good.len();
        prop_assert!(format::read(&good[..at], &members()).is_err());
        let mut bad = good.clone();
        bad[at] ^= flip;
        prop_assert!(format::read(&bad, &members()).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = format::read(&bytes, &members());
        let _ = format::read(&[b"baton-apps 1 ", &bytes[..]].concat(), &members());
    }
}

/// A running keeper on a directory, with a short pace.
struct Bench {
    dir: tempfile::TempDir,
    snapshots: watch::Sender<Arc<Snapshot>>,
    status: watch::Sender<SourceStatus>,
}

impl Bench {
    fn new() -> Self {
        let snapshots = watch::Sender::new(Arc::new(Snapshot::default()));
        let status = watch::Sender::new(SourceStatus::default());
        status.send_modify(|status| {
            status.fetch.last = Some(GoodFetch { at: as_of(), took: Duration::ZERO, bytes: 1, apps: 1 });
        });
        Self { dir: tempfile::tempdir().unwrap(), snapshots, status }
    }

    fn store(&self) -> Store {
        let pace = Pace {
            after: Duration::from_millis(20),
            spacing: Duration::from_millis(300),
            retry: Duration::from_millis(100),
            renew: Duration::from_secs(60),
        };
        Store::new(&self.dir.path().join("last-good"), members()).paced(pace)
    }

    /// Keeps while `act` goes on, then stops in order.
    async fn keeping(&self, act: impl Future<Output = ()>) {
        let store = self.store();
        let stop = CancellationToken::new();
        tokio::join!(keep(&store, self.snapshots.subscribe(), &self.status, stop.clone()), async {
            act.await;
            stop.cancel();
        });
    }

    fn publish(&self, n: u16) {
        self.snapshots.send_replace(Arc::new(snapshot(n)));
    }

    fn kept(&self) -> Option<u16> {
        let restored = self.store().load().unwrap()?;
        restored.apps.values().next()?.instances[0].ports[0]
    }
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test]
async fn changes_are_written_some_time_later_together_and_the_last_at_the_end() {
    let bench = Bench::new();
    bench
        .keeping(async {
            for n in 1..=5 {
                bench.publish(n);
            }
            pass(120).await;
            assert_eq!((bench.kept(), bench.status.borrow().store.writes), (Some(5), 1));
            for n in 6..=50 {
                bench.publish(n);
                pass(5).await;
            }
            assert!(bench.status.borrow().store.writes <= 2, "at most every 300 ms");
        })
        .await;
    assert_eq!(bench.kept(), Some(50), "written when told to stop");
}

#[tokio::test]
async fn what_came_from_the_store_is_not_written_as_new() {
    let bench = Bench::new();
    bench.status.send_modify(|status| status.restored = Some(as_of()));
    bench
        .keeping(async {
            bench.publish(1);
            pass(100).await;
        })
        .await;
    assert_eq!(bench.kept(), None);
}

#[tokio::test]
async fn a_disk_that_refuses_is_said_once_and_tried_again() {
    let bench = Bench::new();
    // A file where the directory should be: refuses everybody, root too.
    let place = bench.dir.path().join("last-good");
    fs::write(&place, "in the way").unwrap();
    bench
        .keeping(async {
            bench.publish(1);
            pass(350).await;
            let status = bench.status.borrow().store.clone();
            assert!(status.failures >= 2 && status.writes == 0, "{status:?}");
            assert!(status.trouble.unwrap().text.starts_with("cannot write "));
            fs::remove_file(&place).unwrap();
            pass(300).await;
            assert_eq!(bench.kept(), Some(1));
            assert_eq!(bench.status.borrow().store.trouble, None);
        })
        .await;
}

#[test]
fn a_failed_write_leaves_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), members());
    store.save(&snapshot(1), as_of()).unwrap();
    // The temporary name is taken by a directory.
    fs::create_dir(dir.path().join("apps.new")).unwrap();
    assert!(store.save(&snapshot(2), as_of()).is_err());
    assert_eq!(store.load().unwrap().unwrap().apps, snapshot(1).apps);
}
