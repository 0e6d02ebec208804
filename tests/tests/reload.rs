//! Reloads, crashes and refusals with the real HAProxy, under traffic.

mod scene;

use std::time::Duration;

use e2e::lab::baton::Baton;
use e2e::lab::client::{get, get_until};
use e2e::lab::on_a_host;
use e2e::sim::{Config, Personality, Sim};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use scene::{Scene, answering, app, scene};
use serde_json::{Value, json};

/// Requests over kept-alive connections until `stop`; how many, and how many failed.
async fn keep_alive_load(url: &str, connections: usize, stop: &tokio_util::sync::CancellationToken) -> (usize, usize) {
    let client = reqwest::Client::builder().pool_max_idle_per_host(connections).build().expect("a plain client");
    let one = || async {
        let (mut done, mut failed) = (0, 0);
        while !stop.is_cancelled() {
            done += 1;
            let answer = client.get(url).timeout(Duration::from_secs(5)).send().await;
            failed += usize::from(!answer.is_ok_and(|answer| answer.status() == 200));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (done, failed)
    };
    let all = futures_util::future::join_all((0..connections).map(|_| one())).await;
    all.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn fifty_forced_reloads_under_keep_alive_load_fail_no_request() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_VHOST", "127.0.0.1")], 2)).unwrap();
        assert_eq!(answering("http://127.0.0.1/", 2).await.len(), 2);
        let first = baton.status().await.unwrap()["applied"]["reloads"].as_u64().unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let reloads = async {
            for n in 1..=50 {
                baton.signal(Signal::SIGUSR1).unwrap();
                let done = |status: &Value| status["applied"]["reloads"].as_u64().unwrap() >= first + n;
                baton.until("reloaded", done).await.unwrap();
            }
            stop.cancel();
        };
        let ((requests, failed), ()) = tokio::join!(keep_alive_load("http://127.0.0.1/", 16, &stop), reloads);
        assert!(requests > 500, "{requests}");
        assert_eq!(failed, 0, "of {requests}");
    });
}

/// As an upgrade of the package does: another release under the same name, then SIGUSR2 to both.
#[test]
fn another_haproxy_under_the_same_name_takes_over_and_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("new");
    let second = std::env::var_os("TEST_HAPROXY").is_some_and(|new| {
        std::fs::copy(new, &beside).unwrap();
        std::process::Command::new(&beside).arg("-v").output().unwrap().status.success()
    });
    if !second {
        println!("skipped: needs a second HAProxy, named by TEST_HAPROXY, that runs where it is copied to");
        return;
    }
    on_a_host(&[], move || async move {
        let sim = Sim::start(Config::for_test(Personality::V1_8)).await.unwrap();
        let program = dir.path().join("haproxy");
        std::fs::copy("/usr/sbin/haproxy", &program).unwrap();
        let toml = format!(
            "[marathon]\nurls = {:?}\ngroups = [\"*\"]\nhealth_check = false\n[haproxy]\nbinary = {program:?}\n",
            sim.urls()
        );
        let baton = Baton::start(&toml, &[]).await.unwrap();
        let scene = Scene { sim, baton };
        scene.sim.post_app(&app("/web", 10_001, &[], 2)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 2).await.len(), 2);
        let old = scene.baton.status().await.unwrap();
        let failures = scene.watch_while("http://127.0.0.1:10001/", async {
            std::fs::rename(&beside, &program).unwrap();
            scene.baton.signal(Signal::SIGUSR2).unwrap();
            let anew = |s: &Value| s["started_at"].is_number() && s["started_at"] != old["started_at"];
            scene.baton.until("baton runs anew", anew).await.unwrap();
            scene.baton.signal(Signal::SIGUSR1).unwrap();
            let other = |s: &Value| s["haproxy"]["version"] != old["haproxy"]["version"];
            let status = scene.baton.until("the other HAProxy", other).await.unwrap();
            scene.sim.post_app(&app("/late", 10_002, &[], 1)).unwrap();
            assert_eq!(answering("http://127.0.0.1:10002/", 1).await.len(), 1);
            let now = scene.baton.status().await.unwrap();
            assert_eq!((&now["haproxy"]["version"], &now["issues"]), (&status["haproxy"]["version"], &json!([])));
        });
        assert_eq!(failures.await, 0);
    });
}

