//! TLS: verified against the configured or the system's authorities, and not needed for http.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use baton::source::marathon::auth::Credentials;
use baton::source::marathon::client::Client;
use baton::source::marathon::config::MarathonConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fake::{Fake, Reply};
use crate::harness::{apps, config, crypto};

/// A Marathon behind TLS for `names`, and the PEM of the authority that vouches for it.
fn tls_member(names: &[&str]) -> (String, String) {
    tls_server(names, Reply::json(&apps(&["/secure"])))
}

fn tls_server(names: &[&str], reply: Reply) -> (String, String) {
    let Reply::Raw(reply) = reply else { panic!("only a plain reply") };
    crypto();
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth();
    let server = Arc::new(server.with_single_cert(vec![certificate.der().clone()], private).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(server.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, socket.unwrap());
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(&reply).and_then(|()| stream.flush());
            }
        }
    });
    (url, issuer.pem())
}

#[tokio::test]
async fn ca_file_replaces_the_system_store() {
    let (url, ca) = tls_member(&["127.0.0.1"]);
    let dir = tempfile::tempdir().unwrap();
    let fetch = async |ca_file: Option<&str>| {
        let ca_file = ca_file.map(|pem| {
            let path = dir.path().join("ca.pem");
            std::fs::write(&path, pem).unwrap();
            path
        });
        Client::new(&MarathonConfig { ca_file, ..config(std::slice::from_ref(&url)) }).apps().await
    };
    assert_eq!(fetch(Some(&ca)).await.unwrap().answer.apps.len(), 1);
    let (_, other) = tls_member(&["127.0.0.1"]);
    for untrusted in [None, Some(other.as_str()), Some("no certificate")] {
        let error = fetch(untrusted).await.unwrap_err();
        assert_eq!(error.members()[0].reason.kind(), "tls", "{error}");
    }
    let missing = MarathonConfig { ca_file: Some("/nonexistent.pem".into()), ..config(std::slice::from_ref(&url)) };
    let error = Client::new(&missing).apps().await.unwrap_err();
    assert!(error.to_string().contains("ca_file /nonexistent.pem"), "{error}");
}

#[tokio::test]
async fn the_name_is_verified() {
    let (url, ca) = tls_member(&["marathon.example"]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
    let config = MarathonConfig { ca_file: Some(dir.path().join("ca.pem")), ..config(&[url]) };
    let error = Client::new(&config).apps().await.unwrap_err();
    assert_eq!(error.members()[0].reason.kind(), "tls", "{error}");
}

#[tokio::test]
async fn credentials_do_not_leave_tls_by_a_redirect() {
    let plain = Fake::with_apps(&apps(&["/a"]));
    let (url, ca) = tls_server(&["127.0.0.1"], Reply::redirect(&format!("{}/v2/events", plain.url())));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), ca).unwrap();
    let config = MarathonConfig { ca_file: Some(dir.path().join("ca.pem")), ..config(&[url]) };
    let auth = Some(Credentials::token("abc"));
    let error = Client::new(&MarathonConfig { auth, ..config.clone() }).attach().await.unwrap_err();
    assert!(error.to_string().contains("clear text"), "{error}");
    assert_eq!(plain.requests().len(), 0);
    Client::new(&config).attach().await.unwrap();
}

/// Runs a test of this program again, on a "host" whose CA bundle is this file.
/// `also` is what the child finds in [`CHILD`].
fn again_with_ca_bundle(test: &str, bundle: &Path, also: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]);
    child.env(CHILD, also).env("SSL_CERT_FILE", bundle).env("SSL_CERT_DIR", "/nonexistent");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn the_system_store_counts_only_without_ca_file() {
    let Ok(url) = std::env::var(CHILD) else {
        let (url, ca) = tls_member(&["127.0.0.1"]);
        let dir = tempfile::tempdir().unwrap();
        let bundle = dir.path().join("bundle.pem");
        std::fs::write(&bundle, ca).unwrap();
        return again_with_ca_bundle("tls::the_system_store_counts_only_without_ca_file", &bundle, &url);
    };
    let (_, other) = tls_member(&["127.0.0.1"]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), other).unwrap();
    let config = config(&[url]);
    Client::new(&config).apps().await.unwrap();
    let config = MarathonConfig { ca_file: Some(dir.path().join("ca.pem")), ..config };
    let error = Client::new(&config).apps().await.unwrap_err();
    assert_eq!(error.members()[0].reason.kind(), "tls", "{error}");
}

#[tokio::test]
async fn plain_http_needs_no_ca_bundle() {
    if std::env::var_os(CHILD).is_none() {
        let none = Path::new("/nonexistent");
        return again_with_ca_bundle("tls::plain_http_needs_no_ca_bundle", none, "1");
    }
    let (url, _) = tls_member(&["127.0.0.1"]);
    let plain = Fake::with_apps(&apps(&["/a"]));
    let fetched = Client::new(&config(&[url, plain.url()])).apps().await.unwrap();
    assert_eq!(fetched.member, plain.url());
    let reason = fetched.failures[0].reason.to_string();
    assert!(reason.contains("No CA certificates"), "the store is empty: {reason}");
}

const CHILD: &str = "BATON_TEST_CHILD";
