//! Notices that certificate files changed: renewed in place, renamed, or behind a symlink that was swapped.
//!
//! One task, run by the supervisor. It looks at the files again and again, which every file system
//! and every way to renew a certificate allows; a change counts once two looks agree, so that a
//! file is not read while it is written. It reads none of them.
#![allow(clippy::disallowed_methods, reason = "looks at the files again and again")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::files::family;

/// Looks at `paths` until `stop`, and counts in `changes` how often they were not as before; once also
/// after the first look at other paths, because whoever asked for them read them a moment before that.
pub async fn run(
    mut paths: watch::Receiver<Arc<BTreeSet<PathBuf>>>,
    changes: watch::Sender<u64>,
    stop: CancellationToken,
) {
    let (mut known, mut before) = (None, None);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => (),
        }
        if paths.has_changed().unwrap_or(false) {
            (known, before) = (None, None);
        }
        let asked = paths.borrow_and_update().clone();
        let Ok(now) = tokio::task::spawn_blocking(move || look(&asked)).await else { return };
        let now = Some(now);
        if now != known && now == before {
            known.clone_from(&now);
            changes.send_modify(|count| *count += 1);
        }
        before = now;
    }
}

/// The files by name, each with what changes when it does.
type Picture = BTreeMap<PathBuf, Stamp>;

type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

fn look(paths: &BTreeSet<PathBuf>) -> Picture {
    let mut picture = Picture::new();
    for path in paths {
        if path.is_dir() {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            picture.extend(entries.filter_map(|entry| stamp(&entry.path())));
        } else {
            picture.extend(family(path).filter_map(|path| stamp(&path)));
        }
    }
    picture
}

fn stamp(path: &Path) -> Option<(PathBuf, Stamp)> {
    let found = fs::metadata(path).ok()?;
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some((path.to_owned(), (found.dev(), found.ino(), found.size(), modified, changed)))
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_way_to_renew_a_file_changes_the_picture() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("1")).unwrap();
        fs::create_dir(at("2")).unwrap();
        for (name, text) in [("1/a", "x"), ("2/a", "y"), ("plain", "x")] {
            fs::write(at(name), text).unwrap();
        }
        symlink("1", at("live")).unwrap();
        symlink("../1/a", at("2/link")).unwrap();
        let paths: BTreeSet<_> = [at("live"), at("2/link"), at("plain"), at("missing")].into();
        let mut last = look(&paths);
        assert_eq!((last.len(), look(&paths) == last), (3, true));
        let mut differs = |how: &str| {
            let now = look(&paths);
            assert_ne!(now, last, "{how}");
            last = now;
        };
        fs::write(at("plain"), "z").unwrap();
        differs("written in place");
        fs::write(at("new"), "z").unwrap();
        fs::rename(at("new"), at("plain")).unwrap();
        differs("renamed over");
        symlink("2", at("next")).unwrap();
        fs::rename(at("next"), at("live")).unwrap();
        differs("a directory's link swapped");
        fs::write(at("plain.key"), "k").unwrap();
        differs("a key beside");
        fs::remove_file(at("plain")).unwrap();
        differs("removed");
        fs::write(at("missing"), "m").unwrap();
        differs("appeared");
    }

    #[tokio::test]
    async fn a_change_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "x").unwrap();
        let (_paths, asked) = watch::channel(Arc::new(BTreeSet::from([path.clone()])));
        let (changes, mut told) = watch::channel(0);
        let stop = CancellationToken::new();
        let watching = run(asked, changes, stop.clone());
        let play = async {
            for count in 1..=2 {
                told.wait_for(|changes| *changes == count).await.unwrap();
                tokio::time::sleep(PAUSE * 3).await;
                assert_eq!(*told.borrow(), count);
                fs::write(&path, format!("y{count}")).unwrap();
            }
            told.wait_for(|changes| *changes == 3).await.unwrap();
            stop.cancel();
        };
        tokio::join!(watching, play);
    }
}
