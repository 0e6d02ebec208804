//! What is remembered on disk: starts without Marathon, torn files, disks that are full.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod scene;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::lab::baton::Baton;
use e2e::lab::client::get;
use e2e::lab::on_a_host;
use e2e::sim::{Config, Personality, Sim};
use nix::sched::{CloneFlags, unshare};
use scene::{Scene, answering, app, scene};
use serde_json::Value;

const WEB: &str = "http://127.0.0.1:10001/";

/// Waits until what is served is written down: at the end of the pace, or by stopping.
async fn stored(baton: &Baton) -> Value {
    baton.until("written down", |status| status["source"]["stores"].as_u64() > Some(0)).await.unwrap()
}

fn file(baton: &Baton) -> std::path::PathBuf {
    baton.dir().join("last-good/apps")
}

fn source(status: &Value) -> &Value {
    &status["source"]
}

#[test]
fn a_daemon_killed_and_started_without_marathon_serves_what_it_knew_and_says_so() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton } = scene;
        sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 3)).unwrap();
        assert_eq!(answering(WEB, 3).await.len(), 3);
        stored(&baton).await;
        sim.refuse(0, true);
        let baton = baton.kill_and_restart().await.unwrap();
        let status = baton.until("from memory", |s| source(s)["restored_from"].is_number()).await.unwrap();
        assert_eq!((source(&status)["stale"].clone(), source(&status)["unconfirmed"].clone()), (true.into(), 3.into()));
        let status = baton.until("3 servers", |s| s["applied"]["servers"] == 3).await.unwrap();
        assert!(source(&status)["trouble"].is_object(), "{status:#}");
        assert_eq!(answering(WEB, 3).await.len(), 3);
        // Marathon is back: nothing is from memory any more.
        sim.refuse(0, false);
        let status = baton.until("from Marathon", |s| source(s)["restored_from"].is_null()).await.unwrap();
        assert_eq!(
            (source(&status)["unconfirmed"].clone(), source(&status)["stale"].clone()),
            (0.into(), false.into())
        );
        assert_eq!(answering(WEB, 3).await.len(), 3);
    });
}

#[test]
fn an_orderly_stop_writes_down_the_last_state() {
    on_a_host(&[], || async {
        let sim = Sim::start(Config::for_test(Personality::V1_4)).await.unwrap();
        let toml = format!("[marathon]\nurls = {:?}\ngroups = [\"*\"]\nmax_backoff = \"1s\"\n", sim.urls());
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        let baton = Baton::start(&toml, &[]).await.unwrap();
        assert_eq!(answering(WEB, 1).await.len(), 1);
        stored(&baton).await;
        sim.put_app("/web", &serde_json::json!({"instances": 4})).unwrap();
        assert_eq!(answering(WEB, 4).await.len(), 4);
        let dir = baton.stop().await.unwrap();
        sim.refuse(0, true);
        // The HAProxy is another one, and its last configuration may be gone, too.
        let state = dir.path().join("state");
        fs::remove_dir_all(&state).unwrap();
        let baton = Baton::start_in(dir, &toml, &[]).await.unwrap();
        baton.until("4 servers", |s| s["applied"]["servers"] == 4).await.unwrap();
        assert_eq!(answering(WEB, 4).await.len(), 4);
        sim.stop().await;
    });
}

#[test]
fn a_file_that_is_torn_or_foreign_is_refused_and_traffic_goes_on() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, mut baton } = scene;
        sim.post_app(&app("/web", 10_001, &[], 2)).unwrap();
        assert_eq!(answering(WEB, 2).await.len(), 2);
        stored(&baton).await;
        let good = fs::read(file(&baton)).unwrap();
        sim.refuse(0, true);
        let newer = String::from_utf8(good.clone()).unwrap().replacen("baton-apps 1", "baton-apps 7", 1);
        for (text, said) in [
            (good[..good.len() - 7].to_vec(), "it is torn"),
            (b"{\"apps\":[]}".to_vec(), "no file of apps"),
            (newer.into_bytes(), "a newer baton wrote it"),
        ] {
            fs::write(file(&baton), &text).unwrap();
            baton = baton.kill_and_restart().await.unwrap();
            let refused = |s: &Value| source(s)["store_trouble"]["text"].as_str().is_some_and(|t| t.contains(said));
            let status = baton.until(said, refused).await.unwrap();
            assert!(source(&status)["restored_from"].is_null());
            assert_eq!(fs::read(file(&baton)).unwrap(), text, "not written over while Marathon is away");
            // HAProxy runs on, or starts with, the last confirmed configuration.
            assert_eq!(answering(WEB, 2).await.len(), 2);
        }
        sim.refuse(0, false);
        let status = baton.until("written again", |s| source(s)["store_trouble"].is_null()).await.unwrap();
        assert_eq!(source(&status)["stale"], false);
    });
}

/// Mounts `dir` as a file system of its own that is full but for some bytes; seen by this thread
/// and its children only.
fn full_disk(dir: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    fs::create_dir_all(dir).unwrap();
    for args in [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "-o", "size=16k", "tmpfs", dir.to_str().unwrap()]] {
        let done = Command::new("mount").args(args).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let fill = [0; 4096];
    let mut filler = fs::File::create(dir.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &fill).is_ok() {}
}

#[test]
fn a_full_disk_costs_the_memory_only() {
    on_a_host(&[], || async {
        let dir = tempfile::Builder::new().prefix("baton-").tempdir().unwrap();
        full_disk(&dir.path().join("last-good"));
        let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
        let toml = format!("[marathon]\nurls = {:?}\ngroups = [\"*\"]\nmax_backoff = \"1s\"\n", sim.urls());
        sim.post_app(&app("/web", 10_001, &[], 2)).unwrap();
        let baton = Baton::start_in(dir, &toml, &[]).await.unwrap();
        assert_eq!(answering(WEB, 2).await.len(), 2);
        let status = baton.until("trouble", |s| source(s)["store_trouble"].is_object()).await.unwrap();
        let text = source(&status)["store_trouble"]["text"].as_str().unwrap();
        assert!(text.contains("No space left on device"), "{text}");
        assert_eq!(source(&status)["stale"], false);
        sim.put_app("/web", &serde_json::json!({"instances": 4})).unwrap();
        assert_eq!(answering(WEB, 4).await.len(), 4);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(baton.log().matches("are not written down").count(), 1, "said once");
        assert_eq!(get(WEB, &[]).await.status, 200);
        drop(baton);
        sim.stop().await;
    });
}
