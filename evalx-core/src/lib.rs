//! The vocabulary of evalx, and what is built of it alone.
//!
//! evalx runs untrusted source code for a host application. This crate has
//! the words ([`Limits`], [`Step`], [`StepReport`], [`Outcome`]) and the two
//! traits that a backend implements ([`Sandbox`], [`Session`]). It knows no
//! backend and starts no process.
//!
//! What is built of the traits:
//!
//! - [`SandboxExt`] runs [one program](SandboxExt::execute), or
//!   [two that talk to each other](SandboxExt::connect).
//! - [`Limited`], [`Fallback`] and [`Observed`] are sandboxes around others.
//! - [`Languages`] says how sources are compiled and run; [`Toolchains`] which
//!   of them a sandbox can.
//! - [`Evaluator`] compiles a [`Submission`] once, runs its tests in parallel
//!   and judges them.
//!
//! # Why there is no trait for languages or checkers
//!
//! A language is a few argvs and a file name: data, which an operator changes
//! without rebuilding. A checker that is not a [`Comparison`] is a program, and
//! as little trusted as any other: it runs in the sandbox too.
//!
//! # Crate features
//!
//! - **metrics**: [`Observed`] tells the `metrics` facade what it sees. Which
//!   exporter is installed is the application's choice.

mod artifact;
mod cache;
mod capabilities;
mod comparison;
mod error;
mod evaluation;
mod evaluator;
mod ext;
mod fallback;
mod hint;
mod io;
mod java;
mod judge;
mod language;
mod languages;
mod layout;
mod limited;
mod limits;
mod observed;
mod path;
mod prepare;
mod program;
mod report;
mod sandbox;
mod signal;
mod size;
mod step;
mod submission;
mod template;
mod testlib;
mod toolchains;

pub use artifact::{Artifact, ArtifactFile, FileContents, WeakArtifact};
pub use capabilities::{Capabilities, Enforcement, Isolation, Strength};
pub use comparison::{Comparison, Difference};
pub use error::{Error, ErrorKind, Result};
pub use evaluation::{CompileReport, Evaluation, Event, TestResult, Verdict};
pub use evaluator::{EvaluationStream, Evaluator};
pub use ext::{Connection, SandboxExt, Side};
pub use fallback::Fallback;
pub use hint::{Hint, HintProvider, HintRequest, NoHints, Phase};
pub use io::{Collect, Control, ControlReceiver, ControlSender, OutputStream, Stdin, StepIo, controls};
pub use language::{EntryPoint, Language, LanguageLimits};
pub use languages::Languages;
pub use limited::Limited;
pub use limits::{LimitKind, Limits};
pub use observed::Observed;
pub use path::SandboxPath;
pub use prepare::Prepared;
pub use program::{Execution, Program};
pub use report::{Amount, KilledBy, LimitHit, MemoryMeasure, Outcome, ProgramEnd, StepReport, StreamSummary};
pub use sandbox::{DynSandbox, Sandbox, Session};
pub use signal::Signal;
pub use size::{ByteSize, ParseSizeError};
pub use step::{Network, SessionSpec, Stdio, Step, SyscallPolicy, TerminalSize, WORK_FOLDER};
pub use submission::{Checker, OnFailure, SourceCode, SourceFile, StderrMode, Submission, Test};
pub use toolchains::{Toolchain, Toolchains};
