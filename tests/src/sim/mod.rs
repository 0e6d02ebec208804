//! A faithful Marathon cluster in one process: REST API, event stream, leader and standbys, tasks that really listen.
//!
//! Used by scenario tests, benchmarks and the demo (`marathon-sim`); nothing in production knows it. [`Sim`] is the
//! handle; [`Config`] says what is imitated. Inside: `world` is the pure state (apps, deployments, task life), `shared`
//! the shell with clock and lock around it, `server`/`stream`/`proxy`/`api` the members on the wire, `stage` the tasks,
//! `fault` and `control` what goes wrong on command.

pub mod agent;
mod api;
pub mod auth;
pub mod cluster;
pub mod config;
pub mod control;
pub mod def;
pub mod draft;
pub mod event;
pub mod fault;
mod handle;
pub mod http;
pub mod hub;
pub mod instance;
mod limits;
pub mod path;
pub mod plan;
mod probe;
mod proxy;
pub mod rejection;
pub mod rng;
pub mod root;
mod server;
pub mod shared;
pub mod stage;
pub mod stamp;
mod stream;
pub mod world;

pub use agent::Loss;
pub use config::{AgentConfig, Auth, Config, Personality};
pub use fault::{Fault, Order};
pub use handle::{Sim, StartError, flip};
pub use limits::raise_open_files;
pub use stage::Mode;
pub use world::{Bulk, BulkBacking};
