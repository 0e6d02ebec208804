//! What operators do to a running daemon: status, reload, signals, wrong files.

mod scene;

use std::process::{Command, Output};

use e2e::lab::baton::{Baton, binary};
use e2e::lab::client::{get, get_until};
use e2e::lab::on_a_host;
use nix::sys::signal::Signal;
use scene::{Scene, answering, app, scene};
use serde_json::{Value, json};

use e2e::sim::Personality;

/// Runs a command of `baton` against the running one.
fn ask(baton: &Baton, args: &[&str]) -> Output {
    let mut command = Command::new(binary("baton").expect("baton is built"));
    command.args(args).arg("--socket").arg(baton.dir().join("baton.sock"));
    command.output().expect("run baton")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn status_tells_people_and_scripts_the_same() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        sim.post_app(&app("/web", 10_001, &[("HAPROXY_0_STICKY", "maybe")], 2)).unwrap();
        baton.until("2 servers", |s| s["applied"]["servers"] == 2).await.unwrap();
        let json = ask(baton, &["status", "--json"]);
        let report: Value = serde_json::from_slice(&json.stdout).expect("JSON");
        assert_eq!(report["applied"]["servers"], 2);
        assert_eq!(report["issues"][0]["label"], "HAPROXY_0_STICKY");
        let table = text(&ask(baton, &["status"]).stdout);
        for part in ["1 ports", "2 servers", "/web: HAPROXY_0_STICKY", "events", "child, pid"] {
            assert!(table.contains(part), "{part} is not in\n{table}");
        }
    });
}

#[test]
fn a_reload_takes_over_what_it_can_and_names_what_needs_a_restart() {
    let apps = |labels: Value| {
        json!({"apps": [
            {"id": "/a", "labels": labels, "ports": [10_001], "instances": 0, "tasks": []},
            {"id": "/b", "labels": {"HAPROXY_GROUP": "internal"}, "ports": [10_002], "instances": 0, "tasks": []},
        ]})
        .to_string()
    };
    on_a_host(&[], move || async move {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), apps(json!({"HAPROXY_GROUP": "external"}))).unwrap();
        let toml = |rest: &str| format!("[marathon]\nfile = {:?}\n{rest}", file.path());
        let baton = Baton::start(&toml("groups = [\"external\"]\n"), &[]).await.unwrap();
        baton.until("1 backend", |s| s["applied"]["backends"] == 1).await.unwrap();

        // By signal: another group is served.
        baton.write_config(&toml("groups = [\"*\"]\n")).unwrap();
        baton.signal(Signal::SIGHUP).unwrap();
        baton.until("2 backends", |s| s["applied"]["backends"] == 2).await.unwrap();

        // By command: a bad file is refused, and the old configuration stays.
        baton.write_config(&toml("groupz = [\"external\"]\n")).unwrap();
        let refused = ask(&baton, &["reload"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("groupz"), "{}", text(&refused.stderr));
        assert_eq!(baton.status().await.unwrap()["applied"]["backends"], 2);

        // Listeners move; what cannot be taken over is named.
        let moved = "groups = [\"*\"]\npoll = \"7s\"\n[haproxy]\napp_id = \"*:9191\"\nsettle = \"11ms\"\n";
        baton.write_config(&toml(moved)).unwrap();
        let taken = ask(&baton, &["reload"]);
        assert!(taken.status.success());
        for part in ["[marathon]", "haproxy.settle"] {
            assert!(text(&taken.stderr).contains(part), "{part}: {}", text(&taken.stderr));
        }
        assert_eq!(get_until("http://127.0.0.1:9191/", &[], |a| a.status == 503).await.status, 503);
        assert_eq!(get_until("http://127.0.0.1:9091/", &[], |a| a.status == 0).await.status, 0);
        assert_eq!(get("http://127.0.0.1:9090/_haproxy_health_check", &[]).await.status, 200);
    });
}

#[test]
fn edited_apps_are_followed_and_a_torn_file_changes_nothing() {
    on_a_host(&[], || async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let apps = |port: u16| json!([{"id": "/a", "labels": {}, "ports": [port], "instances": 0}]).to_string();
        std::fs::write(file.path(), apps(10_001)).unwrap();
        let toml = format!("[marathon]\nfile = {:?}\ngroups = [\"*\"]\n", file.path());
        let baton = Baton::start(&toml, &[]).await.unwrap();
        baton.until("1 frontend", |s| s["applied"]["frontends"] == 1).await.unwrap();
        std::fs::write(file.path(), "[{\"id\": \"/a\", ").unwrap();
        let said = baton.until("trouble", |s| s["source"]["trouble"].is_object()).await.unwrap();
        assert_eq!(said["applied"]["frontends"], 1);
        std::fs::write(file.path(), apps(10_002)).unwrap();
        baton
            .until("no trouble", |s| s["source"]["trouble"].is_null() && s["applied"]["pending"] == false)
            .await
            .unwrap();
        get_until("http://127.0.0.1:10002/", &[], |a| a.status != 0).await;
        assert!(baton.haproxy_cfg().contains("frontend a_10002"), "{}", baton.haproxy_cfg());
    });
}

