//! Repairs with a stand-in for HAProxy that refuses what it is told to.

use std::time::Duration;

use haproxy::app::{App, Health, Instance, Networking, Port, TaskState};
use haproxy::check::{Level, RunError, Said};
use haproxy::render::Renderer;

use super::*;
use crate::config::Config;
use crate::config::settings::{Abilities, Purpose};

/// What is refused: configurations that hold all of these words, and how.
struct Rule {
    words: Vec<String>,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    /// The line of the last word is named.
    ByLine,
    /// Nothing is named.
    Silently,
    /// There is no answer.
    Hangs,
}

struct Fake {
    rules: Vec<Rule>,
    /// How many faults are named at once.
    at_once: usize,
    asked: usize,
}

impl Fake {
    fn new(rules: Vec<Rule>) -> Self {
        Self { rules, at_once: 100, asked: 0 }
    }
}

impl Checker for Fake {
    async fn check(&mut self, bundle: &Bundle) -> Result<Verdict, CheckError> {
        self.asked += 1;
        let broken: Vec<_> =
            self.rules.iter().filter(|rule| rule.words.iter().all(|word| bundle.config().contains(word))).collect();
        if broken.iter().any(|rule| rule.how == How::Hangs) {
            return Err(RunError::Slow { path: "haproxy".into(), limit: Duration::from_secs(3) }.into());
        }
        let said = |rule: &&Rule| {
            let word = rule.words.last().unwrap();
            let line = bundle.config().lines().position(|line| line.contains(word)).map(|at| at + 1);
            let line = line.filter(|_| rule.how == How::ByLine);
            let owner = line.and_then(|line| bundle.owners().line(line)).cloned();
            Said { level: Level::Alert, line, text: format!("no {word}"), owner }
        };
        let said: Vec<_> = broken.iter().take(self.at_once).map(said).collect();
        if said.is_empty() {
            return Ok(Verdict::Accepted { warnings: Vec::new() });
        }
        let culprits = said.iter().filter_map(|said| Some(said.owner.as_ref()?.app.clone())).collect();
        Ok(Verdict::Rejected(Rejected { said, culprits }))
    }
}

fn rule(how: How, words: &[&str]) -> Rule {
    Rule { words: words.iter().map(|word| (*word).to_owned()).collect(), how }
}

fn id(n: usize) -> AppId {
    AppId::parse(&format!("/app-{n:04}")).unwrap()
}

fn app(n: usize, cert: &str) -> App {
    let labels = [("HAPROXY_0_SSL_CERT", cert)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    App {
        id: id(n),
        labels: labels.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
        networking: Networking::Host,
        ports: vec![Port { service_port: Some(10_000 + u16::try_from(n).unwrap()) }],
        checks: Vec::new(),
        instances: Vec::new(),
        wanted: 0,
    }
}

/// Apps without labels, but those with a certificate.
fn snapshot(count: usize, certs: &[(usize, &str)]) -> Arc<Snapshot> {
    let cert = |n| certs.iter().find(|(with, _)| *with == n).map_or("", |(_, cert)| *cert);
    Arc::new(Snapshot { apps: (0..count).map(|n| (id(n), Arc::new(app(n, cert(n))))).collect(), ..Snapshot::default() })
}

fn builder() -> Builder {
    let mut config = Config::default();
    config.marathon.groups = vec!["*".to_owned()];
    Builder {
        renderer: Arc::new(Renderer::new().unwrap()),
        config: Arc::new(config),
        purpose: Purpose::Standalone,
        abilities: Abilities { prometheus: false, ipv6: false, dynamic: false, own_names: false },
        default_cert: Some(Arc::from("")),
        certs: None,
    }
}

/// Asks about the apps and repairs what is refused, as the loop does; whether it was accepted in the
/// end, and after how many checks.
async fn settle(fake: &mut Fake, apps: &Arc<Snapshot>, left_out: &mut LeftOut) -> (bool, usize) {
    let before = fake.asked;
    let builder = builder();
    let mut repair = Repair { builder: &builder, snapshot: apps, left_out, kept: &mut Kept::default(), checker: fake };
    let accepted = match repair.ask().await.unwrap() {
        Answer::Accepted => true,
        Answer::Refused(refusal) => repair.repair(refusal).await.unwrap(),
        Answer::None => false,
    };
    if accepted {
        left_out.apps.accepted(apps);
    }
    (accepted, fake.asked - before)
}

/// Searches to the end; how many checks that took.
async fn search(fake: &mut Fake, apps: &Arc<Snapshot>, left_out: &mut LeftOut) -> usize {
    let before = fake.asked;
    let builder = builder();
    for _ in 0..100 {
        if !left_out.apps.is_searching() {
            break;
        }
        Repair { builder: &builder, snapshot: apps, left_out, kept: &mut Kept::default(), checker: fake }
            .search(SEARCH)
            .await
            .unwrap();
    }
    left_out.apps.accepted(apps);
    fake.asked - before
}

fn refused(left_out: &LeftOut) -> Vec<String> {
    left_out.report().into_keys().collect()
}

fn ids(numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|n| id(*n).to_string()).collect()
}

