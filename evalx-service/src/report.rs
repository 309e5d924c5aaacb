//! [`ReportDocument`]: what a step did, as JSON. Names and nulls are a
//! contract with whoever parses them, the same as that of the `evalx` command.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evalx_core::{Amount, KilledBy, LimitHit, Outcome, StepReport};
use serde::Serialize;

/// What a step did, with what it wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ReportDocument {
    /// How it ended: `exited`, `signaled`, `cpu_time_limit`, `wall_time_limit`, `memory_limit`,
    /// `output_limit`, `process_limit`, `disk_limit`, `forbidden_syscall` or `cancelled`.
    pub outcome: &'static str,
    /// The exit code, if the program ended with one.
    pub exit_code: Option<i32>,
    /// The signal that ended it, as `SIGSEGV`.
    pub signal: Option<String>,
    /// The forbidden system call.
    pub syscall: Option<String>,
    /// CPU time of the whole tree of processes.
    pub cpu_seconds: f64,
    /// The part of it in user mode.
    pub user_seconds: f64,
    /// The part of it in the kernel.
    pub system_seconds: f64,
    /// From the start to the end.
    pub wall_seconds: f64,
    /// The most memory at once.
    pub memory_peak_bytes: u64,
    /// How that was measured: `cgroup` or `max_rss`.
    pub memory_measured_by: &'static str,
    /// The most processes and threads at once.
    pub processes_peak: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// The limit that decided the outcome.
    pub limit: Option<LimitDocument>,
    /// Who ended the program, if it did not exit: `kernel`, `supervisor` or `self`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub killed_by: Option<KilledBy>,
    /// What it wrote to stdout, as text.
    pub stdout: String,
    /// What it wrote to stderr, as text.
    pub stderr: String,
    /// The exact bytes of stdout, if they are not UTF-8.
    pub stdout_base64: Option<String>,
    /// The exact bytes of stderr, if they are not UTF-8.
    pub stderr_base64: Option<String>,
    /// Bytes written to stdout, kept or not.
    pub stdout_bytes: u64,
    /// Bytes written to stderr, kept or not.
    pub stderr_bytes: u64,
    /// Whether stdout is cut.
    pub stdout_truncated: bool,
    /// Whether stderr is cut.
    pub stderr_truncated: bool,
    /// What ran it: `native`, `isolate`, …
    pub backend: String,
    /// Of a compiler alone: whether this is what an earlier one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<bool>,
}

/// A limit that was met.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct LimitDocument {
    /// Which: `cpu_time`, `memory`, …
    pub kind: &'static str,
    /// What was allowed, in seconds, bytes or pieces.
    pub limit: f64,
    /// What was measured, in the same unit.
    pub measured: f64,
}

impl From<LimitHit> for LimitDocument {
    fn from(hit: LimitHit) -> Self {
        Self { kind: hit.kind.as_str(), limit: amount(hit.limit), measured: amount(hit.measured) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no limit is near 2^53")]
fn amount(amount: Amount) -> f64 {
    match amount {
        Amount::Time(time) => seconds(time),
        Amount::Size(size) => size.as_u64() as f64,
        Amount::Count(count) => count as f64,
    }
}

impl ReportDocument {
    /// The document of a step that wrote these bytes.
    #[must_use]
    pub fn new(report: &StepReport, stdout: &[u8], stderr: &[u8], backend: &str) -> Self {
        let (stdout_text, stdout_base64) = text_of(stdout);
        let (stderr_text, stderr_base64) = text_of(stderr);
        Self {
            outcome: report.outcome.as_str(),
            exit_code: report.exit_code(),
            signal: report.signal().map(|signal| signal.to_string()),
            syscall: match &report.outcome {
                Outcome::ForbiddenSyscall(name) => Some(name.clone()),
                _ => None,
            },
            cpu_seconds: seconds(report.cpu_time),
            user_seconds: seconds(report.user_time),
            system_seconds: seconds(report.system_time),
            wall_seconds: seconds(report.wall_time),
            memory_peak_bytes: report.memory_peak.as_u64(),
            memory_measured_by: report.memory_measured_by.as_str(),
            processes_peak: report.processes_peak,
            oom_kills: report.oom_kills,
            limit: report.limit.map(LimitDocument::from),
            killed_by: report.killed_by,
            stdout: stdout_text,
            stderr: stderr_text,
            stdout_base64,
            stderr_base64,
            stdout_bytes: report.stdout.bytes,
            stderr_bytes: report.stderr.bytes,
            // Cut by the sandbox, or by the evaluator that keeps only so much.
            stdout_truncated: report.stdout.truncated || report.stdout.bytes > stdout.len() as u64,
            stderr_truncated: report.stderr.truncated || report.stderr.bytes > stderr.len() as u64,
            backend: backend.to_owned(),
            cached: None,
        }
    }
}

/// The text, and the exact bytes where it is none.
fn text_of(bytes: &[u8]) -> (String, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), Some(STANDARD.encode(bytes))),
    }
}

/// Seconds to the microsecond: no clock of these is finer.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use evalx_core::StreamSummary;

    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_kept_exactly() {
        let document = ReportDocument::new(&StepReport::new(Outcome::Exited(0)), b"a\xff", b"", "native");
        assert_eq!(document.stdout, "a\u{fffd}");
        assert_eq!(document.stdout_base64.as_deref(), Some("Yf8="));
        assert_eq!((document.stderr_base64, document.cached), (None, None));
    }

    #[test]
    fn what_the_evaluator_did_not_keep_is_said_to_be_cut() {
        let mut report = StepReport::new(Outcome::Exited(0));
        report.stdout = StreamSummary::new(100, false);
        let document = ReportDocument::new(&report, b"a", b"", "native");
        assert!(document.stdout_truncated && !document.stderr_truncated);
    }
}
