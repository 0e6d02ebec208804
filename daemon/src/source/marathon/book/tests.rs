//! Tables for the merging of answers and events.
#![allow(clippy::disallowed_methods, reason = "any moment will do")]

use super::*;
use haproxy::app::Port;

pub(super) fn id(text: &str) -> AppId {
    AppId::parse(text).unwrap()
}

/// A task that runs; its port is the number at the end of its id, on one host.
pub(super) fn task(name: &str) -> Instance {
    let number: String = name.chars().filter(char::is_ascii_digit).collect();
    Instance {
        id: name.to_owned(),
        host: "10.0.0.1".to_owned(),
        addr: None,
        ports: vec![number.parse().ok()],
        state: TaskState::Running,
        health: Health::Unknown,
    }
}

pub(super) fn app(name: &str, tasks: &[&str]) -> App {
    App {
        id: id(name),
        labels: BTreeMap::new(),
        networking: Networking::Host,
        ports: vec![Port::default()],
        checks: vec![],
        instances: tasks.iter().map(|name| task(name)).collect(),
        wanted: 1,
    }
}

fn answer(apps: &[(&str, &[&str])]) -> Answer {
    let apps = apps.iter().map(|(name, tasks)| (id(name), Arc::new(app(name, tasks))));
    Answer { apps: apps.collect(), issues: vec![] }
}

fn unread(name: &str) -> Issue {
    Issue::app(name, "the app cannot be read: x")
}

#[test]
fn an_app_that_cannot_be_read_stays_as_it_was_and_is_asked_for() {
    let mut b = bench(&[("/a", &["t1"]), ("/b", &["t2"]), ("/c", &["t3"])]);
    let asked = b.ask();
    let answer = || Answer { issues: vec![unread("/b")], ..answer(&[("/a", &["t1"])]) };
    assert_eq!(b.book.loss(asked, &answer()).lost.len(), 1, "only what is not in it");
    assert_eq!(b.book.take_all(asked, answer()), [id("/b"), id("/c")]);
    assert_eq!(b.book.apps().keys().cloned().collect::<Vec<_>>(), [id("/a"), id("/b")]);
    assert_eq!(b.book.unconfirmed().iter().collect::<Vec<_>>(), ["t2"]);
    let asked = b.ask();
    assert!(b.book.take_app(asked, &id("/a"), None, vec![unread("/a")]));
    assert_eq!(b.book.unconfirmed().len(), 2);
    // An event ends its task all the same, and a good answer ends the doubt.
    b.told("/b", "t2", Fate::Ended);
    assert!(b.book.apps()[&id("/b")].instances.is_empty());
    let asked = b.ask();
    assert!(b.book.take_app(asked, &id("/a"), Some(app("/a", &["t1"])), vec![]));
    assert!(b.book.unconfirmed().is_empty());
    assert_eq!(b.book.answer().issues, [unread("/b")]);
}

/// A book and a clock.
struct Bench {
    book: Book,
    now: Instant,
}

fn bench(apps: &[(&str, &[&str])]) -> Bench {
    let mut bench = Bench { book: Book::default(), now: Instant::now() };
    let asked = bench.ask();
    bench.book.take_all(asked, answer(apps));
    bench
}

impl Bench {
    fn ask(&mut self) -> Moment {
        self.book.ask(self.now)
    }

    fn told(&mut self, app: &str, task: &str, fate: Fate) {
        self.book.told(&id(app), task, fate, self.now);
    }

    fn take(&mut self, asked: Moment, name: &str, tasks: &[&str]) -> bool {
        self.book.take_app(asked, &id(name), Some(app(name, tasks)), vec![])
    }

    /// `/a: t1 t2-; /b: ` where `-` is a task that goes.
    fn shown(&self) -> String {
        let apps = self.book.apps.values().map(|app| {
            let going = |task: &Instance| if task.state == TaskState::Killing { "-" } else { "" };
            let tasks: Vec<_> = app.instances.iter().map(|task| format!("{}{}", task.id, going(task))).collect();
            format!("{}: {}", app.id, tasks.join(" "))
        });
        apps.collect::<Vec<_>>().join("; ")
    }
}

