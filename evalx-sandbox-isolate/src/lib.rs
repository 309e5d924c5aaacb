//! Runs untrusted programs with [isolate], the sandbox of programming contests, 1.x or 2.x.
//!
//! [`IsolateSandbox`] is a [`Sandbox`](evalx_core::Sandbox). It calls the
//! `isolate` program directly, never through a shell; a session is a *box*.
//! isolate has to be installed, and this process has to be root.
//!
//! ```text
//!  host application
//!    │ IsolateSandbox: leases box numbers, keeps boxes initialised ahead
//!    │ starts, once for each step, by a thread that is in the box's pids group
//!  isolate --run              root, outside the box; its own clock
//!    │
//!  PID 1 of the box           an isolate too
//!    │ mounts, drops privileges, opens the gate
//!  program                    the box's own uid
//! ```
//!
//! # Example
//!
//! This is not run as a test, since it needs isolate; the suites of `evalx-testkit`,
//! which this crate passes, test the same.
//!
//! ```no_run
//! use evalx_core::{ByteSize, Collect, Isolation, Limits, Outcome, Sandbox, SessionSpec, Step};
//! use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};
//!
//! #[tokio::main]
//! async fn main() -> evalx_core::Result<()> {
//!     let config = IsolateConfig::default().with_accepted_weak_isolation(Isolation::Syscalls);
//!     let sandbox = IsolateSandbox::start(config).await?;
//!
//!     let limits = Limits::default().with_memory(ByteSize::mib(64));
//!     let mut session = sandbox.open(SessionSpec::new(limits)).await?;
//!     let hog = Step::new("python3").with_arguments(["-c", "a = 'a' * 10**9"]);
//!     let report = session.run(hog, &mut Collect::default()).await?;
//!     assert_eq!(report.outcome, Outcome::MemoryLimit);
//!     session.close().await?;
//!
//!     sandbox.shutdown().await
//! }
//! ```
//!
//! # What isolate does, and what is put around it
//!
//! isolate makes namespaces, limits time and memory, and drops privileges. What
//! it lacks and other backends have is added from outside:
//!
//! | isolate | here |
//! |---|---|
//! | has no limit on disk and files, where the file system has no quotas | a tmpfs of a size and a number of inodes for `/box`, `/tmp` and `/dev/shm` of each session |
//! | shows the host's `/dev`, and inodes that boxes share | a `/dev` of six nodes, and overlays of the host's folders, for each box |
//! | looks at the clock ten times a second | a clock in front of it, which looks when a limit can first be reached, and asks isolate to stop the program |
//! | limits processes by `RLIMIT_NPROC`, which tells nobody what it refused | a pids group, into which runs are born |
//! | leaves the processors to whoever has most processes | on cgroup v1 a cpu group for each box, with equal shares |
//! | adds the peak of memory of one run to the next of the same box | `--init` for each step, which keeps the session's files, since they are not in isolate's folder |
//! | gives up a program that has made orphans before it was looked for | a gate, which holds the program back until isolate is ready |
//! | wants to be called three times | boxes are initialised ahead, and cleaned up behind |
//! | leaves it to its callers who uses which box | leases of numbers by lock files, and a note of what to remove if their holder dies |
//!
//! What of it this machine can do is said by
//! [`capabilities`](evalx_core::Sandbox::capabilities), and by the command
//! `evalx doctor`. A session that asks for a limit which can't be held is refused,
//! unless the operator has [accepted](IsolateConfig::with_accepted_weak_limit) that by name.
//!
//! isolate never holds what every session is promised of system calls: 1.x
//! filters none, 2.x a few. So no session is opened until the operator has
//! [accepted](IsolateConfig::with_accepted_weak_isolation) that by the name
//! [`Isolation::Syscalls`](evalx_core::Isolation::Syscalls). Internet sockets can
//! be made in a box without a network too, and lead to its own loopback
//! interface and nowhere else. The [threat model] names all that isolate can't hold.
//!
//! # Requirements
//!
//! - isolate 1.x with cgroup v1, or 2.x with cgroup v2 and its keeper service.
//!   Without control groups it works too, but then memory and CPU time are limited
//!   for each process alone, which has to be accepted by name. A trial at the start
//!   finds out which of these there is.
//! - Root, for the disks of sessions and for files that belong to boxes.
//! - Linux 5.6 or later.
//!
//! Box numbers from [`first_box`](IsolateConfig::first_box) on,
//! [`boxes`](IsolateConfig::boxes) of them, must be used by nobody but
//! processes with the same [`state_folder`](IsolateConfig::state_folder); among
//! those they are shared.
//!
//! # Measuring by hand
//!
//! `examples/by_hand.rs` compares this crate with the same three calls of isolate
//! made by hand. The crate is faster, since two of the calls are made ahead of a
//! session and after it.
//!
//! # Crate features
//!
//! None.
//!
//! [isolate]: https://github.com/ioi/isolate
//! [threat model]: https://github.com/evalx-rs/evalx/blob/main/docs/threat-model.md

mod backend;
mod boxes;
mod command;
mod config;
mod error;
mod gate;
mod groups;
mod installation;
mod keeper;
mod kit;
mod lease;
mod meta;
mod program;
mod remains;
mod report;
mod session;
mod starter;
mod streams;
mod tenancy;
mod work;

pub use backend::IsolateSandbox;
pub use config::{ControlGroups, IsolateConfig};
/// Public for the fuzz targets alone, and not part of the interface.
#[doc(hidden)]
pub use meta::{Meta, Status};
