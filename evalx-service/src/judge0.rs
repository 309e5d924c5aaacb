//! Judge0's documents: what its API says of a submission, and what its
//! callbacks bring.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evalx_core::{CompileReport, Outcome, TestResult, Verdict};
use evalx_queue::{JobState, JobView};
use serde_json::{Map, Value, json};

use crate::job::{Answer, Job};
use crate::timestamp::rfc3339;

/// Judge0's statuses, in the order of their ids from 1.
pub const STATUSES: [&str; 14] = [
    "In Queue",
    "Processing",
    "Accepted",
    "Wrong Answer",
    "Time Limit Exceeded",
    "Compilation Error",
    "Runtime Error (SIGSEGV)",
    "Runtime Error (SIGXFSZ)",
    "Runtime Error (SIGFPE)",
    "Runtime Error (SIGABRT)",
    "Runtime Error (NZEC)",
    "Runtime Error (Other)",
    "Internal Error",
    "Exec Format Error",
];

/// The fields that are given where none are asked for.
pub const DEFAULT_FIELDS: [&str; 8] =
    ["token", "time", "memory", "stdout", "stderr", "compile_output", "message", "status"];

/// All fields; the official client refuses any other.
pub const FIELDS: &[&str] = &[
    "source_code",
    "language_id",
    "stdin",
    "expected_output",
    "stdout",
    "status_id",
    "created_at",
    "finished_at",
    "time",
    "memory",
    "stderr",
    "token",
    "number_of_runs",
    "cpu_time_limit",
    "cpu_extra_time",
    "wall_time_limit",
    "memory_limit",
    "stack_limit",
    "max_processes_and_or_threads",
    "enable_per_process_and_thread_time_limit",
    "enable_per_process_and_thread_memory_limit",
    "max_file_size",
    "compile_output",
    "exit_code",
    "exit_signal",
    "message",
    "wall_time",
    "compiler_options",
    "command_line_arguments",
    "redirect_stderr_to_stdout",
    "callback_url",
    "additional_files",
    "enable_network",
    "status",
    "language",
];

/// How texts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are, which must be UTF-8.
    Text,
    /// As base64 without line breaks.
    Base64,
}

/// That a text is not UTF-8 and can't be written as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

/// What is said of a submission, field by field.
///
/// `order` is what was handed in, if it is still known.
///
/// # Errors
///
/// If one of the wanted texts is not UTF-8 and should be written as it is.
pub fn fields(
    job: &JobView,
    order: Option<&Job>,
    wanted: &[&str],
    encoding: Encoding,
) -> Result<Map<String, Value>, NotUtf8> {
    let result = Outcomes::of(job);
    let request = order.and_then(|order| order.request.as_ref());
    let submission = order.map(|order| &order.submission);
    let mut fields = Map::new();
    for &name in wanted {
        let text = |bytes: Option<&[u8]>| text(bytes.filter(|bytes| !bytes.is_empty()), encoding);
        let value = match name {
            "token" => json!(job.id),
            "created_at" => json!(rfc3339(job.enqueued_at)),
            "finished_at" => json!(job.finished_at.map(rfc3339)),
            "source_code" => {
                let main = submission.and_then(|submission| submission.code.files.first());
                let is_one_file = request.is_some_and(|request| request["has_source"] == json!(true));
                text(main.filter(|_| is_one_file).map(|file| &file.contents[..]))?
            }
            "stdin" => text(submission.and_then(|s| s.tests.first()).map(|test| &test.stdin[..]))?,
            "expected_output" => text(submission.and_then(|s| s.tests.first()?.expected.as_deref()))?,
            "stdout" => text(Some(&result.stdout))?,
            "stderr" => text(Some(&result.stderr))?,
            "compile_output" => text(Some(&result.compile_output))?,
            "message" => text(result.message.as_deref().map(str::as_bytes))?,
            "time" => json!(result.time),
            "wall_time" => json!(result.wall_time),
            "memory" => json!(result.memory),
            "exit_code" => json!(result.exit_code),
            "exit_signal" => json!(result.exit_signal),
            "status_id" => json!(result.status),
            "status" => status(result.status),
            _ => request.map_or(Value::Null, |request| request[name].clone()),
        };
        fields.insert(name.to_owned(), value);
    }
    Ok(fields)
}

/// What a callback brings: the default fields, always in base64.
#[must_use]
pub fn callback(job: &JobView, order: Option<&Job>) -> Value {
    fields(job, order, &DEFAULT_FIELDS, Encoding::Base64).map_or(Value::Null, Value::Object)
}

