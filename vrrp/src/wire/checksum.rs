//! The Internet checksum (RFC 1071) and the two things that VRRP may have it cover.
//!
//! Used by `advert` and `announce`. Knows no packet but the place of VRRP's checksum field.

use super::{Carrier, GROUP_V4, PROTOCOL};
use crate::config::ChecksumForm;
use crate::types::Version;

/// The checksum of a VRRP message, whatever its checksum field holds now.
///
/// `form` counts for version 3 over IPv4 only: version 2 covers the message alone (RFC 3768
/// §5.3.8), version 3 over IPv6 always the pseudo-header too (RFC 9568 §5.2.8).
pub(super) fn vrrp(version: Version, carrier: &Carrier, form: ChecksumForm, message: &[u8]) -> u16 {
    let form = match (version, carrier) {
        (Version::V2, _) => ChecksumForm::Message,
        (Version::V3, Carrier::V6 { .. }) => ChecksumForm::PseudoHeader,
        (Version::V3, Carrier::V4 { .. }) => form,
    };
    let pseudo = match form {
        ChecksumForm::PseudoHeader => pseudo_header(carrier, PROTOCOL, message.len()),
        ChecksumForm::Message => 0,
    };
    !fold(pseudo + without_field(message))
}

/// Which form of checksum makes the message right, if any does.
pub(super) fn verify(version: Version, carrier: &Carrier, message: &[u8]) -> Option<ChecksumForm> {
    let forms: &[ChecksumForm] = match (version, carrier) {
        (Version::V2, _) => &[ChecksumForm::Message],
        (Version::V3, Carrier::V6 { .. }) => &[ChecksumForm::PseudoHeader],
        (Version::V3, Carrier::V4 { .. }) => &[ChecksumForm::PseudoHeader, ChecksumForm::Message],
    };
    let found = field(message);
    forms.iter().copied().find(|form| same(vrrp(version, carrier, *form, message), found))
}

/// Whether the checksum is the one of keepalived up to 1.3.6: a pseudo-header that names the group
/// although the packet went to one host.
pub(super) fn is_old_unicast(version: Version, carrier: &Carrier, message: &[u8]) -> bool {
    let Carrier::V4 { source, destination } = *carrier else { return false };
    let group = Carrier::V4 { source, destination: GROUP_V4 };
    version == Version::V3
        && destination != GROUP_V4
        && same(vrrp(version, &group, ChecksumForm::PseudoHeader, message), field(message))
}

/// The checksum of an upper-layer message over IPv6 whose checksum field is zero (RFC 8200 §8.1).
pub(super) fn upper_layer(carrier: &Carrier, protocol: u8, message: &[u8]) -> u16 {
    !fold(pseudo_header(carrier, protocol, message.len()) + words(message))
}

/// The two zeros of one's complement are the same number.
fn same(a: u16, b: u16) -> bool {
    a == b || (a == 0 && b == u16::MAX) || (a == u16::MAX && b == 0)
}

fn field(message: &[u8]) -> u16 {
    message.get(FIELD..FIELD + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn without_field(message: &[u8]) -> u64 {
    words(message) - u64::from(field(message))
}

/// Both families add up the same: addresses, protocol, length (RFC 9293 §3.1, RFC 8200 §8.1).
fn pseudo_header(carrier: &Carrier, protocol: u8, length: usize) -> u64 {
    let addresses = match carrier {
        Carrier::V4 { source, destination } => words(&source.octets()) + words(&destination.octets()),
        Carrier::V6 { source, destination } => words(&source.octets()) + words(&destination.octets()),
    };
    addresses + u64::from(protocol) + length as u64
}

/// The sum of the 16-bit words; an odd last byte is padded with zero.
fn words(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0))).sum()
}

#[allow(clippy::cast_possible_truncation, reason = "the loop ends with at most 16 bits")]
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Where the checksum stands in both versions (RFC 9568 §5.2, RFC 3768 §5.1).
pub(super) const FIELD: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 §3.
    #[test]
    fn adds_up_as_rfc_1071_does() {
        assert_eq!(fold(words(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(fold(words(&[0xff])), 0xff00);
    }
}
