//! The ladder, rung by rung and pair by pair.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::types::Centiseconds;
use crate::wire::advert::Auth;
use crate::wire::counters::Counters;
use crate::wire::reject::Rung;
use crate::wire::{PROTOCOL, checksum};

const PASSWORD: [u8; 8] = *b"s3cret\0\0";
const US: [u8; 4] = [10, 77, 0, 2];

fn config(version: Version, addresses: &[&str]) -> RouterConfig {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    RouterConfig {
        version,
        auth_pass: (version == Version::V2).then_some(PASSWORD),
        ..RouterConfig::new("public", "eth0", Vrid::new(1).unwrap(), Priority(100), addresses)
    }
}

/// An IPv4 packet to be spoilt, one rung at a time. The advertisement is emitted last.
struct Draft {
    config: RouterConfig,
    ihl: u8,
    source: [u8; 4],
    destination: [u8; 4],
    ttl: u8,
    head: u8,
    vrid: u8,
    advert: Advert,
    auth_type: Option<u8>,
    count: Option<u8>,
    interval: Option<u8>,
    trailing: usize,
    checksum: u16,
}

impl Draft {
    fn new(config: RouterConfig) -> Self {
        let advert = Advert::new(&config, Priority(200), config.interval);
        let (head, vrid) = (config.version.number() << 4 | 1, config.vrid.get());
        Self {
            config,
            ihl: 5,
            source: [10, 77, 0, 1],
            destination: [224, 0, 0, 18],
            ttl: 255,
            head,
            vrid,
            advert,
            auth_type: None,
            count: None,
            interval: None,
            trailing: 0,
            checksum: 0,
        }
    }

    /// Spoils what `rung` looks at. Delivery and Peer cannot both fail, so Peer needs unicast.
    fn spoil(&mut self, rung: Rung) {
        match rung {
            Rung::Header => self.ihl = 4,
            Rung::Own => self.source = US,
            Rung::HopLimit => self.ttl = 254,
            Rung::Version => self.head = 0x40 | self.head & 0x0f,
            Rung::Type => self.head = self.head & 0xf0 | 2,
            Rung::Length => self.trailing = 1,
            Rung::Checksum => self.checksum = 1,
            Rung::Vrid => self.vrid = 9,
            Rung::AuthType => self.auth_type = Some(0),
            Rung::Password => self.advert.auth = Auth::Simple(*b"another\0"),
            Rung::NoAddress => self.count = Some(0),
            Rung::Interval => self.interval = Some(0),
            Rung::Delivery => self.destination = US,
            Rung::Peer => self.source = [10, 77, 0, 66],
        }
    }

    fn packet(&self) -> Vec<u8> {
        let carrier = Carrier::V4 { source: self.source.into(), destination: self.destination.into() };
        let mut advert = self.advert.clone();
        if self.count == Some(0) {
            advert.addresses.clear();
        }
        let mut message = advert.emit(&carrier, ChecksumForm::PseudoHeader);
        message[0] = self.head;
        message[1] = self.vrid;
        if let Some(kind) = self.auth_type {
            message[4] = kind;
        }
        if let Some(interval) = self.interval {
            message[5] = interval;
        }
        message.extend(vec![0; self.trailing]);
        let sum = checksum::vrrp(advert.version, &carrier, ChecksumForm::PseudoHeader, &message);
        message[6..8].copy_from_slice(&sum.wrapping_add(self.checksum).to_be_bytes());
        let total = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x40 | self.ihl, 0xc0, total[0], total[1], 0, 0, 0, 0, self.ttl, PROTOCOL, 0, 0];
        packet.extend(self.source);
        packet.extend(self.destination);
        packet.extend(message);
        packet
    }

    fn judge(&self) -> Result<Accepted, Reject> {
        judge(&self.packet(), &self.config)
    }
}

fn judge(packet: &[u8], config: &RouterConfig) -> Result<Accepted, Reject> {
    let incoming = Incoming::from_ipv4(packet)?;
    receive(&incoming, &[US.into()], |vrid| (vrid == config.vrid).then_some(config))
}

fn unicast(mut config: RouterConfig) -> RouterConfig {
    config.delivery = Delivery::Unicast(vec![[10, 77, 0, 1].into()]);
    config
}

