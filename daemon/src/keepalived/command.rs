//! keepalived's command strings as lists of arguments, and HAProxy checks among them.
//!
//! Used by `script` and `instance`. Pure.

/// The arguments of the command that `text` is. What only a shell understands is given to one, and a
/// program without its path is looked up as keepalived does.
pub(super) fn arguments(text: &str) -> Vec<String> {
    let Some(words) = words(text) else {
        return ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    };
    let lookup = words.first().is_some_and(|program| !program.starts_with('/'));
    lookup.then(|| "/usr/bin/env".to_owned()).into_iter().chain(words).collect()
}

/// `text` split at blanks, single quotes apart; nothing if it takes a shell.
fn words(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if quoted => word.get_or_insert_default().push(c),
            c if SHELL.contains(c) => return None,
            c if c.is_whitespace() => found.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    (!quoted && !found.is_empty()).then_some(found)
}

/// `arguments` as a line for a shell.
pub(super) fn shell(arguments: &[String]) -> String {
    arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Whether the command only looks whether an HAProxy runs.
pub(super) fn looks_for_haproxy(text: &str) -> bool {
    let mut looks = false;
    let mut haproxy = false;
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c)) {
        let name = word.rsplit('/').next().unwrap_or_default();
        looks |=
            ["killall", "killall5", "pidof", "pgrep", "pkill", "kill", "systemctl", "service", "ps"].contains(&name);
        haproxy |= ["haproxy", "haproxy.pid", "haproxy.service", "haproxy-master.pid"].contains(&name);
        if ["curl", "wget", "nc", "ncat", "socat", "ping", "fping", "reload", "restart", "start", "stop"]
            .contains(&name)
        {
            return false;
        }
    }
    looks && haproxy
}

/// Characters that a shell reads.
const SHELL: &str = "<>|&;$`()*?[]~\"\\#{}\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_arguments() {
        for (text, expected) in [
            ("/bin/check -x 1", &["/bin/check", "-x", "1"][..]),
            ("killall -0 sshd", &["/usr/bin/env", "killall", "-0", "sshd"]),
            ("/bin/say 'two words' ''", &["/bin/say", "two words", ""]),
            ("</dev/tcp/127.0.0.1/80", &["/bin/sh", "-c", "</dev/tcp/127.0.0.1/80"]),
            ("/bin/a 'open", &["/bin/sh", "-c", "/bin/a 'open"]),
        ] {
            assert_eq!(arguments(text), expected, "{text}");
        }
        assert_eq!(shell(&["/a".to_owned(), "it's".to_owned(), String::new()]), "/a 'it'\\''s' ''");
    }

    #[test]
    fn checks_of_haproxy_are_known() {
        for text in [
            "killall -0 haproxy",
            "/usr/bin/killall -0 haproxy",
            "pidof haproxy",
            "pgrep -x haproxy",
            "/bin/kill -0 `cat /var/run/haproxy.pid`",
            "kill -0 $(cat /run/haproxy.pid)",
            "/usr/bin/systemctl is-active --quiet haproxy.service",
            "/bin/bash -c 'if [ $(ps -C haproxy --no-header | wc -l) -eq 0 ]; then exit 1; fi'",
        ] {
            assert!(looks_for_haproxy(text), "{text}");
        }
        for text in [
            "killall -0 nginx",
            "/etc/keepalived/check_haproxy.sh",
            "curl http://haproxy/",
            "systemctl restart haproxy",
        ] {
            assert!(!looks_for_haproxy(text), "{text}");
        }
    }
}
