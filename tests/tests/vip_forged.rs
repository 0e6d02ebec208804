//! Advertisements that nobody honest sends: each is refused at its rung, counted and shown, and nothing else happens.

#![allow(clippy::unwrap_used, reason = "tests; clippy exempts `#[test]` functions only")]

mod vip;

use std::net::Ipv4Addr;
use std::time::Duration;

use e2e::lab::forge::Forged;
use e2e::lab::lan::INTERFACE;
use serde_json::{Value, json};

use crate::vip::scene::{Scene, VIRTUAL, first, router};

#[test]
fn forged_advertisements_are_refused_counted_and_shown() {
    let (scene, node) = Scene::lone(&router(), "");
    let since = node.router().unwrap()["since"].clone();
    // Or the kernel itself drops what comes from the host's own address.
    let local = format!("echo 1 > /proc/sys/net/ipv4/conf/{INTERFACE}/accept_local");
    scene.hosts[0].command("sh", &["-c", &local]).unwrap();
    let stranger = Forged::new(STRANGER, 250, VIRTUAL);
    let cases = [
        ("ttl", "hop limit 254 instead of 255", Forged { ttl: 254, ..stranger.clone() }),
        ("interval", "advertisement interval 0", Forged { interval: Duration::ZERO, ..stranger.clone() }),
        ("version", "version 2 instead of 3", Forged { version: 2, ..stranger.clone() }),
        ("checksum", "checksum", Forged { spoil: 1, ..stranger.clone() }),
        ("no_address", "no address", Forged { addresses: Vec::new(), ..stranger.clone() }),
        (
            "own",
            "sent from our own address 10.77.0.11",
            Forged { from: Ipv4Addr::new(10, 77, 0, 11), ..stranger.clone() },
        ),
    ];
    for (rung, text, forged) in cases {
        for _ in 0..3 {
            forged.send(&scene.client, CLIENT).unwrap();
        }
        let counter = format!("refused_{rung}");
        let status = node.until(&counter, |status| of(status)["counters"][&counter] == 3).unwrap();
        let refused =
            of(&status)["refused"].as_array().unwrap().iter().find(|row| row["source"] == forged.from.to_string());
        let reason = refused.unwrap()["reason"].as_str().unwrap();
        assert!(reason.starts_with(text), "{rung}: {reason}");
        let shown = node.ask(&["vip", "status"]).unwrap();
        assert!(shown.contains(&format!("{counter} 3")) && shown.contains(reason), "{shown}");
    }
    Forged { vrid: 52, ..stranger.clone() }.send(&scene.client, CLIENT).unwrap();
    let stray = |status: &Value| status["vrrp"]["strays"][INTERFACE]["counters"]["refused_vrid"] == 1;
    node.until("counts the stray", stray).unwrap();
    let status = node.router().unwrap();
    assert_eq!((&status["since"], &status["counters"]["accepted"]), (&since, &json!(0)));
    assert_eq!((&status["state"], &status["peer"]), (&json!("active"), &Value::Null));

    // A lower priority is answered and does not move us; the owner's is accepted, as any higher one.
    Forged { priority: 1, ..stranger.clone() }.send(&scene.client, CLIENT).unwrap();
    node.until("accepts a lower one", |status| of(status)["counters"]["accepted"] == 1).unwrap();
    assert_eq!(node.router().unwrap()["since"], since);
    Forged { priority: 255, ..stranger }.send(&scene.client, CLIENT).unwrap();
    let status = node.until("has seen the owner", |status| of(status)["counters"]["owner"] == 1).unwrap();
    assert_eq!(of(&status)["peer"]["priority"], 255);
    let status = node.until("is Active again", |status| of(status)["counters"]["became_active"] == 2).unwrap();
    assert_eq!(of(&status)["reason"], "no advertisement for one down interval");
    assert!(scene.hosts[0].holds(first()));
}

fn of(status: &Value) -> &Value {
    &status["vrrp"]["routers"][0]
}

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 66);