/// Version 2 with a password has every rung; of Delivery and Peer only one can fail.
#[test]
fn the_earlier_rung_wins() {
    let rungs: Vec<Rung> = Rung::ALL.into_iter().filter(|rung| *rung != Rung::Peer).collect();
    for (at, first) in rungs.iter().enumerate() {
        for second in &rungs[at..] {
            let mut draft = Draft::new(config(Version::V2, &["10.77.0.100/24"]));
            draft.judge().unwrap();
            draft.spoil(*second);
            assert_eq!(draft.judge().unwrap_err().rung(), *second);
            draft.spoil(*first);
            assert_eq!(draft.judge().unwrap_err().rung(), *first, "with {second:?} too");
        }
    }
}

#[test]
fn a_stranger_is_refused_last() {
    for first in Rung::ALL {
        // Peers may be further away; and a packet from a stranger is not from ourselves.
        if matches!(first, Rung::HopLimit | Rung::Own | Rung::Delivery) {
            continue;
        }
        let mut draft = Draft::new(unicast(config(Version::V2, &["10.77.0.100/24"])));
        draft.destination = US;
        draft.judge().unwrap();
        draft.spoil(Rung::Peer);
        assert_eq!(draft.judge().unwrap_err().rung(), Rung::Peer);
        draft.spoil(first);
        assert_eq!(draft.judge().unwrap_err().rung(), first);
    }
}

#[test]
fn delivery_must_be_the_configured_one() {
    let mut draft = Draft::new(config(Version::V3, &["10.77.0.100/24"]));
    draft.destination = US;
    assert_eq!(draft.judge(), Err(Reject::Unicast { destination: US.into() }));
    let mut draft = Draft::new(unicast(config(Version::V3, &["10.77.0.100/24"])));
    assert_eq!(draft.judge(), Err(Reject::Multicast));
    draft.destination = US;
    draft.ttl = 62;
    draft.judge().unwrap();
}

#[test]
fn a_router_of_another_number_version_or_family_does_not_count() {
    let mut draft = Draft::new(config(Version::V3, &["10.77.0.100/24"]));
    draft.vrid = 0;
    assert_eq!(draft.judge(), Err(Reject::Vrid { found: 0 }));
    // Nobody has number 9, so its version is nobody's business.
    let mut draft = Draft::new(config(Version::V2, &["10.77.0.100/24"]));
    draft.config.version = Version::V3;
    assert_eq!(draft.judge().unwrap_err().to_string(), "version 2 instead of 3");
    draft.vrid = 9;
    assert_eq!(draft.judge(), Err(Reject::Vrid { found: 9 }));
    let mut draft = Draft::new(config(Version::V3, &["10.77.0.100/24"]));
    draft.config.addresses = vec!["fe80::100/64".parse().unwrap()];
    assert_eq!(draft.judge(), Err(Reject::Vrid { found: 1 }));
}

#[test]
fn version_2_wants_its_interval_and_its_authentication() {
    let mut draft = Draft::new(config(Version::V2, &["10.77.0.100/24"]));
    draft.interval = Some(3);
    assert_eq!(draft.judge(), Err(Reject::Interval { found: 3, wanted: 1 }));
    for (kind, ours) in [(1, None), (0, Some(PASSWORD)), (2, Some(PASSWORD))] {
        let mut draft = Draft::new(config(Version::V2, &["10.77.0.100/24"]));
        draft.config.auth_pass = ours;
        draft.auth_type = Some(kind);
        let wanted = u8::from(ours.is_some());
        assert_eq!(draft.judge(), Err(Reject::AuthType { found: kind, wanted }));
    }
    for at in 0..8 {
        let mut draft = Draft::new(config(Version::V2, &["10.77.0.100/24"]));
        let mut wrong = PASSWORD;
        wrong[at] ^= 0x80;
        draft.advert.auth = Auth::Simple(wrong);
        assert_eq!(draft.judge(), Err(Reject::Password), "byte {at}");
    }
    // Data beside type 0 is ignored.
    let mut draft = Draft::new(config(Version::V2, &["10.77.0.100/24"]));
    draft.config.auth_pass = None;
    draft.auth_type = Some(0);
    draft.judge().unwrap();
}

