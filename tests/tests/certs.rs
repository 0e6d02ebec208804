//! Certificates that are new, renewed, gone or broken, as TLS clients see them: without a reload.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod scene;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use e2e::lab::baton::Baton;
use e2e::lab::on_a_host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A certificate and what a client sees of it.
struct Cert {
    chain: String,
    key: String,
    der: Vec<u8>,
}

impl Cert {
    fn new(host: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
        Self { chain: cert.pem(), key: key.serialize_pem(), der: cert.der().to_vec() }
    }

    /// The file, complete when its name appears.
    fn put(&self, path: &Path) {
        let new = path.with_file_name(".new");
        fs::write(&new, format!("{}\n\n{}", self.chain, self.key)).unwrap();
        fs::rename(&new, path).unwrap();
    }
}

/// What a client that asks for `host` is shown on `port`; nothing where there is no handshake.
async fn shown(host: &str, port: u16) -> Vec<u8> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .tls_info(true)
        .tls_danger_accept_invalid_certs(true)
        .pool_max_idle_per_host(0)
        .resolve(host, SocketAddr::from(([127, 0, 0, 1], port)))
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let Ok(answer) = client.get(format!("https://{host}:{port}/")).send().await else { return Vec::new() };
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>();
    info.and_then(|info| info.peer_certificate()).unwrap_or_default().to_vec()
}

