//! What the VRRP thread asks of the scheduler and of memory management.
//!
//! Called once by the engine's thread when it starts. What is not permitted is told, not fatal.

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Above every ordinary thread; below what an operator runs at a priority of his choice.
const PRIORITY: u8 = 10;

/// Makes the calling thread a real-time one (SCHED_RR) and locks the memory of the process as far
/// as it is in use. What was refused, as a text for a single warning.
pub(super) fn enter() -> Result<(), String> {
    let refused: Vec<&str> =
        [schedule().err(), lock().err().map(|_| "memory is not locked (CAP_IPC_LOCK)")].into_iter().flatten().collect();
    if refused.is_empty() { Ok(()) } else { Err(refused.join("; ")) }
}

fn schedule() -> Result<(), &'static str> {
    const REFUSED: &str = "no real-time priority (CAP_SYS_NICE): under load advertisements may be late";
    let priority = ThreadPriorityValue::try_from(PRIORITY).map_err(|_| REFUSED)?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(priority), policy)
        .map_err(|_| REFUSED)
}

/// Pages in use now are locked, and further ones of the same mappings when they are first used. Not
/// `MCL_FUTURE`, and not without ONFAULT: both would make every other thread's whole stack resident.
fn lock() -> Result<(), Errno> {
    mlockall(MlockAllFlags::from_bits_retain(libc::MCL_CURRENT | libc::MCL_ONFAULT))
}
