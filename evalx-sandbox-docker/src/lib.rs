//! Runs untrusted programs in hardened containers of Docker or Podman, kept
//! warm in a pool.
//!
//! ```
//! use evalx_sandbox_docker::{DockerConfig, Image, Reuse};
//!
//! // Two containers wait for whatever comes, one more for Java.
//! let config = DockerConfig::new(Image::new("evalx/base", 2))
//!     .with_image("java", Image::new("evalx/jvm", 1))
//!     .with_sessions(4);
//! assert_eq!(config.reuse, Reuse::Submission);
//! ```
//!
//! [`DockerSandbox::start`] makes a sandbox of it.
//!
//! # Why it is not slow
//!
//! - **Containers are made ahead**, up to a number for each image, and replaced
//!   when they are taken: [`DockerSandbox::ready`] and
//!   [`DockerSandbox::statistics`] tell how full the pool is.
//! - **Steps do not pay for `docker exec`.** The main process of a container is
//!   an agent, which is mounted read-only: the `evalx` command itself, with this
//!   machine's loader and libraries if it needs them. It takes steps over the
//!   stream that it is attached by. `evalx-agent` has its page.
//! - **A container serves a whole submission**: compiling it and all of its
//!   tests, each in a session of its own. A session's [origin](evalx_core::Origin)
//!   says which submission it belongs to. Between sessions the agent empties the
//!   disk and checks that no process and no mount is left; after the last one the
//!   container is thrown away. [`Reuse`] has other policies.
//! - **What takes time is done before or after a session.** The process that becomes
//!   the next program waits confined before its session is opened. An artifact is
//!   sent to a container once. That a session has left nothing is checked before the
//!   next begins, not before its end is reported. Containers are made and removed
//!   while no session is open, or when somebody waits, or after a second: programs
//!   have the processors first.
//!
//! ```sh
//! cargo bench -p evalx-benches --bench warm_run       # against `docker exec` and `docker run`
//! cargo bench -p evalx-benches --bench twenty_tests   # compiled once, each test a session
//! cargo run -p evalx-benches                          # both into docs/benchmarks.md
//! EVALX_BURST=200 cargo test -p evalx-sandbox-docker --test containers -- burst
//! EVALX_DEATHS=30 cargo test -p evalx-sandbox-docker --test containers -- host_killed
//! ```
//!
//! # What holds a program
//!
//! Two walls, one inside the other. The container has no network, no capability, a
//! read-only root, a user of its own, `no-new-privileges`, a profile of system
//! calls that refuses what it does not name, and bounds of memory, processes and
//! processors. In it, each step has PID, mount, IPC, UTS and cgroup namespaces, a
//! fresh read-only `/proc`, no `/sys`, a filter of its own, and a disk of the
//! session's size. `docs/threat-model.md` says which trial holds what, and what
//! this backend can't hold.
//!
//! # Who measures
//!
//! Where this process is root on the engine's machine with cgroup v1, it makes a
//! control group for each step below the container's own: limits and figures are
//! exact, and the engine need not be called. Elsewhere the engine sets the
//! container's limits when a session is opened, and the agent reads the container's
//! figures: a step may then use up to 8 MiB more than its limit, and its memory peak
//! is that of the largest process. [`Metering`] chooses, `capabilities` tells.
//!
//! # What is left when something dies
//!
//! An agent whose host is dead reads the end of its input and exits, and the engine
//! removes its container. A container that was created and never started is found by
//! its label at the next start. Nothing from a container is ever unpacked on the
//! host's disk: files come as messages, which say their sizes first.

mod agent;
mod backend;
mod cgroup;
mod config;
mod container;
mod engine;
mod error;
mod exec;
mod link;
mod orphans;
mod pool;
mod registry;
mod report;
mod seccomp;
mod serve;
mod session;
mod step;
mod store;

pub use backend::DockerSandbox;
pub use config::{DockerConfig, Image, Metering, Reuse, Way};
pub use pool::{PoolStatistics, ShelfStatistics};
