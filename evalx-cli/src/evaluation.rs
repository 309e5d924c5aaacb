//! The JSON of an [`Evaluation`], and what people read of it.

use evalx_core::{CompileReport, Evaluation, Hint, ReportDocument, StepReport, TestResult, Verdict};
use serde::Serialize;

use crate::console::{Console, Paint};
use crate::failure::Failure;
use crate::report::summary;

/// An evaluation as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct EvaluationDocument<'a> {
    language: &'a str,
    compile: Option<ReportDocument>,
    tests: Vec<TestDocument<'a>>,
    verdict: &'static str,
    hint: Option<&'a Hint>,
    hints: &'a [Hint],
}

#[derive(Debug, Serialize)]
struct TestDocument<'a> {
    name: &'a str,
    verdict: &'static str,
    report: Option<ReportDocument>,
    hint: Option<&'a Hint>,
    message: Option<&'a str>,
}

impl<'a> EvaluationDocument<'a> {
    /// The document of what came of a submission in this backend.
    pub(crate) fn new(evaluation: &'a Evaluation, backend: &str) -> Self {
        let compile = evaluation.compile.as_ref().map(|compile| {
            let CompileReport { report, stdout, stderr, cached, .. } = compile;
            ReportDocument::new(report, stdout, stderr, backend).with_cached(*cached)
        });
        let test = |result: &'a TestResult| TestDocument {
            name: &result.name,
            verdict: result.verdict.as_str(),
            report: result
                .report
                .as_ref()
                .map(|report| ReportDocument::new(report, &result.stdout, &result.stderr, backend)),
            hint: result.hints.first(),
            message: result.message.as_deref(),
        };
        Self {
            language: &evaluation.language,
            compile,
            tests: evaluation.tests.iter().map(test).collect(),
            verdict: evaluation.verdict.as_str(),
            hint: evaluation.hints.first(),
            hints: &evaluation.hints,
        }
    }
}

/// Prints an evaluation for people.
///
/// A single run shows what the program wrote, as if it had been started by
/// itself, and the verdict on stderr; tests are a line each.
pub(crate) fn print(evaluation: &Evaluation, single: bool, console: &Console) -> Result<(), Failure> {
    if let Some(compile) = &evaluation.compile {
        // Warnings too: their author wants to see them.
        for output in [&compile.stdout, &compile.stderr] {
            console.error_bytes(output);
        }
        if let Some(failure) = &compile.failure {
            console.note(Paint::Bad, format_args!("evalx: {failure}"));
        }
    }
    let mut last: Option<&StepReport> = evaluation.compile.as_ref().map(|compile| &compile.report);
    for result in &evaluation.tests {
        if single {
            console.bytes(&result.stdout)?;
            console.error_bytes(&result.stderr);
            last = result.report.as_ref().or(last);
            if let Some(message) = &result.message {
                console.note(Paint::Dim, format_args!("evalx: {message}"));
            }
        } else {
            print_test(result, console)?;
        }
    }
    for hint in &evaluation.hints {
        print_hint(hint, console);
    }
    let verdict = evaluation.verdict;
    let paint = if verdict == Verdict::Accepted { Paint::Good } else { Paint::Bad };
    if single {
        let how = last.map(|report| format!(" · {}", summary(report))).unwrap_or_default();
        console.note(paint, format_args!("evalx: {}{how}", words(verdict)));
        return Ok(());
    }
    let accepted = evaluation.tests.iter().filter(|test| test.verdict == Verdict::Accepted).count();
    let all = evaluation.tests.len();
    console.line(format_args!("{}, {accepted} of {all} tests", console.paint(paint, words(verdict))))
}

fn print_test(result: &TestResult, console: &Console) -> Result<(), Failure> {
    let paint = match result.verdict {
        Verdict::Accepted => Paint::Good,
        Verdict::Skipped => Paint::Dim,
        _ => Paint::Bad,
    };
    let verdict = console.paint(paint, words(result.verdict));
    let how = result.report.as_ref().map(|report| format!(" · {}", summary(report))).unwrap_or_default();
    console.line(format_args!("{}: {verdict}{how}", result.name))?;
    match &result.message {
        Some(message) => console.line(format_args!("  {}", message.replace('\n', "\n  "))),
        None => Ok(()),
    }
}

/// Prints a hint for people.
pub(crate) fn print_hint(hint: &Hint, console: &Console) {
    let place = match (&hint.file, hint.line) {
        (Some(file), Some(line)) => format!(" ({file}, line {line})"),
        (None, Some(line)) => format!(" (line {line})"),
        _ => String::new(),
    };
    console.note(Paint::Bold, format_args!("hint: {}{place}", hint.title));
    for text in [Some(&hint.explanation), hint.suggestion.as_ref(), hint.documentation.as_ref()] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            console.note(Paint::Dim, format_args!("  {text}"));
        }
    }
}

/// A verdict as people say it.
fn words(verdict: Verdict) -> String {
    verdict.as_str().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_was_not_run_has_no_report() {
        let result = TestResult::new("1.in", Verdict::Skipped);
        let document = TestDocument {
            name: &result.name,
            verdict: result.verdict.as_str(),
            report: None,
            hint: result.hints.first(),
            message: result.message.as_deref(),
        };
        assert_eq!(
            serde_json::to_string(&document).unwrap(),
            r#"{"name":"1.in","verdict":"skipped","report":null,"hint":null,"message":null}"#
        );
    }

    #[test]
    fn verdicts_are_said_in_words() {
        assert_eq!(words(Verdict::TimeLimitExceeded), "time limit exceeded");
    }
}
