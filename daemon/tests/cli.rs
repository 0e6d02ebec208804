//! The command line as people type it: marathon-lb's own lines, wrong input, exit codes.

use std::path::Path;
use std::process::{Command, Output};

const APPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/marathon/01-apps-tasks-1.4.json");

/// Runs `baton` with `line` split at blanks, without any configuration file of this host.
fn baton(line: &str, dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command.args(line.split_whitespace()).current_dir(dir).env_remove("DCOS_SERVICE_ACCOUNT_CREDENTIAL");
    command.output().expect("run baton")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn render_writes_a_directory_that_haproxy_accepts_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let output = baton(&format!("render --apps {APPS} --group * --out d"), dir.path());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("default.pem"), "says that it made a certificate: {}", stderr(&output));
    for name in ["haproxy.cfg", "routes.map", "apps.map", "default.pem"] {
        assert!(dir.path().join("d").join(name).exists(), "{name}");
    }
    // From another directory, as `haproxy -f DIR/haproxy.cfg`.
    let check = Command::new("haproxy").args(["-c", "-f", "d/haproxy.cfg"]).current_dir(dir.path()).output();
    let check = check.expect("haproxy is installed");
    assert!(check.status.success(), "{}", stderr(&check));
    assert!(!stderr(&check).contains("WARNING"), "{}", stderr(&check));
    let again = baton(&format!("render --apps {APPS} --group * --out d"), dir.path());
    assert!(!stderr(&again).contains("made a self-signed"), "the certificate is kept");
}

#[test]
fn render_takes_marathon_lbs_flags() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!(
        "render --apps {APPS} --group external --strict-mode --haproxy-map --ssl-certs /x.pem,/y.pem --out d \
         --command x --lru-cache-capacity 5000 --max-reload-retries -1 --log-format %(name)s --syslog-socket /dev/null"
    );
    let output = baton(&line, dir.path());
    assert!(output.status.success(), "{}", stderr(&output));
    for remark in ["--haproxy-map", "--command", "--lru-cache-capacity", "--max-reload-retries", "--log-format"] {
        assert_eq!(stderr(&output).matches(&format!("baton: {remark}:")).count(), 1, "{}", stderr(&output));
    }
    let config = std::fs::read_to_string(dir.path().join("d/haproxy.cfg")).unwrap();
    assert!(config.contains("ssl crt /x.pem crt /y.pem"), "{config}");
    assert!(!config.contains("backend wordpress"), "strict mode serves nothing here");
    assert!(!dir.path().join("d/default.pem").exists());
}

#[test]
fn several_urls_and_modes_are_one_cluster() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there: what matters is that the line is understood and all members are asked.
    let members = "-m http://127.0.0.1:1 http://127.0.0.1:2 -m http://127.0.0.1:3";
    let output = baton(&format!("render {members} --group external --dont-bind-http-https"), dir.path());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    for member in ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"] {
        assert!(stderr(&output).contains(member), "{}", stderr(&output));
    }
    for mode in ["sse", "poll"] {
        let output =
            baton(&format!("run {mode} {members} --health-check --group internal --config none.toml"), dir.path());
        assert_eq!(output.status.code(), Some(2), "only the file is wrong: {}", stderr(&output));
        assert!(stderr(&output).contains("none.toml"), "{}", stderr(&output));
    }
}

#[test]
fn mistakes_end_with_2_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), "[marathon]\nurl = \"x\"\n").unwrap();
    std::fs::write(dir.path().join("vrrp.toml"), "[[vrrp]]\ninterface = \"eth0\"\nvirtual_router_id = 0\n").unwrap();
    for (line, part) in [
        ("check --config vrrp.toml", "vrrp.0.virtual_router_id"),
        ("run", "no source of apps"),
        ("run -m http://127.0.0.1:1", "no group"),
        ("render -m nonsense --group x", "marathon.urls"),
        ("check --config bad.toml", "unknown field"),
        ("run --no-such-flag", "--no-such-flag"),
        ("render --apps a.json -m http://a --group x", "cannot be used with"),
        ("frobnicate", "unrecognized subcommand"),
        ("import", "keepalived"),
        ("import keepalived", "<FILE>"),
        ("import nginx nginx.conf", "unrecognized subcommand"),
    ] {
        let output = baton(line, dir.path());
        assert_eq!(output.status.code(), Some(2), "{line}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{line}: {}", stderr(&output));
    }
}

