//! Real outputs of 2.6 and 3.x, and the real binary.

use super::*;
use crate::bundle::{Draft, LineOwners, MapName, Owner};

fn owner(id: &str, port: usize) -> Owner {
    Owner { app: AppId::parse(id).unwrap(), port: Some(port) }
}

fn owners() -> LineOwners {
    let mut owners = LineOwners::default();
    owners.own(7..=8, owner("/seven", 0));
    owners.own(13..=15, owner("/thirteen", 2));
    owners.own_proxy("b3", owner("/three", 1));
    owners.own_proxy("b1", owner("/one", 0));
    owners
}

fn check_output(output: &str) -> Vec<(Level, Option<usize>, Option<String>)> {
    let said = said::parse(output, Path::new("/s/haproxy.cfg"), &owners());
    said.into_iter().map(|s| (s.level, s.line, s.owner.map(|o| o.app.to_string()))).collect()
}

#[test]
fn lines_of_2_6_lead_to_their_apps() {
    let output = "\
[NOTICE]   (19446) : haproxy version is 2.6.12-1+deb12u4
[NOTICE]   (19446) : path to executable is /usr/sbin/haproxy
[ALERT]    (19446) : config : parsing [/s/haproxy.cfg:3] : 'nbthread' passed a missing or unparsable integer value in 'foo'
[ALERT]    (19446) : config : [/s/haproxy.cfg:7] : 'server b1/a' : invalid port '99999'
[WARNING]  (19446) : config : parsing [/s/haproxy.cfg:15] : a 'http-request' rule placed after a 'use_backend' rule
[ALERT]    (19446) : Binding [/s/haproxy.cfg:14] for frontend f: cannot bind socket (Cannot assign requested address) for [10.9.9.9:80]
[ALERT]    (19446) : config : Error(s) found in configuration file : /s/haproxy.cfg
[ALERT]    (19446) : config : Fatal errors found in configuration.
";
    let expected = [
        (Level::Alert, Some(3), None),
        (Level::Alert, Some(7), Some("/seven".into())),
        (Level::Warning, Some(15), Some("/thirteen".into())),
        (Level::Alert, Some(14), Some("/thirteen".into())),
    ];
    assert_eq!(check_output(output), expected);
}

#[test]
fn a_message_without_line_is_attributed_by_proxy_name() {
    let output = "\
[ALERT]    (1) : config : Proxy 'b3': unable to find required use_backend: 'nope'.
[ALERT]    (1) : config : 'server b1/a' : unable to find ca-file.
[ALERT]    (1) : config : backend 'unknown' has no server.
";
    let expected = [
        (Level::Alert, None, Some("/three".into())),
        (Level::Alert, None, Some("/one".into())),
        (Level::Alert, None, None),
    ];
    assert_eq!(check_output(output), expected);
}

#[test]
fn continuation_lines_belong_to_the_message_above() {
    let output = "\
[WARNING]  (19449) : config : missing timeouts for backend 'b3'.
   | While not properly invalid, you will certainly encounter various problems
   | with such a configuration.

[NOTICE]   (19449) : unrelated
   of the notice
Warnings were found.
";
    let said = said::parse(output, Path::new("/s/haproxy.cfg"), &owners());
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].text.lines().count(), 3);
    assert!(said[0].text.starts_with("missing timeouts"));
}

#[test]
fn text_of_an_app_cannot_blame_another_app() {
    let output =
        "[ALERT]    (1) : config : Proxy 'b3': error in 'haproxy.cfg:7' and '/etc/haproxy.cfg:7' [haproxy.cfg:7].\n";
    assert_eq!(check_output(output), [(Level::Alert, None, Some("/three".into()))]);
    let output =
        "[ALERT]    (1) : config : parsing [/s/haproxy.cfg:13] : unknown keyword 'b1' [/s/haproxy.cfg:7]\x1b[2J\n";
    assert_eq!(check_output(output), [(Level::Alert, Some(13), Some("/thirteen".into()))]);
    assert!(!said::parse(output, Path::new("/s/haproxy.cfg"), &owners())[0].text.contains('\x1b'));
}

/// On 2.6 `use_backend %[…,map(hosts.map)]` is resolved after `default-path` was left, and fails:
/// the map must be looked up by a rule.
fn bundle(backend: &str) -> Bundle {
    let config = format!(
        "global\n  default-path config\n  description baton:@DIGEST@\ndefaults\n  mode http\n  timeout connect 1s\n  \
         timeout client 1s\n  timeout server 1s\nfrontend f\n  bind 127.0.0.1:1\n  \
         http-request set-var(txn.b) req.hdr(host),map(hosts.map)\n  use_backend %[var(txn.b)]\nbackend b\n{backend}\n"
    );
    let mut draft = Draft { config, ..Draft::default() };
    draft.maps.insert(MapName::parse("hosts.map").unwrap(), "example.com b\n".into());
    draft.owners.own(13..=14, owner("/b", 0));
    Bundle::seal(draft).unwrap()
}

async fn real(backend: &str) -> Verdict {
    check(Path::new("/usr/sbin/haproxy"), &bundle(backend), Duration::from_secs(10)).await.unwrap()
}

#[tokio::test]
async fn the_real_haproxy_accepts_a_bundle_with_a_map_by_bare_name() {
    assert_eq!(real("  server a 127.0.0.1:2").await, Verdict::Accepted { warnings: vec![] });
}

#[tokio::test]
async fn the_real_haproxy_rejects_and_the_culprit_is_named() {
    let Verdict::Rejected(rejected) = real("  server a 127.0.0.1:99999").await else { panic!("accepted") };
    assert_eq!(rejected.culprits, BTreeSet::from([AppId::parse("/b").unwrap()]));
    assert_eq!((rejected.said.len(), rejected.said[0].line), (1, Some(14)));
    assert!(rejected.said[0].text.contains("99999"), "{rejected:?}");
}

#[tokio::test]
async fn warnings_do_not_reject() {
    let Verdict::Accepted { warnings } = real("  acl x path_beg").await else { panic!("rejected") };
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].level, Level::Warning);
}

#[tokio::test]
async fn a_crash_is_an_error_and_not_a_rejection() {
    let error = check(Path::new("/bin/false"), &bundle(""), Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(error, CheckError::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn the_environment_is_empty() {
    let leaks = ".if defined(PATH)\n.alert leak\n.endif";
    assert_eq!(real(leaks).await, Verdict::Accepted { warnings: vec![] });
    assert!(std::env::var_os("PATH").is_some(), "or nothing is shown");
}
