//! What many routers cost: `many_routers [ROUTERS [CENTISECONDS [SECONDS]]]`, as root.
//!
//! Two hosts in network namespaces, all routers Active on one and Backup on the other; prints the
//! processor time of each VRRP thread as a share of one core, and the memory of both together.

#![allow(clippy::print_stdout, reason = "its purpose")]
#![allow(clippy::unwrap_used, reason = "an example")]

#[path = "../tests/lab/cpu.rs"]
mod cpu;
#[path = "../tests/lab/mod.rs"]
mod lab;

use std::thread;
use std::time::Duration;

use vrrp::config::RouterConfig;
use vrrp::types::Centiseconds;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u16>().unwrap());
    let routers = u8::try_from(arguments.next().unwrap_or(100)).unwrap();
    let interval = Centiseconds::new(arguments.next().unwrap_or(10)).unwrap();
    let seconds = arguments.next().unwrap_or(10);
    let (active, backup) = measure(routers, interval, Duration::from_secs(seconds.into()));
    println!("{routers} routers at {} ms: Active {active:.2} %, Backup {backup:.2} % of one core", interval.get() * 10);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default());
}

/// The share of one core, in percent, that so many routers need as Active and as Backup.
fn measure(routers: u8, interval: Centiseconds, time: Duration) -> (f64, f64) {
    lab::Lab::test(2, move |lab| {
        let many =
            |priority| (1..=routers).map(|vrid| RouterConfig { interval, ..lab::router(vrid, priority) }).collect();
        let _active = lab.start(0, many(200));
        let last = format!("10.88.0.{}", 100 + u16::from(routers));
        lab::within(60_000, "the last address", || lab.has(0, &last).then_some(()));
        let _backup = lab.start(1, many(100));
        thread::sleep(Duration::from_secs(2));
        let before = (cpu::vrrp_thread(0), cpu::vrrp_thread(1));
        thread::sleep(time);
        let share = |before: Duration, nth| 100.0 * (cpu::vrrp_thread(nth) - before).as_secs_f64() / time.as_secs_f64();
        (share(before.0, 0), share(before.1, 1))
    })
}
