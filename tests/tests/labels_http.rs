//! What happens to a request on its way: AUTH, redirects, headers, cookies, paths and who may ask.

mod labels;

use std::collections::BTreeSet;

use e2e::lab::client::Answer;
use haproxy::names;
use labels::curl::{curl, https};
use labels::task::Kind;
use labels::{address, app, host, host_port};
use serde_json::json;

const ALL: &str = "groups = [\"*\"]";

/// The user anna with the password `secret`.
const AUTH: (&str, &str) = ("AUTH", "The Shop:anna:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA");

#[test]
fn a_password_is_asked_for_by_host_and_only_there() {
    let apps = vec![
        app("/shop", 10_001, &[("VHOST", "shop.example.com,shop.example.org"), AUTH]),
        app("/shop-admin", 10_002, &[("VHOST", "open.example.com"), ("PATH", "/admin"), AUTH]),
        app("/open", 10_003, &[("VHOST", "open.example.com")]),
        app("/safe", 10_004, &[("VHOST", "safe.example.com"), AUTH, ("REDIRECT_TO_HTTPS", "true")]),
    ];
    host(apps, ALL, "", async |_| {
        let plain = |name: &str, path: &str| curl(format!("http://127.0.0.1{path}")).host(name);
        let refused = plain("shop.example.com", "/").send().await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Basic realm=\"The Shop\"")));
        for name in ["shop.example.com", "shop.example.org", "SHOP.example.com.", "shop.example.com:80"] {
            assert_eq!(plain(name, "/").status().await, 401, "{name}");
            assert_eq!(plain(name, "/").user("anna:secret").app().await, "/shop", "{name}");
        }
        assert_eq!(https("shop.example.com", 443, "/").status().await, 401);
        assert_eq!(https("shop.example.com", 443, "/").user("anna:secret").app().await, "/shop");
        for wrong in ["anna:Secret", "bob:secret", "anna:"] {
            assert_eq!(plain("shop.example.com", "/").user(wrong).status().await, 401, "{wrong}");
        }
        // Only that path of a host is guarded.
        assert_eq!(plain("open.example.com", "/").app().await, "/open");
        assert_eq!(plain("open.example.com", "/admin/x").status().await, 401);
        assert_eq!(plain("open.example.com", "/admin/x").user("anna:secret").app().await, "/shop-admin");
        // No password crosses the wire before TLS.
        assert_eq!(plain("safe.example.com", "/").user("anna:secret").status().await, 301);
        assert_eq!(https("safe.example.com", 443, "/").status().await, 401);
        // As in marathon-lb, the service port and 9091 ask nobody.
        assert_eq!(curl("http://127.0.0.1:10001/").app().await, "/shop");
        assert_eq!(curl("http://127.0.0.1:9091/").header("X-Marathon-App-Id", "/shop").app().await, "/shop");
    });
}

#[test]
fn redirects_security_headers_and_the_root_of_a_host() {
    let redirect = ("REDIRECT_TO_HTTPS", "true");
    let apps = vec![
        app("/one", 10_001, &[("VHOST", "one.example.com,*.one.example.com"), redirect, ("USE_HSTS", "true")]),
        app("/part", 10_002, &[("VHOST", "part.example.com"), ("PATH", "/safe"), redirect]),
        app("/rest", 10_003, &[("VHOST", "part.example.com")]),
        app("/root", 10_004, &[("VHOST", "root.example.com"), ("HTTP_BACKEND_REDIR", "/start/50%25")]),
    ];
    host(apps, ALL, "", async |_| {
        let location = async |name: &str, path: &str| {
            let answer = curl(format!("http://127.0.0.1{path}")).host(name).send().await;
            (answer.status, answer.header("location").unwrap_or("-").to_owned())
        };
        let moved = |to: &str| (301, to.to_owned());
        assert_eq!(location("one.example.com", "/a?b=c").await, moved("https://one.example.com/a?b=c"));
        assert_eq!(location("ONE.example.com:80", "/").await, moved("https://one.example.com/"));
        assert_eq!(location("x.one.example.com", "/").await, moved("https://x.one.example.com/"));
        assert_eq!(location("part.example.com", "/safe/x").await, moved("https://part.example.com/safe/x"));
        assert_eq!(location("part.example.com", "/").await, (200, "-".to_owned()));
        assert_eq!(curl("http://127.0.0.1:10001/").app().await, "/one", "the service port is no host");

        let hsts = |answer: &Answer| answer.header("strict-transport-security").map(str::to_owned);
        let safe = https("one.example.com", 443, "/").send().await;
        assert_eq!((safe.status, hsts(&safe).as_deref()), (200, Some("max-age=15768000")));
        let other = https("part.example.com", 443, "/").send().await;
        assert_eq!((other.status, hsts(&other)), (200, None));

        assert_eq!(location("root.example.com", "/").await, moved("/start/50%25"));
        assert_eq!(location("root.example.com.", "/").await, moved("/start/50%25"));
        assert_eq!(location("root.example.com", "/start/50%25").await, (200, "-".to_owned()));
        assert_eq!(curl("http://127.0.0.1:10004/").app().await, "/root", "another host's root");
    });
}

