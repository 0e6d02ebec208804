//! Every recorded Marathon document parses to the right apps: one golden text per document.
//!
//! `UPDATE=1 cargo test -p baton --test source_wire` rewrites the texts; read the diff.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use baton::source::marathon::wire::{self, Answer, Envelope, WireError};
use haproxy::app::{App, CheckTarget, Instance};

#[test]
fn recorded_lists_of_apps() {
    let mut documents: Vec<_> = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|e| e == "json") && name(path).contains("-apps-"));
    documents.sort();
    assert_eq!(documents.len(), 8);
    for path in documents {
        let answer = wire::read(&std::fs::read(&path).unwrap(), Envelope::Object).unwrap();
        let golden = path.with_extension("txt");
        let have = describe(&answer);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &have).unwrap();
        }
        let want = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(have, want, "{}", golden.display());
    }
}

#[test]
fn other_documents_are_no_list_of_apps_but_groups_without_panic() {
    for (document, found) in [
        ("09-groups-with-pods-1.8.json", true),
        ("11-post-group-wordpress.json", true),
        ("12-deployments-1.8.json", false),
        ("13-tasks-1.4.json", false),
        ("14-tasks-1.8.json", false),
        ("15-info-1.8.json", false),
        ("16-errors.json", false),
        ("17-tasks-1.4.txt", false),
    ] {
        let body = std::fs::read(fixtures().join(document)).unwrap();
        let answer = wire::read(&body, Envelope::Object);
        assert_eq!(answer.is_ok(), found, "{document}: {answer:?}");
    }
    let list = br#"[{"id":"/a"}]"#;
    assert!(matches!(wire::read(list, Envelope::Object), Err(WireError::NoApps)));
    assert_eq!(wire::read(list, Envelope::ObjectOrArray).unwrap().apps.len(), 1);
}

/// One line per app, check and task: all that a core type holds.
fn describe(answer: &Answer) -> String {
    let mut text = String::new();
    for app in answer.apps.values() {
        describe_app(&mut text, app);
    }
    for issue in &answer.issues {
        writeln!(text, "issue {issue}").unwrap();
    }
    text
}

fn describe_app(text: &mut String, app: &App) {
    let ports = list(app.ports.iter().map(|port| port.service_port));
    writeln!(text, "{} {:?} ports {ports} wanted {}", app.id, app.networking, app.wanted).unwrap();
    for (name, value) in &app.labels {
        writeln!(text, "  label {name} = {value}").unwrap();
    }
    for check in &app.checks {
        let target = match check.target {
            CheckTarget::Index(n) => format!("index {n}"),
            CheckTarget::Port(n) => format!("port {n}"),
            CheckTarget::None => "nothing".to_owned(),
        };
        let path = check.path.as_deref().unwrap_or("-");
        let failures = check.max_consecutive_failures;
        let times = format!("every {:?} within {:?} fall {failures}", check.interval, check.timeout);
        writeln!(text, "  check {:?} {target} {path} {times}", check.protocol).unwrap();
    }
    for Instance { id, host, addr, ports, state, health } in &app.instances {
        let addr = addr.map_or_else(|| "-".to_owned(), |addr| addr.to_string());
        let ports = list(ports.iter().copied());
        writeln!(text, "  task {id} on {host} at {addr} {ports} {state:?} {health:?}").unwrap();
    }
}

fn list(ports: impl Iterator<Item = Option<u16>>) -> String {
    let ports: Vec<_> = ports.map(|port| port.map_or_else(|| "-".to_owned(), |port| port.to_string())).collect();
    format!("[{}]", ports.join(" "))
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/marathon")
}
