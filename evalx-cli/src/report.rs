//! The JSON of a [`StepReport`], and its one line for people.
//!
//! Names, order and nulls are a contract with whoever parses them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evalx_core::{Amount, KilledBy, LimitHit, Outcome, StepReport};
use serde::Serialize;

use crate::units::{show_size, show_time};

/// A report as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct ReportDocument {
    outcome: &'static str,
    exit_code: Option<i32>,
    signal: Option<String>,
    syscall: Option<String>,
    cpu_seconds: f64,
    user_seconds: f64,
    system_seconds: f64,
    wall_seconds: f64,
    memory_peak_bytes: u64,
    memory_measured_by: &'static str,
    processes_peak: Option<u64>,
    oom_kills: u64,
    limit: Option<LimitDocument>,
    killed_by: Option<KilledBy>,
    stdout: String,
    stderr: String,
    stdout_base64: Option<String>,
    stderr_base64: Option<String>,
    stdout_bytes: u64,
    stderr_bytes: u64,
    stdout_truncated: bool,
    stderr_truncated: bool,
    backend: String,
    /// Of a compiler alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<bool>,
}

/// The limit that was met.
#[derive(Debug, Serialize)]
struct LimitDocument {
    kind: &'static str,
    limit: AmountDocument,
    measured: AmountDocument,
}

/// A plain number, in the unit of its limit.
#[derive(Debug)]
struct AmountDocument(Amount);

impl Serialize for AmountDocument {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Amount::Time(time) => serializer.serialize_f64(seconds(time)),
            Amount::Size(size) => serializer.serialize_u64(size.as_u64()),
            Amount::Count(count) => serializer.serialize_u64(count),
        }
    }
}

impl From<LimitHit> for LimitDocument {
    fn from(hit: LimitHit) -> Self {
        Self {
            kind: hit.kind.as_str(),
            limit: AmountDocument(hit.limit),
            measured: AmountDocument(hit.measured),
        }
    }
}

impl ReportDocument {
    /// The document of a step that wrote these bytes.
    pub(crate) fn new(report: &StepReport, stdout: &[u8], stderr: &[u8], backend: &str) -> Self {
        let (stdout, stdout_base64) = text_of(stdout);
        let (stderr, stderr_base64) = text_of(stderr);
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
            stdout,
            stderr,
            stdout_base64,
            stderr_base64,
            stdout_bytes: report.stdout.bytes,
            stderr_bytes: report.stderr.bytes,
            stdout_truncated: report.stdout.truncated,
            stderr_truncated: report.stderr.truncated,
            backend: backend.to_owned(),
            cached: None,
        }
    }

    /// Adds whether this is what an earlier compiler did.
    pub(crate) fn with_cached(mut self, cached: bool) -> Self {
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

/// How a step went, in one line.
pub(crate) fn summary(report: &StepReport) -> String {
    let limit = report.limit.map(|hit| match hit.limit {
        Amount::Time(time) => format!(" limit of {time:?}"),
        Amount::Size(size) => format!(" limit of {size}"),
        Amount::Count(count) => format!(" limit of {count}"),
    });
    format!(
        "{}{} · cpu {} · wall {} · memory {}",
        report.outcome,
        limit.unwrap_or_default(),
        show_time(report.cpu_time),
        show_time(report.wall_time),
        show_size(report.memory_peak)
    )
}

#[cfg(test)]
mod tests {
    use evalx_core::{ByteSize, LimitKind, Signal, StreamSummary};

    use super::*;

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
    fn the_line_for_people_names_the_limit() {
        let mut report = StepReport::new(Outcome::MemoryLimit);
        let size = Amount::Size(ByteSize::mib(64));
        report.limit = Some(LimitHit::new(LimitKind::Memory, size, size));
        assert_eq!(summary(&report), "exceeded its memory limit of 64M · cpu 0 µs · wall 0 µs · memory 0 B");
    }
}
