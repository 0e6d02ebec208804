//! IPv4 and IPv6 on every listener, and listeners on addresses that are elsewhere at the moment.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod labels;

use std::net::TcpListener;

use e2e::lab::baton::Baton;
use e2e::lab::client::{get, get_until};
use e2e::lab::{ip, on_a_host};
use labels::curl::curl;
use labels::{Host, app, host};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const ALL: &str = "groups = [\"*\"]";

/// Puts another app into the file and waits until it is served, as far as it can be.
async fn serve_also(host: &Host, id: &str, port: u16, labels: &[(&str, &str)]) -> Value {
    let file = host.file("apps.json");
    let mut apps: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let list = apps["apps"].as_array_mut().unwrap();
    let mut one = list[0].clone();
    let labels = labels.iter().map(|(name, value)| (format!("HAPROXY_0_{name}"), json!(value)));
    one["id"] = json!(id);
    one["labels"] = Value::Object(labels.collect());
    one["portDefinitions"] = json!([{"port": port}]);
    list.push(one);
    let backends = list.len();
    std::fs::write(&file, apps.to_string()).unwrap();
    let served = |s: &Value| s["applied"]["backends"] == backends && s["applied"]["pending"] == false;
    host.baton.until(&format!("served {id}"), served).await.unwrap()
}

#[test]
fn both_families_are_served_and_ipv4_clients_keep_their_addresses() {
    let apps = vec![
        app("/web", 10_001, &[("VHOST", "web.example.com")]),
        app("/tls", 10_002, &[("SSL_CERT", "{dir}/shop.pem"), ("MODE", "http")]),
        app("/proxied", 10_003, &[("BIND_OPTIONS", "accept-proxy"), ("MODE", "http")]),
        app("/four", 10_004, &[("BACKEND_NETWORK_ALLOWED_ACL", "127.0.0.0/8"), ("MODE", "http")]),
        app("/only-four", 10_005, &[("BIND_ADDR", "0.0.0.0"), ("MODE", "http")]),
    ];
    host(apps, ALL, "", async |host| {
        // After the start: every address is every address.
        ip(&["addr", "add", "fd00::9/128", "dev", "lo"]).unwrap();
        for (at, seen) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("[fd00::9]", "fd00::9")] {
            let client = |url: String| async move { curl(url).host("web.example.com").send().await.json() };
            for url in [format!("http://{at}:10001/"), format!("http://{at}/"), format!("https://{at}/")] {
                let got = client(url.clone()).await;
                assert_eq!(got["app"], "/web", "{url}");
                assert_eq!(got["headers"]["x-forwarded-for"], seen, "{url}");
            }
            assert_eq!(curl(format!("https://{at}:10002/")).app().await, "/tls");
            assert_eq!(curl(format!("http://{at}:10003/")).arg("--haproxy-protocol").app().await, "/proxied");
            assert_eq!(curl(format!("http://{at}:10003/")).status().await, 0, "without its header");
            assert_eq!(curl(format!("http://{at}:9090/_haproxy_health_check")).status().await, 200);
            let by_id = curl(format!("http://{at}:9091/")).header("X-Marathon-App-Id", "/web");
            assert_eq!(by_id.app().await, "/web");
        }
        assert_eq!(curl("http://127.0.0.1:10004/").app().await, "/four");
        assert_eq!(curl("http://[::1]:10004/").status().await, 403);
        assert_eq!(curl("http://127.0.0.1:10005/").app().await, "/only-four");
        assert_eq!(curl("http://[::1]:10005/").status().await, 0);
        assert_eq!(host.issues().await, [""; 0]);
    });
}

#[test]
fn without_ipv6_everything_is_ipv4() {
    host(vec![app("/web", 10_001, &[("MODE", "http")])], ALL, "ipv6 = false", async |_| {
        assert_eq!(curl("http://127.0.0.1:10001/").app().await, "/web");
        for port in [80, 9090, 10_001] {
            assert_eq!(curl(format!("http://[::1]:{port}/")).status().await, 0, "{port}");
        }
    });
}

