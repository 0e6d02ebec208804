//! The configuration as people write it: the documentation is complete, mistakes are explained.

use std::fs;
use std::path::PathBuf;

use baton::config::Config;
use baton::config::load::Sources;
use baton::config::time::Time;

/// What is read from `text` as the main file, and nothing else.
fn read(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("baton.toml");
    fs::write(&file, text).expect("a file");
    let config = Sources { file, required: true }.read().map_err(|why| why.to_string())?;
    config.validate().map_err(|why| why.to_string())?;
    Ok(config)
}

fn documentation() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    fs::read_to_string(path).expect("docs/configuration.md")
}

/// The page's block of TOML with that number.
fn documented(number: usize) -> String {
    let page = documentation();
    page.split("```toml\n").nth(number).and_then(|rest| rest.split("```").next()).expect("a block of TOML").to_owned()
}

#[test]
fn the_documented_values_are_the_defaults() {
    let mut expected = Config::default();
    expected.marathon.urls = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"].map(str::to_owned).to_vec();
    expected.marathon.groups = vec!["external".to_owned()];
    assert_eq!(read(&documented(1)).unwrap(), expected);

    let written = read(&(documented(1) + &documented(2))).unwrap().vrrp;
    let least = "[[vrrp]]\ninterface = \"eth0\"\nvirtual_router_id = 51\naddresses = [\"192.0.2.10/24\"]\n";
    assert_eq!(written, read(&(documented(1) + least)).unwrap().vrrp);
    // What is commented out is right as well, and says the default where it has one.
    let all: String = documented(2).lines().map(|line| line.trim_start_matches("# ").to_owned() + "\n").collect();
    let all = all.replace("version = 3 ", "version = 2 ");
    let router = read(&(documented(1) + &all.replace("preempt = false", "preempt = true"))).unwrap().vrrp.remove(0);
    let script = &router.track_script[0];
    assert_eq!((script.interval, script.timeout()), (Time::seconds(1), Time::seconds(1)));
    assert_eq!((router.name(), router.track_interface.len()), (written[0].name(), 1));
}

#[test]
fn every_key_is_documented() {
    let page = documented(1) + &documented(2);
    let lists = ["vrrp", "vrrp.track_interface", "vrrp.track_script"];
    for section in
        ["", "marathon", "haproxy", "haproxy.stats", "haproxy.timeouts", "admin", "log"].into_iter().chain(lists)
    {
        let dot = if section.is_empty() { "" } else { "." };
        let list = lists.contains(&section);
        let parent = if section.starts_with("vrrp.") { "[[vrrp]]\n" } else { "" };
        // serde names the keys it knows when it meets one that it does not.
        let complaint = read(&match list {
            true => format!("{parent}[[{section}]]\nnosuchkey = 1\n"),
            false => format!("{section}{dot}nosuchkey = 1\n"),
        });
        let complaint = complaint.unwrap_err();
        let known =
            complaint.split("expected").nth(1).and_then(|rest| rest.split(" for key").next()).unwrap_or_default();
        let word = |text: &&str| text.len() > 2 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let keys: Vec<_> = known.split('`').filter(word).collect();
        assert!(!keys.is_empty(), "{complaint}");
        for key in keys {
            let as_key = page.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            let as_section = page.contains(&format!("[{section}{dot}{key}]"));
            assert!(as_key || as_section, "{section}{dot}{key} is not in docs/configuration.md");
        }
    }
}

#[test]
fn mistakes_name_file_key_and_what_is_expected() {
    let source = "[marathon]\ngroups = [\"external\"]\n";
    for (text, parts) in [
        ("[marathon]\nurl = \"x\"\n".to_owned(), &["unknown field", "url", "urls", "baton.toml"][..]),
        ("[marathon]\nurls = 3\n".to_owned(), &["marathon.urls", "sequence", "baton.toml"]),
        (
            format!("{source}urls = [\"http://a:1\"]\nresync = \"soon\"\n"),
            &["marathon.resync", "soon", "a time with its unit", "baton.toml"],
        ),
        (format!("{source}urls = [\"http://a:1\"]\n[haproxy]\nhttp = \"80\"\n"), &["haproxy.http", "ADDRESS:PORT"]),
        (
            format!("{source}urls = [\"http://a:1\"]\n[haproxy]\nipv6 = \"on\"\n"),
            &["haproxy.ipv6", "\"auto\", true or false", "baton.toml"],
        ),
        (
            format!("{source}urls = [\"http://a:1\"]\n[haproxy.stats]\nauth = \"joe:secret\"\n"),
            &["haproxy.stats.auth", "openssl passwd"],
        ),
        (format!("{source}urls = [\"http://a:1\"]\nfile = \"x\"\n"), &["marathon.urls and marathon.file"]),
        (
            format!("{source}urls = [\"http://a:1\"]\n[haproxy.dynamic]\nports = \"10100-10000\"\n"),
            &["haproxy.dynamic.ports", "greater than the last", "\"10000-10999\""],
        ),
        (
            format!("{source}urls = [\"http://a:1\"]\n[haproxy.dynamic]\nports = \"9000-9100\"\n"),
            &["haproxy.dynamic.ports", "port 9091 of haproxy.app_id", "without it"],
        ),
        (source.to_owned(), &["no source of apps", "marathon.urls"]),
        ("[marathon]\nurls = [\"http://a:1\"]\n".to_owned(), &["no group", "marathon.groups", "--group"]),
        ("[marathon\n".to_owned(), &["baton.toml"]),
        ("[[vrrp]]\npriority = 255\n".to_owned(), &["vrrp.0.priority", "1 to 254", "baton.toml"]),
        (
            format!(
                "{source}urls = [\"http://a:1\"]\n[[vrrp]]\ninterface = \"eth0\"\nvirtual_router_id = 1\naddresses = []\n"
            ),
            &["[[vrrp]] \"vrrp-eth0-1\"", "addresses is empty"],
        ),
    ] {
        let why = read(&text).unwrap_err();
        for part in parts {
            assert!(why.contains(part), "{part:?} is not in {why:?} for\n{text}");
        }
    }
}

#[test]
fn further_files_are_read_in_order_of_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baton.toml");
    fs::write(&file, "[marathon]\nurls = [\"http://a:1\"]\ngroups = [\"a\"]\n").unwrap();
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/20-b.toml"), "[marathon]\ngroups = [\"b\"]\n").unwrap();
    fs::write(dir.path().join("conf.d/10-c.toml"), "[marathon]\ngroups = [\"c\"]\nstrict_mode = true\n").unwrap();
    fs::write(dir.path().join("conf.d/30-d.toml.rpmnew"), "nonsense").unwrap();
    let config = Sources { file, required: true }.read().unwrap();
    assert_eq!((config.marathon.groups, config.marathon.strict_mode), (vec!["b".to_owned()], true));
}
