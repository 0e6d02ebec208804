//! `baton import keepalived` on configurations as people have them, byte for byte.
//!
//! A case is a directory below `import/`: `keepalived.conf`, whose first line says what it shows, and
//! what it includes go in; `baton.toml` (standard output) and `notes.txt` (standard error) come out.
//! `UPDATE=1` writes what comes out. Baton must accept every result as a file of its conf.d, and
//! every line that goes in must be found again, or be listed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all of this is test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use baton::config::load::Sources;

#[test]
fn every_case_is_translated_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        for (name, made) in import(&case, &[]) {
            let file = case.join(name);
            if update {
                fs::write(&file, &made).unwrap();
            }
            let known = fs::read_to_string(&file).unwrap_or_default();
            if let Some((line, (was, is))) = (1..).zip(pairs(&known, &made)).find(|(_, (was, is))| was != is) {
                wrong.push(format!("{}:{line}\n    - {was}\n    + {is}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "UPDATE=1 accepts these, once you have read them:\n{}", wrong.join("\n"));
}

#[test]
fn every_result_is_a_configuration() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("baton.toml");
        fs::write(&file, "[marathon]\nurls = [\"http://10.0.0.1:8080\"]\ngroups = [\"external\"]\n").unwrap();
        fs::create_dir(dir.path().join("conf.d")).unwrap();
        let toml = fs::read_to_string(case.join("baton.toml")).unwrap();
        fs::write(dir.path().join("conf.d/vrrp.toml"), &toml).unwrap();
        let read = Sources { file, required: true }.read().and_then(|config| config.validate().map(|()| config));
        let config = read.unwrap_or_else(|why| panic!("{}: {why}", case.display()));
        let written = toml.lines().filter(|line| *line == "[[vrrp]]").count();
        assert_eq!(config.vrrp.len(), written, "{}", case.display());
    }
}

#[test]
fn every_line_is_found_again_or_listed() {
    for case in cases() {
        let (toml, notes) = (text(&case, "baton.toml"), text(&case, "notes.txt"));
        let result: String = toml.lines().filter(|line| !line.starts_with("#   ")).collect::<Vec<_>>().join("\n");
        for file in inputs(&case) {
            let name = file.strip_prefix(&case).unwrap().display().to_string();
            let content = fs::read_to_string(&file).unwrap();
            for (number, line) in (1..).zip(content.lines()) {
                let said = line.split(['!', '#']).next().unwrap().trim();
                let listed = notes.lines().any(|note| covers(note, &name, number));
                assert!(listed || found(said, &result), "{name}:{number} of {}: {line}", case.display());
            }
        }
        // What is told on standard error stands in the file too.
        for note in notes.lines().filter_map(|line| line.strip_prefix("baton: ")).filter(|note| note.contains(": not "))
        {
            assert!(toml.contains(note), "{}: {note}", case.display());
        }
    }
}

#[test]
fn every_case_says_what_it_shows() {
    let cases = cases();
    assert!(cases.len() >= 8);
    for case in cases {
        let first = text(&case, "keepalived.conf");
        assert!(first.starts_with("! ") || first.starts_with("# "), "{}", case.display());
    }
}

#[test]
fn lines_for_one_host_are_taken_for_it() {
    let case = cases().into_iter().find(|case| case.ends_with("includes")).unwrap();
    let made = import(&case, &["--config-id", "first"]);
    assert!(made["baton.toml"].contains("priority = 110\n"), "{}", made["baton.toml"]);
    assert!(made["notes.txt"].contains("vrrp.d/20-web.conf:5: not translated: @second priority 90"));
}

/// Standard output and standard error, by the file that keeps them.
fn import(case: &Path, more: &[&str]) -> BTreeMap<&'static str, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    let output = command.args(["import", "keepalived", "keepalived.conf"]).args(more).current_dir(case).output();
    let output = output.expect("run baton");
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{}: {err}", case.display());
    BTreeMap::from([("baton.toml", out), ("notes.txt", err)])
}

/// The lines of two texts side by side.
fn pairs<'a>(known: &'a str, made: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let length = known.lines().count().max(made.lines().count());
    let end = ["<end>"].into_iter().cycle();
    known.lines().chain(end.clone()).zip(made.lines().chain(end)).take(length)
}

/// Whether `note` is about that line: `baton: FILE:FIRST[-LAST]: …`.
fn covers(note: &str, file: &str, number: usize) -> bool {
    let rest = note.strip_prefix("baton: ").and_then(|rest| rest.strip_prefix(file));
    let Some(lines) = rest.and_then(|rest| rest.strip_prefix(':')).and_then(|rest| rest.split(':').next()) else {
        return false;
    };
    let (first, last) = lines.split_once('-').unwrap_or((lines, lines));
    let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { return false };
    (first..=last).contains(&number)
}

/// Whether what the line says can be seen in the result.
fn found(said: &str, result: &str) -> bool {
    if said.starts_with('$') && said.contains('=') {
        return true;
    }
    // The parameters of the case `includes`.
    let said = said.replace("$IFACE", "eth0").replace("${NET}", "192.0.2");
    let words: Vec<_> = said.split(|c: char| c.is_whitespace() || "{}\"'".contains(c)).collect();
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty() && !STRUCTURE.contains(word)).collect();
    let has = |key: &str, value: &str| result.lines().any(|line| line.starts_with(&format!("{key} = {value}")));
    match words.as_slice() {
        [] => true,
        ["nopreempt"] => has("preempt", "false"),
        ["preempt"] => has("preempt", "true"),
        ["use_vmac", ..] => has("virtual_mac", "true"),
        ["v3_checksum_as_v2"] => has("checksum", "\"message\""),
        ["auth_type", "PASS"] => result.contains("auth_pass = "),
        ["advert_int" | "interval" | "timeout" | "preempt_delay", seconds] => {
            let millis = (seconds.parse::<f64>().unwrap() * 1000.0).to_string();
            result.contains(&format!("\"{seconds}s\"")) || result.contains(&format!("\"{millis}ms\""))
        }
        // What is included has lines of its own.
        ["include", _] => true,
        words => words.iter().skip(usize::from(words.len() > 1)).all(|word| result.contains(word)),
    }
}

fn text(case: &Path, name: &str) -> String {
    fs::read_to_string(case.join(name)).unwrap_or_else(|why| panic!("{}/{name}: {why}", case.display()))
}

/// Every file that goes in.
fn inputs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(inputs(&path));
        } else if path.extension().is_some_and(|extension| extension == "conf" || extension == "list") {
            found.push(path);
        }
    }
    found
}

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let mut cases: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// Words that only hold others together.
const STRUCTURE: [&str; 9] = [
    "global_defs",
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "unicast_peer",
    "track_interface",
    "track_script",
    "authentication",
    "group",
    "dev",
];
