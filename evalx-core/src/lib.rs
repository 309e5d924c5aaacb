//! The vocabulary of evalx, and what is built of it alone.
//!
//! evalx runs untrusted source code for a host application. This crate has
//! the words ([`Limits`], [`Step`], [`StepReport`], [`Outcome`]) and the two
//! traits that a backend implements ([`Sandbox`], [`Session`]). It knows no
//! backend and starts no process.

mod artifact;
mod capabilities;
mod error;
mod ext;
mod fallback;
mod io;
mod limited;
mod limits;
mod observed;
mod path;
mod program;
mod report;
mod sandbox;
mod signal;
mod size;
mod step;

pub use artifact::{Artifact, ArtifactFile, FileContents};
pub use capabilities::{Capabilities, Enforcement, Isolation, Strength};
pub use error::{Error, ErrorKind, Result};
pub use ext::{Connection, SandboxExt, Side};
pub use fallback::Fallback;
pub use io::{Collect, Control, ControlReceiver, ControlSender, OutputStream, Stdin, StepIo, controls};
pub use limited::Limited;
pub use limits::{LimitKind, Limits};
pub use observed::Observed;
pub use path::SandboxPath;
pub use program::{Execution, Program};
pub use report::{Amount, KilledBy, LimitHit, MemoryMeasure, Outcome, ProgramEnd, StepReport, StreamSummary};
pub use sandbox::{DynSandbox, Sandbox, Session};
pub use signal::Signal;
pub use size::{ByteSize, ParseSizeError};
pub use step::{Network, SessionSpec, Stdio, Step, SyscallPolicy, TerminalSize, WORK_FOLDER};
