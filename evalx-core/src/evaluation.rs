//! [`Evaluation`]: what came of a [`Submission`](crate::Submission).
//!
//! `Debug` prints the sizes of outputs, never the text. In JSON, output is a
//! string where it is text, and `{"base64": "…"}` where it is not.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ErrorKind, Hint, Outcome, StepReport};

/// What a judge says of a test, or of a whole submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The program did what was expected.
    Accepted,
    /// It ended well, but its output is not the expected one.
    WrongAnswer,
    /// It exceeded its CPU time or wall time.
    TimeLimitExceeded,
    /// It exceeded its memory.
    MemoryLimitExceeded,
    /// It wrote too much.
    OutputLimitExceeded,
    /// It failed: a signal, an exit code but 0, a refused process, a full disk.
    RuntimeError,
    /// It was not compiled.
    CompilationError,
    /// The sandbox, the checker or the interactor could not do its job.
    InternalError,
    /// It was not tried.
    Skipped,
}

impl Verdict {
    /// The name in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::WrongAnswer => "wrong_answer",
            Self::TimeLimitExceeded => "time_limit_exceeded",
            Self::MemoryLimitExceeded => "memory_limit_exceeded",
            Self::OutputLimitExceeded => "output_limit_exceeded",
            Self::RuntimeError => "runtime_error",
            Self::CompilationError => "compilation_error",
            Self::InternalError => "internal_error",
            Self::Skipped => "skipped",
        }
    }

    /// What an outcome alone says. A program that exits with 0 is accepted
    /// until a checker has looked at its output.
    #[must_use]
    pub const fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Exited(0) => Self::Accepted,
            Outcome::CpuTimeLimit | Outcome::WallTimeLimit => Self::TimeLimitExceeded,
            Outcome::MemoryLimit => Self::MemoryLimitExceeded,
            Outcome::OutputLimit => Self::OutputLimitExceeded,
            Outcome::Cancelled => Self::Skipped,
            Outcome::Exited(_)
            | Outcome::Signaled(_)
            | Outcome::ProcessLimit
            | Outcome::DiskLimit
            | Outcome::ForbiddenSyscall(_) => Self::RuntimeError,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the compiler did.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompileReport {
    /// How it ended and what it used; compiler and linker together.
    pub report: StepReport,
    /// What it wrote to stdout.
    #[serde(with = "crate::text")]
    pub stdout: Bytes,
    /// What it wrote to stderr: errors, and warnings of a success.
    #[serde(with = "crate::text")]
    pub stderr: Bytes,
    /// Why there is no program, if there is none.
    pub failure: Option<String>,
    /// Whether this is what an earlier submission's compiler did.
    pub cached: bool,
}

impl CompileReport {
    /// Whether there is a program to run.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.failure.is_none()
    }
}

impl fmt::Debug for CompileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompileReport")
            .field("report", &self.report)
            .field("stdout", &self.stdout.len())
            .field("stderr", &self.stderr.len())
            .field("failure", &self.failure)
            .field("cached", &self.cached)
            .finish()
    }
}

/// What came of one test.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TestResult {
    /// The test's name.
    pub name: String,
    /// What the judge says.
    pub verdict: Verdict,
    /// What the program did, if it was run.
    pub report: Option<StepReport>,
    /// What it wrote to stdout, as far as it was kept.
    #[serde(with = "crate::text")]
    pub stdout: Bytes,
    /// What it wrote to stderr, as far as it was kept.
    #[serde(with = "crate::text")]
    pub stderr: Bytes,
    /// Why the verdict is not `accepted`, or what a checker program said.
    pub message: Option<String>,
    /// The points that a checker program or interactor gave, if it gives points.
    pub score: Option<f64>,
    /// What explains the failure, the best first.
    pub hints: Vec<Hint>,
    /// The error of the sandbox behind an `internal_error`. `Busy` and
    /// `Unavailable` ones may be gone when the submission is tried again.
    pub error: Option<ErrorKind>,
}

impl TestResult {
    /// A result of which only the verdict is known.
    pub fn new(name: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            name: name.into(),
            verdict,
            report: None,
            stdout: Bytes::new(),
            stderr: Bytes::new(),
            message: None,
            score: None,
            hints: Vec::new(),
            error: None,
        }
    }
}

impl fmt::Debug for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestResult")
            .field("name", &self.name)
            .field("verdict", &self.verdict)
            .field("report", &self.report)
            .field("stdout", &self.stdout.len())
            .field("stderr", &self.stderr.len())
            .field("hints", &self.hints.len())
            .finish_non_exhaustive()
    }
}

/// What came of a submission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The language's id.
    pub language: String,
    /// What the compiler did; `None` for a language that has none.
    pub compile: Option<CompileReport>,
    /// What came of each test, in the order of the submission.
    pub tests: Vec<TestResult>,
    /// `accepted` if every test was; else the verdict of the first that was
    /// not, or of the compiler.
    pub verdict: Verdict,
    /// What explains that verdict, the best first.
    pub hints: Vec<Hint>,
}

impl Evaluation {
    /// Whether evaluating the same submission again may end otherwise because
    /// the sandbox was busy or broken.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.tests.iter().any(|test| matches!(test.error, Some(ErrorKind::Busy | ErrorKind::Unavailable)))
    }
}

/// What happens in the course of an evaluation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The compiler has ended; not told of a language that has none.
    Compiled(CompileReport),
    /// A test was finished or skipped. Each is told once, in no certain order.
    Test {
        /// Its place in the submission.
        index: usize,
        /// What came of it.
        result: TestResult,
    },
    /// All is done; nothing comes after.
    Finished(Evaluation),
}
