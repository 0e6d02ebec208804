//! Standbys send `/v2/events` elsewhere: whom we follow, and whom we give our credentials.

use baton::source::marathon::client::Client;
use baton::source::marathon::config::MarathonConfig;

use crate::fake::{Fake, Reply, normal};
use crate::harness::{apps, config, crypto};

#[tokio::test]
async fn other_members_are_asked_before_a_redirect_is_followed() {
    crypto();
    let leader = Fake::with_apps(&apps(&["/a"]));
    // Its Location names the leader by an address that nobody answers on.
    let standby = Fake::new(|_| Reply::redirect("http://127.0.0.1:9/v2/events"));
    let client = Client::new(&config(&[standby.url(), leader.url()]));
    assert_eq!(client.attach().await.unwrap().member, leader.url());
    assert_eq!(client.attach().await.unwrap().member, leader.url());
    assert_eq!(standby.attaches(), 1, "sticks to the leader");
}

#[tokio::test]
async fn a_redirect_to_our_own_is_followed_once_with_credentials_and_query() {
    crypto();
    let leader = Fake::with_apps(&apps(&["/a"]));
    let port = leader.addr.port();
    for (host, login, sent) in [
        ("127.0.0.1", "me:pass@", "Basic bWU6cGFzcw=="),
        ("localhost", "me:pass@", "Basic bWU6cGFzcw=="),
        // Credentials in a Location are the sender's idea, not ours.
        ("127.0.0.1", "", ""),
    ] {
        for query in ["?plan-format=light&event_type=x", ""] {
            let location = format!("http://evil:creds@{host}:{port}/v2/events{query}");
            let standby = Fake::new(move |_| Reply::redirect(&location));
            let client = Client::new(&config(&[format!("http://{login}{}", standby.addr)]));
            assert_eq!(client.attach().await.unwrap().member, format!("http://{host}:{port}"));
            let request = leader.requests().pop().unwrap();
            assert_eq!(request.header("authorization"), sent);
            assert_eq!(request.header("accept"), "text/event-stream");
            match query {
                "" => assert!(request.path.contains("event_type=status_update_event"), "{}", request.path),
                query => assert_eq!(request.path, format!("/v2/events{query}")),
            }
            assert_eq!(standby.attaches(), 1);
        }
    }
}

#[tokio::test]
async fn a_stranger_gets_nothing_unless_trusted() {
    crypto();
    let stranger = Fake::on("127.0.0.2:0", normal(&apps(&["/a"])));
    let location = format!("{}/v2/events", stranger.url());
    let standby = Fake::new(move |_| Reply::redirect(&location));
    let config = config(&[format!("http://me:pass@{}", standby.addr)]);
    let error = Client::new(&config).attach().await.unwrap_err();
    assert!(error.to_string().contains("not in trusted_hosts"), "{error}");
    assert_eq!(stranger.requests().len(), 0);

    let trusted_hosts = vec!["127.0.0.2".to_owned()];
    let attached = Client::new(&MarathonConfig { trusted_hosts, ..config }).attach().await.unwrap();
    assert_eq!(attached.member, stranger.url());
}

#[tokio::test]
async fn one_hop_and_no_further() {
    crypto();
    let end = Fake::with_apps(&apps(&["/a"]));
    let to = |fake: &Fake| {
        let location = format!("{}/v2/events", fake.url());
        move |_: &_| Reply::redirect(&location)
    };
    let middle = Fake::new(to(&end));
    let start = Fake::new(to(&middle));
    Client::new(&config(&[start.url()])).attach().await.unwrap_err();
    assert_eq!((start.attaches(), middle.attaches(), end.attaches()), (1, 1, 0));
    for odd in ["file:///etc/passwd", "", "http://"] {
        let fake = Fake::new(move |_| Reply::redirect(odd));
        Client::new(&config(&[fake.url()])).attach().await.unwrap_err();
    }
}
