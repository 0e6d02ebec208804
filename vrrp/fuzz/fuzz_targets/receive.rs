//! Raw IPv4 packets and IPv6 payloads into the receive ladder: no panic, and whatever is accepted
//! survives being sent on.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use vrrp::wire::Carrier;
use vrrp::wire::advert::Advert;
use vrrp::wire::announce::Claim;
use vrrp::wire::receive::{Incoming, receive};

fuzz_target!(|bytes: &[u8]| {
    let _ = Claim::parse(bytes);
    let v6 = Carrier::multicast(IpAddr::V6(Ipv6Addr::LOCALHOST));
    judge(&Incoming { carrier: v6, hop_limit: 255, payload: bytes });
    if let Ok(incoming) = Incoming::from_ipv4(bytes) {
        judge(&incoming);
    }
});

fn judge(incoming: &Incoming<'_>) {
    let _ = receive(incoming, &[], |_| None);
    if let Ok((advert, form)) = Advert::parse(incoming.payload, &incoming.carrier) {
        let again = advert.emit(&incoming.carrier, form);
        assert_eq!(Advert::parse(&again, &incoming.carrier).map(|(advert, _)| advert), Ok(advert));
    }
}
