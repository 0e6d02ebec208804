//! Certificates that are new, renewed and gone, as a TLS client sees them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use haproxy::certs::{Pem, Source};
use haproxy::diff::{CertChange, Op, in_list};
use haproxy::runtime::{Client, RuntimeError};
use haproxy::text::Word;

use crate::lab::{Lab, Spec, pem};

fn word(text: &str) -> Word {
    Word::parse(text).unwrap()
}

fn store(certs: &[(&str, &str)]) -> BTreeMap<Word, Pem> {
    certs.iter().map(|(file, pem)| (word(file), Pem::new(pem).unwrap())).collect()
}

/// The serial number of the certificate that a client gets which asks for `host`.
fn serial(lab: &Lab, host: &str) -> String {
    let port = lab.settings.vhosts.as_ref().unwrap().https.port;
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", host])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = Command::new("openssl");
    let reader = reader.args(["x509", "-noout", "-fingerprint"]).stdin(client.stdout.take().unwrap());
    let shown = reader.output().unwrap();
    client.wait().unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

fn fingerprint(pem: &str) -> String {
    let mut reader = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
    String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn a_certificate_is_added_renewed_and_removed_while_it_runs() {
    let mut lab = Lab::started(vec![Spec::new("/a", "http").with(&[])]).await;
    let dir = lab.dir.path().join("certs");
    std::fs::create_dir(&dir).unwrap();
    let (first, second, other) = (pem("a.example"), pem("a.example"), pem("b.example"));
    let path = |file: &str| dir.join(file).to_str().unwrap().to_owned();
    std::fs::write(path("a.pem"), &first).unwrap();
    let list = word(dir.to_str().unwrap());
    lab.settings.vhosts.as_mut().unwrap().certs = vec![Source::File(list.clone())];
    lab.reload().await;
    assert_eq!(serial(&lab, "a.example"), fingerprint(&first));
    let (a, b) = (path("a.pem"), path("b.pem"));
    let states = [
        store(&[(&a, &first)]),
        store(&[(&a, &first), (&b, &other.replace('\n', "\n\n"))]),
        store(&[(&a, &second), (&b, &other)]),
        store(&[(&a, &second)]),
    ];
    for (through_master, rounds) in [(false, 0..3), (true, 0..3)] {
        if through_master {
            lab.reload().await;
            lab.client = Client::new("/nowhere", lab.dir.path().join("m"), Duration::from_secs(20));
        }
        for round in rounds {
            let ops = in_list(&list, &states[round], &states[round + 1]);
            assert_eq!(ops.len(), 1, "{ops:?}");
            lab.client.apply(&lab.worker, &ops).await.unwrap();
            let a = if round == 0 { &first } else { &second };
            let b = if round == 2 { a } else { &other };
            assert_eq!(serial(&lab, "a.example"), fingerprint(a), "{round}");
            assert_eq!(serial(&lab, "b.example"), fingerprint(b), "{round}");
        }
        lab.is_the_same().await;
    }
}

#[tokio::test]
async fn what_is_no_certificate_changes_nothing_and_may_be_tried_again() {
    let mut lab = Lab::started(vec![Spec::new("/a", "http").with(&[])]).await;
    let dir = lab.dir.path().join("certs");
    std::fs::create_dir(&dir).unwrap();
    let (first, second) = (pem("a.example"), pem("b.example"));
    std::fs::write(dir.join("a.pem"), &first).unwrap();
    let list = word(dir.to_str().unwrap());
    lab.settings.vhosts.as_mut().unwrap().certs = vec![Source::File(list.clone())];
    lab.reload().await;
    let file = word(dir.join("b.pem").to_str().unwrap());
    let add = |pem: &str| {
        let change = CertChange::Add { list: list.clone(), pem: Pem::new(pem).unwrap() };
        [Op::Cert { file: file.clone(), change }]
    };
    for bad in ["nothing\n".to_owned(), second[..second.len() / 2].to_owned(), "x".repeat(15_001)] {
        let error = lab.client.apply(&lab.worker, &add(&bad)).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Refused { .. } | RuntimeError::TooLong { .. }), "{error:?}");
        assert!(!error.to_string().contains("BEGIN"), "{error}");
        assert_eq!(serial(&lab, "b.example"), fingerprint(&first));
    }
    lab.client.apply(&lab.worker, &add(&second)).await.unwrap();
    assert_eq!(serial(&lab, "b.example"), fingerprint(&second));
}

#[test]
fn a_key_is_not_shown_and_an_empty_line_does_not_end_it() {
    let made = Pem::new("-----BEGIN X-----\r\n\r\nabc\n\n-----END X-----").unwrap();
    assert_eq!(made.as_str(), "-----BEGIN X-----\nabc\n-----END X-----\n");
    assert!(!format!("{made:?}").contains("abc"));
    assert_eq!([Pem::new("\n \n"), Pem::new("a\u{0}b")], [None, None]);
}
