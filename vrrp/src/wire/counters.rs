//! What came in, counted: one counter for each rung that refuses, and some for what passes.
//!
//! Kept by the engine, one for a router or an interface as it likes; read for status and metrics.

use super::receive::Accepted;
use super::reject::{Reject, Rung};
use crate::config::ChecksumForm;
use crate::types::{Family, Priority, Version};

/// Counters of received packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements that passed every rung.
    pub accepted: u64,
    /// Of these, with priority 0.
    pub resignations: u64,
    /// Of these, version 3 over IPv4 with the pseudo-header in the checksum.
    pub checksum_pseudo_header: u64,
    /// Of these, version 3 over IPv4 with the message alone in the checksum.
    pub checksum_message: u64,
    /// Of these, with another interval than ours.
    pub interval_differs: u64,
    /// Of these, with other addresses than ours.
    pub addresses_differ: u64,
    /// Of these, over IPv6 with a first address that is not link-local.
    pub not_link_local: u64,
    /// Of these, with the priority of an owner, 255.
    pub owner: u64,
    refused: [u64; Rung::ALL.len()],
}

impl Counters {
    /// Counts one verdict.
    pub fn count(&mut self, verdict: &Result<Accepted, Reject>) {
        match verdict {
            Ok(accepted) => self.count_accepted(accepted),
            Err(reject) => self.refused[reject.rung() as usize] += 1,
        }
    }

    /// How many packets this rung refused.
    pub fn refused(&self, rung: Rung) -> u64 {
        self.refused[rung as usize]
    }

    fn count_accepted(&mut self, accepted: &Accepted) {
        let remarks = &accepted.remarks;
        self.accepted += 1;
        self.resignations += u64::from(accepted.advert.priority == Priority::RESIGN);
        self.interval_differs += u64::from(remarks.interval_differs);
        self.addresses_differ += u64::from(remarks.addresses_differ);
        self.not_link_local += u64::from(remarks.not_link_local);
        self.owner += u64::from(remarks.owner);
        if accepted.advert.version == Version::V3 && Family::of(accepted.source) == Family::V4 {
            match accepted.checksum {
                ChecksumForm::PseudoHeader => self.checksum_pseudo_header += 1,
                ChecksumForm::Message => self.checksum_message += 1,
            }
        }
    }
}
