//! `[[vrrp]]` as people write it: what it becomes, what is refused and in which words.
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use std::time::Duration;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use ipnet::IpNet;
use vrrp::config::{ChecksumForm, Delivery, Preempt, RouterConfig};
use vrrp::types::{Centiseconds, Priority, Version, Vrid};

use super::{Vrrp, outside, remarks, routers};
use crate::config::Config;

fn read(text: &str) -> Result<Vec<Vrrp>, String> {
    let config: Config = Figment::from(Toml::string(text)).extract().map_err(|why| why.to_string())?;
    Ok(config.vrrp)
}

fn made(text: &str) -> Result<Vec<RouterConfig>, String> {
    routers(&read(text)?).map_err(|why| why.to_string())
}

/// A router that is right, `more` keys and all; keys of `more` replace its own.
fn router(more: &str) -> String {
    let own = ["interface = \"eth0\"", "virtual_router_id = 51", "addresses = [\"192.0.2.10/24\"]"];
    let key = |line: &str| line.split(" = ").next().unwrap_or_default().to_owned();
    let given: Vec<_> = more.lines().map(key).collect();
    let own: Vec<_> = own.into_iter().filter(|line| !given.contains(&key(line))).collect();
    format!("[[vrrp]]\n{}\n{more}\n", own.join("\n"))
}

#[test]
fn three_keys_are_enough() {
    let vip = "192.0.2.10/24".parse().unwrap();
    let expected = RouterConfig::new("vrrp-eth0-51", "eth0", Vrid::new(51).unwrap(), Priority(100), vec![vip]);
    assert_eq!(made(&router("")), Ok(vec![expected]));
    assert_eq!(made(""), Ok(Vec::new()));
}

#[test]
fn every_key_arrives() {
    let text = router(
        "name = \"public\"\npriority = 150\nadvertisement_interval = \"100ms\"\n\
         addresses = [\"192.0.2.10/24\", \"192.0.2.11\"]\nexcluded_addresses = [\"2001:db8::10/64\"]\n\
         peers = [\"192.0.2.2\", \"192.0.2.3\"]\npreempt = true\npreempt_delay = \"5m\"\ngroup = \"g\"\n\
         source_address = \"192.0.2.1\"\nvirtual_mac = true\nchecksum = \"message\"",
    );
    let router = made(&text).unwrap().remove(0);
    let expected = RouterConfig {
        name: "public".to_owned(),
        interface: "eth0".to_owned(),
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        priority: Priority(150),
        interval: Centiseconds::new(10).unwrap(),
        addresses: vec!["192.0.2.10/24".parse().unwrap(), "192.0.2.11/32".parse().unwrap()],
        excluded: vec!["2001:db8::10/64".parse().unwrap()],
        preempt: Preempt::After(Duration::from_secs(300)),
        delivery: Delivery::Unicast(vec!["192.0.2.2".parse().unwrap(), "192.0.2.3".parse().unwrap()]),
        source: Some("192.0.2.1".parse().unwrap()),
        checksum: ChecksumForm::Message,
        auth_pass: None,
        virtual_mac: true,
        group: Some("g".to_owned()),
    };
    assert_eq!(router, expected);
    let old = router_of("version = 2\nadvertisement_interval = \"3s\"\nauth_pass = \"1111\"\npreempt = true");
    assert_eq!((old.version, old.interval.get(), old.auth_pass), (Version::V2, 300, Some(*b"1111\0\0\0\0")));
    assert_eq!(old.preempt, Preempt::After(Duration::ZERO));
    assert_eq!(router_of("version = 2\nadvertisement_interval = \"255s\"").interval.get(), 25_500);
    assert_eq!(router_of("auth_pass = \"12345678\"\nversion = 2").auth_pass, Some(*b"12345678"));
}

fn router_of(more: &str) -> RouterConfig {
    made(&router(more)).unwrap().remove(0)
}

#[test]
fn what_is_tracked_and_told_is_read() {
    let text = router(
        "notify = [\"/usr/bin/tell\", \"me\"]\nnotify_timeout = \"2s\"\nimpaired_delta = 60\n\
         [[vrrp.track_interface]]\nname = \"eth1\"\n[[vrrp.track_interface]]\nname = \"eth2\"\nweight = -20\n\
         [[vrrp.track_script]]\nname = \"uplink\"\ncommand = [\"/bin/ping\", \"-c1\", \"192.0.2.254\"]\n\
         interval = \"2s\"\nrise = 2\nfall = 3\nweight = 253",
    );
    made(&text).unwrap();
    let router = read(&text).unwrap().remove(0);
    assert_eq!(router.notify, ["/usr/bin/tell", "me"]);
    assert_eq!((router.impaired_delta.0, Duration::from(router.notify_timeout)), (60, Duration::from_secs(2)));
    let interfaces: Vec<_> =
        router.track_interface.iter().map(|track| (track.name.0.as_str(), track.weight.0)).collect();
    assert_eq!(interfaces, [("eth1", 0), ("eth2", -20)]);
    let script = &router.track_script[0];
    assert_eq!((script.name.as_str(), script.rise.0, script.fall.0, script.weight.0), ("uplink", 2, 3, 253));
    assert_eq!(Duration::from(script.timeout()), Duration::from_secs(2), "the interval, where none is given");
}

