//! What an operator asks of the floating addresses, and how it ends.
//!
//! Part of the `vip` task. A handover or hold is answered when a peer has the addresses or when
//! nobody took them, so that a script can go on with its maintenance or stop.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use vrrp::linux::engine::Order;
use vrrp::linux::report::Saved;
use vrrp::machine::io::{Command, Phase};

use super::Ha;
use super::report::word;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Give the addresses away, once.
    HandOver,
    /// Give them away and stay out until released.
    Hold {
        /// Also where nobody takes over.
        force: bool,
    },
    /// Take part again.
    Release,
}

/// A request and where its answer goes.
#[derive(Debug)]
pub enum Request {
    /// By an operator.
    Operator {
        /// What.
        ask: Ask,
        /// Of which router; none = of all.
        router: Option<String>,
        /// Who asks.
        by: String,
        /// A line for each router, or why it was not done.
        answer: oneshot::Sender<Result<Vec<String>, String>>,
    },
    /// The process is about to replace itself. The answer comes when the state is written; from
    /// then on no router does anything.
    Suspend(oneshot::Sender<Result<(), String>>),
}

/// A request that waits for routers to move.
#[derive(Debug)]
pub(super) struct Pending {
    ask: Ask,
    waiting: Vec<String>,
    done: Vec<String>,
    failed: Vec<String>,
    pub(super) deadline: Instant,
    answer: oneshot::Sender<Result<Vec<String>, String>>,
}

impl Ha {
    pub(super) async fn request(&mut self, request: Request) {
        match request {
            Request::Operator { ask, router, by, answer } => self.operator(ask, router, &by, answer),
            Request::Suspend(answer) => {
                let done = self.suspend().await;
                // Whoever asked is the supervisor, which waits.
                let _ = answer.send(done.map_err(|why| format!("{why:#}")));
            }
        }
    }

    fn operator(
        &mut self,
        ask: Ask,
        router: Option<String>,
        by: &str,
        answer: oneshot::Sender<Result<Vec<String>, String>>,
    ) {
        let known: Vec<_> = self.config.borrow().vrrp.iter().map(crate::config::vrrp::Vrrp::name).collect();
        let names = match router {
            Some(name) if !known.contains(&name) => {
                let list = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
                let _ = answer.send(Err(format!("no virtual router {name:?}; known: {list}")));
                return;
            }
            Some(name) => vec![name],
            None if known.is_empty() => {
                let _ = answer.send(Err("no [[vrrp]] is configured".to_owned()));
                return;
            }
            None => known,
        };
        let kept = match ask {
            Ask::Hold { force } => self.hold(&names, by, force),
            Ask::Release => self.unhold(&names),
            Ask::HandOver => Ok(()),
        };
        if let Err(why) = kept {
            let _ = answer.send(Err(format!("not done: {why:#}")));
            return;
        }
        let (command, text) = match ask {
            Ask::HandOver => (Command::HandOver, "handover"),
            Ask::Hold { force } => (Command::Hold { force }, "hold"),
            Ask::Release => (Command::Release, "release"),
        };
        log::info!("{text} of {} asked for by {by}", names.join(", "));
        let phase = |name: &String| self.routers.get(name).map_or(Phase::Init, |status| status.phase);
        let (moving, still): (Vec<_>, Vec<_>) =
            names.iter().cloned().partition(|name| matches!(phase(name), Phase::Active | Phase::Leaving));
        let waits = !matches!(ask, Ask::Release);
        let state =
            |name: &String| format!("{name}: {}", if waits { "is not Active here" } else { "takes part again" });
        let done = if waits { still.iter().map(state).collect() } else { names.iter().map(state).collect() };
        for name in names {
            self.order(Order::CommandTo(name, command));
        }
        let waiting = if waits { moving } else { Vec::new() };
        let deadline = Instant::now() + PATIENCE;
        self.pending.push(Pending { ask, waiting, done, failed: Vec::new(), deadline, answer });
        self.settle();
        self.publish();
    }

    /// Answers the requests whose routers have all moved.
    pub(super) fn settle(&mut self) {
        for pending in &mut self.pending {
            let mut waiting = Vec::new();
            for name in std::mem::take(&mut pending.waiting) {
                let Some(status) = self.routers.get(&name) else { continue };
                match status.phase {
                    Phase::Leaving => waiting.push(name),
                    Phase::Active if !began(pending.deadline, status) => waiting.push(name),
                    Phase::Active => pending.failed.push(format!("{name}: nobody took over, it stays Active here")),
                    phase => {
                        let peer = status.peer.map(|peer| format!(", {} has it", peer.address)).unwrap_or_default();
                        pending.done.push(format!("{name}: {} now{peer}", word(phase)));
                    }
                }
            }
            pending.waiting = waiting;
        }
        let (over, pending): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|pending| pending.waiting.is_empty());
        self.pending = pending;
        for pending in over {
            self.answer(pending);
        }
    }

    /// Answers the requests that took too long.
    pub(super) fn overdue(&mut self) {
        let now = Instant::now();
        let (over, pending): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|pending| pending.deadline <= now);
        self.pending = pending;
        for mut pending in over {
            let late = |name| format!("{name}: nothing happened within {} s", PATIENCE.as_secs());
            pending.failed.extend(std::mem::take(&mut pending.waiting).into_iter().map(late));
            self.answer(pending);
        }
    }

    fn answer(&mut self, pending: Pending) {
        let Pending { ask, done, mut failed, answer, .. } = pending;
        let answered = if failed.is_empty() {
            Ok(done)
        } else {
            if matches!(ask, Ask::Hold { force: false }) {
                // A hold that could not begin must not surprise anybody later.
                let names: Vec<_> = failed.iter().filter_map(|text| Some(text.split_once(':')?.0.to_owned())).collect();
                for name in &names {
                    self.order(Order::CommandTo(name.clone(), Command::Release));
                }
                if let Err(why) = self.unhold(&names) {
                    failed.push(format!("{why:#}"));
                }
                failed.push("--force gives the addresses up although nobody takes them".to_owned());
                self.publish();
            }
            Err(failed.into_iter().chain(done).collect::<Vec<_>>().join("\n"))
        };
        // Whoever asked may be gone.
        let _ = answer.send(answered);
    }

    /// Has all routers bridge the pause and writes what the next process needs.
    async fn suspend(&mut self) -> anyhow::Result<()> {
        let saved: Vec<Saved> = self.finish(Command::Suspend, SUSPEND).await?;
        self.files.hand_over(&saved)
    }
}

/// The router's last move came after the request that ends at `deadline`.
fn began(deadline: Instant, status: &vrrp::linux::report::RouterStatus) -> bool {
    let asked = deadline - PATIENCE;
    status.since.elapsed().is_ok_and(|ago| ago <= asked.elapsed())
}

/// For a peer to take over: the longest down interval in use, and some.
const PATIENCE: Duration = Duration::from_secs(20);

/// For three advertisements.
const SUSPEND: Duration = Duration::from_secs(2);