#[test]
fn a_redirect_names_the_port_where_tls_is() {
    let apps = vec![app("/one", 10_001, &[("VHOST", "one.example.com"), ("REDIRECT_TO_HTTPS", "true")])];
    host(apps, ALL, "http = \"*:8080\"\nhttps = \"*:8443\"", async |_| {
        for name in ["one.example.com:8080", "one.example.com"] {
            let answer = curl("http://127.0.0.1:8080/x?y").host(name).send().await;
            assert_eq!((answer.status, answer.header("location")), (301, Some("https://one.example.com:8443/x?y")));
        }
        assert_eq!(https("one.example.com", 8443, "/").app().await, "/one");
        assert_eq!(curl("http://127.0.0.1/").status().await, 0);
    });
}

#[test]
fn servers_are_chosen_by_cookie_and_algorithm() {
    let apps = vec![
        app("/sticky", 10_001, &[("VHOST", "sticky.example.com"), ("STICKY", "true")]).tasks(3),
        app("/round", 10_002, &[("MODE", "http")]).tasks(3),
        app("/uri", 10_003, &[("MODE", "http"), ("BALANCE", "uri")]).tasks(3),
        app("/source", 10_004, &[("MODE", "http"), ("BALANCE", "source")]).tasks(3),
        app("/first", 10_005, &[("MODE", "http"), ("BALANCE", "first")]).tasks(3),
        app("/least", 10_006, &[("MODE", "http"), ("BALANCE", "leastconn")]).tasks(3),
    ];
    host(apps, ALL, "", async |_| {
        let task = |answer: &Answer| answer.json()["task"].as_u64().unwrap();
        let mut cookies = BTreeSet::new();
        for _ in 0..6 {
            let answer = curl("http://127.0.0.1/").host("sticky.example.com").send().await;
            let cookie = answer.header("set-cookie").unwrap().to_owned();
            let at = address(0, u8::try_from(task(&answer)).unwrap());
            let name = names::server(&at.to_string(), at.into(), host_port(0));
            let value = format!("mesosphere_server_id={}", names::cookie(&name));
            assert_eq!(cookie, format!("{value}; path=/"));
            for _ in 0..3 {
                let again = curl("http://127.0.0.1:10001/").header("Cookie", &value).send().await;
                assert_eq!((task(&again), again.header("set-cookie")), (task(&answer), None));
                assert_eq!(again.json()["headers"].get("cookie"), None, "the task sees nothing of it");
            }
            cookies.insert(cookie);
        }
        assert_eq!(cookies.len(), 3);

        let spread = async |port: u16, path: &str| {
            let mut seen = BTreeSet::new();
            for _ in 0..6 {
                seen.insert(task(&curl(format!("http://127.0.0.1:{port}{path}")).send().await));
            }
            seen.len()
        };
        assert_eq!(spread(10_002, "/").await, 3);
        assert_eq!(spread(10_003, "/one").await, 1);
        assert_eq!(spread(10_004, "/").await, 1);
        assert_eq!(spread(10_005, "/").await, 1);
        assert_eq!(spread(10_006, "/").await, 3);
        let mut uris = BTreeSet::new();
        for path in 'a'..='p' {
            uris.insert(task(&curl(format!("http://127.0.0.1:10003/{path}")).send().await));
        }
        assert_eq!(uris.len(), 3, "different paths go to different servers");
    });
}