#[tokio::test]
async fn ten_of_a_thousand_cost_few_checks_however_haproxy_names_them() {
    let bad = [3, 111, 222, 333, 444, 555, 666, 777, 888, 999];
    let files: Vec<_> = bad.iter().map(|n| format!("/bad/{n}.pem")).collect();
    let certs: Vec<_> = bad.into_iter().zip(files.iter().map(String::as_str)).collect();
    for (at_once, trusted, most) in [(100, true, 2), (100, false, 2), (4, true, 4), (4, false, 4), (1, true, 5)] {
        let rules = files.iter().map(|file| rule(How::ByLine, &[file])).collect();
        let mut fake = Fake { at_once, ..Fake::new(rules) };
        let mut left_out = LeftOut::default();
        if trusted {
            assert_eq!(settle(&mut fake, &snapshot(1_000, &[]), &mut left_out).await, (true, 1));
        }
        let apps = snapshot(1_000, &certs);
        let (accepted, checks) = settle(&mut fake, &apps, &mut left_out).await;
        assert!(accepted && checks <= most, "{at_once} at once, {trusted}: {checks} checks");
        search(&mut fake, &apps, &mut left_out).await;
        assert_eq!(refused(&left_out), ids(&bad), "{at_once} at once, {trusted}");
        assert_eq!(left_out.apps.out().len(), if trusted { 0 } else { bad.len() }, "what was accepted goes on");
        let (accepted, checks) = settle(&mut fake, &apps, &mut left_out).await;
        assert!(accepted && checks == 1, "remembered");
    }
}

#[tokio::test]
async fn two_that_fail_only_together_cost_the_higher_id() {
    let mut fake = Fake::new(vec![rule(How::Silently, &["/x/5.pem", "/x/7.pem"])]);
    let both = snapshot(20, &[(5, "/x/5.pem"), (7, "/x/7.pem"), (9, "/x/9.pem")]);
    for trusted in [true, false] {
        let mut left_out = LeftOut::default();
        if trusted {
            settle(&mut fake, &snapshot(20, &[]), &mut left_out).await;
        }
        let (accepted, checks) = settle(&mut fake, &both, &mut left_out).await;
        assert!(accepted && checks <= 15, "{checks}");
        assert!(search(&mut fake, &both, &mut left_out).await <= 5);
        assert_eq!(refused(&left_out), ids(&[7]));
    }
    // The one that was there first stays, whatever its id.
    let mut left_out = LeftOut::default();
    settle(&mut fake, &snapshot(20, &[(7, "/x/7.pem")]), &mut left_out).await;
    assert_eq!(settle(&mut fake, &both, &mut left_out).await, (true, 2));
    search(&mut fake, &both, &mut left_out).await;
    assert_eq!(refused(&left_out), ids(&[5]));
}

#[tokio::test]
async fn a_check_that_hangs_is_searched_for_like_one_that_names_nobody() {
    let mut fake = Fake::new(vec![rule(How::Hangs, &["/nfs/7.pem"])]);
    let mut left_out = LeftOut::default();
    let apps = snapshot(20, &[(7, "/nfs/7.pem")]);
    settle(&mut fake, &snapshot(20, &[]), &mut left_out).await;
    assert_eq!(settle(&mut fake, &apps, &mut left_out).await, (true, 2));
    assert_eq!(search(&mut fake, &apps, &mut left_out).await, 0, "nobody else can be to blame");
    assert_eq!(refused(&left_out), ids(&[7]));
    let mut issues = Vec::new();
    let builder = builder();
    issues.extend(builder.build_without(&apps, &left_out, &mut Kept::default()).unwrap().issues);
    assert!(issues[0].problem.contains("what it was before is served: haproxy did not end within 3 s"), "{issues:?}");
    // Also where nothing was accepted before, and where it was accepted once.
    let mut left_out = LeftOut::default();
    let (accepted, checks) = settle(&mut fake, &apps, &mut left_out).await;
    assert!(accepted && checks <= 12, "{checks}");
    assert_eq!(refused(&left_out), ids(&[7]));
    let mut left_out = LeftOut::default();
    let rules = std::mem::take(&mut fake.rules);
    settle(&mut fake, &apps, &mut left_out).await;
    fake.rules = rules;
    let (accepted, checks) = settle(&mut fake, &snapshot(21, &[(7, "/nfs/7.pem")]), &mut left_out).await;
    assert!(accepted && checks <= 14, "{checks}");
    assert_eq!(refused(&left_out), ids(&[7]));
}