/// Waits until `host` is shown `cert`.
async fn until(baton: &Baton, host: &str, port: u16, cert: &Cert) {
    for _ in 0..500 {
        if shown(host, port).await == cert.der {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{host} never gets its certificate; the log:\n{}", baton.log());
}

async fn reloads(baton: &Baton) -> Value {
    baton.status().await.unwrap()["applied"]["reloads"].clone()
}

/// A `baton` that follows the apps in `dir/apps.json`, with `certs` as `haproxy.certs`.
async fn start(dir: &Path, apps: &Value, certs: &str) -> Baton {
    fs::write(dir.join("apps.json"), apps.to_string()).unwrap();
    let toml = format!(
        "[marathon]\nfile = {:?}\ngroups = [\"*\"]\n[haproxy]\ncerts = {certs}\nmin_reload_spacing = \"50ms\"\n",
        dir.join("apps.json")
    );
    let baton = Baton::start(&toml, &[]).await.unwrap();
    let count = apps.as_array().unwrap().len();
    baton.until("applied", |status| status["applied"]["backends"] == count).await.unwrap();
    baton
}

fn web(id: &str, port: u16, labels: Value) -> Value {
    json!({"id": id, "ports": [port], "labels": labels, "instances": 0})
}

async fn kill_haproxy(baton: &Baton) {
    let status = baton.until("a pid", |status| status["haproxy"]["pid"].is_u64()).await.unwrap();
    let pid = status["haproxy"]["pid"].as_i64().unwrap();
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    let another = |status: &Value| status["haproxy"]["pid"].as_i64().is_some_and(|now| now != pid);
    baton.until("another pid", another).await.unwrap();
}

#[test]
fn hosts_get_new_and_renewed_certificates_and_lose_old_ones_without_a_reload() {
    on_a_host(&[], || async {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("certs")).unwrap();
        fs::create_dir_all(at("archive")).unwrap();
        let (a, again, b) = (Cert::new("a.test"), Cert::new("a.test"), Cert::new("b.test"));
        a.put(&at("certs/a.pem"));
        let baton = start(dir.path(), &json!([web("/a", 10_001, json!({}))]), &format!("[{:?}]", at("certs"))).await;
        until(&baton, "a.test", 443, &a).await;
        let before = reloads(&baton).await;

        b.put(&at("certs/b.pem"));
        until(&baton, "b.test", 443, &b).await;
        again.put(&at("certs/a.pem"));
        until(&baton, "a.test", 443, &again).await;
        until(&baton, "unknown.test", 443, &again).await;

        // As certbot does it: a link that is swapped; and a key beside the certificate.
        let (old, new) = (Cert::new("c.test"), Cert::new("c.test"));
        old.put(&at("archive/c1.pem"));
        new.put(&at("archive/c2.pem"));
        symlink("../archive/c1.pem", at("certs/c.pem")).unwrap();
        until(&baton, "c.test", 443, &old).await;
        symlink("../archive/c2.pem", at("certs/.next")).unwrap();
        fs::rename(at("certs/.next"), at("certs/c.pem")).unwrap();
        until(&baton, "c.test", 443, &new).await;
        let beside = Cert::new("d.test");
        fs::write(at("certs/d.crt"), &beside.chain).unwrap();
        fs::write(at("certs/d.key"), &beside.key).unwrap();
        until(&baton, "d.test", 443, &beside).await;

        // The first one is for clients that ask for a host unknown: it can go all the same.
        fs::remove_file(at("certs/a.pem")).unwrap();
        until(&baton, "a.test", 443, &b).await;
        assert_eq!(reloads(&baton).await, before, "no reload:\n{}", baton.log());
        let status = baton.status().await.unwrap();
        assert_eq!(status["applied"]["certificates"]["troubles"], json!({}));

        // What runs is what a start would bring.
        let list = baton.dir().join("state/current/certs/hosts.list");
        let followed = || fs::read_to_string(&list).is_ok_and(|list| !list.contains("-a.pem"));
        for _ in 0..300 {
            if followed() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        kill_haproxy(&baton).await;
        for (host, cert) in [("a.test", &b), ("b.test", &b), ("c.test", &new), ("d.test", &beside)] {
            until(&baton, host, 443, cert).await;
        }
        assert_eq!(reloads(&baton).await, before, "the files had followed:\n{}", baton.log());
    });
}

#[test]
fn a_broken_certificate_is_told_once_and_costs_nothing() {
    on_a_host(&[], || async {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("certs")).unwrap();
        let (a, b, mended) = (Cert::new("a.test"), Cert::new("b.test"), Cert::new("a.test"));
        a.put(&at("certs/a.pem"));
        b.put(&at("certs/b.pem"));
        // One that never was any good does not keep the others.
        fs::write(at("certs/never.pem"), "nothing\n").unwrap();
        let apps = [web("/a", 10_001, json!({})), web("/b", 10_002, json!({}))];
        let mut baton = start(dir.path(), &json!([apps[0]]), &format!("[{:?}]", at("certs"))).await;
        until(&baton, "a.test", 443, &a).await;
        let before = reloads(&baton).await;

        let key_of_another = Cert { key: b.key.clone(), ..Cert::new("a.test") };
        for (n, broken) in [a.chain[..a.chain.len() / 2].to_owned(), key_of_another.chain + &key_of_another.key]
            .into_iter()
            .enumerate()
        {
            fs::write(at("certs/a.pem"), broken).unwrap();
            let path = at("certs/a.pem");
            let words = if n == 0 { "key" } else { "HAProxy refuses it" };
            let told = |status: &Value| {
                let why = &status["applied"]["certificates"]["troubles"][path.to_str().unwrap()];
                why.as_str().is_some_and(|why| why.contains(words) && why.ends_with("what it held before stays"))
            };
            baton.until("told", told).await.unwrap();
            tokio::time::sleep(Duration::from_millis(800)).await;
            assert_eq!(shown("a.test", 443).await, a.der);
        }
        assert_eq!(baton.log().matches("HAProxy refuses it").count(), 1, "once:\n{}", baton.log());
        assert_eq!(reloads(&baton).await, before);

        // Neither what needs a reload, nor a start of HAProxy or of baton is kept from happening.
        fs::write(at("apps.json"), json!(apps).to_string()).unwrap();
        baton.until("both", |status| status["applied"]["backends"] == 2).await.unwrap();
        kill_haproxy(&baton).await;
        until(&baton, "a.test", 443, &a).await;
        baton = baton.kill_and_restart().await.unwrap();
        baton.until("both", |status| status["applied"]["backends"] == 2).await.unwrap();
        kill_haproxy(&baton).await;
        until(&baton, "a.test", 443, &a).await;
        until(&baton, "b.test", 443, &b).await;

        let before = reloads(&baton).await;
        mended.put(&at("certs/a.pem"));
        fs::remove_file(at("certs/never.pem")).unwrap();
        until(&baton, "a.test", 443, &mended).await;
        let clean = |status: &Value| status["applied"]["certificates"]["troubles"] == json!({});
        baton.until("in order", clean).await.unwrap();
        assert_eq!(reloads(&baton).await, before, "no reload:\n{}", baton.log());
    });
}

#[test]
fn the_listeners_of_apps_follow_the_files_that_labels_name() {
    on_a_host(&[], || async {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("many")).unwrap();
        let [one, renewed, first, second, option, late] =
            ["one.test", "one.test", "first.test", "second.test", "option.test", "late.test"].map(Cert::new);
        one.put(&at("one.pem"));
        first.put(&at("many/first.pem"));
        option.put(&at("option.pem"));
        let apps = json!([
            web("/one", 10_001, json!({"HAPROXY_0_MODE": "http", "HAPROXY_0_SSL_CERT": at("one.pem")})),
            web("/many", 10_002, json!({"HAPROXY_0_MODE": "http", "HAPROXY_0_SSL_CERT": at("many")})),
            web(
                "/option",
                10_003,
                json!({
                    "HAPROXY_0_MODE": "http",
                    "HAPROXY_0_BIND_OPTIONS": format!("ssl crt {}", at("option.pem").display()),
                })
            ),
        ]);
        let baton = start(dir.path(), &apps, "[]").await;
        for (host, port, cert) in
            [("one.test", 10_001, &one), ("first.test", 10_002, &first), ("x.test", 10_003, &option)]
        {
            until(&baton, host, port, cert).await;
        }
        let before = reloads(&baton).await;
        renewed.put(&at("one.pem"));
        second.put(&at("many/second.pem"));
        until(&baton, "one.test", 10_001, &renewed).await;
        until(&baton, "second.test", 10_002, &second).await;
        first.put(&at("option.pem"));
        until(&baton, "x.test", 10_003, &first).await;
        fs::remove_file(at("one.pem")).unwrap();
        let trouble = |status: &Value| status["applied"]["certificates"]["troubles"].to_string().contains("one.pem");
        baton.until("told", trouble).await.unwrap();
        until(&baton, "one.test", 10_001, &renewed).await;
        assert_eq!(reloads(&baton).await, before, "no reload:\n{}", baton.log());

        // A file that is not there costs its app only, and until it is there.
        let mut more = apps.clone();
        more.as_array_mut().unwrap().push(web("/late", 10_004, json!({"HAPROXY_0_SSL_CERT": at("late.pem")})));
        fs::write(at("apps.json"), more.to_string()).unwrap();
        baton.until("left out", |status| status["applied"]["left_out"]["/late"].is_string()).await.unwrap();
        until(&baton, "one.test", 10_001, &renewed).await;
        late.put(&at("late.pem"));
        let served = |status: &Value| status["applied"]["left_out"] == json!({}) && status["applied"]["backends"] == 4;
        baton.until("served", served).await.unwrap();
    });
}