/// A status as it is shown.
#[must_use]
pub fn status(id: usize) -> Value {
    json!({ "id": id, "description": STATUSES.get(id.wrapping_sub(1)) })
}

/// The status of a job.
#[must_use]
pub fn status_id(job: &JobView) -> usize {
    Outcomes::of(job).status
}

fn text(bytes: Option<&[u8]>, encoding: Encoding) -> Result<Value, NotUtf8> {
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    match encoding {
        Encoding::Base64 => Ok(json!(STANDARD.encode(bytes))),
        Encoding::Text => str::from_utf8(bytes).map(Value::from).map_err(|_| NotUtf8),
    }
}

/// What came of a submission, in Judge0's words.
#[derive(Debug, Default)]
struct Outcomes {
    status: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    compile_output: Vec<u8>,
    message: Option<String>,
    time: Option<String>,
    wall_time: Option<String>,
    memory: Option<u64>,
    exit_code: Option<i32>,
    exit_signal: Option<i32>,
}

impl Outcomes {
    fn of(job: &JobView) -> Self {
        let internal = |message: String| Self { status: 13, message: Some(message), ..Self::default() };
        match job.state {
            JobState::Delayed | JobState::Ready => Self { status: 1, ..Self::default() },
            JobState::Active => Self { status: 2, ..Self::default() },
            JobState::Cancelled => internal("it was cancelled".to_owned()),
            JobState::Dead => internal(job.last_error().unwrap_or("it could not be run").to_owned()),
            JobState::Done => match job.decode_result::<Answer>().ok().flatten() {
                Some(Answer { evaluation: Some(evaluation), .. }) => {
                    let mut outcomes = Self::default();
                    if let Some(compile) = &evaluation.compile {
                        outcomes.compiled(compile);
                    }
                    if let Some(test) = evaluation.tests.first().filter(|_| outcomes.status == 0) {
                        outcomes.ran(test);
                    }
                    outcomes
                }
                Some(Answer { error, .. }) => internal(error.unwrap_or_default()),
                None => internal("the result can't be read".to_owned()),
            },
        }
    }

    fn compiled(&mut self, compile: &CompileReport) {
        self.compile_output = [&compile.stdout[..], &compile.stderr[..]].concat();
        if compile.is_success() {
            return;
        }
        self.status = 6;
        if matches!(compile.report.outcome, Outcome::CpuTimeLimit | Outcome::WallTimeLimit) {
            self.compile_output = b"Compilation time limit exceeded.".to_vec();
        } else if self.compile_output.is_empty() {
            self.compile_output = compile.failure.clone().unwrap_or_default().into_bytes();
        }
    }

    fn ran(&mut self, test: &TestResult) {
        let Some(report) = test.report.as_ref().filter(|_| test.verdict != Verdict::InternalError) else {
            self.status = 13;
            self.message.clone_from(&test.message);
            return;
        };
        self.stdout = test.stdout.to_vec();
        self.stderr = test.stderr.to_vec();
        self.time = Some(format!("{:.3}", report.cpu_time.as_secs_f64()));
        self.wall_time = Some(format!("{:.3}", report.wall_time.as_secs_f64()));
        self.memory = Some(report.memory_peak.as_u64() / 1024);
        self.exit_code = Some(report.exit_code().unwrap_or(0));
        let message = match &report.outcome {
            Outcome::CpuTimeLimit => {
                self.status = 5;
                "Time limit exceeded".to_owned()
            }
            Outcome::WallTimeLimit => {
                self.status = 5;
                "Time limit exceeded (wall clock)".to_owned()
            }
            // Judge0 has no status for memory: its users look for this code.
            Outcome::MemoryLimit => self.exited(137, "Memory limit exceeded"),
            Outcome::OutputLimit => self.exited(153, "Output limit exceeded"),
            Outcome::Signaled(signal) => {
                let number = signal.number();
                self.status = match number {
                    11 => 7,
                    25 => 8,
                    8 => 9,
                    6 => 10,
                    _ => 12,
                };
                self.exit_signal = Some(number);
                self.exit_code = Some(128 + number);
                format!("Caught fatal signal {number}")
            }
            Outcome::ForbiddenSyscall(name) => {
                self.status = 12;
                format!("Forbidden system call {name}")
            }
            Outcome::Exited(0) => {
                self.status = if test.verdict == Verdict::Accepted { 3 } else { 4 };
                return;
            }
            _ => {
                let code = report.exit_code().unwrap_or(1);
                self.exited(code, &format!("Exited with error status {code}"))
            }
        };
        self.message = Some(message);
    }

    fn exited(&mut self, code: i32, message: &str) -> String {
        self.status = 11;
        self.exit_code = Some(code);
        message.to_owned()
    }
}
