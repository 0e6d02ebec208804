//! The simulated Marathon and its agents on a lab host.
//!
//! The simulator has a thread of the host, because what listens belongs to the network of the thread that opens it; all
//! that is asked of it is done there. The agents are further addresses of the same host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc as asked;

use super::host::Host;
use super::lan::Lan;
use crate::sim::{AgentConfig, Config, Personality, Sim};

type Job = Box<dyn FnOnce(Arc<Sim>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A running cluster; dropping it ends it.
#[derive(Debug)]
pub struct Marathon {
    host: Arc<Host>,
    jobs: Option<asked::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Marathon {
    /// Adds the host `marathon` with `10.77.0.20` and this many agents from `10.77.0.31` on, and starts the simulator.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lan: &Lan, personality: Personality, agents: u8) -> anyhow::Result<Self> {
        let agents: Vec<Ipv4Addr> = (0..agents).map(|number| Ipv4Addr::new(10, 77, 0, 31 + number)).collect();
        let all: Vec<String> = [Self::ADDRESS].iter().chain(&agents).map(|address| format!("{address}/24")).collect();
        let host = lan.host("marathon", &all.iter().map(String::as_str).collect::<Vec<_>>())?;
        let agent = |address: Ipv4Addr| AgentConfig { name: address.to_string(), address };
        let config = Config {
            listen: vec![SocketAddr::new(IpAddr::V4(Self::ADDRESS), Self::PORT)],
            agents: agents.into_iter().map(agent).collect(),
            agent_pool: None,
            ..Config::for_test(personality)
        };
        let (jobs, waiting) = asked::unbounded_channel::<Job>();
        let (ready, started) = mpsc::channel();
        let thread = host.run(move || {
            std::thread::Builder::new().name("marathon".to_owned()).spawn(move || serve(config, waiting, &ready))
        });
        let thread = Some(thread.context("start a thread")?);
        match started.recv() {
            Ok(Ok(())) => Ok(Self { host, jobs: Some(jobs), thread }),
            Ok(Err(why)) => Err(why),
            Err(_) => bail!("the simulator's thread ended"),
        }
    }

    /// Where it runs.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}:{}", Self::ADDRESS, Self::PORT)
    }

    /// Does something with the simulator, in its own network; what came of it.
    ///
    /// # Panics
    /// When `job` does.
    pub fn ask<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        job: impl FnOnce(Arc<Sim>) -> F + Send + 'static,
    ) -> T {
        let (give, take) = mpsc::channel();
        let job: Job = Box::new(move |sim| {
            Box::pin(async move {
                // Nobody waits any more only where the test is ending.
                let _ = give.send(job(sim).await);
            })
        });
        let jobs = self.jobs.as_ref().expect("until it is dropped");
        assert!(jobs.send(job).is_ok(), "the simulator's thread has ended");
        take.recv().expect("the job did not panic")
    }

    /// Where Marathon is.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);
    const PORT: u16 = 8080;
}

impl Drop for Marathon {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread: starts the simulator and does what it is asked until nobody can ask any more.
fn serve(config: Config, mut waiting: asked::UnboundedReceiver<Job>, ready: &mpsc::Sender<anyhow::Result<()>>) {
    let begin = || -> anyhow::Result<_> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sim = runtime.block_on(Sim::start(config))?;
        Ok((runtime, Arc::new(sim)))
    };
    let (runtime, sim) = match begin() {
        Ok(begun) => begun,
        Err(why) => {
            // Whoever starts it waits for this.
            let _ = ready.send(Err(why));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    runtime.block_on(async {
        while let Some(job) = waiting.recv().await {
            job(Arc::clone(&sim)).await;
        }
        if let Ok(sim) = Arc::try_unwrap(sim) {
            sim.stop().await;
        }
    });
}