#[test]
fn a_port_held_by_somebody_else_costs_one_listener_and_no_refusal() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        let held = std::net::TcpListener::bind("0.0.0.0:10002").unwrap();
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        let failures = scene.watch_while("http://127.0.0.1:10001/", async {
            sim.post_app(&app("/unlucky", 10_002, &[("HAPROXY_0_VHOST", "unlucky.example.com")], 1)).unwrap();
            let status = baton.until("an issue", |s| s["issues"].to_string().contains("/unlucky")).await.unwrap();
            let problem = status["issues"].to_string();
            assert!(problem.contains("10002") && problem.contains("reload"), "names port and holder: {problem}");
            let host = [("host", "unlucky.example.com")];
            assert_eq!(get_until("http://127.0.0.1/", &host, |a| a.status == 200).await.status, 200);
        });
        assert_eq!(failures.await, 0);
        drop(held);
        // Somebody asks again rather than waiting for the next try.
        sim.put_app("/unlucky", &json!({"labels": {"HAPROXY_0_MODE": "http"}})).unwrap();
        baton.signal(Signal::SIGUSR1).unwrap();
    });
}

#[test]
fn an_app_that_haproxy_refuses_is_left_out_until_it_changes() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        sim.post_app(&app("/bad", 10_002, &[("HAPROXY_0_SSL_CERT", "/nonexistent.pem")], 1)).unwrap();
        let status = baton.until("left out", |s| s["applied"]["left_out"]["/bad"].is_string()).await.unwrap();
        assert!(status["applied"]["left_out"]["/bad"].as_str().unwrap().contains("nonexistent"), "{status:#}");
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        let failures = status["applied"]["failures"].clone();
        sim.put_app("/web", &json!({"instances": 2})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 2).await.len(), 2);
        let status = baton.status().await.unwrap();
        assert_eq!(status["applied"]["failures"], failures, "the next change is not held up by it again");
        sim.put_app("/bad", &json!({"labels": {"HAPROXY_0_MODE": "http"}})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10002/", 1).await.len(), 1);
        baton.until("mended", |s| s["applied"]["left_out"] == json!({})).await.unwrap();
    });
}

#[test]
fn a_killed_haproxy_is_started_again_as_it_was() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        let status = baton.until("a pid", |s| s["haproxy"]["pid"].is_u64()).await.unwrap();
        let pid = status["haproxy"]["pid"].as_i64().unwrap();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
        baton.until("another pid", |s| s["haproxy"]["pid"].as_i64().is_some_and(|p| p != pid)).await.unwrap();
        assert_eq!(get_until("http://127.0.0.1:10001/", &[], |a| a.status == 200).await.status, 200);
        sim.put_app("/web", &json!({"instances": 2})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 2).await.len(), 2);
    });
}

#[test]
fn a_killed_daemon_leaves_traffic_alone_and_the_next_one_takes_over() {
    scene(Personality::V1_8, 1, |scene| async move {
        scene.sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        let Scene { sim, mut baton } = scene;
        let pid = baton.until("a pid", |s| s["haproxy"]["pid"].is_u64()).await.unwrap()["haproxy"]["pid"].clone();
        for _ in 0..2 {
            baton = baton.kill_and_restart().await.unwrap();
            assert_eq!(get("http://127.0.0.1:10001/", &[]).await.status, 200);
        }
        baton.until("the same HAProxy", |s| s["haproxy"]["pid"] == pid).await.unwrap();
        sim.put_app("/web", &json!({"instances": 3})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 3).await.len(), 3);
    });
}

#[test]
fn internal_and_external_groups_on_two_daemons() {
    on_a_host(&["10.99.0.1", "10.99.0.2"], || async {
        let sim = Sim::start(Config::for_test(Personality::V1_4)).await.unwrap();
        let start = async |group: &str, address: &str| {
            let listen = |port: u16| format!("{address}:{port}");
            let toml = format!(
                "[marathon]\nurls = {:?}\ngroups = [\"{group}\"]\n[haproxy]\nhttp = \"{}\"\nhttps = \"{}\"\n\
                 app_id = \"{}\"\n[haproxy.stats]\nlisten = \"{}\"\n",
                sim.urls(),
                listen(80),
                listen(443),
                listen(9091),
                listen(9090)
            );
            Baton::start(&toml, &[]).await.unwrap()
        };
        let internal = start("internal", "10.99.0.1").await;
        let external = start("external", "10.99.0.2").await;
        let labels = |group| [("HAPROXY_GROUP", group), ("HAPROXY_0_VHOST", "x.example.com")];
        sim.post_app(&app("/in", 10_001, &labels("internal"), 1)).unwrap();
        sim.post_app(&app("/out", 10_002, &labels("external"), 1)).unwrap();
        let host = [("host", "x.example.com")];
        for (address, expected) in [("10.99.0.1", "/in"), ("10.99.0.2", "/out")] {
            let answer = get_until(&format!("http://{address}/"), &host, |a| a.status == 200).await;
            assert_eq!(answer.json()["app"], expected);
        }
        for baton in [internal, external] {
            baton.until("its own app only", |status| status["applied"]["backends"] == 1).await.unwrap();
        }
    });
}

