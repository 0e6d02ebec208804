//! The listeners of service ports: MODE, PORT, BIND_ADDR, BIND_OPTIONS, SSL_CERT, and what a bad
//! label costs.

mod labels;

use std::process::Stdio;

use labels::curl::{curl, https};
use labels::task::Kind;
use labels::{app, greeting, host, ports};
use tokio::process::Command;

const ALL: &str = "groups = [\"*\"]";

#[test]
fn bytes_or_requests_and_where_they_are_taken() {
    let apps = vec![
        app("/tcp", 10_001, &[]).kind(Kind::Tcp),
        app("/tcp-of-http", 10_002, &[("MODE", "TCP"), ("VHOST", "tcp.example.com")]),
        app("/http", 10_003, &[("MODE", "http")]),
        app("/moved", 10_004, &[("PORT", "8088"), ("MODE", "http")]),
        app("/here", 10_005, &[("BIND_ADDR", "10.9.0.1"), ("MODE", "http")]),
        app("/there", 10_005, &[("BIND_ADDR", "10.9.0.2"), ("MODE", "http")]),
        app("/proxied", 10_006, &[("BIND_OPTIONS", "accept-proxy"), ("MODE", "http")]),
        app("/suspended", 10_007, &[("VHOST", "later.example.com")]).tasks(0),
        app("/suspended-tcp", 10_008, &[]).tasks(0),
        app("/six", 10_003, &[("BIND_ADDR", "::1"), ("MODE", "http")]),
        app("/first", 10_010, &[("MODE", "http")]),
        app("/second", 10_010, &[("VHOST", "second.example.com")]),
    ];
    host(apps, ALL, "", async |host| {
        let on = |port: u16| curl(format!("http://127.0.0.1:{port}/"));
        assert_eq!(greeting("127.0.0.1", 10_001).await.as_deref(), Some("/tcp"));
        let bytes = on(10_002).send().await.json();
        assert_eq!((bytes["app"].as_str(), bytes["headers"].get("x-forwarded-for")), (Some("/tcp-of-http"), None));
        assert_eq!(curl("http://127.0.0.1/").host("tcp.example.com").status().await, 503);
        assert_eq!(on(10_003).send().await.json()["headers"]["x-forwarded-for"], "127.0.0.1");

        assert_eq!(on(8_088).app().await, "/moved");
        assert_eq!(on(10_004).status().await, 0);

        assert_eq!(curl("http://10.9.0.1:10005/").app().await, "/here");
        assert_eq!(curl("http://10.9.0.2:10005/").app().await, "/there");
        assert_eq!(on(10_005).status().await, 0);
        assert_eq!(curl("http://[::1]:10003/").app().await, "/six", "who names an IPv6 address has it");

        assert_eq!(on(10_006).arg("--haproxy-protocol").app().await, "/proxied");
        assert_eq!(on(10_006).status().await, 0);

        assert_eq!(on(10_007).status().await, 503);
        assert_eq!(curl("http://127.0.0.1/").host("later.example.com").status().await, 503);
        assert_eq!(greeting("127.0.0.1", 10_008).await.as_deref(), Some(""), "open, and closed at once");

        assert_eq!(on(10_010).app().await, "/first");
        assert_eq!(curl("http://127.0.0.1/").host("second.example.com").app().await, "/second");
        assert_eq!(host.issues().await, ["/http -", "/second -", "/tcp-of-http HAPROXY_0_VHOST"]);
    });
}