#[test]
fn paths_and_locations_are_rewritten() {
    let path = "/shop";
    let apps = vec![
        app(
            "/shop",
            10_001,
            &[
                ("VHOST", "shop.example.com,shop.example.org"),
                ("PATH", path),
                ("HTTP_BACKEND_PROXYPASS_PATH", "/shop/"),
                ("HTTP_BACKEND_REVPROXY_PATH", path),
            ],
        ),
        app("/plain", 10_002, &[("VHOST", "plain.example.com")]),
    ];
    host(apps, ALL, "", async |_| {
        let shop = |path: &str| curl(format!("http://127.0.0.1{path}")).host("shop.example.org");
        for (asked, arrives) in [
            ("/shop", "/"),
            ("/shop/", "/"),
            ("/shop?x=1", "/?x=1"),
            ("/shop/a/shop/b?x=/shop", "/a/shop/b?x=/shop"),
            ("/shopping", "/shopping"),
        ] {
            let got = shop(asked).send().await.json();
            assert_eq!((got["app"].as_str(), got["path"].as_str()), (Some("/shop"), Some(arrives)), "{asked}");
            assert_eq!(got["headers"]["host"], "shop.example.com", "the first host");
        }
        for (sent, arrives) in [
            ("/cart", "/shop/cart"),
            ("/cart?a=1,/shop/b", "/shop/cart?a=1,/shop/b"),
            ("/shop/cart", "/shop/cart"),
            ("/shopping", "/shop/shopping"),
            ("http://shop.example.com/cart", "/shop/cart"),
            ("https://shop.example.org:8080/cart", "/shop/cart"),
            ("http://shop.example.com/shop/cart", "http://shop.example.com/shop/cart"),
            ("https://elsewhere.example.com/cart", "https://elsewhere.example.com/cart"),
        ] {
            let answer = shop(&format!("/shop/go?location={sent}")).send().await;
            assert_eq!((answer.status, answer.header("location")), (302, Some(arrives)), "{sent}");
        }
        let untouched = curl("http://127.0.0.1/shop/x?location=/cart").host("plain.example.com").send().await;
        assert_eq!(untouched.header("location"), Some("/cart"));
    });
}

#[test]
fn only_allowed_networks_are_served() {
    let apps = vec![
        app("/http", 10_001, &[("VHOST", "in.example.com"), ("BACKEND_NETWORK_ALLOWED_ACL", "10.9.0.1 192.0.2.0/24")]),
        app("/tcp", 10_002, &[("BACKEND_NETWORK_ALLOWED_ACL", "10.9.0.0/31")]).kind(Kind::Tcp),
    ];
    host(apps, ALL, "", async |_| {
        let from = |url: &str, source: &str| curl(url).host("in.example.com").arg("--interface").arg(source.to_owned());
        for url in ["http://127.0.0.1/", "https://127.0.0.1/", "http://127.0.0.1:10001/"] {
            assert_eq!(from(url, "10.9.0.1").app().await, "/http", "{url}");
            assert_eq!(from(url, "10.9.0.2").status().await, 403, "{url}");
        }
        let by_id = |source| from("http://127.0.0.1:9091/", source).header("X-Marathon-App-Id", "/http");
        assert_eq!((by_id("10.9.0.1").status().await, by_id("10.9.0.2").status().await), (200, 403));
        // The network counts, not what a client says.
        let lies = from("http://127.0.0.1/", "10.9.0.2").header("X-Forwarded-For", "10.9.0.1");
        assert_eq!(lies.status().await, 403);

        assert_eq!(labels::greeting("10.9.0.1", 10_002).await.as_deref(), Some("/tcp"));
        assert_eq!(labels::greeting("10.9.0.2", 10_002).await.as_deref(), Some(""), "closed without a word");
    });
}

#[test]
fn a_dead_task_gets_nothing_although_marathon_has_not_noticed() {
    // Port 1 of the tasks is unwell, and the label has port 0 judged by it.
    let checks = json!([{"protocol": "HTTP", "path": "/", "portIndex": 1, "intervalSeconds": 1, "timeoutSeconds": 1,
                         "maxConsecutiveFailures": 0}]);
    let index = ("BACKEND_HEALTHCHECK_PORT_INDEX", "1");
    let judged = |id: &str, first: u16, kind| {
        let label = |name: &str, value: &str| (format!("HAPROXY_0_{name}"), value.to_owned());
        labels::ports(id, &[first, first + 1]).labels([label(index.0, index.1)]).checks(checks.clone()).kind(kind)
    };
    let apps = vec![
        judged("/sick", 10_001, Kind::SickPortOne),
        judged("/well", 10_003, Kind::Http),
        labels::ports("/unlabelled", &[10_005, 10_006])
            .label("HAPROXY_0_MODE", "http")
            .checks(checks.clone())
            .kind(Kind::SickPortOne),
    ];
    host(apps, ALL, "", async |_| {
        let gone = e2e::lab::client::get_until("http://127.0.0.1:10001/", &[], |answer| answer.status == 503).await;
        assert_eq!(gone.status, 503);
        assert_eq!(curl("http://127.0.0.1:10003/").app().await, "/well");
        assert_eq!(curl("http://127.0.0.1:10005/").app().await, "/unlabelled");
    });
}
