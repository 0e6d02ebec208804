//! The rules of the source tree as a test: crate edges, forbidden imports, headers, lengths, words.
//!
//! Reads files only. What it forbids is explained where the rule stands.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every tracked or new file below the root, without what is built.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() && !path.is_symlink() {
                if !["target", ".git", "build", "dist"].contains(&&*name) {
                    walk(&path, found);
                }
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.retain(|path| path.extension().is_some_and(|e| extensions.contains(&&*e.to_string_lossy())));
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[track_caller]
fn none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

#[test]
fn every_rust_file_says_what_it_is() {
    let bare = files(&["rs"]).into_iter().filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "));
    none("a file opens with `//! ` and what it is", bare.map(|path| shown(&path)).collect());
}

#[test]
fn no_rust_file_is_too_long() {
    let long = files(&["rs"]).into_iter().filter_map(|path| {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        (lines > MAX_LINES).then(|| format!("{} has {lines} lines", shown(&path)))
    });
    none("at most 500 lines: one noun a file", long.collect());
}

#[test]
fn crates_know_only_what_they_may() {
    let forbidden = [
        ("haproxy", &["vrrp", "baton", "serde_json", "reqwest", "prometheus-client", "log"][..]),
        ("vrrp", &["haproxy", "baton", "serde_json", "reqwest", "prometheus-client", "log"]),
        ("daemon", &["e2e"]),
    ];
    let mut found = Vec::new();
    for (member, names) in forbidden {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        let edges = names.iter().filter(|name| {
            dependencies.lines().any(|line| line.starts_with(*name) && line[name.len()..].starts_with([' ', '.']))
        });
        found.extend(edges.map(|name| format!("{member} depends on {name}")));
    }
    none("crate edges", found);
}

#[test]
fn the_pure_parts_do_no_io_and_read_no_clock() {
    let pure = ["app.rs", "issue.rs", "text.rs", "names.rs", "model.rs", "pairs.rs", "labels/", "compile/", "render/"];
    let forbidden =
        ["std::fs", "std::env", "tokio", "Instant", "SystemTime", "TcpStream", "UnixStream", "std::process"];
    let mut found = Vec::new();
    for path in files(&["rs"]) {
        let name = shown(&path);
        let Some(module) = name.strip_prefix("haproxy/src/") else { continue };
        if !pure.iter().any(|part| module.starts_with(part)) || module.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap();
            if code.starts_with("#[cfg(test)]") {
                break;
            }
            let uses = forbidden.iter().filter(|word| code.contains(*word));
            found.extend(uses.map(|word| format!("{name}:{}: {word}", number + 1)));
        }
    }
    none("a pure module uses", found);
}

#[test]
fn nothing_is_left_for_later_or_tied_to_one_machine() {
    // Written in two halves, so that this file does not name them.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["#[ign", "ore"],
        ["../sha", "red"],
        ["/wo", "rk/"],
        ["deb.deb", "ian.org"],
        ["crates", ".io/"],
        ["pypi", ".org"],
        ["registry.npm", "js"],
    ]
    .map(|halves| halves.concat());
    let mut found = Vec::new();
    for path in files(&["rs", "md", "toml", "sh", "py", "yml", "tera", "txt"]) {
        for (number, line) in fs::read_to_string(&path).unwrap_or_default().lines().enumerate() {
            let hits = words.iter().filter(|word| line.contains(*word));
            found.extend(hits.map(|word| format!("{}:{}: {word}", shown(&path), number + 1)));
        }
    }
    none("words that must not stand in the tree", found);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut found = Vec::new();
    for path in files(&["md"]) {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            if !path.parent().unwrap().join(file).exists() {
                found.push(format!("{}: {target}", shown(&path)));
            }
        }
    }
    none("dead links", found);
}

const MAX_LINES: usize = 500;
