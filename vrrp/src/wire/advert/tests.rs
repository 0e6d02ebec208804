//! Properties of the advertisement: what is emitted is read back, and no bytes do harm.

#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;

use super::*;

fn carriers(family: Family) -> BoxedStrategy<Carrier> {
    match family {
        Family::V4 => {
            any::<(Ipv4Addr, Ipv4Addr)>().prop_map(|(source, destination)| Carrier::V4 { source, destination }).boxed()
        }
        Family::V6 => {
            any::<(Ipv6Addr, Ipv6Addr)>().prop_map(|(source, destination)| Carrier::V6 { source, destination }).boxed()
        }
    }
}

/// Mostly few; now and then as many as there can be.
fn lists(family: Family) -> impl Strategy<Value = Vec<IpAddr>> {
    let one = match family {
        Family::V4 => any::<Ipv4Addr>().prop_map(IpAddr::V4).boxed(),
        Family::V6 => any::<Ipv6Addr>().prop_map(IpAddr::V6).boxed(),
    };
    let length = prop_oneof![30 => 1..=6_usize, 1 => 250..=255_usize];
    length.prop_flat_map(move |length| prop::collection::vec(one.clone(), length))
}

prop_compose! {
    fn adverts(version: Version, family: Family)(
        vrid in 1..=255_u8,
        priority in any::<u8>(),
        seconds in 1..=255_u8,
        centiseconds in 1..=4095_u16,
        addresses in lists(family),
        password in any::<Option<[u8; 8]>>(),
    ) -> Advert {
        let (interval, auth) = match version {
            Version::V2 => (Centiseconds::from_seconds(seconds), password.map_or(Auth::None, Auth::Simple)),
            Version::V3 => (Centiseconds::new(centiseconds), Auth::None),
        };
        let vrid = Vrid::new(vrid).unwrap();
        Advert { version, vrid, priority: Priority(priority), interval: interval.unwrap(), addresses, auth }
    }
}

fn sent() -> impl Strategy<Value = (Advert, Carrier)> {
    prop::sample::select(vec![(Version::V2, Family::V4), (Version::V3, Family::V4), (Version::V3, Family::V6)])
        .prop_flat_map(|(version, family)| (adverts(version, family), carriers(family)))
}

fn forms() -> impl Strategy<Value = ChecksumForm> {
    prop::sample::select(vec![ChecksumForm::PseudoHeader, ChecksumForm::Message])
}

