//! Processor time of the VRRP threads of this process.

#![allow(unreachable_pub, reason = "a module of several tests")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::time::Duration;

/// Processor time of the n-th VRRP thread, in the order of their start.
pub fn vrrp_thread(nth: usize) -> Duration {
    let named =
        |id: &u64| fs::read_to_string(format!("/proc/self/task/{id}/comm")).is_ok_and(|name| name.trim() == "vrrp");
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let ids = tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut threads: Vec<u64> = ids.filter(named).collect();
    threads.sort_unstable();
    let text = fs::read_to_string(format!("/proc/self/task/{}/schedstat", threads[nth])).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
