//! The vocabulary of evalx, and what is built of it alone.
//!
//! evalx runs untrusted source code for a host application. This crate has the
//! words, the two traits that a backend implements ([`Sandbox`], [`Session`]),
//! and what can be built of the traits. It knows no backend and starts no
//! process, so that all of it can be tested over a fake one.
//!
//! # The words
//!
//! | Word | What it means | Type |
//! |---|---|---|
//! | sandbox | a way to run untrusted programs: a backend, or a wrapper around one | [`Sandbox`] |
//! | session | one fresh workspace in a sandbox, gone with all that was left in it | [`Session`], [`SessionSpec`] |
//! | step | one process tree run in a session | [`Step`] |
//! | limits | what a step may use | [`Limits`] |
//! | outcome | how a step ended; it means the same on every backend | [`Outcome`] |
//! | report | what a step did and used, with its outcome | [`StepReport`] |
//! | artifact | a file or a tree kept outside sessions, to be placed in others | [`Artifact`] |
//! | capabilities | what a sandbox enforces on this machine, and by what | [`Capabilities`] |
//! | submission | source code, its language and its tests | [`Submission`] |
//! | evaluation | what came of a submission | [`Evaluation`] |
//! | verdict | what a judge says of one test, or of all | [`Verdict`] |
//! | hint | an explanation of a failure | [`Hint`] |
//!
//! A program that fails is `Ok`: an exit code, a signal and a limit that was
//! met are outcomes in a report. An [`Error`] means that the sandbox could not
//! do its job, or that what it was asked makes no sense; it says which, and
//! often [what helps](Error::help).
//!
//! # Example
//!
//! `FakeSandbox` of `evalx-testkit` stands in for a backend here: it does what
//! its script says.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> evalx_core::Result<()> {
//! use std::time::Duration;
//!
//! use evalx_core::{Collect, Limits, Outcome, Sandbox, SessionSpec, Step};
//! use evalx_testkit::{FakeRun, FakeSandbox};
//!
//! let sandbox = FakeSandbox::new(|step| match step.program.as_str() {
//!     "rev" => FakeRun::exited(0).with_stdout(step.stdin.iter().rev().copied().collect::<Vec<_>>()),
//!     _ => FakeRun::exited(1).with_stderr("no idea"),
//! });
//!
//! let limits = Limits::default().with_cpu_time(Duration::from_secs(1));
//! let mut session = sandbox.open(SessionSpec::new(limits)).await?;
//!
//! let mut io = Collect::new("stressed");
//! let report = session.run(Step::new("rev"), &mut io).await?;
//! assert!(report.outcome.is_success());
//! assert_eq!(io.into_output().0, "desserts");
//!
//! // A program that fails is no error.
//! let report = session.run(Step::new("guess"), &mut Collect::default()).await?;
//! assert_eq!(report.outcome, Outcome::Exited(1));
//! session.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is built of the traits
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
//! - **openapi**: a schema of [`ReportDocument`], for an OpenAPI document.

mod artifact;
mod cache;
mod capabilities;
mod comparison;
mod document;
mod error;
mod evaluation;
mod evaluator;
mod evidence;
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
mod origin;
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
mod text;
mod time;
mod toolchains;

pub use artifact::{Artifact, ArtifactFile, FileContents, WeakArtifact};
pub use capabilities::{Capabilities, Enforcement, Isolation, Strength};
pub use comparison::{Comparison, Difference};
pub use document::{LimitDocument, ReportDocument};
pub use error::{Error, ErrorKind, Result};
pub use evaluation::{CompileReport, Evaluation, Event, TestResult, Verdict};
pub use evaluator::{EvaluationStream, Evaluator, EventReceiver, EventSender, events};
pub use evidence::Evidence;
pub use ext::{Connection, SandboxExt, Side};
pub use fallback::Fallback;
pub use hint::{Hint, HintProvider, HintRequest, NoHints, Phase};
pub use io::{Collect, Control, ControlReceiver, ControlSender, OutputStream, Stdin, StepIo, controls};
pub use language::{EntryPoint, Language, LanguageLimits};
pub use languages::Languages;
pub use limited::Limited;
pub use limits::{LimitKind, Limits};
pub use observed::Observed;
pub use origin::{Origin, WeakOrigin};
pub use path::SandboxPath;
pub use prepare::Prepared;
pub use program::{Execution, Program};
pub use report::{Amount, KilledBy, LimitHit, MemoryMeasure, Outcome, ProgramEnd, StepReport, StreamSummary};
pub use sandbox::{DynSandbox, Sandbox, Session};
pub use signal::Signal;
pub use size::{ByteSize, ParseSizeError};
pub use step::{Network, SessionSpec, Stdio, Step, SyscallPolicy, TerminalSize, WORK_FOLDER};
pub use submission::{Checker, OnFailure, SourceCode, SourceFile, StderrMode, Submission, Test};
pub use time::{ParseTimeError, parse_time};
pub use toolchains::{Toolchain, Toolchains};
