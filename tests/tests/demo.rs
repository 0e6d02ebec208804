//! The demo from beginning to end, as `make demo` runs it; as root.

use std::path::Path;
use std::process::{Command, Output};

fn demo() -> Output {
    Command::new(env!("CARGO_BIN_EXE_demo")).env("DEMO_SECONDS", "0").output().expect("run the demo")
}

#[test]
fn every_probe_succeeds_and_nothing_is_left_behind() {
    let output = demo();
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let log = std::fs::read_to_string("/run/baton-demo/log").unwrap_or_default();
    assert!(output.status.success(), "{told}\n{wrong}\n{log}");
    assert_eq!(wrong, "");
    assert!(!told.contains(['✗', '\x1b']), "{told}");
    for line in [
        "http://test-worldpress.example.com/    200 from 3 tasks of /wordpress/web-app",
        "https://nginx.example.com/             200 from 1 task of /nginx",
        "192.168.71.168:9000                    PONG from redis ",
        "/keys-and-values/app                   503, not served: no HAPROXY_GROUP (3 tasks run)",
        "PUT /v2/apps/wordpress/web-app {\"instances\":5}",
        "answered by 5 tasks of /wordpress/web-app, new ones within ",
        "dies, with redis",
        "http://192.168.71.168:31002/           refused, nobody listens",
        "/nginx: HAPROXY_0_VHOST: ",
        "http://nginx.example.com/              503, no app has this host name now",
        "http://nginx.example.com/              200 from 1 task of /nginx",
    ] {
        assert!(told.contains(line), "no line with {line:?} in\n{told}");
    }
    assert!(told.lines().any(|line| line.contains("applied") && line.contains("reload in ")), "{told}");
    assert!(!Path::new("/run/netns/baton-demo").exists());
}
