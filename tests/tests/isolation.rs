//! One bad app harms nobody: what HAProxy refuses is found, replaced and remembered.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "measures how long the others wait")]

mod scene;

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::lab::baton::Baton;
use e2e::lab::client::get_until;
use e2e::lab::{haproxy_binary, on_a_host};
use e2e::sim::Personality;
use nix::sys::signal::Signal;
use scene::{Scene, answering, app, scene};
use serde_json::{Value, json};

fn checks(status: &Value) -> u64 {
    status["applied"]["checks"].as_u64().unwrap()
}

#[test]
fn a_bad_app_goes_on_as_it_was_and_costs_the_others_nothing() {
    scene(Personality::V1_8, 1, |scene| async move {
        let Scene { sim, baton } = scene;
        for n in 0..20 {
            sim.post_app(&app(&format!("/quiet-{n}"), 10_100 + n, &[], 1)).unwrap();
        }
        sim.post_app(&app("/web", 10_001, &[], 1)).unwrap();
        sim.post_app(&app("/shop", 10_002, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 1).await.len(), 1);
        assert_eq!(answering("http://127.0.0.1:10002/", 1).await.len(), 1);
        baton.until("all", |s| s["applied"]["frontends"] == 22 && s["applied"]["pending"] == false).await.unwrap();

        let bad = json!({"labels": {"HAPROXY_0_MODE": "http", "HAPROXY_0_SSL_CERT": "/nonexistent.pem"}});
        sim.put_app("/shop", &bad).unwrap();
        let status = baton.until("refused", |s| s["applied"]["left_out"]["/shop"].is_string()).await.unwrap();
        let issues = status["issues"].as_array().unwrap();
        assert_eq!(issues.len(), 1, "{status:#}");
        assert_eq!((&issues[0]["app"], &issues[0]["label"]), (&json!("/shop"), &json!("HAPROXY_0_SSL_CERT")));
        let problem = issues[0]["problem"].as_str().unwrap();
        assert!(
            problem.contains("what it was before is served") && problem.contains("'/nonexistent.pem'"),
            "{problem}"
        );
        assert_eq!(status["applied"]["trouble"], Value::Null);

        // What it was goes on, and its servers follow its tasks.
        let answer = get_until("http://127.0.0.1:10002/", &[], |a| a.status == 200).await;
        assert_eq!(answer.json()["app"], "/shop");
        sim.put_app("/shop", &json!({"instances": 3})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10002/", 3).await.len(), 3);

        // A change of another app costs no check; a new one costs the one that it always costs.
        let before = checks(&baton.status().await.unwrap());
        sim.put_app("/web", &json!({"instances": 2})).unwrap();
        assert_eq!(answering("http://127.0.0.1:10001/", 2).await.len(), 2);
        assert_eq!(checks(&baton.status().await.unwrap()), before);
        sim.post_app(&app("/new", 10_003, &[], 1)).unwrap();
        assert_eq!(answering("http://127.0.0.1:10003/", 1).await.len(), 1);
        let status = baton.until("quiet", |s| s["applied"]["pending"] == false).await.unwrap();
        assert_eq!(checks(&status), before + 1);

        // Somebody asks: it is tried again, and refused again.
        baton.signal(Signal::SIGUSR1).unwrap();
        let again = |s: &Value| checks(s) > before + 1 && s["applied"]["pending"] == false;
        let status = baton.until("tried again", again).await.unwrap();
        assert!(checks(&status) <= before + 4 && status["applied"]["left_out"]["/shop"].is_string(), "{status:#}");

        // Another daemon knows what was served in its place.
        let baton = baton.kill_and_restart().await.unwrap();
        let known = |s: &Value| s["applied"]["left_out"]["/shop"].is_string() && s["applied"]["frontends"] == 23;
        baton.until("as before", known).await.unwrap();
        assert_eq!(answering("http://127.0.0.1:10002/", 3).await.len(), 3);
        sim.put_app("/shop", &json!({"labels": {"HAPROXY_0_MODE": "http", "HAPROXY_0_VHOST": "shop.test"}})).unwrap();
        baton.until("mended", |s| s["applied"]["left_out"] == json!({}) && s["issues"] == json!([])).await.unwrap();
        let host = [("host", "shop.test")];
        assert_eq!(get_until("http://127.0.0.1/", &host, |a| a.status == 200).await.json()["app"], "/shop");
    });
}

/// Apps in a file and an HAProxy that has opinions of its own about what it is asked.
struct Opinions {
    dir: tempfile::TempDir,
}

impl Opinions {
    /// `opinion` is shell code that sees the configuration as `$cfg` before HAProxy does.
    fn new(opinion: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("baton-opinions-").tempdir().unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in -c)\n  cfg=\"$3\"\n{opinion}\n;; esac\nexec {} \"$@\"\n",
            haproxy_binary().unwrap().display()
        );
        let binary = dir.path().join("haproxy");
        std::fs::write(&binary, script).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("apps.json")
    }

    /// Writes apps with a port each, and the address that may use it, if one is given.
    fn write(&self, apps: &[(&str, u16, &str)]) {
        let app = |(id, port, allowed): &(&str, u16, &str)| {
            let labels = match *allowed {
                "" => json!({}),
                allowed => json!({"HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": allowed}),
            };
            json!({"id": id, "ports": [port], "labels": labels, "instances": 0})
        };
        let new = self.dir.path().join("new");
        std::fs::write(&new, json!(apps.iter().map(app).collect::<Vec<_>>()).to_string()).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    async fn baton(&self) -> Baton {
        let binary = self.dir.path().join("haproxy");
        let mut toml = format!("[marathon]\nfile = {:?}\ngroups = [\"*\"]\n[haproxy]\n", self.file());
        writeln!(toml, "binary = {binary:?}\nmin_reload_spacing = \"50ms\"").unwrap();
        Baton::start(&toml, &[]).await.unwrap()
    }
}

