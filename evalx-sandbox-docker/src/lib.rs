//! Runs untrusted programs in hardened containers of Docker or Podman, kept
//! warm in a pool.

mod agent;
mod backend;
mod cgroup;
mod config;
mod container;
mod engine;
mod error;
mod link;
mod orphans;
mod pool;
mod registry;
mod report;
mod seccomp;
mod serve;
mod session;
mod step;

pub use backend::DockerSandbox;
pub use config::{DockerConfig, Image, Metering, Reuse, Way};
pub use pool::{PoolStatistics, ShelfStatistics};