/// Gives the bytes a right checksum, so that they get past that check.
fn seal(bytes: &mut [u8], carrier: &Carrier, form: ChecksumForm) {
    let version = if bytes[0] >> 4 == 2 { Version::V2 } else { Version::V3 };
    let sum = checksum::vrrp(version, carrier, form, bytes);
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Whatever is accepted means the same after being sent on, byte for byte but for what is ignored:
/// reserved bits, the data of authentication type 0, and the two zeros of one's complement.
fn check_canonical(bytes: &[u8], carrier: &Carrier) {
    let Ok((advert, form)) = Advert::parse(bytes, carrier) else { return };
    let again = advert.emit(carrier, form);
    assert_eq!(Advert::parse(&again, carrier).unwrap().0, advert);
    let mut canonical = bytes.to_vec();
    match advert.version {
        Version::V2 if advert.auth == Auth::None => *canonical.last_chunk_mut::<8>().unwrap() = [0; 8],
        Version::V2 => (),
        Version::V3 => canonical[4] &= 0x0f,
    }
    seal(&mut canonical, carrier, form);
    assert_eq!(again, canonical);
}

proptest! {
    #[test]
    fn what_is_emitted_is_read_back((advert, carrier) in sent(), form in forms()) {
        let bytes = advert.emit(&carrier, form);
        let (parsed, found) = Advert::parse(&bytes, &carrier).unwrap();
        prop_assert_eq!(&parsed, &advert);
        let wanted = match (advert.version, carrier.family()) {
            (Version::V2, _) => ChecksumForm::Message,
            (Version::V3, Family::V6) => ChecksumForm::PseudoHeader,
            (Version::V3, Family::V4) => form,
        };
        // One pair of addresses in 65535 makes both forms the same number.
        prop_assert!(found == wanted || parsed.emit(&carrier, found) == bytes);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        mut bytes in prop::collection::vec(any::<u8>(), 0..64),
        version in prop::sample::select(vec![0x21, 0x31, 0x41]),
        family in prop::sample::select(vec![Family::V4, Family::V6]),
        seed in any::<(Ipv6Addr, Ipv6Addr)>(),
        form in forms(),
    ) {
        let low = |address: Ipv6Addr| Ipv4Addr::from(*address.octets().last_chunk::<4>().unwrap());
        let carrier = match family {
            Family::V4 => Carrier::V4 { source: low(seed.0), destination: low(seed.1) },
            Family::V6 => Carrier::V6 { source: seed.0, destination: seed.1 },
        };
        check_canonical(&bytes, &carrier);
        if bytes.len() >= FIXED {
            bytes[0] = version;
            bytes[3] %= 4;
            seal(&mut bytes, &carrier, form);
            check_canonical(&bytes, &carrier);
        }
    }

    #[test]
    fn a_changed_packet_is_refused_or_harmless(
        (advert, carrier) in sent(),
        form in forms(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        sealed in any::<bool>(),
    ) {
        let mut bytes = advert.emit(&carrier, form);
        let at = at.index(bytes.len());
        let changed = bytes[at] != value;
        bytes[at] = value;
        if sealed {
            seal(&mut bytes, &carrier, form);
        } else if changed && let Ok((_, found)) = Advert::parse(&bytes, &carrier) {
            // One byte never gets past the form it was made with. The other form may be met by chance.
            prop_assert!(found != form && advert.version == Version::V3 && carrier.family() == Family::V4);
        }
        check_canonical(&bytes, &carrier);
        for length in [at, bytes.len() - 1] {
            prop_assert!(Advert::parse(&bytes[..length], &carrier).is_err(), "cut to {length}");
        }
    }
}

#[test]
fn emitting_makes_do_with_what_does_not_fit() {
    let carrier = Carrier::multicast([10, 77, 0, 1].into());
    let v4 = IpAddr::from([10, 77, 0, 100]);
    let mut advert = Advert {
        version: Version::V2,
        vrid: Vrid::new(1).unwrap(),
        priority: Priority(100),
        interval: Centiseconds::new(150).unwrap(),
        addresses: vec!["fe80::1".parse().unwrap(), v4],
        auth: Auth::None,
    };
    let parse =
        |advert: &Advert| Advert::parse(&advert.emit(&carrier, ChecksumForm::PseudoHeader), &carrier).unwrap().0;
    assert_eq!(parse(&advert).interval.get(), 200);
    assert_eq!(parse(&advert).addresses, [v4]);
    advert.version = Version::V3;
    advert.interval = Centiseconds::from_seconds(255).unwrap();
    advert.addresses = vec![v4; 300];
    assert_eq!(parse(&advert).interval.get(), 4095);
    assert_eq!(parse(&advert).addresses.len(), 255);
}

/// The text for the log says what was found and what was expected.
#[test]
fn refusals_explain_themselves() {
    let carrier = Carrier::V4 { source: [10, 77, 0, 1].into(), destination: [10, 77, 0, 2].into() };
    let said = |bytes: &[u8]| Advert::parse(bytes, &carrier).unwrap_err().to_string();
    // The first vector of version 3, its checksum that of the group.
    let bytes = [0x31, 1, 200, 1, 0, 10, 0x11, 0x65, 10, 77, 0, 100];
    assert_eq!(said(&bytes), "checksum 1165 instead of e728 (it is that of keepalived before 1.3.7 for unicast)");
    assert_eq!(said(&bytes[..8]), "8 bytes instead of 12 for its 1 addresses");
    let with_hmac = [&bytes[..], &[0; 28]].concat();
    let trailer = "(28 more: keepalived's auth_hmac, which is not supported)";
    assert_eq!(said(&with_hmac), format!("40 bytes instead of 12 for its 1 addresses {trailer}"));
}
