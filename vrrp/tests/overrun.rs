//! More events from the kernel than its buffer holds. As root.
//!
//! Alone in its file, because it stops its own process for a moment.

#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;

use std::fmt::Write as _;
use std::process::Command;

use lab::{Lab, router};
use vrrp::config::RouterConfig;
use vrrp::linux::remark::Remark;
use vrrp::linux::report::Report;
use vrrp::machine::io::Phase;
use vrrp::types::Centiseconds;

/// Far more than the buffer holds, with an event at the end that is lost, and matters.
#[test]
fn lost_events_are_made_up_for_at_once() {
    Lab::test(2, |lab| {
        // A Backup, which sends nothing whose failure would tell.
        let slow = |priority| RouterConfig { interval: Centiseconds::new(100).unwrap(), ..router(1, priority) };
        let active = lab.start(1, vec![slow(200)]);
        active.until(Phase::Active);
        let node = lab.start(0, vec![slow(100)]);
        node.status("a peer", |status| status.peer.is_some());
        let mut storm = String::new();
        for number in 0..6000 {
            writeln!(storm, "address add 10.99.{}.{}/32 dev eth0", number / 250, 1 + number % 250).unwrap();
        }
        storm.push_str("link set eth0 down\n");
        let file = std::env::temp_dir().join(format!("vrrp-storm-{}", std::process::id()));
        std::fs::write(&file, storm).unwrap();
        let script = r#"trap 'kill -CONT "$1"' EXIT; kill -STOP "$1"; timeout 20 ip -batch "$2""#;
        let pid = std::process::id().to_string();
        let mut stopper =
            lab.on(0, || Command::new("sh").args(["-c", script, "sh", &pid, file.to_str().unwrap()]).spawn().unwrap());
        assert!(stopper.wait().unwrap().success());
        std::fs::remove_file(file).unwrap();
        // Sooner than everything is asked for anew in any case.
        let down = |report: &Report| matches!(report, Report::Remark { remark: Remark::LinkDown, .. });
        node.wait(1000, "the link down", |report| down(report).then_some(()));
        node.until(Phase::Fault);
    });
}
