//! Who gets a request: VHOST, PATH, BACKEND_WEIGHT and the app's id, as clients see it.

mod labels;

use labels::curl::{curl, https};
use labels::{app, host};
use serde_json::Value;

const ALL: &str = "groups = [\"*\"]";

/// The app that answers on port 80.
async fn by_host(name: &str, path: &str) -> String {
    curl(format!("http://127.0.0.1{path}")).host(name).app().await
}

#[test]
fn hosts_paths_and_weights() {
    let apps = vec![
        app("/www", 10_001, &[("VHOST", "WWW.Example.com, www.example.org")]),
        app("/api", 10_002, &[("VHOST", "www.example.com"), ("PATH", "/api /v1")]),
        app("/api-v2", 10_003, &[("VHOST", "www.example.com"), ("PATH", "/api/v2")]),
        app("/docs", 10_004, &[("VHOST", "docs.example.com"), ("PATH", "-i /Docs")]),
        app("/exact", 10_005, &[("VHOST", "blue.apps.example.com")]),
        app("/wild", 10_006, &[("VHOST", "*.apps.example.com")]),
        app("/wilder", 10_007, &[("VHOST", "*.example.com")]),
        app("/heavy", 10_008, &[("VHOST", "www.example.org"), ("PATH", "/a"), ("BACKEND_WEIGHT", "9")]),
        app("/light", 10_009, &[("VHOST", "www.example.org"), ("PATH", "/a/b"), ("BACKEND_WEIGHT", "-1")]),
        app("/z-loser", 10_010, &[("VHOST", "www.example.com")]),
        app("/zero-wins", 10_011, &[("VHOST", "zero.net"), ("PATH", "/x"), ("BACKEND_WEIGHT", "0")]),
        app("/zero-loses", 10_012, &[("VHOST", "zero.net"), ("BACKEND_WEIGHT", "1")]),
    ];
    host(apps, ALL, "", async |host| {
        for (name, path, who) in [
            // Upper and lower case, a port and the root's dot in Host are all the same host.
            ("www.example.com", "/", "/www"),
            ("wWw.eXample.Com", "/", "/www"),
            ("www.example.com:80", "/", "/www"),
            ("www.example.com:8080", "/", "/www"),
            ("www.example.com.", "/", "/www"),
            ("www.example.com.:80", "/", "/www"),
            ("www.example.org", "/", "/www"),
            ("unknown.test", "/", "503"),
            ("example.com", "/", "503"),
            ("xwww.example.co", "/", "503"),
            ("10.9.0.1", "/", "503"),
            // The longest prefix wins, whatever the app's id; prefixes mind case, and are no words.
            ("www.example.com", "/api", "/api"),
            ("www.example.com", "/api?x=1", "/api"),
            ("www.example.com", "/apix", "/api"),
            ("www.example.com", "/api/v2/x", "/api-v2"),
            ("www.example.com", "/v1", "/api"),
            ("www.example.com", "/API", "/www"),
            ("www.example.com.", "/api/v2", "/api-v2"),
            // A path in Host is none: it neither opens other paths of an app nor names other hosts.
            ("www.example.com/api", "/private", "/www"),
            ("docs.example.com/docs", "/private", "/wilder"),
            ("evil.test/.apps.example.com", "/", "503"),
            // Unless -i says otherwise; the host of a path gets no other path, here the wildcard does.
            ("docs.example.com", "/docs", "/docs"),
            ("docs.example.com", "/DOCS/x", "/docs"),
            ("docs.example.com", "/other", "/wilder"),
            // Exact before wildcard, narrow before wide; a wildcard is not its own parent.
            ("blue.apps.example.com", "/", "/exact"),
            ("green.apps.example.com", "/", "/wild"),
            ("a.b.c.apps.example.com:80", "/", "/wild"),
            ("apps.example.com", "/", "/wilder"),
            ("GREEN.Apps.example.com.", "/", "/wild"),
            // Weight before length; a weight of 0 is 0 also with a path.
            ("www.example.org", "/a/b", "/heavy"),
            ("www.example.org", "/b", "/www"),
            ("zero.net", "/x", "/zero-loses"),
        ] {
            let answered = by_host(name, path).await;
            // HAProxy refuses such a Host by itself from 2.8 on.
            let refused = name.contains('/') && answered == "400";
            assert!(answered == who || refused, "{name}{path}: {answered} instead of {who}");
        }
        let issues = host.issues().await;
        for told in ["/light HAPROXY_0_VHOST", "/z-loser HAPROXY_0_VHOST", "/zero-wins HAPROXY_0_VHOST"] {
            assert!(issues.iter().any(|issue| issue == told), "{told}: {issues:?}");
        }
        assert_eq!(issues.len(), 3, "{issues:?}");
    });
}