#[test]
fn tls_on_a_service_port() {
    let apps = vec![
        app("/cert", 10_001, &[("SSL_CERT", "{dir}/shop.pem"), ("VHOST", "cert.example.com")]),
        app("/options", 10_002, &[("MODE", "http"), ("BIND_OPTIONS", "ssl crt {dir}/shop.pem force-tlsv12")]),
        app("/wire", 10_003, &[("SSL_CERT", "{dir}/shop.pem")]).kind(Kind::Tcp),
    ];
    host(apps, ALL, "", async |host| {
        let pem = std::fs::read_to_string(host.file("shop.pem")).expect("the certificate of this test");
        let (certificate, _) = pem.split_once("-----BEGIN PRIVATE").expect("a certificate, then its key");
        for (port, ours) in [(10_001, true), (10_002, true), (10_003, true), (443, false)] {
            let shown = certificate_of(port).await;
            assert!(shown.contains("BEGIN CERTIFICATE"), "{port}: {shown}");
            assert_eq!(shown.contains(certificate.trim()), ours, "{port}: {shown}");
        }
        assert_eq!(https("any.name", 10_001, "/").app().await, "/cert");
        let got = https("any.name", 10_001, "/").send().await.json();
        assert_eq!(
            (&got["headers"]["x-forwarded-proto"], &got["headers"]["x-forwarded-port"]),
            (&"https".into(), &"10001".into())
        );
        assert_ne!(curl("http://127.0.0.1:10001/").status().await, 200);
        assert_eq!(https("any.name", 10_002, "/").arg("--tls-max").arg("1.2").app().await, "/options");
        assert_eq!(https("any.name", 10_002, "/").arg("--tlsv1.3").status().await, 0);
        assert_eq!(https("cert.example.com", 443, "/").app().await, "/cert");
    });
}

#[test]
fn a_label_that_guards_something_closes_its_port_when_it_is_wrong() {
    let bad = [
        ("addr", "BIND_ADDR", "eth0"),
        ("auth", "AUTH", "realm:user:plain"),
        ("cert", "SSL_CERT", "relative.pem"),
        ("enabled", "ENABLED", "1"),
        ("group", "GROUP", ""),
        ("network", "BACKEND_NETWORK_ALLOWED_ACL", "everybody"),
        ("options", "BIND_OPTIONS", "level admin"),
        ("ssl", "BIND_OPTIONS", "ssl"),
    ];
    let mut apps: Vec<_> = (10_001_u16..)
        .step_by(2)
        .zip(bad)
        .map(|(port, (id, name, value))| {
            ports(&format!("/{id}"), &[port, port + 1])
                .label(&format!("HAPROXY_0_{name}"), value)
                .label("HAPROXY_0_VHOST", &format!("{id}.example.com"))
                .label("HAPROXY_1_MODE", "http")
        })
        .collect();
    // HAProxy itself refuses this one: the file is not there.
    apps.push(app("/missing", 10_900, &[("SSL_CERT", "{dir}/missing.pem"), ("VHOST", "missing.example.com")]));
    apps.push(app("/good", 10_901, &[("VHOST", "good.example.com")]));
    host(apps, ALL, "", async move |host| {
        for (port, (id, ..)) in (10_001_u16..).step_by(2).zip(bad) {
            assert_eq!(curl(format!("http://127.0.0.1:{port}/")).status().await, 0, "{id}: the port is closed");
            let name = format!("{id}.example.com");
            assert_eq!(curl("http://127.0.0.1/").host(&name).status().await, 503, "{id}: the host is not routed");
            let other = curl(format!("http://127.0.0.1:{}/", port + 1)).app().await;
            assert_eq!(other, format!("/{id}"), "its other port is served");
        }
        assert_eq!(https("x", 10_900, "/").status().await, 0);
        assert_eq!(curl("http://127.0.0.1/").host("missing.example.com").status().await, 503);
        assert_eq!(curl("http://127.0.0.1/").host("good.example.com").app().await, "/good");
        let issues = host.issues().await;
        let told = bad.iter().map(|(id, name, _)| format!("/{id} HAPROXY_0_{name}"));
        let mut told: Vec<_> = told.chain(["/missing HAPROXY_0_SSL_CERT".to_owned()]).collect();
        told.sort();
        assert_eq!(issues, told);
    });
}

/// What openssl shows of the certificate on a port.
async fn certificate_of(port: u16) -> String {
    let address = format!("127.0.0.1:{port}");
    let args = ["s_client", "-showcerts", "-servername", "cert.example.com", "-connect", &address];
    let output = Command::new("openssl").args(args).stdin(Stdio::null()).output().await;
    String::from_utf8_lossy(&output.expect("openssl is installed").stdout).into_owned()
}