/// Apps in a file, with labels and a service port each; one task each that nobody plays.
fn apps(all: &[(&str, u16, Value)]) -> String {
    let app =
        |(id, port, labels): &(&str, u16, Value)| json!({"id": id, "ports": [port], "labels": labels, "instances": 0});
    json!(all.iter().map(app).collect::<Vec<_>>()).to_string()
}

fn file_source(file: &std::path::Path, more: &str) -> String {
    format!("[marathon]\nfile = {file:?}\ngroups = [\"*\"]\n[haproxy]\n{more}")
}

#[test]
fn a_last_configuration_that_does_not_start_any_more_is_replaced() {
    on_a_host(&[], || async {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), apps(&[("/a", 10_001, json!({})), ("/b", 10_002, json!({}))])).unwrap();
        let toml = file_source(file.path(), "");
        let baton = Baton::start(&toml, &[]).await.unwrap();
        baton.until("applied", |s| s["applied"]["frontends"] == 2).await.unwrap();
        let dir = baton.stop().await.unwrap();
        let _held = std::net::TcpListener::bind("[::]:10002").unwrap();
        let baton = Baton::start_in(dir, &toml, &[]).await.unwrap();
        let status = baton.until("the rest", |s| s["applied"]["frontends"] == 1).await.unwrap();
        assert!(status["applied"]["left_out"].to_string().contains("b_10002"), "{status:#}");
        assert_eq!(
            get_until("http://127.0.0.1:9090/_haproxy_health_check", &[], |a| a.status == 200).await.status,
            200
        );
    });
}

#[test]
fn what_was_refused_is_tried_again_without_a_change_of_apps() {
    on_a_host(&[], || async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let certs = tempfile::tempdir().unwrap();
        let (shared, own) = (certs.path().join("shared.pem"), certs.path().join("own.pem"));
        let made = |path: &std::path::Path| baton::certs::default_certificate(path).map(drop);
        made(&shared).unwrap();
        std::fs::write(file.path(), apps(&[("/a", 10_001, json!({}))])).unwrap();
        let toml = file_source(file.path(), &format!("certs = [{shared:?}]\n"));
        let baton = Baton::start(&toml, &[]).await.unwrap();
        baton.until("applied", |s| s["applied"]["frontends"] == 1).await.unwrap();

        // A certificate of everybody is away for a moment, while an app comes: it goes on.
        let away = certs.path().join("away.pem");
        std::fs::rename(&shared, &away).unwrap();
        std::fs::write(file.path(), apps(&[("/a", 10_001, json!({})), ("/b", 10_002, json!({}))])).unwrap();
        let troubles = |s: &Value| s["applied"]["certificates"]["troubles"].clone();
        baton.until("both", |s| s["applied"]["frontends"] == 2 && s["applied"]["trouble"].is_null()).await.unwrap();
        baton.until("told", |s| troubles(s).to_string().contains("shared.pem")).await.unwrap();
        std::fs::rename(&away, &shared).unwrap();
        baton.until("in order", |s| troubles(s) == json!({})).await.unwrap();

        // The certificate of one app comes late.
        let labels = json!({"HAPROXY_0_SSL_CERT": own});
        std::fs::write(file.path(), apps(&[("/a", 10_001, json!({})), ("/b", 10_002, labels)])).unwrap();
        baton.until("left out", |s| s["applied"]["left_out"]["/b"].is_string()).await.unwrap();
        made(&own).unwrap();
        baton.signal(Signal::SIGUSR1).unwrap();
        baton
            .until("served", |s| s["applied"]["frontends"] == 2 && s["applied"]["left_out"] == json!({}))
            .await
            .unwrap();
    });
}
