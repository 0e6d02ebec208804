//! Crashes, torn and foreign directories, full disks.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::bundle::{Draft, FileName, MapName};
use crate::certs::{Certificate, Pem};

fn bundle(text: &str) -> Bundle {
    let mut draft = Draft { config: format!("global\n description baton:@DIGEST@\n# {text}\n"), ..Draft::default() };
    draft.maps.insert(MapName::parse("hosts.map").unwrap(), "a b\n".into());
    draft.files.insert(FileName::parse("default.pem").unwrap(), "key\n".into());
    Bundle::seal(draft).unwrap()
}

fn disk() -> (tempfile::TempDir, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path().join("haproxy")).unwrap();
    (dir, disk)
}

/// Writes, selects and confirms.
fn run(disk: &Disk, text: &str) -> Digest {
    let digest = stage(disk, text);
    disk.confirm(digest).unwrap();
    digest
}

fn stage(disk: &Disk, text: &str) -> Digest {
    let bundle = bundle(text);
    disk.write(&bundle).unwrap();
    disk.select(bundle.digest()).unwrap();
    bundle.digest()
}

#[test]
fn current_leads_to_the_files_with_their_modes() {
    let (_dir, disk) = disk();
    let digest = stage(&disk, "one");
    assert_eq!(disk.current(), Some(digest));
    assert_eq!(fs::read_to_string(disk.config()).unwrap(), bundle("one").config());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let dir = disk.bundle(digest);
    assert_eq!([mode(&dir), mode(&dir.join("default.pem")), mode(&dir.join("hosts.map"))], [0o750, 0o640, 0o640]);
    assert_eq!(fs::read_link(disk.dir.join("current")).unwrap(), Path::new(&digest.to_string()));
}

#[test]
fn a_start_falls_back_to_the_last_confirmed() {
    let (_dir, disk) = disk();
    assert_eq!(disk.recover().unwrap(), Found::Nothing);
    let first = stage(&disk, "one");
    assert_eq!(disk.recover().unwrap(), Found::Staged(first));
    disk.confirm(first).unwrap();
    assert_eq!(disk.recover().unwrap(), Found::Confirmed(first));
    let second = stage(&disk, "two");
    assert_eq!(disk.recover().unwrap(), Found::FellBack { to: first, from: Some(second) });
    assert_eq!((disk.current(), disk.recover().unwrap()), (Some(first), Found::Confirmed(first)));
}

#[test]
fn a_selection_is_undone_to_the_confirmed_bundle_or_else_to_what_was_there() {
    let (_dir, disk) = disk();
    for text in ["one", "two"] {
        disk.write(&bundle(text)).unwrap();
    }
    let (first, second) = (bundle("one").digest(), bundle("two").digest());
    let nothing = disk.select(first).unwrap();
    assert_eq!((disk.put_back(&nothing).unwrap(), disk.recover().unwrap()), (None, Found::Nothing));
    symlink("minimal", disk.dir.join("current")).unwrap();
    let minimal = disk.select(first).unwrap();
    assert_eq!(disk.put_back(&minimal).unwrap(), None);
    assert_eq!(fs::read_link(disk.dir.join("current")).unwrap(), Path::new("minimal"));
    disk.confirm(first).unwrap();
    let minimal = disk.select(second).unwrap();
    assert_eq!(disk.put_back(&minimal).unwrap(), Some(first));
}

#[test]
fn a_torn_bundle_is_refused_and_written_again() {
    let (_dir, disk) = disk();
    let first = run(&disk, "one");
    let second = run(&disk, "two");
    fs::write(disk.bundle(second).join("hosts.map"), "a b").unwrap();
    assert!(matches!(disk.verify(second), Err(DiskError::Torn { .. })));
    assert!(matches!(disk.select(second), Err(DiskError::Torn { .. })));
    assert_eq!(disk.recover().unwrap(), Found::Nothing, "nothing intact is confirmed or current");
    disk.write(&bundle("two")).unwrap();
    assert_eq!(disk.recover().unwrap(), Found::Confirmed(second));
    disk.verify(first).unwrap();
}

#[test]
fn additional_files_missing_files_and_foreign_directories_are_refused() {
    let (_dir, disk) = disk();
    let digest = run(&disk, "one");
    let extra = disk.bundle(digest).join("extra");
    fs::write(&extra, "").unwrap();
    assert!(matches!(disk.verify(digest), Err(DiskError::Torn { .. })));
    fs::remove_file(&extra).unwrap();
    disk.verify(digest).unwrap();
    fs::remove_file(disk.bundle(digest).join(CONFIG)).unwrap();
    assert!(matches!(disk.verify(digest), Err(DiskError::Torn { .. })));
    let foreign = Digest::parse("0123456789abcdef").unwrap();
    fs::create_dir(disk.bundle(foreign)).unwrap();
    fs::write(disk.bundle(foreign).join(CONFIG), bundle("one").config()).unwrap();
    assert!(matches!(disk.select(foreign), Err(DiskError::Torn { .. })));
    assert!(matches!(disk.verify(Digest::parse("ffffffffffffffff").unwrap()), Err(DiskError::Io { .. })));
}

