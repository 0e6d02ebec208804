//! The engine under load: many routers, many addresses, a flood of garbage. As root; prints figures.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "lab/cpu.rs"]
mod cpu;
mod lab;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Lab, now, router, within};
use nix::poll::{PollFd, PollFlags, poll};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use vrrp::config::RouterConfig;
use vrrp::linux::report::Report;
use vrrp::linux::socket::AdvertSocket;
use vrrp::machine::io::{Count, Phase};
use vrrp::types::{Centiseconds, Family};
use vrrp::wire::Carrier;

/// Routers 1 to `count`, each with an address of its own.
fn many(count: u8, priority: u8) -> Vec<RouterConfig> {
    (1..=count).map(|vrid| router(vrid, priority)).collect()
}

/// Each of these tests has the process, and what it measures of it, to itself.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_hundred_routers_cost_little() {
    let _alone = ALONE.lock();
    Lab::test(2, |lab| {
        let a = lab.start(0, many(100, 200));
        within(5000, "a hundred addresses", || {
            (0..100).all(|vrid| lab.has(0, &format!("10.88.0.{}", 101 + vrid))).then_some(())
        });
        let active = cpu::vrrp_thread(0);
        let b = lab.start(1, many(100, 100));
        thread::sleep(Duration::from_secs(2));
        let before = (cpu::vrrp_thread(0), cpu::vrrp_thread(1));
        let began = now();
        thread::sleep(Duration::from_secs(5));
        let percent =
            |before: Duration, after: Duration| 100.0 * (after - before).as_secs_f64() / began.elapsed().as_secs_f64();
        let (as_active, as_backup) = (percent(before.0, cpu::vrrp_thread(0)), percent(before.1, cpu::vrrp_thread(1)));
        println!("100 routers at 100 ms: {as_active:.2} % of one core as Active, {as_backup:.2} % as Backup");
        println!("becoming Active 100 times: {} ms of processor time", active.as_millis());
        assert!(as_active < 15.0 && as_backup < 15.0, "also without optimisation, on a busy machine");
        let late = |node: &lab::Node| {
            node.drain()
                .iter()
                .filter(|report| matches!(report, Report::Status(status) if status.counts.contains_key(&Count::Late)))
                .count()
        };
        println!("statuses that tell of lateness: {} and {}", late(&a), late(&b));
        // All of them at once: the host is gone.
        b.drain();
        let unplugged = now();
        lab.on_switch(|| lab::ip("link set p1 down"));
        let mut missing = 100;
        b.wait(3000, "takeover of all", |report| {
            let active = |to: Phase| to == Phase::Active;
            missing -= i32::from(matches!(report, Report::Moved { transition, .. } if active(transition.to)));
            (missing == 0).then_some(())
        });
        println!("100 routers taken over {} ms after the host was unplugged", unplugged.elapsed().as_millis());
        within(500, "address", || lab.has(1, "10.88.0.200").then_some(()));
    });
}

#[test]
fn many_addresses_do_not_hold_up_advertisements() {
    let _alone = ALONE.lock();
    Lab::test(2, |lab| {
        let excluded = (0..600).map(|n| format!("10.89.{}.{}/32", n / 250, 1 + n % 250).parse().unwrap()).collect();
        let quick = RouterConfig { interval: Centiseconds::new(1).unwrap(), ..router(1, 200) };
        let times = Advertisements::listen(lab, 1);
        let node = lab.start(0, vec![quick, RouterConfig { excluded, ..router(2, 200) }]);
        node.wait(3000, "the second router Active", |report| {
            matches!(report, Report::Moved { router, transition } if router == "r2" && transition.to == Phase::Active)
                .then_some(())
        });
        within(2000, "600 addresses", || lab.has(0, "10.89.2.100").then_some(()));
        thread::sleep(Duration::from_secs(1));
        let gaps = times.gaps(1);
        println!("10 ms router beside one that takes 601 addresses: {gaps:?}");
        assert!(gaps.longest < Duration::from_millis(20), "{gaps:?}");
    });
}

#[test]
fn a_flood_of_garbage_delays_nothing() {
    let _alone = ALONE.lock();
    Lab::test(3, |lab| {
        let times = Advertisements::listen(lab, 1);
        let node = lab.start(0, vec![router(1, 200)]);
        node.until(Phase::Active);
        let stop = Arc::new(AtomicBool::new(false));
        let socket = lab.on(2, || AdvertSocket::open("eth0", Family::V4)).unwrap();
        let flood = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let carrier = Carrier::multicast("10.88.0.3".parse().unwrap());
                let mut sent = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let garbage = [u8::try_from(sent % 251).unwrap(); 40];
                    sent += u64::from(socket.send(&garbage[..usize::try_from(sent % 40).unwrap()], &carrier).is_ok());
                }
                sent
            })
        };
        thread::sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        let sent = flood.join().unwrap();
        let gaps = times.gaps(1);
        println!("{sent} packets of garbage in 3 s: {gaps:?}");
        assert!(gaps.longest < Duration::from_millis(130), "{gaps:?}");
        let counted = node.wait(2000, "counters", |report| match report {
            Report::Strays(strays) => Some(strays.refused.clone()),
            Report::Status(status) if !status.refused.is_empty() => Some(status.refused.clone()),
            _ => None,
        });
        assert!(counted.iter().all(|refused| refused.source == lab::address("10.88.0.3")), "{counted:?}");
    });
}

/// When advertisements of other hosts arrived on a host: VRID and time.
struct Advertisements {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Vec<(u8, Instant)>>>,
}

/// Times between advertisements.
#[derive(Debug)]
struct Gaps {
    #[allow(dead_code, reason = "printed")]
    count: usize,
    #[allow(dead_code, reason = "printed")]
    median: Duration,
    longest: Duration,
}

impl Advertisements {
    fn listen(lab: &Lab, host: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut socket = lab.on(host, || AdvertSocket::open("eth0", Family::V4)).unwrap();
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // Who measures must not be late, either.
            let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
            let priority = ThreadPriority::Crossplatform(20_u8.try_into().unwrap());
            set_thread_priority_and_policy(thread_native_id(), priority, policy).unwrap();
            let mut heard = Vec::new();
            while !stopping.load(Ordering::Relaxed) {
                poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], 50_u16).unwrap();
                let at = now();
                let _ = socket.drain(1000, |incoming| {
                    let own = "10.88.0.1".parse::<std::net::IpAddr>().unwrap();
                    if let Ok(incoming) = incoming
                        && incoming.carrier.source() == own
                    {
                        heard.push((incoming.payload[1], at));
                    }
                });
            }
            heard
        });
        Self { stop, thread: Some(thread) }
    }

    fn gaps(mut self, vrid: u8) -> Gaps {
        self.stop.store(true, Ordering::Relaxed);
        let heard = self.thread.take().unwrap().join().unwrap();
        let times: Vec<Instant> = heard.into_iter().filter(|(of, _)| *of == vrid).map(|(_, at)| at).collect();
        let mut gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort();
        Gaps { count: gaps.len(), median: gaps[gaps.len() / 2], longest: *gaps.last().unwrap() }
    }
}

impl Drop for Advertisements {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