#[test]
fn a_value_that_cannot_be_names_its_key_and_what_can() {
    for (keys, parts) in [
        ("virtual_router_id = 0", &["vrrp.0.virtual_router_id", "1 to 255"][..]),
        ("virtual_router_id = 256", &["256", "1 to 255"]),
        ("virtual_router_id = \"51\"", &["virtual_router_id", "1 to 255"]),
        ("priority = 0", &["vrrp.0.priority", "resigns", "1 to 254"]),
        ("priority = 255", &["vrrp.0.priority", "host's own", "1 to 254"]),
        ("priority = -1", &["out of range", "1 to 254"]),
        ("version = 4", &["vrrp.0.version", "expected 3, or 2"]),
        ("interface = \"\"", &["vrrp.0.interface", "ip link"]),
        ("interface = \"sixteen-bytes-xx\"", &["1 to 15 bytes"]),
        ("interface = \"eth0/1\"", &["vrrp.0.interface"]),
        ("addresses = [\"192.0.2.0/24\"]", &["vrrp.0.addresses.0", "subnet's own", "192.0.2.10/24"]),
        ("addresses = [\"192.0.2.255/24\"]", &["broadcast"]),
        ("addresses = [\"192.0.2.10/33\"]", &["prefix length"]),
        ("addresses = [\"224.0.0.18\"]", &["no host"]),
        ("addresses = \"192.0.2.10\"", &["vrrp.0.addresses", "sequence"]),
        ("peers = [\"gateway\"]", &["vrrp.0.peers.0", "no address", "192.0.2.2"]),
        ("auth_pass = \"123456789\"", &["vrrp.0.auth_pass", "9 bytes", "first 8"]),
        ("auth_pass = \"\"", &["0 bytes"]),
        ("checksum = \"none\"", &["vrrp.0.checksum", "pseudo-header", "message"]),
        ("impaired_delta = 254", &["vrrp.0.impaired_delta", "0 to 253"]),
        ("advertisement_interval = 1", &["vrrp.0.advertisement_interval", "a time with its unit"]),
        ("virtual_routerid = 1", &["unknown field", "virtual_routerid", "virtual_router_id"]),
        ("[[vrrp.track_interface]]\nname = \"eth1\"\nweight = 254", &["vrrp.0.track_interface.0.weight", "-253"]),
        ("[[vrrp.track_script]]\nname = \"x\"\ncommand = []\nrise = 0", &["vrrp.0.track_script.0.rise", "1 to"]),
        ("[[vrrp.track_script]]\nname = \"x\"", &["command"]),
    ] {
        let why = read(&router(keys)).unwrap_err();
        for part in parts {
            assert!(why.contains(part), "{part:?} is not in {why:?} for {keys}");
        }
    }
    assert!(!read(&router("auth_pass = \"secretsecret\"")).unwrap_err().contains("secret"), "a password is not shown");
    for missing in ["interface", "virtual_router_id", "addresses"] {
        let text: Vec<_> = router("").lines().filter(|line| !line.starts_with(missing)).map(str::to_owned).collect();
        let why = read(&text.join("\n")).unwrap_err();
        assert!(why.contains(&format!("missing field `{missing}`")), "{why}");
    }
}