#[test]
fn the_answer_asked_for_last_wins_whichever_comes_last() {
    let mut b = bench(&[("/a", &["t1"]), ("/b", &["t2"])]);
    let (all, one, two) = (b.ask(), b.ask(), b.ask());
    assert!(b.take(two, "/a", &["t4"]));
    assert!(!b.take(one, "/a", &["t3"]), "an older answer");
    assert_eq!(b.shown(), "/a: t4; /b: t2");
    // The list was asked for before: it counts for /b only.
    b.book.take_all(all, answer(&[("/a", &["t1"]), ("/b", &["t5"])]));
    assert_eq!(b.shown(), "/a: t4; /b: t5");
    let later = b.ask();
    assert_eq!(b.book.take_all(later, answer(&[("/a", &["t6"])])), [id("/b")]);
    assert_eq!(b.shown(), "/a: t6");
    assert!(!b.take(two, "/b", &["t2"]), "older than the list");
}

#[test]
fn a_deleted_app_does_not_come_back_with_an_older_list_nor_a_new_one_go() {
    let mut b = bench(&[("/a", &["t1"])]);
    let all = b.ask();
    let (gone, new) = (b.ask(), b.ask());
    assert!(b.book.take_app(gone, &id("/a"), None, vec![]));
    assert!(b.take(new, "/b", &["t2"]));
    b.book.take_all(all, answer(&[("/a", &["t1"])]));
    assert_eq!(b.shown(), "/b: t2");
}

#[test]
fn events_act_at_once_and_against_older_answers() {
    let mut b = bench(&[("/a", &["t1", "t2"])]);
    let before = b.ask();
    b.book.take_changed();
    b.told("/a", "t1", Fate::Going);
    assert!(b.book.take_changed());
    b.told("/a", "t2", Fate::Ended);
    assert_eq!(b.shown(), "/a: t1-");
    b.take(before, "/a", &["t1", "t2"]);
    assert_eq!(b.shown(), "/a: t1-", "asked for before the events");
    let after = b.ask();
    b.take(after, "/a", &["t1", "t2"]);
    assert_eq!(b.shown(), "/a: t1", "going may be mistaken, ended is not");
    b.told("/a", "t2", Fate::Going);
    let after = b.ask();
    b.take(after, "/a", &["t2"]);
    assert_eq!(b.shown(), "/a: ", "events in any order");
}

#[test]
fn an_end_that_answers_contradict_is_looked_at_again_and_then_given_up() {
    let mut b = bench(&[("/a", &["t1"])]);
    b.told("/a", "t1", Fate::Ended);
    let asked = b.ask();
    b.take(asked, "/a", &["t1"]);
    assert_eq!(b.shown(), "/a: ");
    assert!(b.book.forget(b.now).is_empty());
    b.now += SETTLED;
    assert_eq!(b.book.forget(b.now), BTreeSet::from([id("/a")]));
    assert!(b.book.forget(b.now).is_empty(), "said once");
    let asked = b.ask();
    b.take(asked, "/a", &["t1"]);
    assert_eq!(b.shown(), "/a: t1");

    b.told("/a", "t9", Fate::Ended);
    b.now += REMEMBERED;
    b.book.forget(b.now);
    assert!(b.book.fates.is_empty(), "memory is bounded");
}

