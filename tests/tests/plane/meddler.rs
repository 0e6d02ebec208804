//! Stands between the daemon and HAProxy's runtime socket, and spoils conversations that change something.
//!
//! HAProxy binds its socket anew at each reload, which ends this: what a test sees after a reload is the real one.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::picture::SOCKET;

/// What is done to a conversation in which something is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Nothing.
    Nothing,
    /// No conversation is possible at all: whatever HAProxy answers arrives as rubbish.
    GarbleAll,
    /// The commands arrive, the answers to them as rubbish.
    GarbleReplies,
    /// The commands arrive; the conversation ends before an answer.
    CutReplies,
    /// The commands arrive; the answers come too late.
    DelayReplies(Duration),
    /// Half of the commands arrive, then the conversation ends.
    CutCommands,
    /// As [`Self::CutCommands`], and so does every one in which servers are read back.
    CutCommandsAndReading,
    /// Half of the commands arrive, and then this process is killed.
    Kill(i32),
}

/// The man in the middle; gone when dropped.
pub(crate) struct Meddler {
    orders: Arc<Mutex<Orders>>,
    socket: PathBuf,
    real: PathBuf,
    /// Of the socket that is ours.
    inode: Option<u64>,
    _serving: JoinSet<()>,
}

/// What is to be done, how often, and how often it was.
#[derive(Debug)]
struct Orders {
    spoil: Spoil,
    times: usize,
    spoilt: usize,
}

impl Meddler {
    /// Steps in below the directory of a daemon, and does nothing yet.
    pub(crate) fn step_in(dir: &Path) -> Self {
        let (socket, real) = (dir.join(SOCKET), dir.join("run/haproxy.real"));
        std::fs::rename(&socket, &real).unwrap();
        let listener = UnixListener::bind(&socket).unwrap();
        let inode = inode(&socket);
        let orders = Arc::new(Mutex::new(Orders { spoil: Spoil::Nothing, times: 0, spoilt: 0 }));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, real.clone(), Arc::clone(&orders)));
        Self { orders, socket, real, inode, _serving: serving }
    }

    /// So many times, from now on.
    pub(crate) fn spoil(&self, spoil: Spoil, times: usize) {
        *self.orders.lock().unwrap() = Orders { spoil, times, spoilt: 0 };
    }

    /// How often it was done since it was last ordered.
    pub(crate) fn spoilt(&self) -> usize {
        self.orders.lock().unwrap().spoilt
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        // A reload has put a new one in the place of ours.
        let _ = match inode(&self.socket) == self.inode {
            true => std::fs::rename(&self.real, &self.socket),
            false => std::fs::remove_file(&self.real),
        };
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|found| found.ino())
}

async fn serve(listener: UnixListener, real: PathBuf, orders: Arc<Mutex<Orders>>) {
    let mut conversations = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while conversations.try_join_next().is_some() {}
        let (real, orders) = (real.clone(), Arc::clone(&orders));
        // Whoever hangs up has had enough.
        conversations.spawn(async move { drop(converse(client, &real, &orders).await) });
    }
}

/// One conversation, in the direction of HAProxy a write at a time.
async fn converse(mut client: UnixStream, real: &Path, orders: &Mutex<Orders>) -> std::io::Result<()> {
    let mut server = UnixStream::connect(real).await?;
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut late = Duration::ZERO;
    let mut garble = false;
    loop {
        tokio::select! {
            size = client.read(&mut asked) => {
                let size = size?;
                if size == 0 {
                    return Ok(());
                }
                let text = &asked[..size];
                match order(orders, text) {
                    Spoil::Nothing => (),
                    Spoil::GarbleAll | Spoil::GarbleReplies => garble = true,
                    Spoil::DelayReplies(by) => late = by,
                    Spoil::CutReplies => {
                        server.write_all(text).await?;
                        // Once it answers, it has done it.
                        let _ = server.read(&mut answered).await?;
                        return Ok(());
                    }
                    Spoil::CutCommands | Spoil::CutCommandsAndReading => {
                        server.write_all(&half(text)).await?;
                        let _ = server.read(&mut answered).await?;
                        return Ok(());
                    }
                    Spoil::Kill(pid) => {
                        server.write_all(&half(text)).await?;
                        let _ = server.read(&mut answered).await?;
                        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                        return Ok(());
                    }
                }
                server.write_all(text).await?;
            }
            size = server.read(&mut answered) => {
                let size = size?;
                if size == 0 {
                    return Ok(());
                }
                tokio::time::sleep(late).await;
                if garble {
                    answered[..size].iter_mut().filter(|byte| byte.is_ascii_alphanumeric()).for_each(|byte| *byte = b'?');
                    // An empty answer means success; so should be no rubbish.
                    client.write_all(b"\xffrubbish\x00").await?;
                }
                client.write_all(&answered[..size]).await?;
            }
        }
    }
}

/// What is to be done to a conversation in which this is said.
fn order(orders: &Mutex<Orders>, text: &[u8]) -> Spoil {
    let mut orders = orders.lock().unwrap();
    let hit = match orders.spoil {
        Spoil::Nothing => false,
        Spoil::GarbleAll => true,
        Spoil::CutCommandsAndReading => changes(text) || reads(text),
        _ => changes(text),
    };
    if !hit || orders.times == 0 {
        return Spoil::Nothing;
    }
    orders.times -= 1;
    orders.spoilt += 1;
    orders.spoil
}

/// Whether something is to be changed; what only ends a server that is out already does not count.
fn changes(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    !text.contains("del server")
        && ["set server", "add server", " map "].iter().any(|word| text.contains(word))
        && !text.contains("show ")
}

fn reads(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).contains("show servers state")
}

/// The first half of the lines, none where there is one only.
fn half(text: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    match lines.len() / 2 {
        // Something must be asked, for an answer to come.
        0 => b"show version\n".to_vec(),
        half => lines[..half].concat(),
    }
}
