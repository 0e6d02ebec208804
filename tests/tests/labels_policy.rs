//! What the operator decides about apps: groups, strict mode, no 80 and 443, the statistics listener.

mod labels;

use labels::curl::{curl, https};
use labels::{App, app, host, ports};

fn two_groups() -> Vec<App> {
    vec![
        app("/none", 10_001, &[("MODE", "http")]),
        app("/external", 10_002, &[("VHOST", "shop.example.com")]).label("HAPROXY_GROUP", "external"),
        app("/internal", 10_003, &[("VHOST", "shop.example.com")]).label("HAPROXY_GROUP", "internal"),
        app("/both", 10_004, &[("MODE", "http")]).label("HAPROXY_GROUP", "internal, external"),
        ports("/split", &[10_005, 10_006])
            .label("HAPROXY_GROUP", "external")
            .label("HAPROXY_1_GROUP", "internal")
            .label("HAPROXY_0_MODE", "http")
            .label("HAPROXY_1_MODE", "http"),
    ]
}

/// Which service ports are open, and who has the host that both groups claim.
async fn served() -> (Vec<u16>, String) {
    let mut open = Vec::new();
    for port in 10_001..=10_006 {
        if curl(format!("http://127.0.0.1:{port}/")).status().await == 200 {
            open.push(port);
        }
    }
    (open, curl("http://127.0.0.1/").host("shop.example.com").app().await)
}

#[test]
fn the_same_apps_on_an_external_and_an_internal_load_balancer() {
    for (groups, open, shop) in [
        ("groups = [\"external\"]", vec![10_002, 10_004, 10_005], "/external"),
        ("groups = [\"internal\"]", vec![10_003, 10_004, 10_006], "/internal"),
        ("groups = [\"external\", \"internal\"]", (10_002..=10_006).collect(), "/external"),
        ("groups = [\"*\"]", (10_001..=10_006).collect(), "/external"),
        ("groups = [\"other\"]", vec![], "503"),
    ] {
        host(two_groups(), groups, "", async move |_| assert_eq!(served().await, (open, shop.to_owned()), "{groups}"));
    }
}

#[test]
fn strict_mode_wants_to_be_asked() {
    let apps = || {
        vec![
            app("/silent", 10_001, &[("MODE", "http")]),
            app("/yes", 10_002, &[("MODE", "http"), ("ENABLED", "Yes")]),
            app("/no", 10_003, &[("MODE", "http"), ("ENABLED", "false")]),
        ]
    };
    host(apps(), "groups = [\"*\"]", "", async |_| assert_eq!(served().await.0, [10_001, 10_002]));
    host(apps(), "groups = [\"*\"]\nstrict_mode = true", "", async |_| assert_eq!(served().await.0, [10_002]));
}

#[test]
fn without_80_and_443_an_app_may_have_them() {
    let apps = vec![
        app("/edge", 80, &[("MODE", "http")]),
        app("/shop", 10_001, &[("VHOST", "shop.example.com"), ("REDIRECT_TO_HTTPS", "true")]),
    ];
    host(apps, "groups = [\"*\"]", "bind_http_https = false", async |host| {
        assert_eq!(curl("http://127.0.0.1/").host("shop.example.com").app().await, "/edge");
        assert_eq!(https("shop.example.com", 443, "/").status().await, 0);
        assert_eq!(curl("http://127.0.0.1:10001/").app().await, "/shop");
        assert_eq!(curl("http://127.0.0.1:9091/").header("X-Marathon-App-Id", "/shop").app().await, "/shop");
        assert_eq!(host.issues().await, [""; 0]);
    });
}

#[test]
fn the_statistics_listener_is_open_by_default() {
    host(vec![app("/web", 10_001, &[("MODE", "http")])], "groups = [\"*\"]", "", async |_| {
        let on = |path: &str| curl(format!("http://127.0.0.1:9090{path}"));
        assert_eq!(on("/_haproxy_health_check").status().await, 200);
        assert!(on("/haproxy?stats;csv").send().await.body.contains("web_10001,BACKEND"));
        assert!(on("/haproxy?stats").send().await.body.contains("Statistics Report"));
        assert!(on("/metrics").send().await.body.contains("haproxy_backend_status{proxy=\"web_10001\""));
    });
}

#[test]
fn the_statistics_listener_asks_who_and_from_where() {
    // The user ops with the password `secret`.
    let stats = "stats.listen = \"*:9999\"\nstats.allow = [\"10.9.0.0/31\"]\n\
                 stats.auth = \"ops:$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA\"";
    host(vec![app("/web", 10_001, &[])], "groups = [\"*\"]", stats, async |_| {
        let on = |path: &str| curl(format!("http://127.0.0.1:9999{path}"));
        let from = |path: &str, source: &str| on(path).arg("--interface").arg(source.to_owned());
        for path in ["/haproxy?stats", "/metrics", "/haproxy?stats;csv"] {
            assert_eq!(from(path, "10.9.0.1").user("ops:secret").status().await, 200, "{path}");
            assert_eq!(from(path, "10.9.0.1").status().await, 401, "{path}");
            assert_eq!(from(path, "10.9.0.1").user("ops:wrong").status().await, 401, "{path}");
            assert_eq!(from(path, "10.9.0.2").user("ops:secret").status().await, 403, "{path}");
        }
        // Whoever watches this node needs neither.
        assert_eq!(from("/_haproxy_health_check", "10.9.0.2").status().await, 200);
        assert_eq!(curl("http://127.0.0.1:9090/").status().await, 0);
    });
}