#[test]
fn silence_keeps_the_last_verdict_until_the_task_is_gone() {
    use Health::{Alive, Dead, Unknown};
    let mut b = bench(&[]);
    for (told, want) in [
        (&[("t1", Unknown)][..], &[("t1", Unknown)][..]),
        (&[("t1", Alive), ("t2", Dead)], &[("t1", Alive), ("t2", Dead)]),
        (&[("t1", Unknown), ("t2", Unknown)], &[("t1", Alive), ("t2", Dead)]),
        (&[("t1", Unknown), ("t2", Alive)], &[("t1", Alive), ("t2", Alive)]),
        (&[("t2", Unknown)], &[("t2", Alive)]),
        (&[("t1", Unknown), ("t2", Unknown)], &[("t1", Unknown), ("t2", Alive)]),
        (&[("t2", Dead)], &[("t2", Dead)]),
        (&[("t2", Unknown)], &[("t2", Dead)]),
    ] {
        let with = |tasks: &[(&str, Health)]| {
            let instances = tasks.iter().map(|(name, health)| Instance { health: *health, ..task(name) });
            App { instances: instances.collect(), ..app("/a", &[]) }
        };
        for all in [false, true] {
            let asked = b.ask();
            match all {
                true => {
                    let apps = BTreeMap::from([(id("/a"), Arc::new(with(told)))]);
                    drop(b.book.take_all(asked, Answer { apps, issues: vec![] }));
                }
                false => drop(b.book.take_app(asked, &id("/a"), Some(with(told)), vec![])),
            }
            assert_eq!(*b.book.apps[&id("/a")], with(want), "{told:?}");
        }
    }
}

#[test]
fn issues_follow_the_answer_that_counts() {
    let mut b = bench(&[]);
    let issue = |app: &str| vec![Issue::app(app, "odd")];
    let all = b.ask();
    let one = b.ask();
    assert!(b.book.take_app(one, &id("/a"), None, issue("/a")));
    b.book.take_all(all, Answer { issues: issue("/b"), ..answer(&[("/a", &[])]) });
    assert_eq!(b.book.answer().issues, [issue("/a"), issue("/b")].concat());
    let one = b.ask();
    b.take(one, "/b", &[]);
    assert_eq!(b.book.answer().issues, issue("/a"));
}

#[test]
fn what_is_restored_is_confirmed_or_dropped_when_its_place_is_taken() {
    let restored = answer(&[("/a", &["t1", "t2"]), ("/b", &["t3"]), ("/c", &["t4"])]).apps;
    let mut b = Bench { book: Book::restored(restored), now: Instant::now() };
    assert_eq!(b.book.unconfirmed().len(), 4);
    // t1's port was given to another app's task, and one of /b's own.
    let asked = b.ask();
    b.take(asked, "/b", &["x1", "x3"]);
    assert_eq!(b.shown(), "/a: t2; /b: x1 x3; /c: t4");
    b.told("/a", "t2", Fate::Ended);
    assert_eq!(b.book.unconfirmed().iter().collect::<Vec<_>>(), ["t4"]);
    let asked = b.ask();
    b.book.take_all(asked, answer(&[("/c", &["t4"])]));
    assert!(b.book.unconfirmed().is_empty());
    // What an answer vouches for is not dropped.
    let asked = b.ask();
    b.take(asked, "/d", &["y4"]);
    assert_eq!(b.shown(), "/c: t4; /d: y4");
}

#[test]
fn a_list_held_back_leaves_what_it_lacks_in_doubt() {
    let mut b = bench(&[("/a", &["t1", "t2"]), ("/b", &["t3"])]);
    let asked = b.ask();
    let newer = b.ask();
    b.take(newer, "/c", &["t5"]);
    let less = answer(&[("/a", &["t2"]), ("/d", &["z3"])]);
    let loss = b.book.loss(asked, &less);
    assert_eq!((loss.of, loss.lost), (3, HashSet::from([("t1".to_owned(), 1), ("t3".to_owned(), 3)])));
    b.book.hold(asked, &less);
    assert_eq!(b.shown(), "/a: t1 t2; /b: ; /c: t5", "port 3 is another app's now");
    assert_eq!(b.book.unconfirmed().iter().collect::<Vec<_>>(), ["t1"]);
}
