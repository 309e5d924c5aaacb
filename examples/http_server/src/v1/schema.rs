//! The request as the OpenAPI document shows it. It is read in `request.rs`,
//! which names every wrong field where a derived reader would name one; a test
//! holds that both know the same fields.
#![expect(dead_code, reason = "only the schemas are used")]

use serde::Deserialize;
use utoipa::ToSchema;

/// A program to be evaluated.
#[derive(ToSchema)]
#[schema(example = json!({"language": "python", "source": "print(int(input()) * 2)",
    "tests": [{"stdin": "2", "expected_output": "4"}]}))]
pub(crate) struct SubmissionRequest {
    /// The language, by its id or another name of it.
    language: String,
    /// The program's text. Either this or `files` is needed.
    source: Option<String>,
    /// Several files, the main one first.
    files: Option<Vec<FileRequest>>,
    /// Options for the compiler, one each; no shell splits them.
    options: Option<Vec<String>>,
    /// The program's arguments.
    arguments: Option<Vec<String>>,
    /// What it reads, if there are no tests.
    stdin: Option<String>,
    /// The tests that it has to pass.
    tests: Option<Vec<TestRequest>>,
    /// What makes an output right: `exact`, `lines` (the default), `tokens`, `float`, `float:EPSILON`,
    /// `unordered`; or a program by testlib's protocol, as an object with `language` and `source` or `files`.
    checker: Option<CheckerRequest>,
    /// A program by testlib's protocol that talks to this one, and judges it.
    interactor: Option<ProgramRequest>,
    /// What each run may use.
    limits: Option<LimitsRequest>,
    /// Where the result is sent when it is there.
    webhook_url: Option<String>,
    /// `low`, `normal` or `high`.
    priority: Option<String>,
    /// The same key and body again is the same submission.
    idempotency_key: Option<String>,
    /// Whether the tests behind the first that fails are skipped.
    fail_fast: Option<bool>,
}

/// A file of a program.
#[derive(Deserialize, ToSchema)]
pub(crate) struct FileRequest {
    /// Its path in the work folder.
    path: String,
    /// Its text.
    content: Option<String>,
    /// Its bytes, where they are no text.
    content_base64: Option<String>,
}

/// One input, and what is expected to come of it.
#[derive(ToSchema)]
pub(crate) struct TestRequest {
    /// What it is called in the results; its number, if not given.
    name: Option<String>,
    /// What the program reads.
    stdin: Option<String>,
    /// What it should write; without it, it only has to end well.
    expected_output: Option<String>,
}

/// What makes an output right.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum CheckerRequest {
    /// By a rule.
    Rule(String),
    /// By a program.
    Program(ProgramRequest),
}

/// A checker or an interactor.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ProgramRequest {
    /// Its language.
    language: String,
    /// Its text.
    source: Option<String>,
    /// Several files, the main one first.
    files: Option<Vec<FileRequest>>,
    /// Options for the compiler.
    options: Option<Vec<String>>,
}

/// What each run may use. `/v1/config` has the defaults and the most that is allowed.
#[derive(ToSchema)]
pub(crate) struct LimitsRequest {
    /// CPU time of all processes together.
    cpu_seconds: Option<f64>,
    /// Time from start to end.
    wall_seconds: Option<f64>,
    /// Memory of all processes together, with the files they write.
    memory_bytes: Option<u64>,
    /// The main thread's stack.
    stack_bytes: Option<u64>,
    /// Processes and threads at once.
    processes: Option<u64>,
    /// Bytes of stdout, and as many of stderr.
    output_bytes: Option<u64>,
    /// Bytes in the work folder and `/tmp`.
    disk_bytes: Option<u64>,
}

/// Several submissions.
#[derive(ToSchema)]
pub(crate) struct BatchRequest {
    /// The submissions.
    #[schema(min_items = 1)]
    submissions: Vec<SubmissionRequest>,
}

/// What a client says in a session, as text. A binary message is stdin as it is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum SessionInput {
    /// The first message: what is run.
    Start {
        /// The language, by its id or another name of it.
        language: String,
        /// The program's text. Either this or `files` is needed.
        source: Option<String>,
        /// Several files, the main one first.
        files: Option<Vec<FileRequest>>,
        /// Options for the compiler, one each.
        options: Option<Vec<String>>,
        /// The program's arguments.
        arguments: Option<Vec<String>>,
        /// What it may use.
        limits: Option<LimitsRequest>,
        /// The size of its terminal; without one, it has three pipes.
        terminal: Option<TerminalRequest>,
    },
    /// The program reads this.
    Stdin {
        /// A text.
        text: Option<String>,
        /// Bytes, where they are no text.
        base64: Option<String>,
    },
    /// The program reads end-of-file.
    CloseStdin,
    /// The program gets a signal.
    Signal {
        /// Its name: `SIGINT`, `SIGTERM`, …
        signal: String,
    },
    /// The terminal has a new size.
    Resize(TerminalRequest),
    /// The program is ended, and reported.
    Cancel,
}

/// The size of a terminal, in characters.
#[derive(ToSchema)]
pub(crate) struct TerminalRequest {
    /// Lines, 1 to 1000.
    rows: u16,
    /// Characters in a line, 1 to 1000.
    columns: u16,
}
