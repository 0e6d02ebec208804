//! Credentials on the wire: who gets which header, and when a DC/OS token is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use baton::source::marathon::auth::Credentials;
use baton::source::marathon::client::Client;
use baton::source::marathon::config::MarathonConfig;

use crate::fake::{Fake, Reply, Request};
use crate::harness::{apps, config, crypto};

#[tokio::test]
async fn basic_and_token_go_with_every_request() {
    crypto();
    let fake = Fake::with_apps(&apps(&["/a"]));
    let basic = || Some(Credentials::user_pass("user:p:a:ss").unwrap());
    for (url, auth, want) in [
        (fake.url(), basic(), "Basic dXNlcjpwOmE6c3M="),
        (fake.url(), Some(Credentials::token("abc")), "token=abc"),
        (format!("http://u:p%3aq%40@{}", fake.addr), None, "Basic dTpwOnFA"),
        (format!("http://u:p%3aq%40@{}", fake.addr), basic(), "Basic dTpwOnFA"),
        (fake.url(), None, ""),
    ] {
        let client = Client::new(&MarathonConfig { auth, ..config(&[url]) });
        client.apps().await.unwrap();
        client.attach().await.unwrap();
        let requests = fake.requests();
        for request in &requests[requests.len() - 2..] {
            assert_eq!(request.header("authorization"), want, "{}", request.path);
        }
    }
}

/// A login endpoint that gives `token-1`, `token-2`, … and a Marathon that wants the newest of `valid`.
struct Dcos {
    login: Fake,
    marathon: Fake,
    valid: Arc<AtomicUsize>,
}

impl Dcos {
    fn new(answer: impl Fn(usize) -> Reply + Send + 'static) -> Self {
        let mut logins = 0;
        let login = Fake::new(move |_| {
            logins += 1;
            answer(logins)
        });
        let valid = Arc::new(AtomicUsize::new(1));
        let want = valid.clone();
        let list = apps(&["/a"]);
        let marathon = Fake::new(move |request: &Request| {
            let token = format!("token=token-{}", want.load(Ordering::SeqCst));
            if request.header("authorization") == token {
                Reply::json(&list)
            } else {
                Reply::status("401 Unauthorized", "", "<html>")
            }
        });
        Self { login, marathon, valid }
    }

    fn client(&self) -> Client {
        let path = format!("{}/tests/fixtures/keys/test-only-pkcs8.pem", env!("CARGO_MANIFEST_DIR"));
        let account = serde_json::json!({
            "uid": "lb", "scheme": "RS256",
            "private_key": std::fs::read_to_string(path).unwrap(),
            "login_endpoint": format!("{}/acs/api/v1/auth/login", self.login.url()),
        });
        let auth = Some(Credentials::service_account(&account.to_string()).unwrap());
        Client::new(&MarathonConfig { auth, ..config(&[self.marathon.url()]) })
    }
}

#[tokio::test]
async fn a_service_account_logs_in_once_and_again_after_a_401() {
    crypto();
    let dcos = Dcos::new(|n| Reply::json(&format!(r#"{{"token":"token-{n}"}}"#)));
    let client = dcos.client();
    for _ in 0..3 {
        client.apps().await.unwrap();
    }
    let logins = dcos.login.requests();
    assert_eq!(logins.len(), 1);
    assert_eq!(logins[0].path, "/acs/api/v1/auth/login");
    let sent: serde_json::Value = serde_json::from_str(&logins[0].body).unwrap();
    assert_eq!(sent["uid"], "lb");
    assert_eq!(sent["token"].as_str().unwrap().split('.').count(), 3);
    assert!(sent["exp"].as_u64().unwrap() > 1_700_000_000);

    dcos.valid.store(2, Ordering::SeqCst);
    client.apps().await.unwrap();
    assert_eq!(dcos.login.requests().len(), 2);
    // A 401 that a new token does not cure is an answer, not a reason to go on.
    dcos.valid.store(99, Ordering::SeqCst);
    let before = dcos.marathon.requests().len();
    let error = client.apps().await.unwrap_err();
    assert_eq!(error.to_string(), format!("{}: answered 401", dcos.marathon.url()));
    assert_eq!((dcos.login.requests().len(), dcos.marathon.requests().len() - before), (3, 2));
}

#[tokio::test]
async fn the_token_may_come_as_a_cookie() {
    crypto();
    let cookie = "Set-Cookie: a=b\r\nSet-Cookie: dcos-acs-auth-cookie=token-1; Path=/; HttpOnly\r\n";
    let dcos = Dcos::new(move |_| Reply::status("200 OK", cookie, "{}"));
    dcos.client().apps().await.unwrap();
}

#[tokio::test]
async fn a_login_that_fails_is_told_and_shows_no_secret() {
    crypto();
    for (reply, said) in [
        (Reply::status("401 Unauthorized", "", "{}"), "answered 401"),
        (Reply::json("{}"), "the answer holds no token"),
        (Reply::Raw(vec![]), "the connection broke"),
    ] {
        let dcos = Dcos::new(move |_| reply.clone());
        let client = dcos.client();
        let error = client.apps().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("login at 127.0.0.1/acs/api/v1/auth/login") && text.contains(said), "{text}");
        assert_eq!(error.members()[0].reason.kind(), "login");
        assert_eq!(dcos.marathon.requests().len(), 0);
        assert!(!format!("{client:?} {error:?}").contains("PRIVATE"));
    }
}