#[tokio::test]
async fn a_file_that_goes_away_costs_its_app_and_not_the_one_that_is_new() {
    let mut fake = Fake::new(Vec::new());
    let mut left_out = LeftOut::default();
    settle(&mut fake, &snapshot(20, &[(7, "/x/7.pem")]), &mut left_out).await;
    fake.rules.push(rule(How::ByLine, &["/x/7.pem"]));
    let (accepted, checks) = settle(&mut fake, &snapshot(21, &[(7, "/x/7.pem")]), &mut left_out).await;
    assert!(accepted && checks <= 3, "{checks}");
    assert_eq!((refused(&left_out), left_out.apps.out().len()), (ids(&[7]), 1));
}

#[tokio::test]
async fn what_is_no_apps_fault_costs_no_app() {
    for how in [How::Silently, How::Hangs] {
        let mut fake = Fake::new(Vec::new());
        let mut left_out = LeftOut::default();
        settle(&mut fake, &snapshot(20, &[]), &mut left_out).await;
        fake.rules.push(rule(how, &["frontend marathon_http_in"]));
        let (accepted, checks) = settle(&mut fake, &snapshot(21, &[]), &mut left_out).await;
        assert!(!accepted && checks <= 3, "{checks}");
        assert_eq!((refused(&left_out), left_out.apps.is_searching()), (Vec::new(), false));
    }
}

#[tokio::test]
async fn the_definition_accepted_last_is_served_with_the_tasks_of_now() {
    let mut fake = Fake::new(vec![rule(How::ByLine, &["/bad.pem"])]);
    let mut left_out = LeftOut::default();
    settle(&mut fake, &snapshot(2, &[(1, "/good.pem")]), &mut left_out).await;
    let mut apps = Snapshot::clone(&snapshot(2, &[(1, "/bad.pem")]));
    let task = |port| Instance {
        id: format!("t{port}"),
        host: "10.0.0.1".to_owned(),
        addr: Some("10.0.0.1".parse().unwrap()),
        ports: vec![Some(port)],
        state: TaskState::Running,
        health: Health::Unknown,
    };
    for port in [31_000, 31_001] {
        Arc::make_mut(apps.apps.get_mut(&id(1)).unwrap()).instances = vec![task(port)];
        let apps = Arc::new(apps.clone());
        assert!(settle(&mut fake, &apps, &mut left_out).await.0);
        let built = builder().build_without(&apps, &left_out, &mut Kept::default()).unwrap();
        let config = built.bundle.config();
        assert!(config.contains("crt /good.pem") && !config.contains("/bad.pem"), "{config}");
        assert!(config.contains(&format!("10.0.0.1:{port}")), "{config}");
        assert_eq!(built.issues[0].label.as_deref(), Some("HAPROXY_0_SSL_CERT"));
    }
    // Mended, and gone bad once more: the latest good one counts.
    let apps = snapshot(2, &[(1, "/better.pem")]);
    left_out.apps.forget_changed(&apps);
    assert_eq!(settle(&mut fake, &apps, &mut left_out).await, (true, 1));
    let apps = snapshot(2, &[(1, "/bad.pem")]);
    left_out.apps.forget_changed(&apps);
    settle(&mut fake, &apps, &mut left_out).await;
    let built = builder().build_without(&apps, &left_out, &mut Kept::default()).unwrap();
    assert!(built.bundle.config().contains("crt /better.pem"));
    // Refused and that as well: out of service.
    fake.rules.push(rule(How::ByLine, &["/better.pem"]));
    settle(&mut fake, &apps, &mut left_out).await;
    assert_eq!(left_out.apps.out().len(), 1);
}