#[test]
fn the_first_certificate_takes_the_place_of_the_self_signed_one() {
    on_a_host(&[], || async {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("certs");
        fs::create_dir_all(&certs).unwrap();
        let apps = json!([web("/a", 10_001, json!({}))]);
        let baton = start(dir.path(), &apps, &format!("[{certs:?}]")).await;
        let told =
            |status: &Value| status["applied"]["certificates"]["troubles"].to_string().contains("no certificate");
        baton.until("told", told).await.unwrap();
        assert!(!shown("a.test", 443).await.is_empty(), "a self-signed one");
        let before = reloads(&baton).await;
        let a = Cert::new("a.test");
        a.put(&certs.join("a.pem"));
        until(&baton, "a.test", 443, &a).await;
        assert_eq!(reloads(&baton).await, before);
        // A volume that is away for a moment does not take them all.
        fs::rename(&certs, dir.path().join("away")).unwrap();
        baton.until("told", |status| status["applied"]["certificates"]["troubles"] != json!({})).await.unwrap();
        until(&baton, "a.test", 443, &a).await;
        baton.signal(Signal::SIGHUP).unwrap();
        baton.until("reloaded", |status| status["applied"]["reloads"] != before).await.unwrap();
        until(&baton, "a.test", 443, &a).await;
    });
}
