//! The disk of the state directory fails under the running daemon: traffic is served and changes reach it all the same.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod plane;
mod scene;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::lab::on_a_host;
use nix::sched::{CloneFlags, unshare};
use plane::watch::watching;
use plane::{Plane, app, until};
use scene::answering;
use serde_json::{Value, json};

const WEB: &str = "http://127.0.0.1:10001/";
const NEW: &str = "http://127.0.0.1:10002/";
const APPS: &[(&str, u16)] = &[("/web", 10_001), ("/new", 10_002)];

fn mount(args: &[&str]) {
    let done = Command::new("mount").args(args).output().unwrap();
    assert!(done.status.success(), "mount {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A small file system of its own for the daemon's state; seen by this thread and its children only, gone with them.
fn small_disk(dir: &Path) -> PathBuf {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let state = dir.join("state");
    fs::create_dir_all(&state).unwrap();
    mount(&["--make-rprivate", "/"]);
    mount(&["-t", "tmpfs", "-o", "size=512k", "tmpfs", state.to_str().unwrap()]);
    state
}

/// Fills it to the last byte.
fn fill(state: &Path) {
    let mut filler = fs::File::create(state.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
}

/// What the status says about the files, if anything.
fn files_trouble(status: &Value) -> Option<String> {
    status["applied"]["files_trouble"]["text"].as_str().map(str::to_owned)
}

fn trouble(status: &Value) -> Option<String> {
    status["applied"]["trouble"]["text"].as_str().map(str::to_owned)
}

/// Breaks the disk, mends it, and looks at what is served meanwhile and after; `said`: the kernel's words for it.
fn a_bad_disk(said: &'static str, broken: impl Fn(&Path) + Send + 'static, mended: impl Fn(&Path) + Send + 'static) {
    on_a_host(&[], move || async move {
        let dir = tempfile::Builder::new().prefix("baton-").tempdir().unwrap();
        let state = small_disk(dir.path());
        let plane = Plane::start(|_| (), "", dir).await;
        let Plane { sim, baton, .. } = &plane;
        sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_VHOST", "web.example.com")], 2)).unwrap();
        assert_eq!(answering(WEB, 2).await.len(), 2);
        plane.settled().await;
        let reloads = plane.counts().await.reloads;

        let seen = watching(&[WEB], async {
            broken(&state);
            sim.put_app("/web", &json!({"instances": 4})).unwrap();
            assert_eq!(answering(WEB, 4).await.len(), 4);
            let status = baton.until("told", |s| files_trouble(s).is_some()).await.unwrap();
            assert!(files_trouble(&status).unwrap().contains(said), "{status:#}");
            assert_eq!(trouble(&status), None, "what is wanted runs: {status:#}");

            // A new app needs a file; nobody else does.
            sim.post_app(&app("/new", 10_002, &[], 1)).unwrap();
            let status = baton.until("told", |s| trouble(s).is_some()).await.unwrap();
            assert!(trouble(&status).unwrap().contains(said), "{status:#}");
            for count in [1, 3] {
                sim.put_app("/web", &json!({"instances": count})).unwrap();
                assert!(sim.wait_settled(std::time::Duration::from_secs(10)).await);
                plane.converged(&APPS[..1]).await;
                assert_eq!(answering(WEB, count).await.len(), count);
            }
            let old = sim.move_task("/web").unwrap();
            assert!(sim.wait_settled(std::time::Duration::from_secs(10)).await);
            plane.converged(&APPS[..1]).await;
            assert!(!answering(WEB, 3).await.contains(&old));
            assert_eq!(plane.counts().await.reloads, reloads);

            mended(&state);
            assert_eq!(until(NEW, &[], |a| a.status == 200).await.json()["app"], "/new");
        });
        seen.await.all_answered("while the disk is bad");
        let status = baton.until("no trouble", |s| trouble(s).is_none() && files_trouble(s).is_none()).await.unwrap();
        assert_eq!(status["applied"]["reloads"], reloads + 1, "for the new app: {status:#}");
        plane.sound(APPS).await;
    });
}

#[test]
fn a_full_disk_keeps_no_change_from_traffic_that_needs_no_file() {
    a_bad_disk("No space left on device", fill, |state| fs::remove_file(state.join("filler")).unwrap());
}

#[test]
fn a_disk_that_became_read_only_keeps_no_change_from_traffic_that_needs_no_file() {
    let remount =
        |how: &'static str| move |state: &Path| mount(&["-o", &format!("remount,{how}"), state.to_str().unwrap()]);
    a_bad_disk("Read-only file system", remount("ro"), remount("rw"));
}

#[test]
fn files_that_could_not_follow_do_so_once_there_is_space_though_nothing_changes_any_more() {
    on_a_host(&[], || async {
        let dir = tempfile::Builder::new().prefix("baton-").tempdir().unwrap();
        let state = small_disk(dir.path());
        let plane = Plane::start(|_| (), "", dir).await;
        plane.sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering(WEB, 1).await.len(), 1);
        plane.settled().await;
        fill(&state);
        plane.sim.put_app("/web", &json!({"instances": 3})).unwrap();
        assert_eq!(answering(WEB, 3).await.len(), 3);
        plane.baton.until("told", |s| files_trouble(s).is_some()).await.unwrap();
        // HAProxy dies meanwhile: it starts from the last files, and is brought up to date without any.
        plane.baton.kill_haproxy();
        assert_eq!(answering(WEB, 3).await.len(), 3);
        plane.converged(&APPS[..1]).await;
        fs::remove_file(state.join("filler")).unwrap();
        plane.baton.until("mended", |s| files_trouble(s).is_none()).await.unwrap();
        plane.sound(&APPS[..1]).await;
        assert!(plane.journal().matches("the files do not follow").count() <= 1, "said once:\n{}", plane.journal());
    });
}
