//! [`Program`]: a step with the session it needs, and [`Execution`]: what came of it.

use std::fmt;

use bytes::Bytes;

use crate::{FileContents, SandboxPath, SessionSpec, Step, StepReport};

/// One step, the session it runs in and the files that it finds there.
///
/// ```
/// use evalx_core::{FileContents, Limits, Program, SandboxPath, SessionSpec, Step};
///
/// let program = Program::new(SessionSpec::new(Limits::default()), Step::new("cat").with_argument("a.txt"))
///     .with_file(SandboxPath::new("a.txt")?, FileContents::data("hello"));
/// assert_eq!(program.files.len(), 1);
/// # Ok::<(), evalx_core::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Program {
    /// The session that is opened for it.
    pub spec: SessionSpec,
    /// What is placed in the work folder before it starts, in this order.
    pub files: Vec<(SandboxPath, FileContents)>,
    /// What is run.
    pub step: Step,
}

impl Program {
    /// Runs `step` in a session of `spec`, with an empty work folder.
    #[must_use]
    pub const fn new(spec: SessionSpec, step: Step) -> Self {
        Self { spec, files: Vec::new(), step }
    }

    /// Adds a file or an artifact.
    #[must_use]
    pub fn with_file(mut self, path: SandboxPath, contents: impl Into<FileContents>) -> Self {
        self.files.push((path, contents.into()));
        self
    }
}

/// What a [`Program`] did and what it wrote.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Execution {
    /// How it ended and what it used.
    pub report: StepReport,
    /// What it wrote to stdout; empty if that was joined to another program.
    pub stdout: Bytes,
    /// What it wrote to stderr.
    pub stderr: Bytes,
}

impl Execution {
    /// A report with the output that belongs to it.
    #[must_use]
    pub const fn new(report: StepReport, stdout: Bytes, stderr: Bytes) -> Self {
        Self { report, stdout, stderr }
    }
}

impl fmt::Debug for Execution {
    /// Prints sizes where the program's output would be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("report", &self.report)
            .field("stdout", &self.stdout.len())
            .field("stderr", &self.stderr.len())
            .finish()
    }
}
