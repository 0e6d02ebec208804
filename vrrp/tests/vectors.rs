//! Advertisements made by others (scapy, keepalived; judged by tshark), every field of every one.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;

use serde_json::Value;
use vrrp::config::{ChecksumForm, Delivery, Preempt, RouterConfig};
use vrrp::machine::io::Heard;
use vrrp::types::{Centiseconds, Priority, Version, Vrid};
use vrrp::wire::Carrier;
use vrrp::wire::advert::{Advert, Auth, Malformed};
use vrrp::wire::receive::{Incoming, receive};
use vrrp::wire::reject::{Reject, Rung};

struct Vector(Value);

impl Vector {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_else(|| panic!("{key} of {}", self.0))
    }

    fn carrier(&self) -> Carrier {
        Carrier::new(self.text("src").parse().unwrap(), self.text("dst").parse().unwrap()).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        unhex(self.text("vrrp_hex"))
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.0["fields"][field].as_u64()
    }

    /// The advertisement that the fields describe.
    fn advert(&self) -> Advert {
        let byte = |field| u8::try_from(self.number(field).unwrap()).unwrap();
        let (version, interval) = match byte("version") {
            2 => (Version::V2, Centiseconds::from_seconds(byte("adver_int_s"))),
            3 => (Version::V3, Centiseconds::new(u16::try_from(self.number("adver_int_cs").unwrap()).unwrap())),
            other => panic!("version {other}"),
        };
        let auth = match self.number("auth_type") {
            None | Some(0) => Auth::None,
            Some(1) => Auth::Simple(unhex(self.0["fields"]["auth_data"].as_str().unwrap()).try_into().unwrap()),
            Some(other) => panic!("authentication type {other}"),
        };
        let vips = self.0["fields"]["vips"].as_array().unwrap();
        let addresses = vips.iter().map(|vip| vip.as_str().unwrap().parse().unwrap()).collect();
        let vrid = Vrid::new(byte("vrid")).unwrap();
        Advert { version, vrid, priority: Priority(byte("priority")), interval: interval.unwrap(), addresses, auth }
    }

    /// A router that should accept the packet, were it right: where there are fields, one that has
    /// these; else what the bytes claim.
    fn router(&self) -> RouterConfig {
        let (bytes, carrier) = (self.bytes(), self.carrier());
        let fields = (self.number("version").is_some()).then(|| self.advert());
        let vip: IpAddr = if self.text("src").contains(':') { "fe80::100" } else { "10.77.0.100" }.parse().unwrap();
        RouterConfig {
            name: "vector".to_owned(),
            interface: "eth0".to_owned(),
            vrid: Vrid::new(bytes[1]).unwrap(),
            version: fields.as_ref().map_or(Version::V3, |advert| advert.version),
            priority: Priority(100),
            interval: fields.as_ref().map_or_else(|| Centiseconds::new(10).unwrap(), |advert| advert.interval),
            addresses: fields
                .as_ref()
                .map_or_else(|| vec![vip], |advert| advert.addresses.clone())
                .into_iter()
                .map(Into::into)
                .collect(),
            excluded: Vec::new(),
            preempt: Preempt::Never,
            delivery: match carrier.is_multicast() {
                true => Delivery::Multicast,
                false => Delivery::Unicast(vec![carrier.source()]),
            },
            source: None,
            checksum: ChecksumForm::PseudoHeader,
            auth_pass: match fields.map(|advert| advert.auth) {
                Some(Auth::Simple(password)) => Some(password),
                _ => None,
            },
            virtual_mac: false,
            group: None,
        }
    }

    fn receive(&self) -> Result<vrrp::wire::receive::Accepted, Reject> {
        let (bytes, config) = (self.bytes(), self.router());
        let hop_limit = u8::try_from(self.0["ttl"].as_u64().unwrap()).unwrap();
        let incoming = Incoming { carrier: self.carrier(), hop_limit, payload: &bytes };
        receive(&incoming, &[], |vrid| (vrid == config.vrid).then_some(&config))
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn form(mode: &str) -> ChecksumForm {
    match mode {
        "pseudo" => ChecksumForm::PseudoHeader,
        "message" => ChecksumForm::Message,
        other => panic!("checksum mode {other}"),
    }
}

#[test]
fn every_vector_is_judged_as_its_makers_say() {
    let text = include_str!("vectors/vectors.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for vector in vectors["vectors"].as_array().unwrap().iter().cloned().map(Vector) {
        println!("{}", vector.text("description"));
        assert_eq!(unhex(vector.text("checksum_in_packet")), vector.bytes()[6..8]);
        let outcome = if vector.0.get("hmac_recomputed_ok").is_some() {
            Some("length")
        } else if vector.text("checksum_mode") == "pseudo-mcast" {
            Some("old-checksum")
        } else {
            vector.0["reject_reason"].as_str()
        };
        match outcome {
            None | Some("first-not-link-local") => {
                check_accepted(&vector, outcome.is_some());
                accepted += 1;
            }
            Some(reason) => {
                check_refused(&vector, reason);
                refused += 1;
            }
        }
    }
    assert_eq!((accepted, refused), (14, 11));
}

fn check_accepted(vector: &Vector, not_link_local: bool) {
    assert_eq!(vector.0["valid"], true);
    let got = vector.receive().unwrap();
    let form = form(vector.text("checksum_mode"));
    assert_eq!(got.checksum, form);
    assert_eq!(got.remarks.not_link_local, not_link_local);
    let (parsed, found) = Advert::parse(&vector.bytes(), &vector.carrier()).unwrap();
    assert_eq!((&parsed, found), (&got.advert, form));
    if vector.number("version").is_none() {
        return;
    }
    let advert = vector.advert();
    assert_eq!(got.advert, advert);
    assert!(!got.remarks.addresses_differ && !got.remarks.interval_differs);
    assert_eq!(got.remarks.owner, advert.priority == Priority::OWNER);
    assert_eq!(
        Heard::from(&got),
        Heard {
            source: vector.text("src").parse().unwrap(),
            priority: advert.priority,
            interval: advert.interval,
            version: advert.version,
        }
    );
    // We send the same bytes, but for reserved bits and what they do to the checksum.
    let mut bytes = vector.bytes();
    if vector.text("description").contains("reserved nibble") {
        assert_eq!(bytes[4] & 0xf0, 0xf0);
        bytes[4] &= 0x0f;
        bytes[6..8].copy_from_slice(&[0x11, 0x0b]);
    }
    assert_eq!(advert.emit(&vector.carrier(), form), bytes);
}

fn check_refused(vector: &Vector, reason: &str) {
    let reject = vector.receive().unwrap_err();
    match reason {
        "old-checksum" => {
            let wanted = Malformed::Checksum { found: 0x1165, expected: 0xe728, old_unicast: true };
            assert_eq!(reject, Reject::Malformed(wanted));
        }
        "checksum" => {
            let expected = u16::from_be_bytes(unhex(vector.text("expected_checksum")).try_into().unwrap());
            assert_eq!(reject, Reject::Malformed(Malformed::Checksum { found: 0, expected, old_unicast: false }));
        }
        "interval-zero" => assert_eq!(reject, Reject::Malformed(Malformed::NoInterval)),
        "count-zero" => assert_eq!(reject, Reject::Malformed(Malformed::NoAddress)),
        "type" => assert_eq!(reject, Reject::Malformed(Malformed::Type { found: 2 })),
        "version" => assert_eq!(reject.rung(), Rung::Version),
        "ttl" => assert_eq!(reject, Reject::HopLimit { found: 254 }),
        "length" => {
            let bytes = vector.bytes();
            let size = if vector.text("src").contains(':') { 16 } else { 4 };
            let (have, need, count) = (bytes.len(), 8 + size * usize::from(bytes[3]), bytes[3]);
            assert_eq!(reject, Reject::Malformed(Malformed::Length { have, need, count }));
            let told = reject.to_string().contains("auth_hmac");
            assert_eq!(told, vector.0.get("hmac_recomputed_ok").is_some());
        }
        other => panic!("reason {other}"),
    }
}
