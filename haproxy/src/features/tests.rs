//! Real and plausible `-vv` outputs, and binaries that are not what they should be.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const DEBIAN_12: &str = include_str!("2.6.12.txt");

#[test]
fn debian_12_is_read_completely() {
    let expected = Features {
        version: Version { major: 2, minor: 6, patch: 12 },
        release: "2.6.12-1+deb12u4".into(),
        lua: Some("5.3.6".into()),
        prometheus: true,
        regex: Regex::Pcre2Jit,
        tls: Some("OpenSSL 3.0.22 25 Aug 2026".into()),
        systemd: true,
        transparent: true,
        max_threads: Some(64),
    };
    assert_eq!(Features::parse(DEBIAN_12), Some(expected));
}

#[test]
fn newer_and_leaner_builds_are_read() {
    let text = "HAProxy version 3.4-dev13-0a1b2c-7 2026/04/01 - https://haproxy.org/\n\
                Feature list : -LUA +PCRE -PCRE2 -PROMEX +TPROXY\n";
    let features = Features::parse(text).unwrap();
    assert_eq!(features.version, Version { major: 3, minor: 4, patch: 0 });
    assert_eq!((features.need_lua(), features.regex, features.tls.clone()), (Err(NoLua), Regex::Pcre, None));
    assert!(features.systemd && features.answers_reload() && features.dynamic_cookies() && !features.prometheus);
}

#[test]
fn versions_are_ordered_as_numbers() {
    let version = |text| Version::parse(text).unwrap();
    assert!(version("2.10.1") > version("2.9.30") && version("3.0.0") > version("2.6.12-1+deb12u4"));
    assert_eq!(Version::parse("two.six"), None);
    assert_eq!(Version::parse("2.x"), None);
}

#[tokio::test]
async fn the_real_binary_is_probed() {
    let features = Features::probe(Path::new("/usr/sbin/haproxy")).await.unwrap();
    assert!(features.version >= OLDEST);
}

#[tokio::test]
async fn a_missing_binary_is_named_with_a_remedy() {
    let error = Features::probe(Path::new("/nowhere/haproxy")).await.unwrap_err();
    assert!(matches!(&error, ProbeError::Run(RunError::Missing { .. })), "{error:?}");
    assert!(error.to_string().contains("/nowhere/haproxy") && error.to_string().contains("haproxy.binary"));
}

#[tokio::test]
async fn a_directory_cannot_be_run() {
    let error = Features::probe(Path::new("/tmp")).await.unwrap_err();
    assert!(matches!(error, ProbeError::Run(RunError::Start { .. })), "{error:?}");
}

#[tokio::test]
async fn an_old_version_is_refused_with_both_versions() {
    let error = probe_script("echo 'HA-Proxy version 2.2.9-2+deb11u6 2023/12/05'\necho 'Feature list : +LUA'").await;
    assert!(matches!(&error, ProbeError::TooOld { found, .. } if found == "2.2.9-2+deb11u6"), "{error:?}");
    assert!(error.to_string().contains("2.6.0"));
}

#[tokio::test]
async fn another_program_is_garbage_and_its_first_line_is_shown() {
    let error = probe_script("printf 'nginx\\033[2J version\\n'").await;
    assert!(matches!(&error, ProbeError::Garbage { said, .. } if said == "nginx?[2J version"), "{error:?}");
    let error = probe_script("head -c 3000000 /dev/zero; exit 3").await;
    assert!(matches!(error, ProbeError::Garbage { .. }));
}

#[tokio::test]
async fn a_hanging_binary_is_killed() {
    let error = run(Path::new("/bin/sleep"), ["600"], Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, RunError::Slow { .. }), "{error:?}");
}

async fn probe_script(body: &str) -> ProbeError {
    let (_dir, path) = script(body);
    loop {
        match Features::probe(&path).await {
            // Another test thread forked while the script was open for writing.
            Err(ProbeError::Run(RunError::Start { source, .. })) if source.raw_os_error() == Some(26) => (),
            result => return result.unwrap_err(),
        }
    }
}

fn script(body: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("haproxy");
    std::fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (dir, path)
}
