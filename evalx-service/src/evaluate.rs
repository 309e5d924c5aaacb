//! [`EvaluationHandler`]: what a worker does with a submission.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use evalx_core::{
    Amount, CompileReport, Error, ErrorKind, Evaluation, Evaluator, Event, LimitHit, LimitKind, Submission,
    TestResult, Verdict,
};
use evalx_queue::{Claimed, Handler, JobContext, Outcome};
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use crate::job::{Answer, Job};
use crate::notice::Notices;
use crate::teller::Teller;
use crate::trace;

/// The event that tells what the compiler did, as a [`CompileReport`] with the backend's name.
pub const COMPILED: &str = "compiled";
/// The event that tells what came of one test.
pub const TEST: &str = "test";

/// The data of the event [`COMPILED`].
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Compiled {
    /// The backend that the compiler ran in.
    pub backend: String,
    /// What it did.
    pub compile: CompileReport,
}

/// The data of the event [`TEST`].
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tested {
    /// The backend that the program ran in.
    pub backend: String,
    /// The test's place in the submission.
    pub index: usize,
    /// What came of it.
    pub result: TestResult,
}

/// Evaluates submissions, and tells what happens as it happens.
///
/// The session of the sandbox lives in the handler's future, so that what a
/// cancelled submission has started ends with it.
#[derive(Debug)]
pub struct EvaluationHandler {
    evaluator: Evaluator,
    notices: Notices,
}

impl EvaluationHandler {
    /// Evaluates with `evaluator`; who is to be told of a result is told by `notices`.
    #[must_use]
    pub const fn new(evaluator: Evaluator, notices: Notices) -> Self {
        Self { evaluator, notices }
    }

    /// Evaluates a job, and has whoever is to be told of its end be told.
    async fn run(&self, claimed: &Claimed, job: &Job, context: &JobContext) -> Outcome {
        let config = context.queue().config();
        let last_attempt =
            if claimed.attempt >= config.max_attempts { LastAttempt::Yes } else { LastAttempt::No };
        let worker_may_be_its_last = claimed.crashes + 1 >= config.max_crashes;
        if let Some(notify) = job.notify.as_ref().filter(|_| worker_may_be_its_last) {
            // If this worker dies too, nobody runs the job again who could tell.
            let patience = claimed.max_run + config.lease + config.grace;
            if let Err(error) =
                self.notices.announce_later(claimed.id(), &claimed.tenant, notify, patience).await
            {
                return Outcome::retry(error.chain());
            }
        }
        let outcome = self.answer(job, last_attempt, context).await;
        let ends = match &outcome {
            Outcome::Retry { .. } => last_attempt == LastAttempt::Yes,
            _ => true,
        };
        // Announced before the result is there, so that a death in between
        // loses nothing: the delivery waits for the result.
        if let Some(notify) = job.notify.as_ref().filter(|_| ends)
            && let Err(error) = self.notices.announce(claimed.id(), &claimed.tenant, notify).await
        {
            return Outcome::retry(error.chain());
        }
        outcome
    }