#[test]
fn a_second_daemon_does_not_take_the_first_ones_socket() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        let second = Command::new(binary("baton").unwrap())
            .args(["run", "--config"])
            .arg(baton.dir().join("baton.toml"))
            .output()
            .unwrap();
        assert_eq!(second.status.code(), Some(1));
        assert!(text(&second.stderr).contains("another baton"), "{}", text(&second.stderr));
        assert_eq!(get("http://127.0.0.1:10001/", &[]).await.status, 200);
    });
}

#[test]
fn an_own_listener_that_is_taken_is_named_with_its_holder_and_served_once_free() {
    on_a_host(&[], || async {
        let held = std::net::TcpListener::bind("0.0.0.0:9091").unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[]").unwrap();
        let toml = format!("[marathon]\nfile = {:?}\ngroups = [\"*\"]\n", file.path());
        let baton = Baton::start(&toml, &[]).await.unwrap();
        let status = baton.until("trouble", |s| s["applied"]["trouble"].is_object()).await.unwrap();
        let said = status["applied"]["trouble"]["text"].as_str().unwrap().to_owned();
        assert!(said.contains("9091") && said.contains(&std::process::id().to_string()), "{said}");
        drop(held);
        baton.until("applied", |s| s["applied"]["digest"].is_string()).await.unwrap();
        assert_eq!(get_until("http://127.0.0.1:9091/", &[], |a| a.status == 503).await.status, 503);
    });
}

#[test]
fn haproxy_of_a_unit_of_its_own_is_driven_by_its_master_socket_and_left_alone() {
    on_a_host(&[], || async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let apps = |port: u16| json!([{"id": "/a", "labels": {}, "ports": [port], "instances": 0}]).to_string();
        std::fs::write(file.path(), apps(10_001)).unwrap();
        let dir = tempfile::Builder::new().prefix("baton-").tempdir().unwrap();
        let (state, run) = (dir.path().join("state"), dir.path().join("run"));
        // What a package ships for the first boot, and what its unit starts.
        std::fs::create_dir_all(state.join("first")).unwrap();
        std::fs::create_dir_all(&run).unwrap();
        let minimal = "defaults\n  mode http\n  timeout client 1s\n  timeout server 1s\n  timeout connect 1s\n\
                       listen first\n  bind *:9090\n  monitor-uri /_haproxy_health_check\n";
        std::fs::write(state.join("first/haproxy.cfg"), minimal).unwrap();
        std::os::unix::fs::symlink("first", state.join("current")).unwrap();
        let mut unit = tokio::process::Command::new("haproxy")
            .args(["-W", "-S"])
            .arg(format!("{},mode,600", run.join("master.sock").display()))
            .arg("-f")
            .arg(state.join("current/haproxy.cfg"))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        assert_eq!(
            get_until("http://127.0.0.1:9090/_haproxy_health_check", &[], |a| a.status == 200).await.status,
            200
        );

        let toml = format!("[marathon]\nfile = {:?}\ngroups = [\"*\"]\n[haproxy]\nmanage = \"systemd\"\n", file.path());
        let baton = Baton::start_in(dir, &toml, &[]).await.unwrap();
        let status = baton.until("applied", |s| s["applied"]["digest"].is_string()).await.unwrap();
        assert_eq!((&status["applied"]["how"], &status["haproxy"]["manage"]), (&json!("reload"), &json!("systemd")));
        assert!(baton.haproxy_cfg().contains("frontend a_10001"));

        let dir = baton.stop().await.unwrap();
        assert_eq!(get("http://127.0.0.1:9090/_haproxy_health_check", &[]).await.status, 200, "HAProxy goes on");
        std::fs::write(file.path(), apps(10_002)).unwrap();
        let baton = Baton::start_in(dir, &toml, &[]).await.unwrap();
        baton.until("the new port", |s| s["applied"]["at"].is_number()).await.unwrap();
        assert!(baton.haproxy_cfg().contains("frontend a_10002"));
        drop(baton);
        unit.kill().await.unwrap();
    });
}

#[test]
fn requests_are_logged_without_a_syslog_socket() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton } = &scene;
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        get("http://127.0.0.1:10001/seen-in-the-log", &[]).await;
        let logged = || baton.log().lines().any(|line| line.contains("web_10001") && line.contains("/seen-in-the-log"));
        for _ in 0..200 {
            if logged() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no line for the request in\n{}", baton.log());
    });
}

#[test]
fn an_app_that_names_a_pipe_for_a_certificate_blocks_nobody() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton, .. } = &scene;
        let pipe = baton.dir().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let pipe = pipe.to_str().unwrap();
        sim.post_app(&app("/bad", 10_001, &[("HAPROXY_0_SSL_CERT", pipe)], 1)).unwrap();
        sim.post_app(&app("/good", 10_002, &[], 1)).unwrap();
        let status = baton.until("1 server", |s| s["applied"]["servers"] == 1).await.unwrap();
        let problem = status["issues"][0]["problem"].as_str().unwrap();
        assert!(problem.contains("is no plain file"), "{problem}");
        answering("http://127.0.0.1:10002/", 1).await;
    });
}
