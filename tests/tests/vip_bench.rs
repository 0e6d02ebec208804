//! The bench of the virtual address: keepalived's half on its own, one run of a planned stop.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

use std::process::Command;

use e2e::lab::baton::binary;

#[test]
fn a_planned_stop_of_keepalived_gives_its_median_and_its_maximum() {
    let bench = Command::new(binary("bench").unwrap()).args(["--scale", "100", "keepalived_gap_stop_100ms"]).output();
    let bench = bench.unwrap();
    let said = String::from_utf8_lossy(&bench.stderr);
    assert!(bench.status.success(), "{said}");
    let printed = String::from_utf8(bench.stdout).unwrap();
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split(' ').collect()).collect();
    let [median, greatest] = &lines[..] else { panic!("{printed}") };
    for (line, name) in [(median, "keepalived_gap_stop_100ms"), (greatest, "keepalived_gap_stop_100ms_max")] {
        let ["figure", of, value, "ms"] = line[..] else { panic!("{line:?}") };
        assert_eq!(of, name);
        // The backup's Skew_Time is 60.9 ms.
        assert!(value.parse::<f64>().is_ok_and(|value| (55.0..300.0).contains(&value)), "{value}\n{said}");
    }
}
