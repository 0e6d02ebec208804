//! The demo from beginning to end, as `make demo` runs it; as root.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_probe_succeeds_and_nothing_is_left_behind() {
    // Others may show the demo on this machine meanwhile.
    let name = format!("baton-demo-test-{}", std::process::id());
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"));
    let output = demo.env("DEMO_SECONDS", "0").env("DEMO_NAME", &name).output().expect("run the demo");
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let dir = Path::new("/run").join(&name);
    let logs = ["lb1.log", "lb2.log"].map(|log| fs::read_to_string(dir.join(log)).unwrap_or_default());
    let mut left: Vec<_> = fs::read_dir(&dir).into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
    let _ = fs::remove_dir_all(&dir);
    assert!(output.status.success(), "{told}\n{wrong}\n{}", logs.join("\n"));
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
        "http://192.168.71.168:31002/           nobody answers; closed by the next reload",
        "/nginx: HAPROXY_0_VHOST: ",
        "http://nginx.example.com/              503, no app has this host name now",
        "http://nginx.example.com/              200 from 1 task of /nginx",
        "baton vip handover, on lb1: public: backup now, 192.168.71.12 has it",
        "baton vip handover, on lb2: public: backup now, 192.168.71.11 has it",
        ": the Active router resigned",
        "lb1         backup: a peer has taken over",
        ": no advertisement for one down interval",
        "lb1         switched on again, backup: ",
        "lb2         fault: HAProxy is unfit",
        " s after its HAProxy was started again, backup: recovered",
        " s after the freeze the kernel took 192.168.71.168 from lb1",
        "lb1         thawed (SIGCONT), backup: woke after its lease had ended",
    ] {
        assert!(told.contains(line), "no line with {line:?} in\n{told}");
    }
    assert!(told.lines().any(|line| line.contains("applied") && line.contains("reload in ")), "{told}");
    assert_eq!(gaps(&told), 5, "there and back, host, HAProxy, daemon:\n{told}");
    left.sort();
    assert_eq!(left, ["lb1.log", "lb2.log"]);
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let namespaces: Vec<_> = namespaces.filter(|other| other.to_string_lossy().starts_with(&name)).collect();
    assert!(namespaces.is_empty(), "{namespaces:?}");
}

/// How many gaps a client saw.
fn gaps(told: &str) -> usize {
    told.lines().filter(|line| line.contains("client") && line.contains(" gap ") && line.contains(" ms, ")).count()
}
