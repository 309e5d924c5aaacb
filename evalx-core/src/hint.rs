//! [`HintProvider`]: who explains a failure to the person who wrote the program.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Outcome, ProgramEnd, Signal, StepReport};

/// Which step of an evaluation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Compiling the source.
    Compile,
    /// Running the program. Interpreters report errors of syntax here.
    Run,
}

/// What a [`HintProvider`] is told about a failure.
///
/// All of it may come from untrusted code; none of it need be UTF-8.
///
/// ```
/// use evalx_core::{HintRequest, Outcome, Phase, Signal};
///
/// let request = HintRequest::new("c", Phase::Run).with_outcome(Outcome::Signaled(Signal::SEGV));
/// assert_eq!(request.signal(), Some(Signal::SEGV));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct HintRequest<'a> {
    /// The language's id.
    pub language: &'a str,
    /// Which step failed.
    pub phase: Phase,
    /// How it ended, if that is known.
    pub outcome: Option<Outcome>,
    /// What the kernel was told, which a time-out's outcome does not say.
    pub end: Option<ProgramEnd>,
    /// What it wrote to stderr.
    pub stderr: &'a [u8],
    /// What it wrote to stdout, where some compilers put their errors.
    pub stdout: &'a [u8],
    /// The name of the main source file.
    pub source_file: &'a str,
    /// The main source file.
    pub source: &'a [u8],
}

impl<'a> HintRequest<'a> {
    /// A failure of which only this is known.
    #[must_use]
    pub const fn new(language: &'a str, phase: Phase) -> Self {
        Self {
            language,
            phase,
            outcome: None,
            end: None,
            stderr: &[],
            stdout: &[],
            source_file: "",
            source: &[],
        }
    }

    /// Sets the outcome, and with it the end that it implies.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.end = StepReport::new(outcome.clone()).end.or(self.end);
        self.outcome = Some(outcome);
        self
    }

    /// Sets what the kernel was told, whatever the outcome.
    #[must_use]
    pub const fn with_end(mut self, end: ProgramEnd) -> Self {
        self.end = Some(end);
        self
    }

    /// Sets the outcome and the end from a report.
    #[must_use]
    pub fn with_report(mut self, report: &StepReport) -> Self {
        self.outcome = Some(report.outcome.clone());
        self.end = report.end;
        self
    }

    /// Sets what the program wrote.
    #[must_use]
    pub const fn with_output(mut self, stdout: &'a [u8], stderr: &'a [u8]) -> Self {
        self.stdout = stdout;
        self.stderr = stderr;
        self
    }

    /// Sets the main source file.
    #[must_use]
    pub const fn with_source(mut self, file: &'a str, source: &'a [u8]) -> Self {
        self.source_file = file;
        self.source = source;
        self
    }

    /// The exit code, if the main process ended with one.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self.end {
            Some(ProgramEnd::Code(code)) => Some(code),
            _ => None,
        }
    }

    /// The signal, if one ended the main process.
    #[must_use]
    pub const fn signal(&self) -> Option<Signal> {
        match self.end {
            Some(ProgramEnd::Signal(signal)) => Some(signal),
            _ => None,
        }
    }

    /// Whether a time limit ended it.
    #[must_use]
    pub const fn timed_out(&self) -> bool {
        matches!(self.outcome, Some(Outcome::CpuTimeLimit | Outcome::WallTimeLimit))
    }

    /// Whether the memory limit ended it.
    #[must_use]
    pub const fn oom_killed(&self) -> bool {
        matches!(self.outcome, Some(Outcome::MemoryLimit))
    }
}

impl fmt::Debug for HintRequest<'_> {
    /// Prints sizes where source and output would be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HintRequest")
            .field("language", &self.language)
            .field("phase", &self.phase)
            .field("outcome", &self.outcome)
            .field("end", &self.end)
            .field("stderr", &self.stderr.len())
            .field("stdout", &self.stdout.len())
            .field("source_file", &self.source_file)
            .field("source", &self.source.len())
            .finish()
    }
}

/// An explanation of a failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hint {
    /// The rule that gave it.
    pub rule: String,
    /// What kind of mistake it is: `undefined-name`, `syntax-missing-colon`.
    pub category: String,
    /// The mistake in a few words.
    pub title: String,
    /// What it means, for somebody who does not know.
    pub explanation: String,
    /// What to try.
    pub suggestion: Option<String>,
    /// The name in the program that it is about.
    pub identifier: Option<String>,
    /// The file to look at.
    pub file: Option<String>,
    /// The line to look at, from 1.
    pub line: Option<u32>,
    /// The column to look at, from 1.
    pub column: Option<u32>,
    /// Where to read more.
    pub documentation: Option<String>,
    /// How sure the rule is, from 0 to 1.
    pub confidence: f32,
}

impl Hint {
    /// A hint of `rule` with full confidence; the other fields may be set after.
    pub fn new(rule: impl Into<String>, category: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            rule: rule.into(),
            category: category.into(),
            title: title.into(),
            confidence: 1.0,
            ..Self::default()
        }
    }
}

/// Explains failures. The [`Evaluator`](crate::Evaluator) asks it whenever a
/// compile or a run fails.
///
/// It is called on the runtime's threads and must not block; it takes time
/// linear in what it is given, which hostile programs choose.
pub trait HintProvider: fmt::Debug + Send + Sync + 'static {
    /// What can be said about this failure, the best first.
    fn hints(&self, request: &HintRequest<'_>) -> Vec<Hint>;
}

impl<H: HintProvider + ?Sized> HintProvider for Arc<H> {
    fn hints(&self, request: &HintRequest<'_>) -> Vec<Hint> {
        (**self).hints(request)
    }
}

/// Has nothing to say.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHints;

impl HintProvider for NoHints {
    fn hints(&self, _request: &HintRequest<'_>) -> Vec<Hint> {
        Vec::new()
    }
}