fn served(baton: &Baton) -> Vec<String> {
    let config = baton.haproxy_cfg();
    let frontends = config.lines().filter_map(|line| line.strip_prefix("frontend "));
    frontends.filter(|name| !name.starts_with("marathon_")).map(str::to_owned).collect()
}

/// Shell code: complains without a line where `cfg` names both addresses.
const NOT_BOTH: &str = "  if /bin/grep -q 10.9.9.1 \"$cfg\" && /bin/grep -q 10.9.9.2 \"$cfg\"; then\n    \
     echo \"[ALERT]    ($$) : config : two of a kind\" >&2; exit 1\n  fi";

#[test]
fn of_two_that_fail_only_together_one_is_served() {
    on_a_host(&[], || async {
        let opinions = Opinions::new(NOT_BOTH);
        opinions.write(&[("/quiet", 10_000, "")]);
        let baton = opinions.baton().await;
        baton.until("served", |s| s["applied"]["frontends"] == 1).await.unwrap();
        let before = checks(&baton.status().await.unwrap());

        let both = [
            ("/quiet", 10_000, ""),
            ("/one", 10_001, "10.9.9.1"),
            ("/two", 10_002, "10.9.9.2"),
            ("/three", 10_003, "10.9.9.3"),
        ];
        opinions.write(&both);
        let settled = |s: &Value| s["applied"]["frontends"] == 3 && s["applied"]["pending"] == false;
        let status = baton.until("one of the two", settled).await.unwrap();
        assert_eq!(served(&baton), ["one_10001", "quiet_10000", "three_10003"]);
        assert!(status["applied"]["left_out"]["/two"].as_str().unwrap().contains("two of a kind"), "{status:#}");
        assert!(checks(&status) - before <= 6, "{status:#}");

        // Others are applied, each for its own check; the search is not made again.
        let before = checks(&status);
        opinions.write(&[&both[..], &[("/four", 10_004, "")]].concat());
        let status = baton.until("another app", |s| s["applied"]["frontends"] == 4).await.unwrap();
        assert_eq!(checks(&status), before + 1);

        // A daemon that never accepted either comes to the same.
        let dir = baton.stop().await.unwrap();
        drop(dir);
        let baton = opinions.baton().await;
        let status = baton.until("the same", |s| s["applied"]["frontends"] == 4).await.unwrap();
        assert!(status["applied"]["left_out"]["/two"].is_string(), "{status:#}");
    });
}

#[test]
fn a_check_that_hangs_costs_its_app_and_not_the_others() {
    on_a_host(&[], || async {
        let hang = "  if /bin/grep -q 10.9.9.2 \"$cfg\"; then exec /bin/sleep 60; fi";
        let opinions = Opinions::new(hang);
        opinions.write(&[("/quiet", 10_000, ""), ("/b", 10_001, "")]);
        let baton = opinions.baton().await;
        baton.until("served", |s| s["applied"]["frontends"] == 2).await.unwrap();

        let began = Instant::now();
        opinions.write(&[("/quiet", 10_000, ""), ("/b", 10_001, "10.9.9.2"), ("/new", 10_002, "")]);
        baton.until("the new one", |s| s["applied"]["frontends"] == 3).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let status = baton.until("settled", |s| s["applied"]["left_out"]["/b"].is_string()).await.unwrap();
        assert!(status["applied"]["left_out"]["/b"].as_str().unwrap().contains("did not end within"), "{status:#}");
        assert_eq!(served(&baton), ["b_10001", "new_10002", "quiet_10000"]);
        assert!(!baton.haproxy_cfg().contains("10.9.9.2"), "it is served as it was");

        let before = checks(&baton.until("quiet", |s| s["applied"]["pending"] == false).await.unwrap());
        opinions.write(&[
            ("/quiet", 10_000, ""),
            ("/b", 10_001, "10.9.9.2"),
            ("/new", 10_002, ""),
            ("/next", 10_003, ""),
        ]);
        let status = baton.until("another one", |s| s["applied"]["frontends"] == 4).await.unwrap();
        assert_eq!(checks(&status), before + 1, "it does not hang again");
    });
}
