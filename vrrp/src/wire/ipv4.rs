//! The IPv4 header in front of an advertisement, as a raw socket delivers it.
//!
//! Used by `receive`. Reads what the receive checks need and honours options and total length; it
//! does not check the header checksum (the kernel did) and reassembles nothing (likewise).

use std::net::Ipv4Addr;

use thiserror::Error;

use super::PROTOCOL;

/// A whole IPv4 packet, possibly followed by padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    header: &'a [u8],
    payload: &'a [u8],
}

/// What is wrong with an IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Not even the fixed part.
    #[error("{have} bytes are no IPv4 header of 20")]
    Short {
        /// Bytes received.
        have: usize,
    },
    /// Not version 4.
    #[error("IP version {found} instead of 4")]
    Version {
        /// The version field.
        found: u8,
    },
    /// The header length (IHL) is below 20 bytes, or above the total length.
    #[error("IPv4 header length of {header} bytes in a packet of {total}")]
    HeaderLength {
        /// IHL in bytes.
        header: usize,
        /// The total length field.
        total: usize,
    },
    /// The total length goes beyond what was received.
    #[error("IPv4 total length {total}, but {have} bytes received")]
    Truncated {
        /// Bytes received.
        have: usize,
        /// The total length field.
        total: usize,
    },
    /// Another protocol inside.
    #[error("IP protocol {found} instead of 112")]
    Protocol {
        /// The protocol field.
        found: u8,
    },
}

impl<'a> Packet<'a> {
    /// A view of `bytes` that carry VRRP; what stands behind the total length is padding.
    ///
    /// # Errors
    /// Where lengths contradict each other, or it is something else.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let have = bytes.len();
        if have < FIXED {
            return Err(Malformed::Short { have });
        }
        if bytes[0] >> 4 != 4 {
            return Err(Malformed::Version { found: bytes[0] >> 4 });
        }
        let header = usize::from(bytes[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        if header < FIXED || header > total {
            return Err(Malformed::HeaderLength { header, total });
        }
        if total > have {
            return Err(Malformed::Truncated { have, total });
        }
        if bytes[9] != PROTOCOL {
            return Err(Malformed::Protocol { found: bytes[9] });
        }
        Ok(Self { header: &bytes[..header], payload: &bytes[header..total] })
    }

    /// Type of service, the whole byte.
    pub fn tos(&self) -> u8 {
        self.header[1]
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// Who sent it.
    pub fn source(&self) -> Ipv4Addr {
        self.address(12)
    }

    /// To whom.
    pub fn destination(&self) -> Ipv4Addr {
        self.address(16)
    }

    /// What follows the header and its options.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3])
    }
}

/// Length of a header without options.
const FIXED: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of `ihl` words, `total` and a payload of four bytes, padded to 46 bytes.
    fn frame(ihl: u8, total: u16, protocol: u8) -> Vec<u8> {
        let mut bytes = vec![0; 46];
        bytes[0] = 0x40 | ihl;
        bytes[1] = 0xc0;
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        bytes[8] = 255;
        bytes[9] = protocol;
        bytes[12..20].copy_from_slice(&[10, 77, 0, 1, 224, 0, 0, 18]);
        let at = usize::from(ihl.max(5)) * 4;
        for (index, byte) in [1, 2, 3, 4].into_iter().enumerate() {
            if let Some(place) = bytes.get_mut(at + index) {
                *place = byte;
            }
        }
        bytes
    }

    #[test]
    fn options_are_skipped_and_padding_is_cut() {
        for ihl in [5, 6, 10] {
            let bytes = frame(ihl, u16::from(ihl) * 4 + 4, 112);
            let packet = Packet::new(&bytes).expect("sane");
            assert_eq!(packet.payload(), [1, 2, 3, 4], "{ihl} words");
            assert_eq!((packet.ttl(), packet.tos()), (255, 0xc0));
            assert_eq!(packet.source(), Ipv4Addr::new(10, 77, 0, 1));
            assert_eq!(packet.destination(), Ipv4Addr::new(224, 0, 0, 18));
        }
    }

    #[test]
    fn contradictions_are_named() {
        let check = |bytes: &[u8], wanted| assert_eq!(Packet::new(bytes), Err(wanted));
        check(&[0x45; 19], Malformed::Short { have: 19 });
        check(&[0x60; 40], Malformed::Version { found: 6 });
        check(&frame(4, 24, 112), Malformed::HeaderLength { header: 16, total: 24 });
        check(&frame(6, 20, 112), Malformed::HeaderLength { header: 24, total: 20 });
        check(&frame(5, 47, 112), Malformed::Truncated { have: 46, total: 47 });
        check(&frame(5, 24, 17), Malformed::Protocol { found: 17 });
    }
}
