//! What routers track besides HAProxy: interfaces and scripts, as keepalived does.
//!
//! Driven by the `vip` task. Scripts run one at a time each, without a shell and without our
//! environment, as an unprivileged user, and are killed when their time is over. What a result means for
//! a priority is decided in `health`.
#![allow(clippy::disallowed_methods, reason = "runs programs in real time")]

use std::collections::BTreeMap;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::health::Tracked;
use super::program::Program;
use crate::config::vrrp::{TrackScript, Vrrp};

/// Everything that is tracked, and how it is.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    interfaces: Vec<String>,
    scripts: BTreeMap<Tracked, Script>,
    running: JoinSet<(Tracked, bool)>,
    look: Option<Instant>,
}

/// A script and its last results.
#[derive(Debug)]
struct Script {
    program: Program,
    interval: Duration,
    rise: u32,
    fall: u32,
    well: bool,
    /// Results in a row that say otherwise.
    otherwise: u32,
    /// When to run it next; none while it runs.
    due: Option<Instant>,
}

impl Tracks {
    /// Tracks what these routers want; what was tracked before keeps its results.
    pub(super) fn set(&mut self, routers: &[Vrrp]) {
        let names = routers.iter().flat_map(|router| router.track_interface.iter().map(|track| track.name.0.clone()));
        self.interfaces = names.collect();
        self.interfaces.sort();
        self.interfaces.dedup();
        let now = Instant::now();
        self.look = (!self.interfaces.is_empty()).then_some(now);
        let mut before = std::mem::take(&mut self.scripts);
        for router in routers {
            for script in &router.track_script {
                let name = Tracked::Script(router.name(), script.name.clone());
                let new = Script::new(script, now);
                let script = match before.remove(&name) {
                    Some(old) if old.program == new.program => Script { well: old.well, due: old.due, ..new },
                    _ => new,
                };
                self.scripts.insert(name, script);
            }
        }
    }

    /// Waits until something may have changed, and notes it in `well`. Cancel safe.
    pub(super) async fn next(&mut self, well: &mut BTreeMap<Tracked, bool>) {
        let due = self.scripts.values().filter_map(|script| script.due).chain(self.look).min();
        tokio::select! {
            () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => self.start(well),
            Some(Ok((name, success))) = self.running.join_next() => self.ended(&name, success, well),
            else => std::future::pending().await,
        }
    }

    /// Looks at the interfaces and runs the scripts that are due.
    fn start(&mut self, well: &mut BTreeMap<Tracked, bool>) {
        let now = Instant::now();
        if self.look.is_some_and(|look| look <= now) {
            self.look = Some(now + LOOK);
            let up = running_interfaces();
            for name in &self.interfaces {
                well.insert(Tracked::Interface(name.clone()), up.contains(name));
            }
        }
        for (name, script) in self.scripts.iter_mut().filter(|(_, script)| script.due.is_some_and(|due| due <= now)) {
            script.due = None;
            let (name, program) = (name.clone(), script.program.clone());
            self.running.spawn(async move {
                let ended = program.run(&[]).await;
                (name, ended.is_ok())
            });
        }
    }

    fn ended(&mut self, name: &Tracked, success: bool, well: &mut BTreeMap<Tracked, bool>) {
        let Some(script) = self.scripts.get_mut(name) else { return };
        script.due = Some(Instant::now() + script.interval);
        if script.note(success) {
            log::warn!("tracked {}: {}", script.program, if script.well { "well again" } else { "failed" });
        }
        well.insert(name.clone(), script.well);
    }
}

impl Script {
    fn new(written: &TrackScript, due: Instant) -> Self {
        Self {
            program: Program::new(&written.command, written.timeout().into()),
            interval: written.interval.into(),
            rise: written.rise.0,
            fall: written.fall.0,
            well: true,
            otherwise: 0,
            due: Some(due),
        }
    }

    /// One result more; whether it changed the verdict.
    fn note(&mut self, success: bool) -> bool {
        if success == self.well {
            self.otherwise = 0;
            return false;
        }
        self.otherwise += 1;
        let needed = if success { self.rise } else { self.fall };
        if self.otherwise < needed {
            return false;
        }
        self.well = success;
        self.otherwise = 0;
        true
    }
}

/// The interfaces that are up and have a carrier.
fn running_interfaces() -> Vec<String> {
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let all = getifaddrs().into_iter().flatten();
    all.filter(|interface| interface.flags.contains(up)).map(|interface| interface.interface_name).collect()
}

/// From one look at the interfaces to the next.
const LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_its_number_of_results_in_a_row() {
        let written: TrackScript = serde_json::from_value(serde_json::json!(
            {"name": "s", "command": ["/bin/true"], "rise": 3, "fall": 2}
        ))
        .unwrap();
        let mut script = Script::new(&written, Instant::now());
        let seen: Vec<_> = [false, true, false, false, true, true, false, true, true, true]
            .map(|success| {
                script.note(success);
                script.well
            })
            .into();
        assert_eq!(seen, [true, true, true, false, false, false, false, false, false, true]);
    }

    #[tokio::test]
    async fn scripts_run_again_and_again() {
        let router: Vrrp = serde_json::from_value(serde_json::json!({
            "interface": "eth0", "virtual_router_id": 1, "addresses": ["192.0.2.1/24"], "name": "r",
            "track_script": [{"name": "s", "command": ["/bin/false"], "interval": "10ms", "fall": 2}],
            "track_interface": [{"name": "lo"}, {"name": "nowhere"}],
        }))
        .unwrap();
        let (mut tracks, mut well) = (Tracks::default(), BTreeMap::new());
        tracks.set(&[router]);
        let script = Tracked::Script("r".to_owned(), "s".to_owned());
        for _ in 0..100 {
            tokio::time::timeout(Duration::from_secs(5), tracks.next(&mut well)).await.unwrap();
            if well.get(&script) == Some(&false) {
                break;
            }
        }
        assert_eq!(well.get(&script), Some(&false));
        assert_eq!(well.get(&Tracked::Interface("nowhere".to_owned())), Some(&false));
    }
}
