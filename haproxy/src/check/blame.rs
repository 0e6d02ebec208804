//! Which label put a line into the configuration that HAProxy refuses.
//!
//! Called by the daemon when it takes an app out, for the issue that its owner reads. Knows the lines of
//! the templates in `render`; what no label of the app can have caused has none.

use std::collections::BTreeMap;

use super::Said;
use crate::app::App;
use crate::bundle::Bundle;

/// The label of `app` that is to blame for what HAProxy said about a line of `bundle`.
pub fn label(said: &Said, bundle: &Bundle, app: &App) -> Option<String> {
    let index = said.owner.as_ref()?.port?;
    let line = bundle.config().lines().nth(said.line?.checked_sub(1)?)?.trim();
    culprit(line, &said.text, index, &app.labels)
}

/// The label among `labels`, of the port `index`, that wrote `line`.
fn culprit(line: &str, said: &str, index: usize, labels: &BTreeMap<String, String>) -> Option<String> {
    let written = LINES.iter().find(|(start, _)| line.starts_with(start))?.1;
    let keys = written.iter().map(|name| format!("HAPROXY_{index}_{name}"));
    let all: Vec<_> = keys.filter(|key| labels.contains_key(key)).collect();
    // Of several, the one whose words HAProxy repeats.
    let repeated = all.iter().find(|key| {
        let words = labels.get(*key).into_iter().flat_map(|value| value.split([' ', ',']));
        words.filter(|word| word.len() > 2).any(|word| said.contains(word))
    });
    repeated.or_else(|| all.first()).cloned()
}

/// How the lines begin that labels write, and those labels, the likeliest first.
const LINES: &[(&str, &[&str])] = &[
    ("bind ", &["SSL_CERT", "BIND_OPTIONS", "BIND_ADDR", "PORT"]),
    ("mode ", &["MODE"]),
    ("balance ", &["BALANCE"]),
    ("acl network_allowed ", &["BACKEND_NETWORK_ALLOWED_ACL"]),
    ("user ", &["AUTH"]),
    ("http-request auth ", &["AUTH"]),
    ("http-request redirect prefix ", &["REDIRECT_TO_HTTPS"]),
    ("http-request redirect location ", &["HTTP_BACKEND_REDIR"]),
    ("acl is_domain ", &["VHOST"]),
    ("http-request set-header Host ", &["VHOST"]),
    ("http-request replace-path ", &["HTTP_BACKEND_PROXYPASS_PATH"]),
    ("http-response replace-header Location ", &["HTTP_BACKEND_REVPROXY_PATH"]),
    ("http-response set-header Strict-Transport-Security ", &["USE_HSTS"]),
    ("cookie ", &["STICKY"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_leads_to_the_label_that_wrote_it() {
        let labels = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| (format!("HAPROXY_1_{name}"), (*value).to_owned())).collect()
        };
        let case = |line: &str, said: &str, all: &[(&str, &str)], expected: Option<&str>| {
            let found = culprit(line, said, 1, &labels(all));
            assert_eq!(found, expected.map(|name| format!("HAPROXY_1_{name}")), "{line} {said}");
        };
        let tls = [("SSL_CERT", "/a.pem"), ("BIND_OPTIONS", "ca-file /ca.pem verify required")];
        case("bind *:1 ssl crt /a.pem ca-file /ca.pem", "unable to stat '/a.pem'", &tls, Some("SSL_CERT"));
        case("bind *:1 ssl crt /a.pem ca-file /ca.pem", "unable to load '/ca.pem'", &tls, Some("BIND_OPTIONS"));
        case("bind *:1 ssl crt /a.pem", "something else", &tls[..1], Some("SSL_CERT"));
        case("bind *:1", "something else", &[], None);
        case("balance hash x", "unknown", &[("BALANCE", "hash x")], Some("BALANCE"));
        case("user joe password x", "unknown", &[("AUTH", "r:joe:x")], Some("AUTH"));
        case("server a 10.0.0.1:80 id 1", "invalid", &tls, None);
    }

    #[test]
    fn every_line_is_one_of_the_templates() {
        let templates = concat!(
            include_str!("../render/templates/frontend.tera"),
            include_str!("../render/templates/backend_options.tera")
        );
        let userlist = include_str!("../render/templates/userlist.tera");
        for (start, _) in LINES {
            let fixed = start.trim_end_matches("prefix ").trim_end_matches("location ");
            assert!(templates.contains(fixed) || userlist.contains(fixed), "{start}");
        }
    }
}
