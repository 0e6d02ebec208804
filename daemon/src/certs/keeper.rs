//! Decides which certificates HAProxy gets: of every file the newest content that HAProxy accepts.
//!
//! Held by the reconcile loop. A file that is torn, refused or gone keeps what it held before, also
//! what an earlier `baton` gave HAProxy; one that never was good is left out where it stands for a host,
//! and stays named as it is where an app names it, so that HAProxy's refusal costs that app. A file that
//! leaves a directory leaves HAProxy, unless it was the last one. Says what is wrong; logs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use haproxy::bundle::FileName;
use haproxy::certs::{Certificate, Certificates, Pem, Source, word};
use haproxy::check;
use ring::digest::{SHA256, digest};

use super::files::{Found, read};

/// Which certificates are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The operator's files and directories, for hosts; none where nothing is routed by host.
    pub own: Option<Vec<String>>,
    /// What apps name for their own listeners.
    pub apps: BTreeSet<String>,
}

impl Named {
    /// All of it.
    pub fn paths(&self) -> BTreeSet<PathBuf> {
        self.own.iter().flatten().chain(&self.apps).map(PathBuf::from).collect()
    }
}

/// What HAProxy gets.
#[derive(Clone, PartialEq)]
pub struct Deployed {
    /// The files and lists.
    pub certificates: Arc<Certificates>,
    /// What listeners by host name.
    pub hosts: Option<Source>,
    /// What stands for the paths that apps name.
    pub apps: BTreeMap<String, Source>,
    /// What is wrong with which file.
    pub troubles: BTreeMap<String, String>,
}

/// What was read so far.
pub struct Keeper {
    binary: PathBuf,
    kept: BTreeMap<FileName, Kept>,
    /// The files that each directory had when it had a good one.
    directories: BTreeMap<String, Vec<FileName>>,
}

/// What is known of a file.
#[derive(Default)]
struct Kept {
    good: Option<Arc<Certificate>>,
    /// What HAProxy refused, and its words.
    bad: Option<(Certificate, String)>,
}

impl Kept {
    /// What is wrong with the file, and what comes of it.
    fn trouble(&self, why: &str) -> String {
        let then = if self.good.is_some() { "; what it held before stays" } else { "" };
        format!("{why}{then}")
    }
}

/// A file that was read.
struct Candidate {
    name: FileName,
    path: PathBuf,
    read: Result<Certificate, String>,
}

/// What became of a path.
enum Place {
    File(FileName),
    Directory(Vec<FileName>),
}

impl Keeper {
    /// A keeper that asks `binary`; `saved` is the directory that an earlier one had HAProxy read.
    pub fn new(binary: PathBuf, saved: &Path) -> Self {
        let entries = fs::read_dir(saved).into_iter().flatten().flatten();
        let good = |path: PathBuf| {
            let name = FileName::parse(path.file_name()?.to_str()?).ok().filter(|name| name.as_str().ends_with(PEM))?;
            let pem = Pem::new(&fs::read_to_string(&path).ok()?)?;
            // What lies beside it is read again.
            let certificate = Arc::new(Certificate { pem, beside: BTreeMap::new() });
            Some((name, Kept { good: Some(certificate), bad: None }))
        };
        let kept = entries.filter_map(|entry| good(entry.path())).collect();
        Self { binary, kept, directories: BTreeMap::new() }
    }

