//! Every accepted `BIND_OPTIONS` and `BALANCE` form passes the real `haproxy -c`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "all of this is test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use haproxy::app::AppId;
use haproxy::labels::bind::KEYWORDS;
use haproxy::labels::options::PortOptions;
use haproxy::labels::parse;

/// The options of one port with one label.
fn read(name: &str, value: &str) -> PortOptions {
    let labels = BTreeMap::from([(format!("HAPROXY_0_{name}"), value.to_owned())]);
    let (mut options, issues) = parse(&AppId::parse("/a").unwrap(), &labels, 1);
    assert_eq!(issues, [], "{name} {value}");
    options.ports.swap_remove(0)
}

/// What HAProxy says to the sections: whether it accepts them, and its warnings and alerts. None:
/// it is not installed.
fn check(dir: &Path, sections: &str) -> Option<(bool, Vec<String>)> {
    let file = dir.join("haproxy.cfg");
    let head = "global\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n\
                defaults\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n";
    std::fs::write(&file, format!("{head}{sections}")).unwrap();
    let output = match Command::new("haproxy").arg("-c").arg("-f").arg(&file).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: no haproxy is installed");
            return None;
        }
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let loud = said.lines().filter(|line| line.contains("[WARNING]") || line.contains("[ALERT]"));
    Some((output.status.success(), loud.map(str::to_owned).collect()))
}

#[test]
fn bind_options() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("crt.pem", CERTIFICATE), ("crl.pem", CRL), ("tickets", TICKETS)] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let path = dir.path().to_str().unwrap();
    let mut listeners = String::new();
    let mut tried = BTreeSet::new();
    for (i, form) in BIND_FORMS.iter().enumerate() {
        let form = form.replace("DIR", path);
        tried.extend(form.split(' ').map(str::to_owned));
        let words: Vec<_> = read("BIND_OPTIONS", &form).bind_options.iter().map(ToString::to_string).collect();
        let bind = words.join(" ");
        // Alone where the label may stand alone, and with TLS.
        let tls = format!("ssl crt {path}/crt.pem");
        writeln!(listeners, "listen a{i}\n  bind 127.0.0.1:{} {bind}", 20_000 + i).unwrap();
        writeln!(listeners, "listen b{i}\n  bind 127.0.0.1:{} {tls} {bind}", 21_000 + i).unwrap();
    }
    let Some((accepted, said)) = check(dir.path(), &listeners) else { return };
    assert!(accepted && said.is_empty(), "{said:#?}");
    let untried: Vec<_> = KEYWORDS.iter().map(|keyword| keyword.name).filter(|name| !tried.contains(*name)).collect();
    assert_eq!(untried, [""; 0], "keywords without a form in BIND_FORMS");
}

#[test]
fn balance() {
    let dir = tempfile::tempdir().unwrap();
    for (i, form) in BALANCE_FORMS.iter().enumerate() {
        let balance = read("BALANCE", form).balance;
        let section = |mode: &str| {
            format!(
                "listen a\n  bind 127.0.0.1:{}\n  mode {mode}\n  balance {balance}\n  server s 127.0.0.1:80\n",
                22_000 + i
            )
        };
        let Some((accepted, said)) = check(dir.path(), &section("http")) else { return };
        assert!(accepted && said.is_empty(), "http {form}: {said:#?}");
        let Some((accepted, said)) = check(dir.path(), &section("tcp")) else { return };
        assert!(accepted, "tcp {form}: {said:#?}");
        assert_eq!(said.iter().any(|line| line.contains("Layer 7 hash not possible")), balance.http_only, "tcp {form}");
    }
}

const BALANCE_FORMS: &[&str] = &[
    "roundrobin",
    "static-rr",
    "leastconn",
    "first",
    "random",
    "random(1)",
    "random(1000)",
    "source",
    "rdp-cookie",
    "rdp-cookie(mstshash)",
    "uri",
    "uri whole",
    "uri path-only",
    "uri len 10",
    "uri depth 2",
    "uri whole path-only len 65535 depth 65535",
    "url_param userid",
    "url_param userid check_post",
    "hdr(X-User)",
    "hdr(a_b.c~d)",
    "hdr(host) use_domain_only",
];

