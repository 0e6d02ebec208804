//! The real curl, and what it got.

use e2e::lab::client::Answer;
use tokio::process::Command;

/// A request in the making.
pub(crate) struct Curl {
    args: Vec<String>,
}

/// GET `url`.
pub(crate) fn curl(url: impl Into<String>) -> Curl {
    let fixed = ["--silent", "--show-error", "--include", "--path-as-is", "--insecure", "--max-time", "5"];
    let mut args: Vec<String> = fixed.map(str::to_owned).to_vec();
    args.push(url.into());
    Curl { args }
}

/// GET `path` on `host` over TLS on `port`, the host's name in SNI.
pub(crate) fn https(host: &str, port: u16, path: &str) -> Curl {
    curl(format!("https://{host}:{port}{path}")).arg("--resolve").arg(format!("{host}:{port}:127.0.0.1"))
}

impl Curl {
    /// Another argument of curl's.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With the `Host` header.
    pub(crate) fn host(self, host: &str) -> Self {
        self.header("Host", host)
    }

    /// With a header.
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.arg("--header").arg(format!("{name}: {value}"))
    }

    /// With a user and password.
    pub(crate) fn user(self, user: &str) -> Self {
        self.arg("--user").arg(user)
    }

    /// The answer. Status 0 where there was none; the body then says why.
    pub(crate) async fn send(self) -> Answer {
        let output = Command::new("curl").args(&self.args).output().await.expect("curl is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n").filter(|_| output.status.success()) else {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Answer { status: 0, headers: Vec::new(), body: why };
        };
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: body.to_owned() }
    }

    /// The status only.
    pub(crate) async fn status(self) -> u16 {
        self.send().await.status
    }

    /// The app that answered, or the status, or why there was no answer.
    pub(crate) async fn app(self) -> String {
        let answer = self.send().await;
        match answer.json()["app"].as_str() {
            Some(app) => app.to_owned(),
            None if answer.status == 0 => answer.body,
            None => answer.status.to_string(),
        }
    }
}
