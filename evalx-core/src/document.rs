//! [`ReportDocument`]: what a step did, as JSON.
//!
//! Names, order and nulls are a contract with whoever parses them: the `evalx`
//! command and the HTTP server show the same.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::{Amount, KilledBy, LimitHit, Outcome, StepReport};

/// What a step did, with what it wrote.
///
/// ```
/// use evalx_core::{Outcome, ReportDocument, StepReport};
///
/// let report = StepReport::new(Outcome::Exited(0));
/// let document = ReportDocument::new(&report, b"hello\n", b"\xff", "native");
/// assert_eq!(document.stdout, "hello\n");
/// // What is no text is there in both ways.
/// assert_eq!((document.stderr.as_str(), document.stderr_base64.as_deref()), ("\u{fffd}", Some("/w==")));
/// ```
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
    /// What was allowed: seconds, bytes, or a count.
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    #[serde(serialize_with = "plain")]
    pub limit: Amount,
    /// What was measured, in the same unit.
    #[cfg_attr(feature = "openapi", schema(value_type = f64))]
    #[serde(serialize_with = "plain")]
    pub measured: Amount,
}

impl From<LimitHit> for LimitDocument {
    fn from(hit: LimitHit) -> Self {
        Self { kind: hit.kind.as_str(), limit: hit.limit, measured: hit.measured }
    }
}

/// A plain number, in the amount's own unit.
fn plain<S: Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
    match *amount {
        Amount::Time(time) => serializer.serialize_f64(seconds(time)),
        Amount::Size(size) => serializer.serialize_u64(size.as_u64()),
        Amount::Count(count) => serializer.serialize_u64(count),
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

    /// Adds whether this is what an earlier compiler did.
    #[must_use]
    pub const fn with_cached(mut self, cached: bool) -> Self {
        self.cached = Some(cached);
        self
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
    use super::*;
    use crate::{ByteSize, LimitKind, Signal, StreamSummary};

    #[test]
    fn a_report_has_every_field_in_its_order() {
        let mut report = StepReport::new(Outcome::Exited(0));
        report.cpu_time = Duration::from_micros(1000);
        report.system_time = report.cpu_time;
        report.wall_time = Duration::from_nanos(2_000_400);
        report.memory_peak = ByteSize::bytes(1_507_328);
        report.processes_peak = Some(1);
        report.stdout = StreamSummary::new(6, false);
        let document = ReportDocument::new(&report, b"hello\n", b"", "native");
        assert_eq!(
            serde_json::to_string(&document).unwrap(),
            concat!(
                r#"{"outcome":"exited","exit_code":0,"signal":null,"syscall":null,"#,
                r#""cpu_seconds":0.001,"user_seconds":0.0,"system_seconds":0.001,"wall_seconds":0.002,"#,
                r#""memory_peak_bytes":1507328,"memory_measured_by":"cgroup","processes_peak":1,"oom_kills":0,"#,
                r#""limit":null,"killed_by":null,"#,
                r#""stdout":"hello\n","stderr":"","stdout_base64":null,"stderr_base64":null,"#,
                r#""stdout_bytes":6,"stderr_bytes":0,"stdout_truncated":false,"stderr_truncated":false,"#,
                r#""backend":"native"}"#
            )
        );
    }

    #[test]
    fn a_limit_is_in_its_own_unit() {
        let of = |limit, measured, kind| {
            serde_json::to_string(&LimitDocument::from(LimitHit::new(kind, limit, measured))).unwrap()
        };
        let size = Amount::Size(ByteSize::mib(64));
        assert_eq!(
            of(size, size, LimitKind::Memory),
            r#"{"kind":"memory","limit":67108864,"measured":67108864}"#
        );
        let (limit, measured) =
            (Amount::Time(Duration::from_secs(1)), Amount::Time(Duration::from_millis(1004)));
        assert_eq!(
            of(limit, measured, LimitKind::CpuTime),
            r#"{"kind":"cpu_time","limit":1.0,"measured":1.004}"#
        );
        let count = Amount::Count(64);
        assert_eq!(
            of(count, count, LimitKind::Processes),
            r#"{"kind":"processes","limit":64,"measured":64}"#
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_exactly() {
        let document = ReportDocument::new(&StepReport::new(Outcome::Exited(0)), b"a\xff", b"", "native");
        assert_eq!(document.stdout, "a\u{fffd}");
        assert_eq!(document.stdout_base64.as_deref(), Some("Yf8="));
        assert_eq!(document.stderr_base64, None);
    }

    #[test]
    fn signals_and_calls_are_named() {
        let document =
            ReportDocument::new(&StepReport::new(Outcome::Signaled(Signal::SEGV)), b"", b"", "native");
        assert_eq!((document.signal.as_deref(), document.exit_code), (Some("SIGSEGV"), None));
        let forbidden = StepReport::new(Outcome::ForbiddenSyscall("socket".to_owned()));
        assert_eq!(ReportDocument::new(&forbidden, b"", b"", "native").syscall.as_deref(), Some("socket"));
    }

    #[test]
    fn what_the_evaluator_did_not_keep_is_said_to_be_cut() {
        let mut report = StepReport::new(Outcome::Exited(0));
        report.stdout = StreamSummary::new(100, false);
        let document = ReportDocument::new(&report, b"a", b"", "native");
        assert!(document.stdout_truncated && !document.stderr_truncated);
    }
}