    async fn answer(&self, job: &Job, last_attempt: LastAttempt, context: &JobContext) -> Outcome {
        let evaluated = self.evaluate(job, context).await;
        // Asked for when it is known, so that a `Fallback` names the one that ran it.
        let backend = self.evaluator.sandbox().capabilities().backend;
        let answer = match evaluated {
            Ok(evaluation) if evaluation.is_retryable() && last_attempt == LastAttempt::No => {
                return Outcome::retry("the sandbox was busy or broken in the middle of a test");
            }
            Ok(evaluation) => Answer::evaluated(backend, evaluation),
            // Nobody's fault but the submission's: it is answered, and not dead.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::Unsupported) => {
                Answer::refused(backend, error.chain())
            }
            Err(error) if error.is_retryable() => return Outcome::retry(error.chain()),
            Err(error) => return Outcome::rejected(error.chain()),
        };
        match serde_json::to_vec(&answer) {
            Ok(result) => Outcome::done(result),
            Err(error) => Outcome::rejected(format!("the result can't be written as JSON: {error}")),
        }
    }

    async fn evaluate(&self, job: &Job, context: &JobContext) -> Result<Evaluation, Error> {
        let held = |mut run: Evaluation| {
            if let Some(cpu_time) = job.cpu_time {
                hold(&mut run, cpu_time);
            }
            run
        };
        let mut runs = vec![held(self.stream(job.submission.clone(), context).await?)];
        while runs.len() < job.runs as usize
            && runs.last().is_some_and(|run| run.verdict == Verdict::Accepted)
        {
            runs.push(held(self.evaluator.evaluate(job.submission.clone()).await?));
        }
        average(runs)
    }

    async fn stream(&self, submission: Submission, context: &JobContext) -> Result<Evaluation, Error> {
        let (sender, mut events) = evalx_core::events();
        let mut evaluation = pin!(self.evaluator.evaluate_telling(submission, sender));
        let mut teller = Teller::new(context);
        let ended = loop {
            // Cancel safety: a receiver, what `progress` says of itself, and a
            // future that is kept.
            tokio::select! {
                biased;
                Some(event) = events.recv(), if teller.has_room() => self.tell(event, &mut teller),
                ended = &mut evaluation => break ended,
                () = teller.progress() => {}
            }
        };
        while let Some(event) = events.try_recv() {
            self.tell(event, &mut teller);
        }
        teller.finish().await;
        ended
    }

    fn tell(&self, event: Event, teller: &mut Teller<'_>) {
        let backend = self.evaluator.sandbox().capabilities().backend;
        match event {
            Event::Compiled(compile) => teller.tell(COMPILED, &Compiled { backend, compile }),
            Event::Test { index, result } => teller.tell(TEST, &Tested { backend, index, result }),
            _ => {}
        }
    }
}

/// Whether the queue begins the job again if this attempt fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastAttempt {
    Yes,
    No,
}

#[async_trait]
impl Handler for EvaluationHandler {
    async fn handle(&self, claimed: Claimed, context: JobContext) -> Outcome {
        let job: Job = match claimed.decode() {
            Ok(job) => job,
            Err(error) => return Outcome::rejected(error.chain()),
        };
        // Without the id: who knows it may read the result.
        let span = tracing::info_span!("job", language = job.submission.code.language, claimed.attempt);
        trace::join(&span, claimed.trace.as_deref());
        Box::pin(self.run(&claimed, &job, &context)).instrument(span).await
    }
}

/// Says of programs that used more than `cpu_time` that they were too slow:
/// they were allowed to end so that it is known how slow.
fn hold(evaluation: &mut Evaluation, cpu_time: Duration) {
    let mut is_any_late = false;
    for test in &mut evaluation.tests {
        let Some(report) = test.report.as_mut().filter(|report| report.cpu_time > cpu_time) else { continue };
        let (limit, measured) = (Amount::Time(cpu_time), Amount::Time(report.cpu_time));
        report.limit = Some(LimitHit::new(LimitKind::CpuTime, limit, measured));
        report.outcome = evalx_core::Outcome::CpuTimeLimit;
        test.verdict = Verdict::TimeLimitExceeded;
        test.message = Some(format!("the program {}", report.outcome));
        is_any_late = true;
    }
    // What was not run, since it did not compile, is not late either.
    if !is_any_late {
        return;
    }
    if let Some(failed) = evaluation.tests.iter().find(|test| test.verdict != Verdict::Accepted) {
        evaluation.verdict = failed.verdict;
    }
}

/// The last of several runs, with the average of what the accepted ones used.
fn average(mut runs: Vec<Evaluation>) -> Result<Evaluation, Error> {
    let mut last =
        runs.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a submission was run no times"))?;
    let Ok(count) = u32::try_from(runs.len() + 1) else { return Ok(last) };
    for (index, test) in last.tests.iter_mut().enumerate() {
        let Some(report) = &mut test.report else { continue };
        let mut memory = report.memory_peak.as_u64();
        for earlier in runs.iter().filter_map(|run| run.tests.get(index)?.report.as_ref()) {
            report.cpu_time += earlier.cpu_time;
            report.user_time += earlier.user_time;
            report.system_time += earlier.system_time;
            report.wall_time += earlier.wall_time;
            memory = memory.saturating_add(earlier.memory_peak.as_u64());
        }
        report.cpu_time /= count;
        report.user_time /= count;
        report.system_time /= count;
        report.wall_time /= count;
        report.memory_peak = evalx_core::ByteSize::bytes(memory / u64::from(count));
    }
    Ok(last)
}
