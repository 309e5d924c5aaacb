//! The agent: the process inside a container that runs untrusted programs there.
//!
//! The main process of a container of `evalx-sandbox-docker` is the agent, and
//! the host is attached to its stdin and stdout. So starting a step takes one
//! message; `docker exec`, the engine's own way into a container, takes more
//! than ten times as long. The agent needs nothing of the image around it, which
//! may be `FROM scratch`: it is statically linked, or comes with its own loader
//! and libraries.
//!
//! ```text
//!   host ══ attached stream ══╗
//!                             ║                       container: no network, no capability,
//!   guard (PID 1) ── supervisor (user, PID and mount   read-only root, seccomp, one uid
//!                        │       namespaces of its own)
//!                        └── cell (PID 1 of one step: PID, mount, IPC, UTS and cgroup namespaces)
//!                              └── the untrusted program
//! ```
//!
//! - The guard makes a user namespace that has only the container's own uid,
//!   and starts the supervisor in it.
//! - The supervisor speaks with the host, mounts the session's disk, keeps the
//!   time and counts the output. It is in a PID namespace above every program's:
//!   none can see, signal or trace it.
//! - Cells are made ahead of their steps, before it is known which session a step
//!   will belong to: the disk of a later session appears in them too. A cell mounts a
//!   fresh `/proc`, gives up every capability, installs the filters of system calls
//!   and starts the program; when the program ends it reports and ends, and the
//!   kernel ends with it whatever else the program has started.
//! - Where the host puts each cell in a control group of its own, [a few](wire::CELLS_AHEAD)
//!   cells wait. As soon as one is taken the next is made, while the program runs, so
//!   that a step waits neither for its cell to be made nor for the kernel to move it.
//!   Otherwise there is one cell at a time, made while no program runs, since it would
//!   be measured together with the program.
//! - The disk of a session is used for the next one too, if that asks for the same
//!   size and the disk is as good as new once it was emptied.
//! - What is placed in many sessions is sent once and kept in the supervisor's own
//!   memory; each session gets a copy.
//!
//! # Using it
//!
//! `evalx agent` is this program, and so is `evalx-agent` of this package. The
//! messages between host and agent are in [`wire`]:
//!
//! ```
//! use evalx_agent::wire::{FromAgent, Inbox};
//!
//! let mut inbox = Inbox::default();
//! inbox.push(&FromAgent::Hello(1).encode());
//! assert_eq!(inbox.next(FromAgent::decode), Ok(Some(FromAgent::Hello(1))));
//! ```

mod cell;
mod codec;
mod disk;
mod files;
mod filter;
mod guard;
mod meter;
mod outbox;
mod step;
mod store;
mod supervisor;
pub mod wire;
mod workspace;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// What makes an agent of the `evalx` command.
pub const SUBCOMMAND: &str = "agent";

/// The folder of a container that has the agent, and nothing else.
pub const FOLDER: &str = "/.evalx";
/// The agent itself.
pub const PROGRAM: &str = "/.evalx/agent";
/// What loads an agent that is not statically linked: its own machine's
/// loader, since the image may have another, or none.
pub const LOADER: &str = "/.evalx/loader";
/// The libraries that such an agent needs.
pub const LIBRARIES: &str = "/.evalx/lib";

/// The command line by which the agent in a container is started, without
/// what it is to do there.
#[must_use]
pub fn command_line(loaded: bool) -> Vec<&'static str> {
    if loaded { vec![LOADER, "--library-path", LIBRARIES, PROGRAM] } else { vec![PROGRAM] }
}

/// What the agent answers to `version`, so that a host can tell that a program is one.
pub const BANNER: &str = concat!("evalx agent ", env!("CARGO_PKG_VERSION"));

/// Runs the part of the agent that `arguments` name: nothing or `guard` in a
/// container, the others by itself.
#[expect(clippy::print_stderr, reason = "an agent that can't begin has nothing but its stderr")]
#[expect(clippy::print_stdout, reason = "`version` answers on stdout")]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let part = arguments.into_iter().next().unwrap_or_default();
    let result = match part.to_str() {
        Some("" | "guard") => guard::main(),
        Some("supervise") => supervisor::main(),
        Some("cell") => cell::main(),
        Some("version") => {
            println!("{BANNER}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("evalx agent: it is started by evalx inside a container, and has no other use");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|failure| {
        eprintln!("evalx agent: {failure}");
        ExitCode::FAILURE
    })
}

/// This program again, as another part of the agent.
fn part(name: &str) -> Command {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let line = command_line(*LOADED.get_or_init(|| Path::new(LOADER).exists()));
    let mut command = Command::new(line[0]);
    command.args(&line[1..]);
    if std::env::args_os().nth(1).is_some_and(|first| first == SUBCOMMAND) {
        command.arg(SUBCOMMAND);
    }
    command.arg(name);
    command
}

/// What the agent could not do, and why.
#[derive(Debug)]
struct Failure {
    what: String,
    error: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.what, self.error)
    }
}

/// Adds what was attempted to an error.
fn at<T>(what: impl fmt::Display, result: Result<T, impl Into<io::Error>>) -> Result<T, Failure> {
    result.map_err(|error| Failure { what: what.to_string(), error: error.into() })
}