#[test]
fn what_is_only_unusual_is_accepted_with_a_remark() {
    let addresses = ["10.77.0.100/24", "10.77.0.101/24"];
    let check = |change: fn(&mut Draft), wanted| {
        let mut draft = Draft::new(config(Version::V3, &addresses));
        change(&mut draft);
        assert_eq!(draft.judge().unwrap().remarks, wanted);
    };
    let none = Remarks::default();
    check(|_| (), none);
    check(|draft| draft.advert.addresses.reverse(), none);
    check(|draft| draft.advert.interval = Centiseconds::new(10).unwrap(), Remarks { interval_differs: true, ..none });
    check(|draft| draft.advert.addresses.truncate(1), Remarks { addresses_differ: true, ..none });
    check(|draft| draft.advert.priority = Priority::OWNER, Remarks { owner: true, ..none });
}

#[test]
fn an_ipv6_router_listens_to_ipv6() {
    let config = config(Version::V3, &["fe80::100/64", "2001:db8::100/64"]);
    let carrier = Carrier::multicast("fe80::1".parse().unwrap());
    let mut advert = Advert::new(&config, Priority(200), config.interval);
    let judge = |advert: &Advert, hop_limit| {
        let payload = advert.emit(&carrier, ChecksumForm::Message);
        let incoming = Incoming { carrier, hop_limit, payload: &payload };
        receive(&incoming, &["fe80::2".parse().unwrap()], |vrid| (vrid == config.vrid).then_some(&config))
    };
    let accepted = judge(&advert, 255).unwrap();
    assert_eq!((&accepted.advert, accepted.remarks), (&advert, Remarks::default()));
    assert_eq!(judge(&advert, 64), Err(Reject::HopLimit { found: 64 }));
    advert.addresses.reverse();
    assert_eq!(judge(&advert, 255).unwrap().remarks, Remarks { not_link_local: true, ..Remarks::default() });
}

#[test]
fn every_verdict_is_counted_once() {
    let mut counters = Counters::default();
    for rung in Rung::ALL.into_iter().filter(|rung| *rung != Rung::Peer) {
        let mut draft = Draft::new(config(Version::V2, &["10.77.0.100/24"]));
        draft.spoil(rung);
        counters.count(&draft.judge());
        assert_eq!(counters.refused(rung), 1, "{}", rung.name());
    }
    let mut draft = Draft::new(config(Version::V3, &["10.77.0.100/24"]));
    draft.advert.priority = Priority::RESIGN;
    counters.count(&draft.judge());
    draft.advert.priority = Priority::OWNER;
    draft.advert.interval = Centiseconds::new(10).unwrap();
    draft.advert.addresses = vec![[10, 77, 0, 101].into()];
    counters.count(&draft.judge());
    assert_eq!(Rung::ALL.into_iter().map(|rung| counters.refused(rung)).sum::<u64>(), 13);
    let mut wanted = counters.clone();
    (wanted.accepted, wanted.resignations, wanted.owner) = (2, 1, 1);
    (wanted.interval_differs, wanted.addresses_differ, wanted.not_link_local) = (1, 1, 0);
    (wanted.checksum_pseudo_header, wanted.checksum_message) = (2, 0);
    assert_eq!(counters, wanted);
}

proptest::proptest! {
    /// Whatever arrives, the verdict is a value.
    #[test]
    fn arbitrary_packets_do_no_harm(
        packet in proptest::collection::vec(proptest::num::u8::ANY, 0..80),
        version in proptest::sample::select(vec![Version::V2, Version::V3]),
        plausible in proptest::bool::ANY,
    ) {
        let mut packet = packet;
        if plausible && packet.len() >= 28 {
            let total = u16::try_from(packet.len()).unwrap().to_be_bytes();
            packet[..4].copy_from_slice(&[0x45, 0, total[0], total[1]]);
            packet[8..10].copy_from_slice(&[255, PROTOCOL]);
            packet[20..22].copy_from_slice(&[version.number() << 4 | 1, 1]);
        }
        let config = config(version, &["10.77.0.100/24"]);
        if let Err(reject) = judge(&packet, &config) {
            proptest::prop_assert!(!reject.to_string().is_empty());
        }
    }
}