    /// Reads all files again. `fallback` gives a certificate where there is none.
    ///
    /// # Errors
    /// When HAProxy cannot be asked, or `fallback` fails.
    pub async fn refresh(
        &mut self,
        named: &Named,
        fallback: impl FnOnce() -> anyhow::Result<Arc<str>>,
    ) -> anyhow::Result<Deployed> {
        let own = named.own.iter().flatten().map(|path| (String::new(), path.clone()));
        let apps = named.apps.iter().map(|path| (path.clone(), path.clone()));
        let asked: Vec<(String, String)> = own.chain(apps).collect();
        let read = tokio::task::spawn_blocking(move || asked.into_iter().map(look).collect::<Vec<_>>());
        let read = read.await.context("read the certificates")?;
        let mut troubles = BTreeMap::new();
        self.judge(read.iter().flat_map(|(_, _, candidates)| candidates), &mut troubles).await?;
        let mut deployed = Assembly::default();
        let (mut hosts, mut apps) = (Vec::new(), BTreeMap::new());
        for (owner, path, candidates) in &read {
            let place = self.place(owner, path, candidates, &mut troubles);
            match (owner.is_empty(), place) {
                (true, Place::File(name)) => hosts.push(name),
                (true, Place::Directory(names)) => hosts.extend(names),
                (false, Place::File(name)) => {
                    if deployed.take(&name, &self.kept) {
                        apps.insert(path.clone(), Source::File(word(&name)));
                    }
                }
                (false, Place::Directory(names)) if !names.is_empty() => {
                    let list = list_name(path);
                    apps.insert(path.clone(), Source::List(word(&list)));
                    deployed.list(list, names, &self.kept);
                }
                (false, Place::Directory(_)) => (),
            }
        }
        let hosts = match &named.own {
            Some(own) => Some(self.hosts(hosts, !own.is_empty(), &mut deployed, fallback)?),
            None => None,
        };
        let certificates = Arc::new(Certificates::new(deployed.lists, deployed.files));
        let read: BTreeSet<_> = read.iter().flat_map(|(_, _, all)| all.iter().map(|found| &found.name)).collect();
        self.kept.retain(|name, _| read.contains(name) || certificates.files().contains_key(name));
        Ok(Deployed { certificates, hosts, apps, troubles })
    }

    /// The list for hosts. Its first entry, for clients that name none, has a name of its own: so the one
    /// that it holds can go without a reload. `given`: the operator names some, good or not.
    fn hosts(
        &self,
        names: Vec<FileName>,
        given: bool,
        deployed: &mut Assembly,
        fallback: impl FnOnce() -> anyhow::Result<Arc<str>>,
    ) -> anyhow::Result<Source> {
        let default = file_name(DEFAULT);
        let known = |name: &FileName| self.kept.get(name)?.good.clone();
        let first = names.iter().find_map(known).or_else(|| known(&default).filter(|_| given));
        let first = match first {
            Some(first) => Arc::new(Certificate { pem: first.pem.clone(), beside: BTreeMap::new() }),
            None => {
                let pem = Pem::new(&fallback()?).context("the self-signed certificate is no PEM file")?;
                Arc::new(Certificate { pem, beside: BTreeMap::new() })
            }
        };
        deployed.files.insert(default.clone(), first);
        let list = file_name(HOSTS);
        deployed.list(list.clone(), [vec![default], names].concat(), &self.kept);
        Ok(Source::List(word(&list)))
    }

    /// Lets HAProxy look at what is new, and remembers what it says.
    async fn judge(
        &mut self,
        candidates: impl Iterator<Item = &Candidate>,
        troubles: &mut BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let mut new = BTreeMap::new();
        let mut read = Vec::new();
        for candidate in candidates {
            let kept = self.kept.entry(candidate.name.clone()).or_default();
            match &candidate.read {
                Err(why) => drop(troubles.insert(shown(&candidate.path), kept.trouble(why))),
                Ok(certificate) if kept.good.as_deref() == Some(certificate) => kept.bad = None,
                Ok(certificate) if kept.bad.as_ref().is_some_and(|(bad, _)| bad == certificate) => read.push(candidate),
                Ok(certificate) => {
                    new.insert(candidate.name.clone(), Arc::new(certificate.clone()));
                    read.push(candidate);
                }
            }
        }
        let refused = check::refused(&self.binary, &new, PATIENCE).await.context("ask HAProxy about certificates")?;
        for candidate in read {
            let kept = self.kept.entry(candidate.name.clone()).or_default();
            if let Some(certificate) = new.get(&candidate.name) {
                match refused.get(&candidate.name) {
                    Some(said) => kept.bad = Some(((**certificate).clone(), said.clone())),
                    None => *kept = Kept { good: Some(certificate.clone()), bad: None },
                }
            }
            if let Some((_, said)) = &kept.bad {
                troubles.insert(shown(&candidate.path), kept.trouble(&format!("HAProxy refuses it: {said}")));
            }
        }
        Ok(())
    }

