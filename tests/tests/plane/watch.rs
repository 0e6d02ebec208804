//! Clients that go on asking while something is done to the load balancer.

use std::time::Duration;

use e2e::lab::client::get;

/// What they saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Requests.
    pub(crate) asked: usize,
    /// What was wrong with those that failed.
    pub(crate) failed: Vec<String>,
}

impl Seen {
    /// Every request was answered.
    #[track_caller]
    pub(crate) fn all_answered(&self, what: &str) {
        assert!(self.asked > 0, "{what}: nobody asked");
        assert!(self.failed.is_empty(), "{what}: {} of {} failed: {:#?}", self.failed.len(), self.asked, self.failed);
    }
}

/// Asks these URLs in turn, a few milliseconds apart, until `act` is through.
pub(crate) async fn watching(urls: &[&str], act: impl Future<Output = ()>) -> Seen {
    let mut seen = Seen::default();
    let mut act = std::pin::pin!(act);
    for url in urls.iter().cycle() {
        // The request that is under way when `act` ends counts, too.
        let ask = async {
            let answer = get(url, &[]).await;
            tokio::time::sleep(Duration::from_millis(4)).await;
            answer
        };
        let mut ask = std::pin::pin!(ask);
        let mut done = false;
        let answer = loop {
            tokio::select! {
                answer = &mut ask => break answer,
                () = &mut act, if !done => done = true,
            }
        };
        seen.asked += 1;
        if answer.status != 200 {
            seen.failed.push(format!("{url}: {} {}", answer.status, answer.body));
        }
        if done {
            break;
        }
    }
    seen
}
