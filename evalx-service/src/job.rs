//! [`Job`]: a submission as it lies in the queue; and [`Answer`]: what its
//! worker leaves there.

use std::time::Duration;

use evalx_core::{Evaluation, Submission};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A submission, and what is to happen with its result.
///
/// It is the payload of a job of the queue, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Job {
    /// What is evaluated.
    pub submission: Submission,
    /// How often the program is run on the same input, stopping at the first
    /// run that is not accepted. Time and memory are then averages.
    pub runs: u32,
    /// The CPU time beyond which a program was too slow, though it may go on
    /// to its limit.
    pub cpu_time: Option<Duration>,
    /// Who is told of the result.
    pub notify: Option<Notify>,
    /// What whoever accepted it needs to answer for it. No worker looks at it.
    pub request: Option<Value>,
}

impl Job {
    /// A submission that nobody is told about.
    #[must_use]
    pub const fn new(submission: Submission) -> Self {
        Self { submission, runs: 1, cpu_time: None, notify: None, request: None }
    }

    /// Sets who is told of the result.
    #[must_use]
    pub fn with_notify(mut self, notify: Notify) -> Self {
        self.notify = Some(notify);
        self
    }

    /// Sets the CPU time beyond which a program was too slow.
    #[must_use]
    pub const fn with_cpu_time(mut self, cpu_time: Duration) -> Self {
        self.cpu_time = Some(cpu_time);
        self
    }

    /// Sets how often the program is run.
    #[must_use]
    pub const fn with_runs(mut self, runs: u32) -> Self {
        self.runs = runs;
        self
    }

    /// Keeps what is needed to answer for it.
    #[must_use]
    pub fn with_request(mut self, request: Value) -> Self {
        self.request = Some(request);
        self
    }
}

/// Who is told of a result, and in which form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// Where to.
    pub url: String,
    /// How.
    pub form: NotifyForm,
}

impl Notify {
    /// Tells this URL, in this form.
    pub fn new(url: impl Into<String>, form: NotifyForm) -> Self {
        Self { url: url.into(), form }
    }
}

/// Without the URL, which may hold a token.
impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notify").field("form", &self.form).finish_non_exhaustive()
    }
}

/// How somebody is told of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotifyForm {
    /// By the rules of Standard Webhooks, with a [`SubmissionDocument`](crate::SubmissionDocument).
    Webhook,
    /// As Judge0 does, with its own fields.
    Judge0,
}

/// What a worker leaves as the result of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// The backend that the program was run in.
    pub backend: String,
    /// What came of the submission, if it could be evaluated.
    pub evaluation: Option<Evaluation>,
    /// Why it could not be.
    pub error: Option<String>,
}

impl Answer {
    /// The submission was evaluated.
    #[must_use]
    pub const fn evaluated(backend: String, evaluation: Evaluation) -> Self {
        Self { backend, evaluation: Some(evaluation), error: None }
    }

    /// The submission can't be evaluated, now or later.
    #[must_use]
    pub const fn refused(backend: String, error: String) -> Self {
        Self { backend, evaluation: None, error: Some(error) }
    }
}
