//! HTTP Basic and DC/OS tokens.

#![allow(clippy::unwrap_used, reason = "a test; clippy exempts `#[test]` functions only")]

mod sim;

use std::time::Duration;

use e2e::sim::{Auth, Config, Personality, Sim};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sim::{Answer, Stream, call, fixture_path, fixture_text, get, send};

#[tokio::test]
async fn basic_credentials_are_demanded_everywhere() {
    let mut config = Config::for_test(Personality::V1_4).members(2);
    config.auth = Auth::Basic { user: "op".to_owned(), password: "s3cret".to_owned() };
    let sim = Sim::start(config).await.unwrap();
    for path in ["/ping", "/v2/apps", "/v2/events"] {
        for member in 0..2 {
            let answer = get(&format!("{}{path}", sim.url(member))).await;
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.header("WWW-Authenticate").as_deref(), Some("basic realm=\"Mesosphere\""));
            assert!(answer.text().contains("<html>"));
        }
    }
    let wrong = [("Authorization", "Basic b3A6d3Jvbmc=")];
    assert_eq!(call("GET", &format!("{}/ping", sim.url(0)), &wrong, None).await.status, 401);
    let right = [("Authorization", "Basic b3A6czNjcmV0")];
    for member in 0..2 {
        assert_eq!(call("GET", &format!("{}/v2/apps", sim.url(member)), &right, None).await.status, 200);
        let mut stream = Stream::open(&format!("{}/v2/events", sim.url(member)), &right).await;
        stream.until_event("event_stream_attached").await;
    }
    sim.stop().await;
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            out.push(char::from(LETTERS[(bits >> (18 - 6 * n)) as usize & 63]));
        }
    }
    out
}

fn jwt(claims: &Value) -> String {
    let pem = fixture_text("service-account.key.pem");
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_pkcs8(&e2e::sim::auth::base64(&text).unwrap()).unwrap();
    let signed =
        format!("{}.{}", base64url(br#"{"alg":"RS256","typ":"JWT"}"#), base64url(claims.to_string().as_bytes()));
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &ring::rand::SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", base64url(&signature))
}

async fn log_in(sim: &Sim, uid: &str, token: &str) -> Answer {
    send("POST", &format!("{}/acs/api/v1/auth/login", sim.url(0)), &json!({"uid": uid, "token": token})).await
}

#[tokio::test]
async fn a_service_account_buys_a_token_that_expires() {
    let mut config = Config::for_test(Personality::V1_8);
    config.auth = Auth::Token {
        public_key: fixture_path("service-account.pub.pem"),
        uid: "baton".to_owned(),
        lifetime: Duration::from_millis(1200),
    };
    let sim = Sim::start(config).await.unwrap();
    let apps = format!("{}/v2/apps", sim.url(0));
    assert_eq!(get(&apps).await.status, 401);
    let far = 4_000_000_000_u64;
    let good = jwt(&json!({"uid": "baton", "exp": far}));
    let forged = format!("{}x", &good[..good.len() - 1]);
    for (uid, token) in [
        ("baton", forged),
        ("baton", jwt(&json!({"uid": "baton", "exp": 1}))),
        ("baton", jwt(&json!({"uid": "other", "exp": far}))),
        ("other", good.clone()),
        ("baton", "nonsense".to_owned()),
    ] {
        assert_eq!(log_in(&sim, uid, &token).await.status, 401, "{uid} {token}");
    }
    let answer = log_in(&sim, "baton", &good).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert!(answer.header("Set-Cookie").unwrap().starts_with(&format!("dcos-acs-auth-cookie={token}")));
    let value = format!("token={token}");
    let with = [("Authorization", value.as_str())];
    assert_eq!(call("GET", &apps, &with, None).await.status, 200);
    let mut stream = Stream::open(&format!("{}/v2/events", sim.url(0)), &with).await;
    stream.until_event("event_stream_attached").await;
    sim::eventually("expired", async || call("GET", &apps, &with, None).await.status == 401).await;
    sim.post_app(&json!({"id": "/web", "cmd": "x"})).unwrap();
    stream.until_event("deployment_success").await;

    let again = log_in(&sim, "baton", &good).await.json()["token"].as_str().unwrap().to_owned();
    sim.expire_tokens();
    let value = format!("token={again}");
    assert_eq!(call("GET", &apps, &[("Authorization", &value)], None).await.status, 401);
    sim.stop().await;
}
