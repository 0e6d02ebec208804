//! The cycle when all is as it should be, and the bundles that never reach HAProxy.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use haproxy::app::AppId;
use haproxy::bundle::{Bundle, Draft, Owner};
use haproxy::check::Verdict;
use haproxy::reload::Outcome;
use nix::errno::Errno;

use crate::lab::{Lab, assert_applied, bind, free_port, get};

#[tokio::test]
async fn a_reload_brings_the_new_configuration_with_its_maps() {
    let mut lab = Lab::started().await;
    assert_eq!(lab.get().await, "first");
    let second = lab.bundle("second", "");
    let Outcome::Applied { digest, took, warnings, .. } = lab.apply(&second).await else { panic!("not applied") };
    assert_eq!((digest, warnings), (second.digest(), vec![]));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(lab.get().await, "second");
    assert_eq!(lab.master.running().await.unwrap(), Some(digest));
    assert_eq!((lab.disk.current(), lab.disk.confirmed()), (Some(digest), Some(digest)));
}

#[tokio::test]
async fn what_haproxy_has_accepted_in_this_shape_is_not_checked_again() {
    let dir = tempfile::tempdir().unwrap();
    let (counting, calls) = (dir.path().join("haproxy"), dir.path().join("calls"));
    let script = format!("#!/bin/sh\necho $1 >>{}\nexec {} \"$@\"\n", calls.display(), crate::lab::binary().display());
    std::fs::write(&counting, script).unwrap();
    std::fs::set_permissions(&counting, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = Lab::with(&counting);
    let checks = || std::fs::read_to_string(&calls).unwrap().lines().filter(|first| *first == "-c").count();
    assert_applied(&lab.apply(&lab.bundle("first", "")).await);
    let before = checks();
    assert_applied(&lab.apply(&lab.bundle("second", "")).await);
    assert_eq!((checks(), lab.get().await.as_str()), (before, "second"));
    assert_applied(&lab.reloader.force(&lab.bundle("third", "")).await);
    assert_applied(&lab.apply(&lab.bundle("fourth", "  http-request set-header a b")).await);
    assert_eq!(checks(), before + 2);
}

#[tokio::test]
async fn the_same_bundle_is_not_reloaded_unless_forced() {
    let mut lab = Lab::started().await;
    let first = lab.bundle("first", "");
    let before = lab.processes().await;
    assert!(matches!(lab.apply(&first).await, Outcome::Unchanged { .. }));
    assert_eq!(lab.processes().await.workers, before.workers);
    assert_applied(&lab.reloader.force(&first).await);
    assert_ne!(lab.processes().await.workers[0].pid, before.workers[0].pid);
}

#[tokio::test]
async fn a_rejected_bundle_names_its_culprit_and_the_old_one_serves_on() {
    let mut lab = Lab::started().await;
    let before = lab.processes().await;
    let bad = lab.bundle("bad", "  http-request frobnicate");
    let mut draft = Draft { config: bad.config().replace(&bad.digest().to_string(), "@DIGEST@"), ..Draft::default() };
    draft.maps = bad.maps().clone();
    let line = draft.config.lines().position(|line| line.contains("frobnicate")).unwrap() + 1;
    let app = AppId::parse("/team/bad").unwrap();
    draft.owners.own(line..=line, Owner { app: app.clone(), port: Some(0) });
    let bad = Arc::new(Bundle::seal(draft).unwrap());
    let Outcome::Rejected(rejected) = lab.apply(&bad).await else { panic!("not rejected") };
    assert_eq!((rejected.culprits, rejected.said[0].line), (BTreeSet::from([app]), Some(line)));
    let after = lab.processes().await;
    assert_eq!((after.master.reloads, after.pids().collect()), (0, before.pids().collect::<Vec<_>>()));
    assert_eq!(lab.get().await, "first");
    assert_ne!(lab.disk.current(), Some(bad.digest()));
    assert!(rejected.said[0].text.contains("frobnicate"));
}

#[tokio::test]
async fn an_unbindable_listener_is_found_before_anybody_notices() {
    let mut lab = Lab::started().await;
    let (taken, free) = (free_port(), free_port());
    let holder = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let wanted = lab.bundle_on("more", "", &[lab.port, taken, free]);
    let port = lab.port;
    let outcome = tokio::select! {
        outcome = lab.apply(&wanted) => outcome,
        error = probe_until_failure(port) => panic!("a connection failed meanwhile: {error}"),
    };
    let Outcome::Unbindable(unbindable) = outcome else { panic!("{outcome}") };
    assert_eq!(unbindable.len(), 1);
    assert_eq!((&unbindable[0].bind, unbindable[0].errno), (&bind(taken), Errno::EADDRINUSE));
    assert_eq!(unbindable[0].holder.as_ref().unwrap().pid, Some(std::process::id()));
    assert_eq!(lab.processes().await.master.reloads, 0);
    // It is asked for again without a bundle and without a check.
    let checks = lab.reloader.checks();
    assert_eq!(lab.reloader.probe(vec![bind(taken)]).await.unwrap(), unbindable);
    drop(holder);
    assert_eq!(lab.reloader.probe(vec![bind(taken)]).await.unwrap(), []);
    assert_eq!(lab.reloader.checks(), checks);
    assert_applied(&lab.apply(&wanted).await);
    assert_eq!((get(taken).await.unwrap().as_str(), get(free).await.unwrap().as_str()), ("more", "more"));
}

#[tokio::test]
async fn a_wildcard_listener_over_a_port_of_our_own_is_no_conflict() {
    let mut lab = Lab::started().await;
    let wide = lab.bundle("wide", "").config().replace("bind 127.0.0.1:", "bind 0.0.0.0:");
    let config = wide.replace(&lab.bundle("wide", "").digest().to_string(), "@DIGEST@");
    let mut all = bind(lab.port);
    all.addr = std::net::IpAddr::from([0, 0, 0, 0]).into();
    let maps = lab.bundle("wide", "").maps().clone();
    let wide = Arc::new(Bundle::seal(Draft { config, maps, binds: vec![all], ..Draft::default() }).unwrap());
    assert_applied(&lab.apply(&wide).await);
    assert_eq!(lab.get().await, "wide");
}

#[tokio::test]
async fn a_daemon_that_starts_anew_finds_its_own_listeners_bindable() {
    let mut lab = Lab::started().await;
    let socket = lab.master.socket().to_owned();
    lab.reloader = haproxy::reload::Reloader::new(crate::lab::binary(), lab.disk.clone(), socket, crate::lab::times());
    let second = lab.bundle("second", "");
    assert_applied(&lab.apply(&second).await);
    assert_eq!(lab.get().await, "second");
}

async fn probe_until_failure(port: u16) -> std::io::Error {
    loop {
        match get(port).await {
            Ok(answer) => assert_eq!(answer, "first"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn what_was_checked_is_not_checked_again() {
    let mut lab = Lab::started().await;
    let next = lab.bundle("next", "  timeout check 1s");
    let before = lab.reloader.checks();
    assert!(matches!(lab.reloader.check(&next).await.unwrap(), Verdict::Accepted { .. }));
    assert_applied(&lab.reloader.force(&next).await);
    assert_eq!(lab.reloader.checks(), before + 1, "not even where it is forced");
    assert_applied(&lab.reloader.force(&next).await);
    assert_eq!(lab.reloader.checks(), before + 2, "but that counts once");
}
