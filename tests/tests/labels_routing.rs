//! Any mixture of hosts, wildcards, paths and weights is routed as the rules say, one by one.
//!
//! The rules are tried here in their order of precedence on every request; HAProxy gets there by
//! maps. Apps and labels are drawn from few names, so that nearly all of them meet.

mod labels;

use std::cmp::Reverse;
use std::net::Ipv4Addr;

use e2e::sim::rng::Rng;
use labels::{App, app, host};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[test]
fn maps_do_what_the_rules_say() {
    for seed in 1..=4 {
        let (apps, mut rules) = drawn(&mut Rng::new(seed));
        rules.sort_by_key(Rule::rank);
        host(apps, "groups = [\"*\"]", "", async move |_| {
            for name in HOSTS {
                for path in PATHS {
                    let first = rules.iter().find(|rule| rule.takes(name, path));
                    let expected = first.map_or("503", |rule| rule.app.as_str());
                    assert_eq!(who(name, path).await, expected, "seed {seed}, {name}{path}\n{first:#?}");
                }
            }
        });
    }
}

/// What one app asks for with one of its hosts and one of its paths.
#[derive(Debug, Clone)]
struct Rule {
    app: String,
    host: &'static str,
    path: &'static str,
    ignore_case: bool,
    weight: i32,
}

impl Rule {
    /// Weight, the exact host, the narrower wildcard, the longer path, the lower id.
    fn rank(&self) -> impl Ord + use<> {
        let host = (self.host.starts_with('*'), Reverse(self.host.len()));
        (Reverse(self.weight), host, Reverse(self.path.len()), self.app.clone())
    }

    fn takes(&self, name: &str, path: &str) -> bool {
        let host = match self.host.strip_prefix('*') {
            Some(below) => name.ends_with(below),
            None => name == self.host,
        };
        let path = match self.ignore_case {
            true => path.to_lowercase().starts_with(&self.path.to_lowercase()),
            false => path.starts_with(self.path),
        };
        host && path
    }
}

fn drawn(rng: &mut Rng) -> (Vec<App>, Vec<Rule>) {
    let mut apps = Vec::new();
    let mut rules = Vec::new();
    for port in 10_001..10_021 {
        let id = format!("/app{port}");
        let hosts: Vec<_> = (0..=rng.below(2)).map(|_| VHOSTS[rng.below(VHOSTS.len())]).collect();
        let paths: Vec<_> = (0..rng.below(3)).map(|_| PREFIXES[rng.below(PREFIXES.len())]).collect();
        let ignore_case = !paths.is_empty() && rng.below(6) == 0;
        let weight = [None, None, None, Some(0), Some(2), Some(-1)][rng.below(6)];
        let path = format!("{}{}", if ignore_case { "-i " } else { "" }, paths.join(" "));
        let mut labels = vec![("VHOST", hosts.join(",")), ("PATH", path)];
        labels.extend(weight.map(|weight: i32| ("BACKEND_WEIGHT", weight.to_string())));
        let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        apps.push(app(&id, port, &labels));

        let weight = weight.unwrap_or_else(|| i32::from(!paths.is_empty()));
        let every = if paths.is_empty() { vec![""] } else { paths };
        for host in hosts {
            // Case is never ignored below a wildcard.
            let ignore_case = ignore_case && !host.starts_with('*');
            rules.extend(every.iter().map(|path| Rule { app: id.clone(), host, path, ignore_case, weight }));
        }
    }
    (apps, rules)
}

/// The app that answers, or the status where none does.
async fn who(name: &str, path: &str) -> String {
    let answer = ask(name, path).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    json["app"].as_str().or_else(|| head.split(' ').nth(1)).expect("a status").to_owned()
}

/// One request, without the cost of a process.
async fn ask(name: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 80)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

const VHOSTS: &[&str] = &["x.test", "a.x.test", "b.x.test", "a.b.x.test", "*.x.test", "*.b.x.test", "*.test", "y.test"];
const PREFIXES: &[&str] = &["/", "/a", "/a/b", "/A", "/b", "/a/b/c"];

const HOSTS: &[&str] = &[
    "x.test",
    "a.x.test",
    "b.x.test",
    "c.x.test",
    "a.b.x.test",
    "c.b.x.test",
    "d.c.b.x.test",
    "y.test",
    "z.test",
    "z",
];
const PATHS: &[&str] = &["/", "/a", "/A", "/ab", "/a/b", "/a/B/c", "/a/b/c?x", "/b", "/B", "/other"];
