//! [`Submission`]: what an [`Evaluator`](crate::Evaluator) is given.
//!
//! `Debug` prints the sizes of source code, input and expected output, never
//! the text. In JSON, bytes are a string where they are text, and
//! `{"base64": "…"}` where they are not.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Comparison, Limits, Network, SandboxPath, SyscallPolicy};

/// A file of a program.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceFile {
    /// Its path in the work folder; `None` is the name that the language gives
    /// to its main source file.
    pub path: Option<SandboxPath>,
    /// What it holds.
    #[serde(with = "crate::text")]
    pub contents: Bytes,
}

impl SourceFile {
    /// A file of this path and text.
    pub fn new(path: SandboxPath, contents: impl Into<Bytes>) -> Self {
        Self { path: Some(path), contents: contents.into() }
    }

    /// A main source file, named as the language has it.
    pub fn main(contents: impl Into<Bytes>) -> Self {
        Self { path: None, contents: contents.into() }
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} bytes)", self.path, self.contents.len())
    }
}

/// A program as its author wrote it.
///
/// ```
/// use evalx_core::SourceCode;
///
/// let checker = SourceCode::new("cpp", "#include \"testlib.h\" …").with_options(["-DONLINE"]);
/// assert_eq!(checker.files.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceCode {
    /// The language's id or alias.
    pub language: String,
    /// Its files, the main source file first. Those that are not sources of
    /// the language are placed beside the program when it runs.
    pub files: Vec<SourceFile>,
    /// Options for the compiler, one each; no shell splits them.
    pub options: Vec<String>,
}

impl SourceCode {
    /// A program of one file, named as the language has it.
    pub fn new(language: impl Into<String>, source: impl Into<Bytes>) -> Self {
        Self::from_files(language, [SourceFile::main(source)])
    }

    /// A program of these files, the main source file first.
    pub fn from_files(language: impl Into<String>, files: impl IntoIterator<Item = SourceFile>) -> Self {
        Self { language: language.into(), files: files.into_iter().collect(), options: Vec::new() }
    }

    /// Adds a file.
    #[must_use]
    pub fn with_file(mut self, file: SourceFile) -> Self {
        self.files.push(file);
        self
    }

    /// Adds options for the compiler.
    #[must_use]
    pub fn with_options<O: Into<String>>(mut self, options: impl IntoIterator<Item = O>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }
}

/// One input, and what is expected to come of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Test {
    /// What it is called in the results.
    pub name: String,
    /// What the program reads.
    #[serde(with = "crate::text")]
    pub stdin: Bytes,
    /// What it should write; without it, any output will do that the checker
    /// program or interactor accepts.
    #[serde(with = "crate::text::optional")]
    pub expected: Option<Bytes>,
}

impl Test {
    /// A test without expected output: the program only has to end well.
    pub fn new(name: impl Into<String>, stdin: impl Into<Bytes>) -> Self {
        Self { name: name.into(), stdin: stdin.into(), expected: None }
    }

    /// Sets what the program should write.
    #[must_use]
    pub fn with_expected(mut self, expected: impl Into<Bytes>) -> Self {
        self.expected = Some(expected.into());
        self
    }
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.expected.as_ref().map(Bytes::len);
        write!(f, "{:?} ({} bytes in, {expected:?} bytes expected)", self.name, self.stdin.len())
    }
}

/// Who says whether an output is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Checker {
    /// A comparison with the expected output, if there is one.
    Compare(Comparison),
    /// A program by testlib's protocol: it is run in a session of its own with
    /// the arguments `input.txt output.txt answer.txt`, and its exit code is
    /// the verdict.
    Program(SourceCode),
}

impl Default for Checker {
    fn default() -> Self {
        Self::Compare(Comparison::default())
    }
}

/// Where the program's stderr goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StderrMode {
    /// Into the result's stderr.
    #[default]
    Separate,
    /// Into stdout, in the order of writing. An interactor's program keeps
    /// them separate.
    IntoStdout,
}

