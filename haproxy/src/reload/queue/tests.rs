//! The queue by the clock, and random sequences against its promises.

use proptest::prelude::*;

use super::*;

const PAUSES: Pauses = Pauses {
    settle: Duration::from_millis(10),
    settle_max: Duration::from_millis(50),
    spacing: Duration::from_millis(100),
    backoff: Duration::from_millis(1000),
    backoff_max: Duration::from_millis(3000),
};

/// A queue and a clock that is set by hand.
struct Bench {
    queue: Queue<u32>,
    zero: Instant,
}

impl Bench {
    #[allow(clippy::disallowed_methods, reason = "a point to count from")]
    fn new() -> Self {
        Self { queue: Queue::new(PAUSES), zero: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.zero + Duration::from_millis(ms)
    }

    fn push(&mut self, request: u32, ms: u64) -> Option<u32> {
        self.queue.push(request, self.at(ms))
    }

    fn start(&mut self, ms: u64) -> Option<u32> {
        self.queue.start(self.at(ms))
    }

    fn ended(&mut self, how: Ended, ms: u64) {
        self.queue.ended(how, self.at(ms));
    }

    fn deadline(&self) -> Option<u128> {
        Some(self.queue.deadline()?.duration_since(self.zero).as_millis())
    }
}

#[test]
fn something_new_shortens_a_back_off_and_an_operator_ends_it() {
    let failing = |times: u64| {
        let mut bench = Bench::new();
        let mut now = 0;
        for n in 0..times {
            bench.push(1, now);
            now = u64::try_from(bench.deadline().unwrap()).unwrap();
            assert_eq!(bench.start(now), Some(1), "try {n}");
            bench.ended(Ended::Badly, now);
        }
        bench.push(2, now);
        (bench, now)
    };
    let (bench, now) = failing(3);
    assert_eq!(bench.deadline(), Some(u128::from(now) + 3000), "the longest pause");
    let (mut bench, now) = failing(3);
    bench.queue.hurry(false, bench.at(now));
    assert_eq!(bench.deadline(), Some(u128::from(now) + 1000), "the first pause");
    let (mut bench, now) = failing(3);
    bench.queue.hurry(true, bench.at(now));
    assert_eq!(bench.deadline(), Some(u128::from(now) + 10), "at once, but for the settling");
}

#[test]
fn a_round_with_nothing_to_do_keeps_nobody_waiting() {
    let mut bench = Bench::new();
    bench.push(1, 0);
    assert_eq!(bench.start(10), Some(1));
    bench.ended(Ended::Idle, 11);
    bench.push(2, 12);
    assert_eq!(bench.deadline(), Some(22));
}

#[test]
fn a_single_request_starts_after_settling() {
    let mut bench = Bench::new();
    assert_eq!((bench.start(0), bench.deadline()), (None, None));
    bench.push(1, 5);
    assert_eq!((bench.start(14), bench.deadline()), (None, Some(15)));
    assert_eq!(bench.start(15), Some(1));
    assert_eq!((bench.start(500), bench.queue.is_running(), bench.queue.is_waiting()), (None, true, false));
}

#[test]
fn a_burst_becomes_one_start_with_the_newest_and_cannot_starve_it() {
    let mut bench = Bench::new();
    for (request, ms) in (0..).zip((0..45).step_by(5)) {
        assert_eq!(bench.push(request, ms), request.checked_sub(1));
        assert_eq!(bench.start(ms), None);
    }
    assert_eq!(bench.deadline(), Some(50));
    bench.push(9, 49);
    assert_eq!(bench.start(50), Some(9));
}

#[test]
fn one_waits_while_one_runs_and_the_newest_wins() {
    let mut bench = Bench::new();
    bench.push(1, 0);
    bench.start(10);
    bench.push(2, 20);
    assert_eq!(bench.push(3, 30), Some(2));
    assert_eq!((bench.start(60), bench.deadline()), (None, None));
    bench.ended(Ended::Well, 70);
    assert_eq!((bench.start(109), bench.deadline()), (None, Some(110)));
    assert_eq!(bench.start(110), Some(3));
}

#[test]
fn failures_back_off_doubling_and_a_success_forgets_them() {
    let mut bench = Bench::new();
    let mut ms = 0;
    for pause in [1000, 2000, 3000, 3000] {
        bench.push(7, ms);
        ms = u64::try_from(bench.deadline().unwrap()).unwrap();
        assert_eq!(bench.start(ms), Some(7));
        bench.ended(Ended::Badly, ms + 5);
        bench.queue.again(7, bench.at(ms + 5));
        assert_eq!(bench.deadline(), Some(u128::from(ms + 5 + pause)));
        ms += 5;
    }
    bench.start(ms + 3000);
    bench.ended(Ended::Well, ms + 3001);
    bench.push(8, ms + 3001);
    assert_eq!(bench.deadline(), Some(u128::from(ms + 3100)), "only the spacing is left");
}

#[test]
fn another_try_does_not_displace_something_newer() {
    let mut bench = Bench::new();
    bench.push(1, 0);
    bench.start(10);
    bench.push(2, 11);
    bench.ended(Ended::Badly, 20);
    bench.queue.again(1, bench.at(20));
    assert_eq!(bench.start(1020), Some(2));
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Push,
    Start,
    Ended(Ended),
    Again,
}

fn op() -> impl Strategy<Value = (Op, u64)> {
    let op = prop_oneof![
        4 => Just(Op::Push),
        4 => Just(Op::Start),
        2 => Just(Op::Ended(Ended::Well)),
        1 => Just(Op::Ended(Ended::Badly)),
        1 => Just(Op::Again),
    ];
    (op, 0u64..120)
}

proptest! {
    #[test]
    fn whatever_happens_the_promises_hold(ops in prop::collection::vec(op(), 0..200)) {
        let mut bench = Bench::new();
        let (mut ms, mut newest, mut started, mut running) = (0, 0, 0, None);
        let mut last_start: Option<u64> = None;
        for (op, pause) in ops {
            ms += pause;
            match op {
                Op::Push => {
                    newest += 1;
                    bench.push(newest, ms);
                }
                Op::Start => {
                    let due = bench.queue.deadline().is_some_and(|deadline| deadline <= bench.at(ms));
                    let request = bench.start(ms);
                    prop_assert_eq!(request.is_some(), due);
                    if let Some(request) = request {
                        prop_assert_eq!(running, None, "one at a time");
                        prop_assert_eq!(request, newest, "the newest wins");
                        prop_assert!(last_start.is_none_or(|last| ms - last >= 100), "spacing");
                        (started, running, last_start) = (request, Some(request), Some(ms));
                    }
                }
                Op::Ended(how) => {
                    if running.take().is_some() {
                        bench.ended(how, ms);
                    }
                }
                Op::Again => if running.is_none() && started > 0 {
                    bench.queue.again(started, bench.at(ms));
                },
            }
            prop_assert_eq!(bench.queue.is_running(), running.is_some());
        }
        // Nothing is lost: once quiet, the newest request is what was started last.
        if running.is_some() {
            bench.ended(Ended::Well, ms);
        }
        while let Some(deadline) = bench.queue.deadline() {
            started = bench.queue.start(deadline).unwrap();
            bench.queue.ended(Ended::Well, deadline);
        }
        prop_assert_eq!(started, newest);
    }
}
