//! The bench binary's standard output: one well-formed line a figure and nothing else.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

use std::process::Command;

use e2e::lab::baton::binary;

fn bench(only: &str) -> Vec<String> {
    let output = Command::new(binary("bench").unwrap()).args(["--scale", "100", only]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_line_is_a_figure_with_name_value_and_unit() {
    let lines = bench("compile_render");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let words: Vec<_> = lines[0].split(' ').collect();
    let ["figure", "compile_render_50x5", value, "ms"] = words[..] else { panic!("{lines:?}") };
    assert!(value.parse::<f64>().is_ok_and(|value| value > 0.0), "{value}");
}

#[test]
fn an_unknown_prefix_measures_nothing() {
    assert!(bench("no_such_figure").is_empty());
}