/// Whether the tests behind a failed one are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Every test is run.
    #[default]
    Continue,
    /// The tests behind the first that fails are skipped, and killed if they
    /// already run; those before it are finished.
    Stop,
}

/// A program and the tests it has to pass.
///
/// ```
/// use evalx_core::{Submission, Test};
///
/// let submission = Submission::new("python", "print(int(input()) * 2)")
///     .with_test(Test::new("two", "2").with_expected("4"));
/// assert_eq!(submission.tests.len(), 1);
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Submission {
    /// The program.
    pub code: SourceCode,
    /// Its command line arguments.
    pub arguments: Vec<String>,
    /// The tests. Without any, the program is run once with [`stdin`](Self::stdin).
    pub tests: Vec<Test>,
    /// What the program reads if there are no tests.
    #[serde(with = "crate::text")]
    pub stdin: Bytes,
    /// What each run may use; the evaluator's own limits if absent.
    pub limits: Option<Limits>,
    /// Who says whether an output is right.
    pub checker: Checker,
    /// A program by testlib's protocol that talks to the submission's over
    /// pipes, both ways. It has the arguments `input.txt output.txt
    /// answer.txt` and its exit code is the verdict; the checker is not asked.
    pub interactor: Option<SourceCode>,
    /// Whether the tests behind a failed one are run.
    pub on_failure: OnFailure,
    /// Where the program's stderr goes.
    pub stderr: StderrMode,
    /// The network of its runs.
    pub network: Network,
    /// The system calls its runs may make.
    pub syscalls: SyscallPolicy,
}

impl Submission {
    /// A program of one file, to be run once without input.
    pub fn new(language: impl Into<String>, source: impl Into<Bytes>) -> Self {
        Self::from_code(SourceCode::new(language, source))
    }

    /// A program, to be run once without input.
    #[must_use]
    pub fn from_code(code: SourceCode) -> Self {
        Self {
            code,
            arguments: Vec::new(),
            tests: Vec::new(),
            stdin: Bytes::new(),
            limits: None,
            checker: Checker::default(),
            interactor: None,
            on_failure: OnFailure::default(),
            stderr: StderrMode::default(),
            network: Network::default(),
            syscalls: SyscallPolicy::default(),
        }
    }

    /// Adds a test.
    #[must_use]
    pub fn with_test(mut self, test: Test) -> Self {
        self.tests.push(test);
        self
    }

    /// Adds tests.
    #[must_use]
    pub fn with_tests(mut self, tests: impl IntoIterator<Item = Test>) -> Self {
        self.tests.extend(tests);
        self
    }

    /// Adds command line arguments.
    #[must_use]
    pub fn with_arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets what the program reads if there are no tests.
    #[must_use]
    pub fn with_stdin(mut self, stdin: impl Into<Bytes>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Sets what each run may use.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Sets who says whether an output is right.
    #[must_use]
    pub fn with_checker(mut self, checker: Checker) -> Self {
        self.checker = checker;
        self
    }

    /// Sets a program that talks to this one.
    #[must_use]
    pub fn with_interactor(mut self, interactor: SourceCode) -> Self {
        self.interactor = Some(interactor);
        self
    }

    /// Sets whether the tests behind a failed one are run.
    #[must_use]
    pub const fn with_on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Sets where the program's stderr goes.
    #[must_use]
    pub const fn with_stderr(mut self, stderr: StderrMode) -> Self {
        self.stderr = stderr;
        self
    }

    /// Sets the network of its runs.
    #[must_use]
    pub const fn with_network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Sets the system calls its runs may make.
    #[must_use]
    pub const fn with_syscalls(mut self, syscalls: SyscallPolicy) -> Self {
        self.syscalls = syscalls;
        self
    }
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("code", &self.code)
            .field("arguments", &self.arguments.len())
            .field("tests", &self.tests)
            .field("stdin", &self.stdin.len())
            .field("limits", &self.limits)
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}