#[test]
fn leftovers_of_a_crash_are_cleared_at_open() {
    let (_dir, disk) = disk();
    let digest = run(&disk, "one");
    fs::create_dir(disk.dir.join(".new-0123456789abcdef")).unwrap();
    symlink("nowhere", disk.dir.join(".new-current")).unwrap();
    let again = Disk::open(&disk.dir).unwrap();
    let mut names = again.names().unwrap();
    names.sort();
    let mut expected = [digest.to_string(), "confirmed".into(), "current".into(), SERVER_STATE.into()];
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn bundles_share_certificates_which_go_with_the_last_of_them() {
    let (_dir, disk) = disk();
    let staged = |config: &str, pem: &str| {
        let certificate = Certificate { pem: Pem::new(pem).unwrap(), beside: BTreeMap::new() };
        let files = BTreeMap::from([(FileName::parse("a.pem").unwrap(), Arc::new(certificate))]);
        let config = format!("global\n description baton:@DIGEST@\n# {config}\n");
        let certs = Some(Arc::new(Certificates::new(BTreeMap::new(), files)));
        let bundle = Bundle::seal(Draft { config, certs, ..Draft::default() }).unwrap();
        disk.write(&bundle).unwrap();
        disk.select(bundle.digest()).unwrap();
        disk.confirm(bundle.digest()).unwrap();
        bundle.digest()
    };
    let sets = || disk.names().unwrap().into_iter().filter(|name| name.starts_with(CERTS)).count();
    let first = staged("one", "x");
    // Two bundles may be of one tick of the filesystem's clock.
    File::open(disk.bundle(first)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_ne!(staged("one", "y"), first, "the digest covers them");
    staged("two", "y");
    assert_eq!(sets(), 2);
    assert_eq!(fs::read_to_string(disk.current_certs().join("a.pem")).unwrap(), "y\n");
    let confirmed = disk.confirmed().unwrap();
    assert_eq!(disk.recover().unwrap(), Found::Confirmed(confirmed));
    assert_eq!((disk.collect(1).unwrap(), sets()), (vec![first], 1));
    // One that was tampered with is not started from.
    fs::write(disk.current_certs().join("a.pem"), "z").unwrap();
    assert_eq!(disk.recover().unwrap(), Found::Nothing);
    fs::remove_dir_all(fs::canonicalize(disk.current_certs()).unwrap()).unwrap();
    assert!(matches!(disk.verify(confirmed), Err(DiskError::Torn { .. })));
}

#[test]
fn collection_keeps_current_confirmed_and_the_youngest() {
    let (_dir, disk) = disk();
    let aged = |digest: Digest, seconds: u64| {
        let age = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        File::open(disk.bundle(digest)).unwrap().set_modified(age).unwrap();
        digest
    };
    let confirmed = aged(run(&disk, "one"), 1);
    let old = aged(stage(&disk, "two"), 2);
    let young = aged(stage(&disk, "three"), 3);
    let current = aged(stage(&disk, "four"), 1);
    fs::create_dir(disk.dir.join("not-ours")).unwrap();
    assert_eq!(disk.collect(1).unwrap(), [old]);
    for kept in [confirmed, young, current] {
        disk.verify(kept).unwrap();
    }
    assert!(disk.dir.join("not-ours").exists());
    assert_eq!(disk.collect(0).unwrap(), [young]);
}

#[test]
fn writing_the_same_bundle_again_makes_it_young() {
    let (_dir, disk) = disk();
    let first = stage(&disk, "one");
    File::open(disk.bundle(first)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    stage(&disk, "two");
    stage(&disk, "one");
    stage(&disk, "three");
    assert_eq!(disk.collect(1).unwrap().len(), 1);
    disk.verify(first).unwrap();
}

#[test]
fn a_full_disk_is_a_typed_error_and_the_old_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::tmpfs(dir.path(), "size=256k") else { return };
    let disk = Disk::open(dir.path().join("haproxy")).unwrap();
    let old = run(&disk, "one");
    let big = bundle(&"x".repeat(400 * 1024));
    let error = disk.write(&big).unwrap_err();
    let DiskError::Io { action: "write", source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.recover().unwrap(), Found::Confirmed(old));
    stage(&disk, "small again");
}

#[test]
fn a_read_only_disk_is_a_typed_error_and_the_old_state_stays() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::tmpfs(dir.path(), "size=256k") else { return };
    let disk = Disk::open(dir.path().join("haproxy")).unwrap();
    let old = run(&disk, "one");
    mount.options("remount,ro");
    assert!(matches!(disk.write(&bundle("two")), Err(DiskError::Io { .. })));
    assert_eq!(disk.recover().unwrap(), Found::Confirmed(old));
}

/// A small file system for one test; needs root.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", options, "none"];
        let done = std::process::Command::new("mount").args(mount).arg(at).status().unwrap().success();
        done.then(|| Self(at.to_owned()))
    }

    fn options(&self, options: &str) {
        let done = std::process::Command::new("mount").args(["-o", options]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}