const BIND_FORMS: &[&str] = &[
    "accept-proxy",
    "allow-0rtt",
    "alpn h2,http/1.1",
    "alpn http/1.0",
    "backlog 0",
    "backlog 65535",
    "ca-file DIR/crt.pem",
    "ca-file DIR/crt.pem ca-verify-file DIR/crt.pem",
    "ca-file DIR/crt.pem crl-file DIR/crl.pem verify optional no-ca-names",
    "ca-file DIR/crt.pem verify required",
    "ciphers ECDHE+AESGCM:!aNULL:@SECLEVEL=1",
    "ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
    "ciphersuites TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256",
    "crt DIR/crt.pem",
    "ssl crt DIR/crt.pem crt DIR/crt.pem",
    "curves X25519:X448:P-256:P-384:P-521",
    "curves prime256v1:secp384r1:secp521r1",
    "defer-accept",
    "ecdhe X25519",
    "ecdhe X448",
    "ecdhe P-256",
    "ecdhe P-384",
    "ecdhe P-521",
    "ecdhe prime256v1",
    "ecdhe secp384r1",
    "ecdhe secp521r1",
    "force-tlsv10",
    "force-tlsv11",
    "force-tlsv12",
    "force-tlsv13",
    "interface lo",
    "maxconn 0",
    "maxconn 2147483647",
    "mss 88",
    "mss 32767",
    "nice -1024",
    "nice 1024",
    "no-sslv3",
    "no-sslv3 no-tlsv10 no-tlsv11",
    "no-tls-tickets",
    "no-tlsv12",
    "no-tlsv13",
    "prefer-client-ciphers",
    "ssl-max-ver TLSv1.0",
    "ssl-max-ver TLSv1.2",
    "ssl-min-ver TLSv1.0",
    "ssl-min-ver TLSv1.1 ssl-max-ver TLSv1.3",
    "strict-sni",
    "tcp-ut 0",
    "tcp-ut 500us",
    "tcp-ut 30s",
    "tcp-ut 5m",
    "tcp-ut 24d",
    "tfo",
    "tls-ticket-keys DIR/tickets",
    "transparent",
    "v4v6",
    "v6only",
    "verify none",
];

/// Three ticket keys of 48 bytes.
const TICKETS: &str = "\
QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD
QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD
QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD
";

/// A self-signed certificate and its key, made for this test and good for nothing else.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBlDCCATmgAwIBAgIUGzXRH1rwCHbi294yGwf1t2XiGIkwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLbGFiZWxzLnRlc3QwIBcNMjYxMTIxMDU1NTUzWhgPMjEyNjEw
MjgwNTU1NTNaMBYxFDASBgNVBAMMC2xhYmVscy50ZXN0MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAE0yEOLoiLXYk+rK1leY/bOkZAEGKTqpAVHgCCYQNvQokTGYGg
kL6sxUl06kZujQh9leVw7RqwnkzcyN5Dg0s9xaNjMGEwHQYDVR0OBBYEFPkaloPM
g8TdN32XciwvfFKW/Y9IMB8GA1UdIwQYMBaAFPkaloPMg8TdN32XciwvfFKW/Y9I
MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgGGMAoGCCqGSM49BAMCA0kA
MEYCIQCizzec5x3bNA2nsRaaht9dbtWbgwcy34PfNcKLoatXsAIhALEDL00pH1kZ
2deMBIvlum2pZUA/VNXeWhNbNWHFb8r6
-----END CERTIFICATE-----
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIMJN5Dn0asd8lFH13sr+TOH4SYYAty6UBMKDPZaEeawroAoGCCqGSM49
AwEHoUQDQgAE0yEOLoiLXYk+rK1leY/bOkZAEGKTqpAVHgCCYQNvQokTGYGgkL6s
xUl06kZujQh9leVw7RqwnkzcyN5Dg0s9xQ==
-----END EC PRIVATE KEY-----
";

/// An empty revocation list of that certificate.
const CRL: &str = "\
-----BEGIN X509 CRL-----
MIGuMFcCAQEwCgYIKoZIzj0EAwIwFjEUMBIGA1UEAwwLbGFiZWxzLnRlc3QXDTI2
MTEyMTA1NTgyM1oYDzIxMjYxMDI4MDU1ODIzWqAOMAwwCgYDVR0UBAMCAQIwCgYI
KoZIzj0EAwIDRwAwRAIgE5brNTQfL9ykhaUdkiFWkulWj6GIusXHxmxBy17ECW0C
IH9jyptQV7TF+950d+Ptk0m5fccKJcxASHDVhXQFraXZ
-----END X509 CRL-----
";
