//! Keeps HAProxy away from files that would block it for ever.
//!
//! Used by `build`. HAProxy opens what a label names (certificates, mostly) at every check and
//! reload; a named pipe, say, has it wait until somebody writes. Nothing is opened here.

use std::collections::BTreeMap;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use haproxy::app::AppId;
use haproxy::model::{Frontend, LbState};

/// The apps that name something that is neither a file nor a directory of files, and what it is.
/// What is not there is not this module's affair: HAProxy says so at once.
pub(super) fn blocking(state: &LbState) -> BTreeMap<AppId, PathBuf> {
    let named = |frontend: &Frontend| paths(frontend).find_map(|path| special(path, true));
    let apps = state.frontends.values().filter_map(|f| Some((f.owner.app.clone(), named(f)?)));
    apps.collect()
}

fn paths(frontend: &Frontend) -> impl Iterator<Item = &Path> {
    let options = frontend.options.iter().map(|word| word.as_str()).filter(|word| word.starts_with('/'));
    frontend.cert.iter().map(|cert| cert.as_str()).chain(options).map(Path::new)
}

/// The path itself, or an entry of the directory that it is, that is no plain file.
fn special(path: &Path, enter: bool) -> Option<PathBuf> {
    let kind = fs::metadata(path).ok()?.file_type();
    if kind.is_dir() && enter {
        let entries = fs::read_dir(path).ok()?.flatten().take(MAX_ENTRIES);
        return entries.map(|entry| entry.path()).find_map(|entry| special(&entry, false));
    }
    (!plain(kind)).then(|| path.to_owned())
}

/// A directory in a directory is passed over by HAProxy.
fn plain(kind: FileType) -> bool {
    kind.is_file() || kind.is_dir()
}

/// Of one directory.
const MAX_ENTRIES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_found_also_behind_links_and_in_directories() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        assert_eq!(special(&at("file"), true), None);
        assert_eq!(special(dir.path(), true), None);
        assert_eq!(special(&at("missing"), true), None);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(at("pipe"), at("link")).unwrap();
        assert_eq!(special(&at("pipe"), true), Some(at("pipe")));
        assert_eq!(special(&at("link"), true), Some(at("link")));
        assert!(special(dir.path(), true).is_some());
    }
}