#[test]
fn a_host_whose_ipv6_is_turned_off_works() {
    on_a_host(&[], || async {
        for interface in ["all", "default"] {
            // Of this thread's network namespace.
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1").unwrap();
        }
        assert!(TcpListener::bind("[::1]:0").is_err(), "IPv6 is off");
        let file = tempfile::NamedTempFile::new().unwrap();
        let apps = |port: u16| json!([{"id": "/a", "labels": {}, "ports": [port], "instances": 0}]).to_string();
        std::fs::write(file.path(), apps(10_001)).unwrap();
        let toml = format!("[marathon]\nfile = {:?}\ngroups = [\"*\"]\n", file.path());
        let baton = Baton::start(&toml, &[]).await.unwrap();
        baton.until("applied", |s| s["applied"]["frontends"] == 1).await.unwrap();
        std::fs::write(file.path(), apps(10_002)).unwrap();
        get_until("http://127.0.0.1:9090/_haproxy_health_check", &[], |a| a.status == 200).await;
        let done = |s: &Value| s["applied"]["revision"] == 2 && s["applied"]["pending"] == false;
        let status = baton.until("reloaded", done).await.unwrap();
        assert!(status["applied"]["trouble"].is_null(), "{status:#}");
        assert!(baton.haproxy_cfg().contains("frontend a_10002"));
        assert_eq!(get("http://127.0.0.1/", &[]).await.status, 503);
    });
}

#[test]
fn a_port_that_somebody_has_on_one_family_is_served_on_the_other() {
    host(vec![app("/web", 10_001, &[("MODE", "http")])], ALL, "", async |host| {
        let held = TcpListener::bind("[::1]:10002").unwrap();
        let status = serve_also(host, "/half", 10_002, &[("MODE", "http")]).await;
        let said = status["issues"][0]["problem"].as_str().unwrap();
        let expected = "port 0 listens on IPv4 only: cannot listen on [::]:10002 (IPv6): ";
        assert!(said.starts_with(expected) && said.contains(&format!("(pid {})", std::process::id())), "{said}");
        assert_eq!(curl("http://127.0.0.1:10002/").app().await, "/web", "the task is /web's");
        drop(held);
        host.baton.signal(Signal::SIGUSR1).unwrap();
        let mended = |s: &Value| s["issues"] == json!([]) && s["applied"]["pending"] == false;
        host.baton.until("no issue", mended).await.unwrap();
        assert_eq!(get_until("http://[::1]:10002/", &[], |a| a.status == 200).await.status, 200);
    });
}

#[test]
fn a_listener_on_a_floating_address_is_ready_before_the_address_comes() {
    let apps = vec![
        app("/web", 10_001, &[("VHOST", "web.example.com")]),
        app("/vip", 10_002, &[("BIND_ADDR", "192.0.2.10"), ("MODE", "http")]),
        app("/vip6", 10_002, &[("BIND_ADDR", "fd00::10"), ("MODE", "http")]),
    ];
    // The interface is not there, so the address comes when the test says so.
    let haproxy = "http = \"192.0.2.10:80\"\nhttps = \"[fd00::10]:443\"\n\
                   [[vrrp]]\ninterface = \"nosuch0\"\nvirtual_router_id = 51\n\
                   addresses = [\"192.0.2.10/24\"]\nexcluded_addresses = [\"fd00::10/64\"]\n";
    host(apps, ALL, haproxy, async |host| {
        let status = serve_also(host, "/late", 10_003, &[("BIND_ADDR", "192.0.2.10"), ("MODE", "http")]).await;
        assert!(status["applied"]["trouble"].is_null() && status["issues"] == json!([]), "{status:#}");
        assert_eq!(curl("http://192.0.2.10/").host("web.example.com").status().await, 0, "it is elsewhere");

        ip(&["addr", "add", "192.0.2.10/32", "dev", "lo"]).unwrap();
        ip(&["addr", "add", "fd00::10/128", "dev", "lo"]).unwrap();
        assert_eq!(curl("http://192.0.2.10/").host("web.example.com").app().await, "/web");
        assert_eq!(curl("https://[fd00::10]/").host("web.example.com").app().await, "/web");
        assert_eq!(curl("http://192.0.2.10:10002/").app().await, "/vip");
        assert_eq!(curl("http://[fd00::10]:10002/").app().await, "/vip6");
        assert_eq!(curl("http://192.0.2.10:10003/").status().await, 200);

        // And gone again: a reload does not mind.
        ip(&["addr", "del", "192.0.2.10/32", "dev", "lo"]).unwrap();
        let status = serve_also(host, "/later", 10_004, &[("MODE", "http")]).await;
        assert!(status["applied"]["trouble"].is_null() && status["issues"] == json!([]), "{status:#}");
        assert_eq!(curl("http://127.0.0.1:10004/").status().await, 200);
        // Another address than those that float must be there.
        let status = serve_also(host, "/alien", 10_005, &[("BIND_ADDR", "192.0.2.99")]).await;
        assert!(status["issues"][0]["problem"].as_str().unwrap().contains("does not own 192.0.2.99"), "{status:#}");
    });
}
