//! Any interleaving of changes, events and slow answers ends with what Marathon has.
//!
//! A Marathon in miniature changes; its events arrive late and in any order, its answers tell of
//! some moment between question and arrival. Book and agenda follow as `refetch` lets them.
#![allow(clippy::disallowed_methods, reason = "any moment will do")]

use proptest::prelude::*;

use super::super::agenda::{Agenda, Pace};
use super::tests::{app, id, task};
use super::*;

/// What happens next, some milliseconds after what happened before.
#[derive(Debug, Clone)]
enum Op {
    /// A task of this app starts.
    Start(u8),
    /// A task of it is told to end.
    Kill(u8),
    /// A task of it ends.
    End(u8),
    /// The app is created, or its labels change.
    Put(u8),
    /// The app is deleted.
    Delete(u8),
    /// Everything is asked for.
    AskAll,
    /// Time passes.
    Wait,
}

fn ops() -> impl Strategy<Value = Vec<(Op, u64)>> {
    let op = (0_u8..10, 0_u8..3).prop_map(|(kind, app)| match kind {
        0..=2 => Op::Start(app),
        3 => Op::Kill(app),
        4..=5 => Op::End(app),
        6 => Op::Put(app),
        7 => Op::Delete(app),
        8 => Op::AskAll,
        _ => Op::Wait,
    });
    prop::collection::vec((op, 0_u64..120), 1..60)
}

/// What arrives later.
enum Arrival {
    Event(AppId, bool, Option<(String, Fate)>),
    /// Marathon looks at its state now, and its answer is on its way.
    Look(Option<AppId>, Moment),
    One(AppId, Moment, Option<App>),
    All(Moment, Answer),
}

struct Play {
    world: BTreeMap<AppId, Arc<App>>,
    book: Book,
    agenda: Agenda,
    start: Instant,
    ms: u64,
    /// By time, then by order.
    arrivals: BTreeMap<(u64, u64), Arrival>,
    count: u64,
    dice: u64,
}

impl Play {
    fn new(dice: u64) -> Self {
        let pace = Pace { at_once: 2, spacing: Duration::from_millis(20), trailing: Duration::from_millis(1_000) };
        Self {
            world: BTreeMap::new(),
            book: Book::default(),
            agenda: Agenda::new(pace),
            start: Instant::now(),
            ms: 0,
            arrivals: BTreeMap::new(),
            count: 0,
            dice: dice | 1,
        }
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % below
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn later(&mut self, within: u64, arrival: Arrival) {
        let at = self.ms + self.roll(within);
        self.count += 1;
        self.arrivals.insert((at, self.count), arrival);
    }

    fn event(&mut self, app: &AppId, soon: bool, task: Option<(String, Fate)>) {
        self.later(300, Arrival::Event(app.clone(), soon, task));
    }

    fn act(&mut self, op: &Op) {
        let name = |n: u8| id(&format!("/app{n}"));
        match op {
            Op::Start(n) => {
                let id = name(*n);
                self.count += 1;
                let new = task(&format!("t{}", self.count));
                if let Some(app) = self.world.get_mut(&id) {
                    Arc::make_mut(app).instances.push(new);
                    self.event(&id, true, None);
                }
            }
            Op::Kill(n) | Op::End(n) => {
                let id = name(*n);
                let Some(app) = self.world.get_mut(&id).filter(|app| !app.instances.is_empty()) else { return };
                if matches!(op, Op::Kill(_)) {
                    Arc::make_mut(app).instances[0].state = TaskState::Killing;
                    let task = app.instances[0].id.clone();
                    self.event(&id, false, Some((task, Fate::Going)));
                } else {
                    let task = Arc::make_mut(app).instances.remove(0).id;
                    self.event(&id, false, Some((task, Fate::Ended)));
                }
            }
            Op::Put(n) => {
                let id = name(*n);
                self.count += 1;
                let app = self.world.entry(id.clone()).or_insert_with(|| Arc::new(app(id.as_str(), &[])));
                Arc::make_mut(app).labels.insert("v".to_owned(), self.count.to_string());
                self.event(&id, true, None);
            }
            Op::Delete(n) => {
                let id = name(*n);
                if self.world.remove(&id).is_some() {
                    self.event(&id, true, None);
                }
            }
            Op::AskAll => {
                let asked = self.book.ask(self.now());
                self.later(400, Arrival::Look(None, asked));
            }
            Op::Wait => self.run_until(self.ms + 1_500),
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now();
        match arrival {
            Arrival::Event(app, soon, task) => {
                if let Some((task, fate)) = &task {
                    self.book.told(&app, task, *fate, now);
                }
                self.agenda.hint(&app, "e", soon, now);
            }
            Arrival::Look(None, asked) => {
                let answer = Answer { apps: self.world.clone(), issues: vec![] };
                self.later(1_500, Arrival::All(asked, answer));
            }
            Arrival::Look(Some(id), asked) => {
                let app = self.world.get(&id).map(|app| App::clone(app));
                self.later(500, Arrival::One(id, asked, app));
            }
            Arrival::All(asked, answer) => {
                // `refetch` has one list on its way at a time; here an older one is left out.
                if self.book.all < Some(asked) {
                    self.book.take_all(asked, answer);
                }
            }
            Arrival::One(id, asked, app) => {
                self.agenda.done(&id);
                self.book.take_app(asked, &id, app, vec![]);
            }
        }
    }

    fn fetch(&mut self) {
        let now = self.now();
        while let Some((id, _)) = self.agenda.start(now) {
            let asked = self.book.ask(now);
            self.later(300, Arrival::Look(Some(id), asked));
        }
    }

    fn run_until(&mut self, end: u64) {
        loop {
            self.fetch();
            let due = self.agenda.deadline().map(|at| at.duration_since(self.start).as_millis());
            let due = due.map(|ms| u64::try_from(ms).unwrap());
            let first = self.arrivals.keys().next().copied();
            let next = first.map(|(at, _)| at).into_iter().chain(due).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.ms = self.ms.max(next);
            if let Some(key) = first.filter(|(at, _)| *at <= self.ms) {
                let arrival = self.arrivals.remove(&key).unwrap();
                self.arrive(arrival);
            }
        }
        self.ms = self.ms.max(end.min(self.ms + 10_000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn after_quiet_the_book_is_what_marathon_has(ops in ops(), dice in any::<u64>()) {
        let mut play = Play::new(dice);
        for (op, pause) in &ops {
            let end = play.ms + pause;
            play.run_until(end);
            play.act(op);
        }
        play.run_until(u64::MAX);
        prop_assert!(play.arrivals.is_empty());
        prop_assert_eq!(&play.book.apps, &play.world);
    }

    #[test]
    fn a_task_whose_end_was_heard_is_never_served_again(ops in ops(), dice in any::<u64>()) {
        let mut play = Play::new(dice);
        let mut ended = BTreeSet::new();
        for (op, pause) in &ops {
            let end = play.ms + pause;
            play.run_until(end);
            ended.extend(play.book.fates.iter().filter(|(_, told)| told.fate == Fate::Ended).map(|(id, _)| id.clone()));
            prop_assert!(tasks(&play.book.apps).all(|task| !ended.contains(&task.id)));
            play.act(op);
        }
    }
}
