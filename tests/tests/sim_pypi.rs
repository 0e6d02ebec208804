//! An independent client, PyPI's `marathon`, can work with both personalities.
//!
//! Needs `python3` with `venv` and a package index the first time; the environment stays below the target directory.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod sim;

use std::path::{Path, PathBuf};
use std::process::Output;

use e2e::sim::{Config, Sim};
use sim::BOTH;
use tokio::process::Command;

/// Creates the environment, or takes the one that was made for the same requirements.
async fn environment() -> PathBuf {
    let requirements = pypi().join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pypi-venv");
    let stamp = venv.join("installed.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return venv;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "create a venv (package python3-venv)")
        .await;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
    run(&mut pip, "install the client").await;
    std::fs::write(&stamp, wanted).unwrap();
    venv
}

fn pypi() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pypi")
}

async fn run(command: &mut Command, what: &str) -> Output {
    let output = command.output().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}:\n{}\n{}", text(&output.stdout), text(&output.stderr));
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pypis_client_lists_creates_scales_and_deletes() {
    let venv = environment().await;
    for personality in BOTH {
        let sim = Sim::start(Config::for_test(personality).members(2)).await.unwrap();
        let mut script = Command::new(venv.join("bin/python3"));
        script.arg(pypi().join("client.py")).args(sim.urls());
        let output = run(&mut script, "client.py").await;
        let steps = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(steps.lines().last(), Some("ok: events seen"), "{steps}");
        sim.stop().await;
    }
}