#[test]
fn tls_routes_by_host_too_and_speaks_http_2() {
    let apps = vec![
        app("/one", 10_001, &[("VHOST", "one.example.com")]),
        app("/two", 10_002, &[("VHOST", "two.example.com"), ("PATH", "/two")]),
    ];
    host(apps, ALL, "", async |_| {
        assert_eq!(https("one.example.com", 443, "/").app().await, "/one");
        assert_eq!(https("ONE.example.com", 443, "/").app().await, "/one");
        assert_eq!(https("two.example.com", 443, "/two/x").app().await, "/two");
        assert_eq!(https("two.example.com", 443, "/").status().await, 503);
        assert_eq!(https("unknown.test", 443, "/").status().await, 503);
        // The name in TLS only picks the certificate.
        assert_eq!(https("one.example.com", 443, "/two").host("two.example.com").app().await, "/two");
        assert_eq!(curl("https://127.0.0.1/").host("one.example.com").app().await, "/one");

        let version = |wanted: &'static str| async move {
            let url = https("one.example.com", 443, "/").arg(wanted).arg("--output").arg("/dev/null");
            url.arg("--write-out").arg("HTTP %{http_version} \r\n\r\n").send().await.status
        };
        assert_eq!(version("--http2").await, 2);
        assert_eq!(version("--http1.1").await, 0, "1.1 is no whole number, and is spoken");
        assert_eq!(https("one.example.com", 443, "/").arg("--tls-max").arg("1.1").status().await, 0);
    });
}

#[test]
fn an_app_is_reached_by_its_id_on_9091_and_told_who_asks() {
    let apps = vec![app("/team/Web", 10_001, &[("VHOST", "web.example.com")]), app("/wire", 10_002, &[])];
    host(apps, ALL, "", async |_| {
        let by_id = |id: &'static str| curl("http://127.0.0.1:9091/").header("X-Marathon-App-Id", id);
        assert_eq!(by_id("/team/Web").app().await, "/team/Web");
        assert_eq!(by_id("/TEAM/web").app().await, "/team/Web");
        assert_eq!(by_id("/wire").status().await, 503, "mode tcp");
        assert_eq!(by_id("/none").status().await, 503);
        assert_eq!(curl("http://127.0.0.1:9091/").status().await, 503);

        let got = |answer: e2e::lab::client::Answer, name: &str| answer.json()["headers"][name].clone();
        for (url, port, proto) in [
            (curl("http://127.0.0.1/").host("web.example.com"), "80", Value::Null),
            (https("web.example.com", 443, "/"), "443", Value::from("https")),
            (curl("http://127.0.0.1:10001/"), "10001", Value::Null),
            (by_id("/team/Web"), "9091", Value::Null),
        ] {
            let answer = url.arg("--interface").arg("10.9.0.2").send().await;
            assert_eq!(got(answer.clone(), "x-forwarded-for"), "10.9.0.2");
            assert_eq!(got(answer.clone(), "x-forwarded-port"), port);
            assert_eq!(got(answer, "x-forwarded-proto"), proto, "{port}");
        }
    });
}
