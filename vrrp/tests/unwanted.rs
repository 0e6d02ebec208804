//! What must not impress an engine: forged packets, and a host that gives it no rights. As root.

#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;

use std::process::Command;
use std::thread;
use std::time::Duration;

use lab::{Lab, address, fit, router, within};
use vrrp::config::{ChecksumForm, RouterConfig};
use vrrp::linux::engine::{Engine, EngineError, Setup};
use vrrp::linux::report::{Report, RouterStatus};
use vrrp::linux::socket::AdvertSocket;
use vrrp::machine::io::{Phase, Reason};
use vrrp::types::{Centiseconds, Family, Priority, Version, Vrid};
use vrrp::wire::Carrier;
use vrrp::wire::advert::Advert;
use vrrp::wire::reject::{Reject, Rung};

#[test]
fn forged_packets_are_counted_and_named() {
    Lab::test(2, |lab| {
        let node = lab.start(0, vec![router(1, 100)]);
        node.until(Phase::Active);
        let forger = lab.on(1, || AdvertSocket::open("eth0", Family::V4)).unwrap();
        let from = |source: &str| Carrier::multicast(address(source));
        let config = router(1, 255);
        let interval = config.interval;
        let send = |config: &RouterConfig, carrier: &Carrier, change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Advert::new(config, Priority(254), interval).emit(carrier, ChecksumForm::PseudoHeader);
            change(&mut bytes);
            forger.send(&bytes, carrier).unwrap();
        };
        let carrier = from("10.88.0.2");
        let refused = |what: &str, rung: Rung| {
            let status = node.status(what, |status| status.received.refused(rung) > 0);
            assert_eq!(status.phase, Phase::Active, "{what}");
            let source = status.refused.iter().find(|refused| refused.source == address("10.88.0.2")).unwrap();
            assert_eq!(source.last.rung(), rung);
        };
        send(&config, &carrier, &|bytes| bytes[6] ^= 0xff);
        refused("a bad checksum", Rung::Checksum);
        send(&RouterConfig { version: Version::V2, ..config.clone() }, &carrier, &|_| ());
        refused("another version", Rung::Version);
        send(&config, &carrier, &|bytes| bytes.truncate(9));
        refused("a stump", Rung::Length);
        send(&RouterConfig { vrid: Vrid::new(9).unwrap(), ..config.clone() }, &carrier, &|_| ());
        let stray = node.wait(3000, "a stray", |report| match report {
            Report::Strays(strays) => strays.refused.first().copied(),
            _ => None,
        });
        assert_eq!((stray.source, stray.last), (address("10.88.0.2"), Reject::Vrid { found: 9 }));
        // What passes may differ in its addresses, and is then named.
        let other = RouterConfig { addresses: vec!["10.88.0.250/24".parse().unwrap()], ..config };
        let heard = |status: &RouterStatus| status.differing.contains_key(&address("10.88.0.2"));
        send(&other, &carrier, &|_| ());
        assert_eq!(node.until(Phase::Backup).reason, Reason::Outranked);
        let status = node.status("a differing list", heard);
        assert_eq!(status.differing[&address("10.88.0.2")], [address("10.88.0.250")]);
    });
}

#[test]
fn a_leftover_is_removed_when_a_peer_is_heard() {
    Lab::test(2, |lab| {
        let a = lab.start(0, vec![router(1, 100)]);
        a.until(Phase::Active);
        within(500, "address", || lab.has(0, "10.88.0.101").then_some(()));
        drop(a);
        let b = lab.start(1, vec![router(1, 200)]);
        b.until(Phase::Active);
        let a = lab.start(0, vec![router(1, 100)]);
        assert_eq!(a.until(Phase::Backup).reason, Reason::Leftover);
        within(500, "removal", || (!lab.has(0, "10.88.0.101")).then_some(()));
        thread::sleep(Duration::from_millis(500));
        assert!(lab.has(1, "10.88.0.101"));
    });
}

/// The name of a capability in the environment makes a run of this test the one without it.
const WITHOUT: &str = "VRRP_TEST_WITHOUT";

#[test]
fn a_missing_capability_is_named() {
    let setup = || Setup { routers: vec![router(1, 100)], resume: Vec::new(), health: fit(), realtime: false };
    if let Ok(wanted) = std::env::var(WITHOUT) {
        match Engine::start(setup()) {
            Err(error @ EngineError::Capability { capability, .. }) => {
                assert_eq!(capability.to_lowercase(), wanted, "{error}");
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    for capability in ["net_raw", "net_admin"] {
        let output = Command::new("setpriv")
            .args(["--bounding-set", &format!("-{capability}"), "--inh-caps", &format!("-{capability}")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "a_missing_capability_is_named"])
            .env(WITHOUT, format!("cap_{capability}"))
            .output()
            .expect("setpriv of util-linux");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_contradictory_configuration_is_an_error() {
    let twice = vec![router(1, 100), RouterConfig { interval: Centiseconds::new(50).unwrap(), ..router(1, 100) }];
    let setup = Setup { routers: twice, resume: Vec::new(), health: fit(), realtime: false };
    Lab::test(1, move |lab| {
        let started = lab.on(0, || Engine::start(setup));
        assert!(matches!(started, Err(EngineError::Config(_))), "{started:?}");
    });
}