#[test]
fn what_cannot_be_done_ends_with_1_and_names_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    for (line, part) in [
        ("render --apps nothere.json --group x", "nothere.json"),
        ("status --socket none.sock", "is it running"),
        ("reload --socket none.sock", "is it running"),
        ("import keepalived nothere.conf", "read nothere.conf: No such file"),
        ("import keepalived .", "read ."),
    ] {
        let output = baton(line, dir.path());
        assert_eq!(output.status.code(), Some(1), "{line}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{line}: {}", stderr(&output));
    }
    std::fs::write(dir.path().join("c.toml"), "[haproxy]\nbinary = \"/nonexistent/haproxy\"\n").unwrap();
    let output = baton(&format!("run --config c.toml --apps {APPS} --group x"), dir.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/haproxy"), "{}", stderr(&output));
}

#[test]
fn an_haproxy_that_will_not_do_is_refused_and_one_without_lua_is_noted() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let real = Command::new("haproxy").arg("-vv").output().expect("haproxy is installed");
    let real = String::from_utf8_lossy(&real.stdout).into_owned();
    let version = real.split_whitespace().nth(2).unwrap().to_owned();
    std::fs::write(dir.path().join("c.toml"), "[haproxy]\nbinary = \"fake\"\n").unwrap();
    for (said, code, part) in [
        (real.replace(&version, "2.4.22"), 1, "2.4.22"),
        (real.replace("Built with Lua", "Not built with Lua").replace("USE_LUA=1", ""), 0, "without Lua"),
        ("hello".to_owned(), 1, "fake"),
    ] {
        std::fs::write(dir.path().join("vv"), &said).unwrap();
        let fake = dir.path().join("fake");
        let script =
            format!("#!/bin/sh\n[ \"$1\" = -vv ] && exec cat {}/vv\nexec haproxy \"$@\"\n", dir.path().display());
        let script = script.replace("exec haproxy", "PATH=/usr/sbin:/usr/bin:/bin exec haproxy");
        std::fs::write(&fake, script).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "[haproxy]\nbinary = {fake:?}\nstate_dir = \"s\"\nrun_dir = \"r\"\nstats = {{listen = \"127.0.0.1:19090\"}}\napp_id = \"127.0.0.1:19091\"\nbind_http_https = false\n[admin]\nsocket = \"b.sock\"\n"
        );
        std::fs::write(dir.path().join("c.toml"), config).unwrap();
        let output = baton(&format!("check --config c.toml --apps {APPS} --group none"), dir.path());
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn check_says_what_is_odd_about_floating_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let router = "[[vrrp]]\ninterface = \"lo\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1/24\"]\n";
    std::fs::write(dir.path().join("c.toml"), format!("{router}version = 2\nauth_pass = \"hunter2\"\n")).unwrap();
    let output = baton(&format!("check --config c.toml --apps {APPS} --group none"), dir.path());
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(text.contains("\"vrrp-lo-1\": auth_pass goes over the wire in clear text"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn help_names_every_command() {
    let output = baton("--help", Path::new("/"));
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for command in ["run", "render", "check", "status", "reload", "import"] {
        assert!(help.contains(command), "{help}");
    }
    let output = baton("import keepalived --help", Path::new("/"));
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success());
    for part in ["[[vrrp]]", "keepalived.conf", "--config-id", "listed with its line"] {
        assert!(help.contains(part), "{help}");
    }
}
