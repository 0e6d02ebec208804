//! What a simulated cluster is made of, before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The generation of Marathon that is imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Personality {
    /// 1.4.13: nulls written, heavy deployment events, standbys proxy the event stream.
    V1_4,
    /// 1.8.244: RAML shapes, light plans, standbys redirect the event stream.
    V1_8,
}

impl Personality {
    /// The version that `/v2/info` shows.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::V1_4 => "1.4.13",
            Self::V1_8 => "1.8.244",
        }
    }
}

impl std::str::FromStr for Personality {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1.4" => Ok(Self::V1_4),
            "1.8" => Ok(Self::V1_8),
            other => Err(format!("unknown personality {other:?}, expected 1.4 or 1.8")),
        }
    }
}

/// Who may call.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// Everybody.
    #[default]
    Open,
    /// `--http-credentials`: Basic over everything, `/ping` included.
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// DC/OS service accounts: an RS256 login buys a token.
    Token {
        /// PEM file with the public key of the account.
        public_key: PathBuf,
        /// The account's `uid`.
        uid: String,
        /// How long a token lives.
        lifetime: Duration,
    },
}

/// A Mesos agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The host name tasks report; equal to the address unless the test resolves names.
    pub name: String,
    /// Where its tasks listen.
    pub address: Ipv4Addr,
}

/// One simulated cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// The generation imitated.
    pub personality: Personality,
    /// One address per Marathon member; the first leads at the start. Port 0 picks one.
    pub listen: Vec<SocketAddr>,
    /// Where the control API listens; none without.
    pub control: Option<SocketAddr>,
    /// The agents at the start.
    pub agents: Vec<AgentConfig>,
    /// First address for agents that are added when ports run out; none = never add.
    pub agent_pool: Option<Ipv4Addr>,
    /// First address for tasks on container networks (ip-per-task).
    pub container_pool: Ipv4Addr,
    /// Host ports each agent offers.
    pub ports: RangeInclusive<u16>,
    /// Service ports handed out, as `--local_port_min` and `--local_port_max`.
    pub service_ports: RangeInclusive<u16>,
    /// Seed of port and id choice.
    pub seed: u64,
    /// How long a second of Marathon's lasts: shorter in tests, so that checks, grace and back-off run fast.
    pub second: Duration,
    /// From launch to `TASK_STARTING`.
    pub staging: Duration,
    /// From `TASK_STARTING` to `TASK_RUNNING`.
    pub starting: Duration,
    /// From the kill to `TASK_KILLED`.
    pub killing: Duration,
    /// Whether `TASK_KILLING` is announced (`--enable_features task_killing`).
    pub task_killing: bool,
    /// Between empty lines on an event stream.
    pub heartbeat: Duration,
    /// Events a slow stream may owe before events (1.4) or the stream (1.8) are dropped.
    pub max_outstanding: usize,
    /// During which a leader change leaves the cluster without leader.
    pub election: Duration,
    /// During which a new leader closes event streams at once.
    pub not_ready: Duration,
    /// Whether an abdicating leader's process ends: its address refuses connections during the election.
    pub leader_exits: bool,
    /// How long a member waits for a leader before it answers 503 or 502.
    pub leader_wait: Duration,
    /// After which silence of the leader a standby cuts what it relays. The real one does so after 10 s, as often as
    /// heartbeats come; off unless a test wants that.
    pub proxy_read_timeout: Option<Duration>,
    /// Who may call.
    pub auth: Auth,
    /// 1.8 refuses `["hostname","UNIQUE",""]` as the real one does; off = accepted.
    pub strict_constraints: bool,
    /// `--max_running_deployments`, enforced by 1.8.
    pub max_deployments: usize,
    /// `--default_network_name`.
    pub default_network: Option<String>,
}

impl Config {
    /// One member on a free port of 127.0.0.1, three agents, times as in a real cluster but with quick task starts.
    #[must_use]
    pub fn new(personality: Personality) -> Self {
        Self {
            personality,
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            control: None,
            agents: (1..=3).map(|n| agent(Ipv4Addr::new(127, 1, 0, n))).collect(),
            agent_pool: Some(Ipv4Addr::new(127, 1, 1, 1)),
            container_pool: Ipv4Addr::new(127, 2, 0, 1),
            ports: 31000..=32000,
            service_ports: 10_000..=if personality == Personality::V1_4 { 19_999 } else { 20_000 },
            seed: 1,
            second: Duration::from_secs(1),
            staging: Duration::from_millis(50),
            starting: Duration::from_millis(50),
            killing: Duration::from_millis(50),
            task_killing: true,
            heartbeat: Duration::from_secs(10),
            max_outstanding: 1024,
            election: Duration::from_millis(500),
            not_ready: Duration::from_millis(500),
            leader_exits: false,
            leader_wait: Duration::from_millis(2500),
            proxy_read_timeout: None,
            auth: Auth::Open,
            strict_constraints: true,
            max_deployments: 100,
            default_network: None,
        }
    }

    /// As [`Config::new`], with a Marathon second of 20 ms, tasks that start in 5 ms, and addresses that no other
    /// simulator of this or another test process on the host uses.
    #[must_use]
    pub fn for_test(personality: Personality) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let process = std::process::id();
        let block = Ipv4Addr::from_bits(
            0x7f40_0000 | ((process & 0x3fff) << 8) | (u32::from(NEXT.fetch_add(1, Ordering::Relaxed) & 0xf) << 4),
        );
        let nth = |n: u32| Ipv4Addr::from_bits(block.to_bits() + n);
        Self {
            agents: (1..=3).map(|n| agent(nth(n))).collect(),
            agent_pool: Some(nth(4)),
            container_pool: nth(10),
            second: Duration::from_millis(20),
            staging: Duration::from_millis(5),
            starting: Duration::from_millis(5),
            killing: Duration::from_millis(5),
            election: Duration::from_millis(50),
            not_ready: Duration::from_millis(50),
            leader_wait: Duration::from_millis(200),
            ..Self::new(personality)
        }
    }

    /// With `count` members on free ports.
    #[must_use]
    pub fn members(mut self, count: usize) -> Self {
        self.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); count.max(1)];
        self
    }
}

fn agent(address: Ipv4Addr) -> AgentConfig {
    AgentConfig { name: address.to_string(), address }
}
