//! [`SubmissionDocument`]: all that is known of a submission, as JSON: what
//! whoever asks for it gets, and what a webhook is told.

use evalx_core::{CompileReport, Evaluation, Hint, ReportDocument, TestResult};
use evalx_queue::{JobState, JobView};
use serde::Serialize;

use crate::job::Answer;
use crate::timestamp::rfc3339;

/// How far a submission is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// It waits for a worker.
    Queued,
    /// A worker evaluates it.
    Running,
    /// It was evaluated; the verdict says how it went.
    Finished,
    /// It could not be evaluated; the error says why.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl Status {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Cancelled)
    }
}

/// All that is known of a submission.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SubmissionDocument {
    /// What it is asked for by.
    pub token: String,
    /// How far it is.
    pub status: Status,
    /// The language's id.
    pub language: String,
    /// `accepted` if every test was; else the verdict of the first that was not, or of the compiler.
    pub verdict: Option<&'static str>,
    /// What the compiler did, if the language has one.
    pub compile: Option<ReportDocument>,
    /// What came of each test, in their order.
    pub tests: Vec<TestDocument>,
    /// What explains the verdict, as text.
    pub hint: Option<String>,
    /// What explains the verdict, the best first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<HintSchema>))]
    pub hints: Vec<Hint>,
    /// Why it could not be evaluated.
    pub error: Option<String>,
    /// About how many submissions will have been begun when it is, while it waits.
    pub position: Option<u64>,
    /// How often it was begun: more than once if a worker was lost.
    pub attempts: u32,
    /// When it was accepted.
    pub queued_at: String,
    /// When it was last begun.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TestDocument {
    /// What it is called.
    pub name: String,
    /// What the judge says.
    pub verdict: &'static str,
    /// Why it is not accepted, or what the checker said.
    pub message: Option<String>,
    /// The points that a checker program gave.
    pub score: Option<f64>,
    /// What explains the failure, as text.
    pub hint: Option<String>,
    /// What explains the failure, the best first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<HintSchema>))]
    pub hints: Vec<Hint>,
    /// What the program did, if it was run.
    pub report: Option<ReportDocument>,
}

/// The fields of a [`Hint`], which knows nothing of schemas.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(as = Hint)]
#[expect(dead_code, reason = "only its schema is used")]
struct HintSchema {
    /// The rule that gave it.
    rule: String,
    /// What kind of mistake it is.
    category: String,
    /// The mistake in a few words.
    title: String,
    /// What it means.
    explanation: String,
    /// What to try.
    suggestion: Option<String>,
    /// The name in the program that it is about.
    identifier: Option<String>,
    /// The file to look at.
    file: Option<String>,
    /// The line to look at, from 1.
    line: Option<u32>,
    /// The column to look at, from 1.
    column: Option<u32>,
    /// Where to read more.
    documentation: Option<String>,
    /// How sure the rule is, from 0 to 1.
    confidence: f32,
}

impl SubmissionDocument {
    /// What the queue knows of a submission.
    #[must_use]
    pub fn new(job: &JobView) -> Self {
        // Whoever put another kind of result into the queue sees no result.
        let answer = job.decode_result::<Answer>().ok().flatten();
        let (backend, evaluation, error) = match answer {
            Some(Answer { backend, evaluation, error }) => (backend, evaluation, error),
            None => (String::new(), None, None),
        };
        let status = match job.state {
            JobState::Delayed | JobState::Ready => Status::Queued,
            JobState::Active => Status::Running,
            JobState::Done if evaluation.is_some() => Status::Finished,
            JobState::Done | JobState::Dead => Status::Failed,
            JobState::Cancelled => Status::Cancelled,
        };
        let error = error.or_else(|| match job.state {
            JobState::Dead => Some(job.last_error().unwrap_or("it could not be evaluated").to_owned()),
            _ => None,
        });
        let mut document = Self {
            token: job.id.to_string(),
            status,
            language: job.language.clone(),
            verdict: None,
            compile: None,
            tests: Vec::new(),
            hint: None,
            hints: Vec::new(),
            error,
            position: job.position,
            attempts: job.attempt,
            queued_at: rfc3339(job.enqueued_at),
            started_at: job.started_at.map(rfc3339),
            finished_at: job.finished_at.map(rfc3339),
        };
        if let Some(evaluation) = evaluation {
            document.add(evaluation, &backend);
        }
        document
    }

    fn add(&mut self, evaluation: Evaluation, backend: &str) {
        self.verdict = Some(evaluation.verdict.as_str());
        self.compile = evaluation.compile.as_ref().map(|compile| compile_document(compile, backend));
        self.tests = evaluation.tests.iter().map(|test| TestDocument::new(test, backend)).collect();
        self.hint = evaluation.hints.first().map(hint_text);
        self.hints = evaluation.hints;
    }
}

impl TestDocument {
    /// The document of a test that was run in this backend.
    #[must_use]
    pub fn new(result: &TestResult, backend: &str) -> Self {
        let document = |report| ReportDocument::new(report, &result.stdout, &result.stderr, backend);
        Self {
            name: result.name.clone(),
            verdict: result.verdict.as_str(),
            message: result.message.clone(),
            score: result.score,
            hint: result.hints.first().map(hint_text),
            hints: result.hints.clone(),
            report: result.report.as_ref().map(document),
        }
    }
}

/// The document of a compiler that was run in this backend.
#[must_use]
pub fn compile_document(compile: &CompileReport, backend: &str) -> ReportDocument {
    let mut document = ReportDocument::new(&compile.report, &compile.stdout, &compile.stderr, backend);
    document.cached = Some(compile.cached);
    document
}

/// A hint as one text: what it is, what it means, and what to try.
#[must_use]
pub fn hint_text(hint: &Hint) -> String {
    let parts = [Some(&hint.title), Some(&hint.explanation), hint.suggestion.as_ref()];
    let parts: Vec<&str> =
        parts.into_iter().flatten().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() {
            text.push_str(if text.ends_with(['.', '!', '?', ':']) { " " } else { ". " });
        }
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_reads_as_a_text() {
        let mut hint = Hint::new("r", "c", "`pritn` is not defined");
        hint.explanation = "Nothing has this name.".to_owned();
        hint.suggestion = Some("Did you mean `print`?".to_owned());
        assert_eq!(hint_text(&hint), "`pritn` is not defined. Nothing has this name. Did you mean `print`?");
        assert_eq!(hint_text(&Hint::new("r", "c", "alone")), "alone");
    }
}
