//! The capabilities that the service manager gave: for this process, not for those it starts.
//!
//! Called by `main` before there is a second thread, because each thread has its own sets, and
//! before an upgrade in place, whose program needs them again. Without an ambient set, as for root
//! in a test, nothing happens here.

use caps::{CapSet, Capability, CapsHashSet};

/// The ambient set that the process was started with.
#[derive(Debug, Clone)]
pub struct Ambient(CapsHashSet);

impl Ambient {
    /// Takes the ambient set away from this thread, so that children (`haproxy -c`, scripts) have
    /// none of it.
    pub fn withhold() -> Self {
        // Kernels before 4.3 have no ambient set, and nothing to withhold.
        let set = caps::read(None, CapSet::Ambient).unwrap_or_default();
        if !set.is_empty() {
            let _ = caps::clear(None, CapSet::Ambient);
        }
        Self(set)
    }

    /// Gives it back to this thread.
    ///
    /// # Errors
    /// With the capability that the kernel refuses.
    pub fn restore(&self) -> Result<(), Capability> {
        self.0.iter().try_for_each(|cap| caps::raise(None, CapSet::Ambient, *cap).map_err(|_| *cap))
    }
}