    /// The files that stand for a path; those of before where there are none now.
    fn place(
        &mut self,
        owner: &str,
        path: &str,
        candidates: &[Candidate],
        troubles: &mut BTreeMap<String, String>,
    ) -> Place {
        let key = format!("{owner}\0{path}");
        let is_directory = match candidates {
            [one] => one.path != Path::new(path) || self.directories.contains_key(&key),
            _ => true,
        };
        if !is_directory {
            return Place::File(file_of(owner, Path::new(path)));
        }
        let good = |name: &FileName| self.kept.get(name).is_some_and(|kept| kept.good.is_some());
        let names: Vec<FileName> = candidates.iter().map(|found| found.name.clone()).filter(good).collect();
        if names.is_empty() {
            let before = self.directories.get(&key).cloned().unwrap_or_default();
            let what = if before.is_empty() { "it holds no certificate" } else { "it holds none any more" };
            troubles.entry(path.to_owned()).or_insert_with(|| what.to_owned());
            return Place::Directory(before);
        }
        self.directories.insert(key, names.clone());
        Place::Directory(names)
    }
}

/// The files and lists that come together.
#[derive(Default)]
struct Assembly {
    lists: BTreeMap<FileName, Vec<FileName>>,
    files: BTreeMap<FileName, Arc<Certificate>>,
}

impl Assembly {
    /// Takes a file in, if there is anything good of it.
    fn take(&mut self, name: &FileName, kept: &BTreeMap<FileName, Kept>) -> bool {
        let good = kept.get(name).and_then(|kept| kept.good.clone());
        if let Some(good) = &good {
            self.files.insert(name.clone(), good.clone());
        }
        good.is_some()
    }

    fn list(&mut self, list: FileName, mut names: Vec<FileName>, kept: &BTreeMap<FileName, Kept>) {
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()) && (self.files.contains_key(name) || self.take(name, kept)));
        self.lists.insert(list, names);
    }
}

/// Reads a path for its owner: none for hosts, else the path that apps name.
fn look((owner, path): (String, String)) -> (String, String, Vec<Candidate>) {
    let candidates = match read(Path::new(&path)) {
        Found::File(read) => {
            let path = PathBuf::from(&path);
            vec![Candidate { name: file_of(&owner, &path), path, read }]
        }
        Found::Directory(files) => {
            let candidate = |(path, read): (PathBuf, _)| Candidate { name: file_of(&owner, &path), path, read };
            files.into_iter().map(candidate).collect()
        }
    };
    (owner, path, candidates)
}

/// How HAProxy knows a file: by something of its name, and by who names which path.
fn file_of(owner: &str, path: &Path) -> FileName {
    file_name(&format!("{}-{}{PEM}", mark(owner, path), plain(path)))
}

fn list_name(path: &str) -> FileName {
    let path = Path::new(path);
    file_name(&format!("{}-{}.list", mark("", path), plain(path)))
}

fn mark(owner: &str, path: &Path) -> String {
    let sum = digest(&SHA256, format!("{owner}\0{}", path.display()).as_bytes());
    sum.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning of a file's name, as far as it is plain.
fn plain(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(40).collect()
}

fn file_name(name: &str) -> FileName {
    FileName::parse(name).expect("made of plain characters")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

const PEM: &str = ".pem";

/// The first entry of the list for hosts.
const DEFAULT: &str = "default.pem";

/// The list for hosts.
const HOSTS: &str = "hosts.list";

/// Thousands of certificates take HAProxy seconds.
const PATIENCE: Duration = Duration::from_secs(60);
