//! One fetch of the list: every way a member can fail moves on to the next one.

use std::net::TcpListener;
use std::time::Duration;

use baton::source::marathon;
use baton::source::marathon::client::Client;

use crate::fake::{Fake, Reply};
use crate::harness::{apps, config, crypto};

#[tokio::test]
async fn every_failure_moves_on_and_success_sticks() {
    crypto();
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"apps\":[".to_vec();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{".to_vec();
    let huge = format!(r#"{{"apps":[],"x":"{}"}}"#, "x".repeat(1 << 20));
    let huge_chunked = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{huge}").into_bytes();
    for (kind, reply) in [
        ("status", Reply::status("503 Service Unavailable", "", r#"{"message":"no leader"}"#)),
        ("status", Reply::status("401 Unauthorized", "WWW-Authenticate: basic\r\n", "<html>")),
        ("status", Reply::status("203 Non-Authoritative", "", &apps(&["/bad"]))),
        ("status", Reply::redirect("/v2/apps?embed=apps.tasks")),
        ("json", Reply::status("200 OK", "Content-Type: text/html\r\n", "<html>log in</html>")),
        ("json", Reply::json(r#"{"apps":[{"id":"/cut"}"#)),
        ("empty", Reply::json("")),
        ("empty", Reply::status("200 OK", "", "\r\n")),
        ("no_apps", Reply::json(r#"{"message":"hello"}"#)),
        ("no_apps", Reply::json(r#"{"apps":null}"#)),
        ("broken", Reply::Raw(truncated)),
        ("broken", Reply::Raw(b"".to_vec())),
        ("broken", Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        ("timeout", Reply::Hang(b"".to_vec())),
        ("timeout", Reply::Hang(head)),
        ("too_long", Reply::json(&huge)),
        ("too_long", Reply::Raw(huge_chunked)),
    ] {
        let shown = format!("{reply:?}").chars().take(90).collect::<String>();
        let bad = Fake::new(move |_| reply.clone());
        let good = Fake::with_apps(&apps(&["/good"]));
        check(&bad.url(), &good, kind, &shown).await;
        assert_eq!(bad.fetches(), 1, "not asked again: {shown}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = Fake::with_apps(&apps(&["/good"]));
    check(&format!("http://{nobody}"), &good, "connect", "refused").await;
    check(&format!("https://{}", good.addr), &good, "tls", "plain http behind https").await;
    check("http://no-such-host.invalid:8080", &good, "connect", "no such host").await;
}

async fn check(bad: &str, good: &Fake, kind: &str, what: &str) {
    let client = Client::new(&config(&[bad.to_owned(), good.url()]));
    let fetched = client.apps().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(fetched.member, good.url(), "{what}");
    assert_eq!(fetched.answer.apps.len(), 1, "{what}");
    let kinds: Vec<_> = fetched.failures.iter().map(|f| (f.member.as_str(), f.reason.kind())).collect();
    assert_eq!(kinds, [(bad, kind)], "{what}: {:?}", fetched.failures);
    let again = client.apps().await.unwrap();
    assert!(again.failures.is_empty(), "sticks to the member that worked: {what}");
}

#[tokio::test]
async fn the_error_names_every_member_and_what_it_said() {
    crypto();
    let one =
        Fake::new(|_| Reply::status("503 Unavailable", "", r#"{"message":"Could not determine\nthe current leader"}"#));
    let two = Fake::new(|_| Reply::json("{}"));
    let error = marathon::once(&config(&[one.url(), two.url()])).await.unwrap_err().to_string();
    let mut want = [
        format!("{}: answered 503: Could not determine\\u{{a}}the current leader", one.url()),
        format!("{}: the answer has no `apps` array", two.url()),
    ];
    want.sort();
    assert_eq!(error, want.join("; "));
    assert_eq!(marathon::once(&config(&[])).await.unwrap_err().to_string(), "no Marathon is configured");
}

#[tokio::test]
async fn an_answer_that_trickles_for_ever_is_given_up() {
    crypto();
    // Each piece comes within the read time-out; the whole never ends.
    let trickle = Fake::new(|_| Reply::Stream(String::new()));
    let mut config = config(&[trickle.url()]);
    config.timing.total = Duration::from_millis(600);
    let client = Client::new(&config);
    let feed = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            trickle.send(" ");
        }
    };
    let error = tokio::select! {
        answer = client.apps() => answer.unwrap_err(),
        () = feed => unreachable!(),
        () = tokio::time::sleep(Duration::from_secs(3)) => panic!("never given up"),
    };
    assert_eq!(error.members()[0].reason.to_string(), "no answer within 600ms");
}

#[tokio::test]
async fn asks_for_apps_with_tasks_below_any_prefix() {
    crypto();
    let fake = Fake::with_apps(&apps(&["/a"]));
    for prefix in ["", "/", "/service/marathon", "/service/marathon/"] {
        marathon::once(&config(&[format!("{}{prefix}", fake.url())])).await.unwrap();
        let request = fake.requests().pop().unwrap();
        assert_eq!(request.path, format!("{}/v2/apps?embed=apps.tasks", prefix.trim_end_matches('/')));
        assert_eq!(request.header("accept"), "application/json");
        assert!(request.header("user-agent").starts_with("baton/"));
        assert_eq!(request.header("authorization"), "");
    }
}
