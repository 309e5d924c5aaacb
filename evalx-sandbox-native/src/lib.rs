//! Runs untrusted programs on Linux by namespaces, cgroups and seccomp, with
//! no daemon, no container image and no helper binary.
//!
//! [`NativeSandbox`] is a [`Sandbox`](evalx_core::Sandbox). It keeps a number of
//! *slots*, each a process that holds what is expensive to make; a session takes
//! a slot, and a step in it costs little more than starting its program.
//!
//! ```text
//!  host application          this library; orders, answers, files and streams
//!    │ starts itself again, once
//!  launcher                  one thread; makes cgroups, forks and buries zygotes
//!    │ forks, once for each slot
//!  zygote                    PID 1 of the slot: user and network namespace, root,
//!    │ makes ahead           seccomp; keeps the time while a program runs
//!  cell                      PID 1 of one step: PID, IPC and UTS namespace, /proc;
//!    │ starts                reaps the tree and reports to the host
//!  program                   no capability, no new privilege, Landlock, seccomp, rlimits
//! ```
//!
//! # Example
//!
//! This is not run as a test, since it needs a machine that can do all of it; the
//! suites of `evalx-testkit`, which this crate passes, test the same.
//!
//! ```no_run
//! use evalx_core::{ByteSize, Collect, Limits, Outcome, Sandbox, SessionSpec, Step};
//! use evalx_sandbox_native::{NativeConfig, NativeSandbox};
//!
//! #[tokio::main]
//! async fn main() -> evalx_core::Result<()> {
//!     let sandbox = NativeSandbox::start(NativeConfig::default()).await?;
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
//! # What holds what
//!
//! | What is held | By what |
//! |---|---|
//! | processes | a PID namespace of each step, whose end ends the tree; `pids.max` |
//! | memory | the memory cgroup, swap included where the kernel accounts it; the kernel's OOM events are the verdict |
//! | CPU time | the cgroup's counter, looked at when the limit can first be reached; `RLIMIT_CPU` behind |
//! | wall time | a timer of the zygote, which a busy host does not delay |
//! | disk, files | one tmpfs of a size and a number of inodes for `/box`, `/tmp` and `/dev/shm` |
//! | output | counted by the host as it reads |
//! | files of the host | a pivoted root of read-only overlays: `/usr` and a few files of `/etc` |
//! | network | a network namespace without a way out; no Internet sockets but with a loopback |
//! | IPC, host name | an IPC and a UTS namespace of each step |
//! | users | as root, two host uids for each slot, in a user namespace |
//! | system calls | seccomp, no capability, `no_new_privs` |
//! | files, signals and abstract sockets once more | Landlock, as far as the kernel has it |
//!
//! [`capabilities`](evalx_core::Sandbox::capabilities), and the command
//! `evalx doctor`, say how much of this the machine can do. A session that asks for
//! a limit that can't be held is refused.
//! The [threat model] names the tests that hold each promise, and what is not
//! promised.
//!
//! # Requirements
//!
//! - Linux 5.9 or later, on x86-64. (The code for aarch64 is not tested.)
//! - Control groups: version 1, or version 2 with the memory and pids
//!   controllers. As root, nothing has to be set up; otherwise see [`Cgroup`].
//! - As root, or as a user who may make user namespaces.
//!
//! [platform] has what kernels, distributions and containers need.
//!
//! The executable that uses this crate is started again as the launcher: a
//! function in its `.init_array` sees a marker in the environment and takes over
//! before `main`. So no function has to be called first; but static constructors
//! that run earlier run in the launcher too. If this code is in a shared library,
//! name an executable by [`Launcher::Path`].
//!
//! # How it works
//!
//! The decisions and their reasons are written down, one page each:
//!
//! - [a zygote per slot, by re-execution][0001]
//! - [the cell][0002], which shares the zygote's memory
//! - [control groups of both versions][0003], and what is exact
//! - [a seccomp filter in two parts][0004]
//! - [artifacts, and sessions of several steps][0005]
//! - [files opened from outside][0006], never as root
//! - [the strict policy][0007]
//! - [when the host looks at output][0008]
//!
//! # Crate features
//!
//! None.
//!
//! [threat model]: https://github.com/evalx-rs/evalx/blob/main/docs/threat-model.md
//! [platform]: https://github.com/evalx-rs/evalx/blob/main/docs/platform.md
//! [0001]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0001-zygote-by-re-execution.md
//! [0002]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0002-cell-shares-memory.md
//! [0003]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0003-cgroup-membership.md
//! [0004]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0004-split-seccomp-filter.md
//! [0005]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0005-artifacts-and-mounts.md
//! [0006]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0006-files-from-outside.md
//! [0007]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0007-strict-policy.md
//! [0008]: https://github.com/evalx-rs/evalx/blob/main/docs/decisions/0008-short-programs-unwatched.md

mod backend;
mod cell;
mod cgroup;
mod config;
mod error;
mod fleet;
mod fleets;
mod identity;
mod instance;
mod landlock;
mod launch;
mod launcher;
mod program;
mod report;
mod rootfs;
mod seccomp;
mod session;
mod slot;
mod stdio;
mod store;
mod sys;
mod terminal;
mod wire;
mod zygote;

pub use backend::NativeSandbox;
pub use config::{Cgroup, Launcher, NativeConfig};
