//! Golden cases: what is written for given apps and a given configuration, byte for byte.
//!
//! A case is a directory below `golden/`: `baton.toml` (whose first line says what it shows) and
//! usually `apps.json` go in; `haproxy.cfg`, the maps and, if there are any, `issues.txt` come out,
//! as `baton render` makes them. `UPDATE=1` writes what comes out. The real HAProxy must accept
//! every case without a warning. `golden/README.md` says which case shows what of marathon-lb.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "all of this is test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use baton::config::Config;
use baton::config::load::Sources;
use baton::config::settings::{Abilities, Purpose, needs_default_cert};
use baton::reconcile::build::{Builder, Built};
use baton::source::marathon::wire::{self, Envelope};
use baton::source::publish;
use baton::source::resolve::Resolver;
use haproxy::app::Snapshot;
use haproxy::features::Features;
use haproxy::render::Renderer;

#[test]
fn every_case_renders_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    let wrong: Vec<String> = cases().iter().filter_map(|case| differs(case, update)).collect();
    assert!(wrong.is_empty(), "UPDATE=1 accepts these, once you have read them:\n{}", wrong.join("\n"));
}

#[test]
fn the_real_haproxy_accepts_every_case_without_a_warning() {
    if matches!(Command::new("haproxy").arg("-v").output(), Err(why) if why.kind() == io::ErrorKind::NotFound) {
        println!("skipped: no haproxy is installed");
        return;
    }
    let said: Vec<String> = cases().iter().filter_map(|case| complaint(case)).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
}

#[test]
fn every_case_says_what_it_shows() {
    let index = fs::read_to_string(golden().join("README.md")).unwrap();
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        assert!(index.contains(&format!("`{name}`")), "README.md does not name {name}");
        let toml = fs::read_to_string(case.join("baton.toml")).unwrap();
        assert!(toml.starts_with("# "), "{name}/baton.toml does not begin with what the case shows");
    }
}

/// The case's differences from what is on disk, none if there are none; with `update` they are
/// written instead.
fn differs(case: &Path, update: bool) -> Option<String> {
    let made = outputs(&build(case, ABILITIES));
    let known = written(case);
    if made == known {
        return None;
    }
    if update {
        known.keys().for_each(|name| fs::remove_file(case.join(name)).unwrap());
        made.iter().for_each(|(name, text)| fs::write(case.join(name), text).unwrap());
        return None;
    }
    let names: BTreeSet<_> = made.keys().chain(known.keys()).collect();
    let changed = names.into_iter().filter(|name| made.get(*name) != known.get(*name));
    let mut told = format!("{}:", case.display());
    for name in changed {
        write!(told, "\n  {name}: {}", first_difference(known.get(name), made.get(name))).unwrap();
    }
    Some(told)
}

fn first_difference(known: Option<&String>, made: Option<&String>) -> String {
    let (Some(known), Some(made)) = (known, made) else {
        return if made.is_some() { "is new".to_owned() } else { "is not made".to_owned() };
    };
    // The digest differs whenever anything does, so it is told only when nothing else does.
    let pairs = known.lines().zip(made.lines()).enumerate().filter(|(_, (a, b))| a != b);
    match pairs.max_by_key(|(line, (a, _))| (!a.contains("description baton:"), std::cmp::Reverse(*line))) {
        Some((line, (a, b))) => format!("line {}\n    - {a}\n    + {b}", line + 1),
        None => format!("{} lines instead of {}", made.lines().count(), known.lines().count()),
    }
}

/// What HAProxy has against the case, none if nothing.
fn complaint(case: &Path) -> Option<String> {
    let scratch = tempfile::tempdir().unwrap();
    let certs = scratch.path().join("certs");
    let built = build(case, abilities());
    // Certificates of operators and apps lie under one root; here it is in the scratch directory.
    let config = built.bundle.config().replace(CERT_ROOT, certs.to_str().unwrap());
    for path in config.split_whitespace().filter(|word| word.starts_with(certs.to_str().unwrap())) {
        let file = if path.ends_with('/') { Path::new(path).join("site.pem") } else { PathBuf::from(path) };
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, PEM).unwrap();
    }
    for (name, text) in built.bundle.side_files() {
        fs::write(scratch.path().join(name), text).unwrap();
    }
    let file = scratch.path().join("haproxy.cfg");
    fs::write(&file, config).unwrap();
    let output = Command::new("haproxy").arg("-c").arg("-f").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let clean = output.status.success() && !said.contains("[WARNING]") && !said.contains("[ALERT]");
    (!clean).then(|| format!("{}: {said}", case.display()))
}

/// Those of the HAProxy at hand.
fn abilities() -> Abilities {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|dir| dir.join("haproxy")).find(|file| file.is_file()).unwrap();
    let features = runtime.block_on(Features::probe(&found)).unwrap();
    Abilities { ipv6: false, ..Abilities::of(Some(&features)) }
}

fn build(case: &Path, abilities: Abilities) -> Built {
    let sources = Sources { file: case.join("baton.toml"), required: true };
    let config = sources.read().unwrap_or_else(|why| panic!("{}: {why}", case.display()));
    config.validate().unwrap_or_else(|why| panic!("{}: {why}", case.display()));
    let snapshot = snapshot(&case.join(config.marathon.file.as_ref().expect("a case names its file of apps")));
    let builder = Builder {
        renderer: Arc::new(Renderer::new().unwrap()),
        default_cert: default_cert(&config),
        certs: None,
        config: Arc::new(config),
        purpose: Purpose::Standalone,
        abilities,
    };
    builder.build(&snapshot).unwrap()
}

/// The certificate of a load balancer that was given none: here always the same.
fn default_cert(config: &Config) -> Option<Arc<str>> {
    needs_default_cert(config).then(|| Arc::from(PEM))
}

fn snapshot(file: &Path) -> Snapshot {
    let body = fs::read(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    let answer = wire::read(&body, Envelope::ObjectOrArray).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    let resolver = Resolver::new(std::time::Duration::from_secs(60), |host| async move {
        let known = HOSTS.iter().find(|(name, _)| *name == host);
        known.map(|(_, addr)| vec![IpAddr::from(*addr)]).ok_or_else(|| io::ErrorKind::NotFound.into())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { publish::once(answer, resolver).await })
}

/// The files that a build makes, as far as they are kept.
fn outputs(built: &Built) -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([("haproxy.cfg".to_owned(), built.bundle.config().to_owned())]);
    files.extend(built.bundle.maps().iter().map(|(name, text)| (name.as_str().to_owned(), text.clone())));
    if !built.issues.is_empty() {
        files.insert("issues.txt".to_owned(), built.issues.iter().map(|issue| format!("{issue}\n")).collect());
    }
    files
}

/// The files of a case that were made.
fn written(case: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().path());
    let made = entries.filter(|path| !path.ends_with("baton.toml") && !path.ends_with("apps.json"));
    made.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    cases
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Where the cases keep certificates.
const CERT_ROOT: &str = "/etc/baton/certs";

/// The agents that have a name; every other name is unknown.
const HOSTS: [(&str, [u8; 4]); 2] = [("agent1", [1, 1, 1, 1]), ("srv4.hw.ca1.mesosphere.com", [10, 0, 1, 4])];

/// A self-signed certificate and its key, made for tests and good for nothing else.
const PEM: &str = include_str!("golden/test-only-site.pem");

/// A case that is about IPv6 says so itself, and one about what is dynamic too.
const ABILITIES: Abilities = Abilities { prometheus: true, ipv6: false, dynamic: true, own_names: false };
