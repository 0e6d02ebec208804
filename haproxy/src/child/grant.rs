//! The capabilities of a child HAProxy: what it needs to listen, and nothing else of ours.
//!
//! Used around the start of the process. A child gets the ambient set of the thread that starts it.

use caps::{CapSet, Capability};

/// Runs `start` on this thread with HAProxy's capabilities in the ambient set, as far as we may
/// hand them on; root needs none of that.
pub(super) fn granted<T>(start: impl FnOnce() -> T) -> T {
    let raised = LISTENING.map(|capability| caps::raise(None, CapSet::Ambient, capability));
    let started = start();
    if raised.iter().any(Result::is_ok) {
        // What could be raised can be cleared.
        let _ = caps::clear(None, CapSet::Ambient);
    }
    started
}

/// Ports below 1024, and addresses that this host does not hold (`transparent`).
const LISTENING: [Capability; 3] =
    [Capability::CAP_NET_BIND_SERVICE, Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];