#[test]
fn keys_that_do_not_fit_together_name_router_key_and_remedy() {
    for (keys, parts) in [
        ("name = \"a b\"", &["name", "without blanks"][..]),
        ("addresses = []", &["addresses is empty", "192.0.2.10/24"]),
        ("addresses = [\"192.0.2.10\", \"2001:db8::1\"]", &["addresses mixes", "excluded_addresses"]),
        ("addresses = [\"192.0.2.10\", \"192.0.2.10/24\"]", &["192.0.2.10 stands there twice"]),
        ("excluded_addresses = [\"192.0.2.10\"]", &["excluded_addresses: 192.0.2.10 stands there twice"]),
        ("version = 2\naddresses = [\"2001:db8::1/64\"]", &["knows no IPv6", "version = 3"]),
        ("auth_pass = \"1111\"", &["auth_pass", "remove it or set version = 2"]),
        ("version = 2\nchecksum = \"message\"", &["checksum", "remove it"]),
        ("addresses = [\"2001:db8::1/64\"]\nchecksum = \"message\"", &["checksum", "remove it"]),
        ("advertisement_interval = \"5ms\"", &["advertisement_interval = 5ms", "10ms to 40950ms"]),
        ("advertisement_interval = \"15ms\"", &["steps of 10ms"]),
        ("advertisement_interval = \"0s\"", &["10ms to 40950ms"]),
        ("advertisement_interval = \"41s\"", &["10ms to 40950ms"]),
        ("version = 2\nadvertisement_interval = \"100ms\"", &["whole seconds", "version = 3"]),
        ("version = 2\nadvertisement_interval = \"0s\"", &["whole seconds"]),
        ("version = 2\nadvertisement_interval = \"256s\"", &["1s to 255s"]),
        ("preempt_delay = \"5s\"", &["preempt_delay without preempt", "preempt = true"]),
        ("source_address = \"2001:db8::1\"", &["source_address", "family"]),
        ("source_address = \"192.0.2.10\"", &["source_address", "stays on this host"]),
        ("peers = [\"fe80::1\"]", &["peers: fe80::1", "family"]),
        ("peers = [\"192.0.2.10\"]", &["peers: 192.0.2.10", "the peer's own"]),
        ("peers = [\"192.0.2.2\", \"192.0.2.2\"]", &["peers: 192.0.2.2 stands there twice"]),
        ("peers = [\"192.0.2.1\"]\nsource_address = \"192.0.2.1\"", &["this host itself"]),
        ("notify = [\"tell.sh\"]", &["notify", "full path"]),
        ("notify_timeout = \"0s\"", &["notify_timeout"]),
        ("[[vrrp.track_interface]]\nname = \"eth0\"", &["track_interface: \"eth0\"", "remove it"]),
        ("[[vrrp.track_script]]\nname = \"x\"\ncommand = []", &["track_script \"x\": command", "full path"]),
        ("[[vrrp.track_script]]\nname = \"x\"\ncommand = [\"/x\"]\ninterval = \"1ms\"", &["interval", "100ms"]),
    ] {
        let why = made(&router(keys)).unwrap_err();
        assert!(why.starts_with("[[vrrp]] \""), "{why}");
        for part in parts {
            assert!(why.contains(part), "{part:?} is not in {why:?} for {keys}");
        }
    }
    let many: Vec<_> = (0..256).map(|n| format!("\"10.0.{}.{}\"", n / 200, n % 200 + 1)).collect();
    assert!(made(&router(&format!("addresses = [{}]", many.join(", ")))).unwrap_err().contains("room for 255"));
}

#[test]
fn routers_that_clash_name_both() {
    for (first, second, parts) in [
        ("", "addresses = [\"192.0.2.11\"]", &["name", "two routers"][..]),
        ("name = \"a\"", "name = \"b\"\naddresses = [\"192.0.2.11\"]", &["\"b\"", "virtual_router_id = 51 is \"a\"'s"]),
        ("", "interface = \"eth1\"", &["\"vrrp-eth1-51\"", "192.0.2.10 is \"vrrp-eth0-51\"'s too"]),
        (
            "group = \"g\"",
            "group = \"g\"\ninterface = \"eth1\"\naddresses = [\"192.0.2.11\"]\npriority = 90",
            &["priority differs", "same group \"g\""],
        ),
        (
            "group = \"g\"",
            "group = \"g\"\ninterface = \"eth1\"\naddresses = [\"192.0.2.11\"]\n[[vrrp.track_interface]]\nname = \"eth2\"",
            &["track_interface differs", "move together"],
        ),
    ] {
        let why = made(&format!("{}{}", router(first), router(second))).unwrap_err();
        for part in parts {
            assert!(why.contains(part), "{part:?} is not in {why:?}");
        }
    }
    // One identifier may serve each family, and each interface.
    let text = [
        router("name = \"a\"\ngroup = \"g\""),
        router("name = \"b\"\ngroup = \"g\"\naddresses = [\"fe80::10/64\", \"2001:db8::10/64\"]"),
        router("name = \"c\"\ninterface = \"eth1\"\naddresses = [\"192.0.2.11\"]"),
    ];
    assert_eq!(made(&text.concat()).map(|routers| routers.len()), Ok(3));
}

#[test]
fn what_is_odd_is_said() {
    let text = router(
        "name = \"a\"\nversion = 2\nauth_pass = \"1111\"\ngroup = \"g\"\nexcluded_addresses = [\"198.51.100.1\"]",
    );
    let all = read(&text).unwrap();
    let said = remarks(&all);
    assert!(
        said.len() == 2 && said[0].contains("clear text") && said[1].contains("nobody else is in group"),
        "{said:?}"
    );
    assert!(!said[0].contains("1111"));
    assert_eq!(remarks(&read(&router("")).unwrap()), [""; 0]);

    let subnets: Vec<IpNet> = vec!["192.0.2.1/24".parse().unwrap(), "fe80::1/64".parse().unwrap()];
    let said = outside(&all[0], &subnets);
    assert!(
        said.len() == 1 && said[0].contains("excluded_addresses: 198.51.100.1 is in no subnet of eth0"),
        "{said:?}"
    );
    assert!(said[0].contains("192.0.2.0/24"), "{said:?}");
    assert_eq!(outside(&all[0], &[]).len(), 2);
}
