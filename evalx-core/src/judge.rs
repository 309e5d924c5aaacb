//! Running the tests of one submission, and judging them.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{self, AbortHandle, Id, JoinSet};
use tracing::Instrument;

use crate::prepare::{self, Prepared, RunPlan};
use crate::testlib::{self, Judgement};
use crate::{
    Checker, Comparison, Connection, Error, ErrorKind, Evaluation, Evaluator, Event, Execution, FileContents,
    Limits, Network, OnFailure, Outcome, Phase, Program, Result, SandboxExt, SandboxPath, Side, Signal,
    SourceCode, StderrMode, Submission, SyscallPolicy, Test, TestResult, Verdict,
};

/// Outputs from this size on are compared on a thread that may block.
const LARGE: usize = 1 << 20;
/// How much longer an interactor lives than the program it talks to.
const INTERACTOR_GRACE: Duration = Duration::from_secs(5);

/// Who is told the events, if anybody is.
#[derive(Debug)]
pub(crate) struct Listener(Option<mpsc::Sender<Event>>);

impl Listener {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    pub(crate) const fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(Some(sender))
    }

    async fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(sender) = &self.0 {
            // A reader that is gone has cancelled the evaluation already.
            let _ = sender.send(event()).await;
        }
    }
}

/// Evaluates a submission from compiling to the last test.
#[tracing::instrument(
    name = "evaluation",
    level = "debug",
    skip_all,
    fields(language = %submission.code.language, tests = submission.tests.len())
)]
pub(crate) async fn drive(
    evaluator: Evaluator,
    mut submission: Submission,
    listener: Listener,
) -> Result<Evaluation> {
    if submission.tests.is_empty() {
        submission.tests.push(Test::new("run", mem::take(&mut submission.stdin)));
    }
    let prepared = evaluator.prepare(&submission).await?;
    let compile = prepared.compile().cloned();
    if let Some(compile) = &compile {
        listener.tell(|| Event::Compiled(compile.clone())).await;
    }
    let mut evaluation = Evaluation {
        language: prepared.language().id.clone(),
        compile,
        tests: Vec::new(),
        verdict: Verdict::Accepted,
        hints: Vec::new(),
    };
    let mut results = Vec::new();
    results.resize_with(submission.tests.len(), || None);
    match evaluation.compile.as_ref().filter(|compile| !compile.is_success()) {
        Some(compile) => {
            evaluation.verdict = Verdict::CompilationError;
            evaluation.hints =
                prepared.hints(&evaluator, Phase::Compile, &compile.report, &compile.stdout, &compile.stderr);
            evaluation.tests = finish(&submission.tests, results, &listener).await;
        }
        None => {
            let judge = Arc::new(Judge::new(evaluator, prepared, submission).await?);
            run_all(&judge, &mut results, &listener).await?;
            evaluation.tests = finish(&judge.submission.tests, results, &listener).await;
            if let Some(failed) = evaluation.tests.iter().find(|test| test.verdict != Verdict::Accepted) {
                evaluation.verdict = failed.verdict;
                evaluation.hints.clone_from(&failed.hints);
            }
        }
    }
    Ok(evaluation)
}

/// The results in order; what has none was skipped.
async fn finish(tests: &[Test], results: Vec<Option<TestResult>>, listener: &Listener) -> Vec<TestResult> {
    let mut finished = Vec::with_capacity(results.len());
    for (index, (test, result)) in tests.iter().zip(results).enumerate() {
        let result = match result {
            Some(result) => result,
            None => {
                let result = TestResult::new(&test.name, Verdict::Skipped);
                listener.tell(|| Event::Test { index, result: result.clone() }).await;
                result
            }
        };
        finished.push(result);
    }
    finished
}

/// Runs the tests, as many at once as there are permits.
///
/// No more than that are started ahead, so that the permits go round between
/// submissions and a large one does not hold up the others.
async fn run_all(judge: &Arc<Judge>, results: &mut [Option<TestResult>], listener: &Listener) -> Result<()> {
    let mut tasks = JoinSet::new();
    let mut running: HashMap<Id, (usize, AbortHandle)> = HashMap::new();
    let mut waiting = 0..results.len();
    loop {
        while tasks.len() < judge.evaluator.parallelism.get() {
            let Some(index) = waiting.next() else { break };
            let judge = Arc::clone(judge);
            let handle = tasks.spawn(async move { judge.test(index).await }.in_current_span());
            running.insert(handle.id(), (index, handle));
        }
        // Cancel safety: `drive` is dropped as a whole, and the set with it.
        let Some(joined) = tasks.join_next_with_id().await else { return Ok(()) };
        let id = joined.as_ref().map_or_else(task::JoinError::id, |(id, _)| *id);
        let Some((index, _)) = running.remove(&id) else { continue };
        let result = match joined {
            Ok((_, result)) => result,
            Err(error) if error.is_cancelled() => continue,
            Err(error) => {
                let error = Error::new(ErrorKind::Internal, "judging the test panicked").with_source(error);
                judge.internal_error(index, &error)
            }
        };
        if result.verdict != Verdict::Accepted && judge.submission.on_failure == OnFailure::Stop {
            waiting = 0..0;
            // Tests before this one go on: which of them fails first shall not
            // depend on which of them is faster.
            running.values().filter(|(other, _)| *other > index).for_each(|(_, task)| task.abort());
        }
        listener.tell(|| Event::Test { index, result: result.clone() }).await;
        results[index] = Some(result);
    }
}

/// Who says whether an output is right, compiled.
#[derive(Debug)]
enum Referee {
    Compare(Comparison),
    Checker(Prepared),
    Interactor(Prepared),
}

/// All that the tests of one submission share.
#[derive(Debug)]
struct Judge {
    evaluator: Evaluator,
    prepared: Prepared,
    referee: Referee,
    submission: Submission,
    /// How many more bytes of output the results may keep.
    keepable: AtomicU64,
}

impl Judge {
    async fn new(evaluator: Evaluator, prepared: Prepared, submission: Submission) -> Result<Self> {
        let limits = submission.limits.as_ref().unwrap_or(&evaluator.limits);
        let referee = match (&submission.interactor, &submission.checker) {
            (Some(interactor), _) => {
                let wall_time = evaluator.checker_limits.wall_time.max(limits.wall_time + INTERACTOR_GRACE);
                let limits = evaluator.checker_limits.clone().with_wall_time(wall_time);
                Referee::Interactor(prepare_referee(&evaluator, "interactor", interactor, &limits).await?)
            }
            (None, Checker::Program(checker)) => Referee::Checker(
                prepare_referee(&evaluator, "checker", checker, &evaluator.checker_limits).await?,
            ),
            (None, Checker::Compare(comparison)) => Referee::Compare(*comparison),
        };
        let keepable = AtomicU64::new(evaluator.kept_output.as_u64());
        Ok(Self { evaluator, prepared, referee, submission, keepable })
    }

    /// Runs and judges one test.
    async fn test(&self, index: usize) -> TestResult {
        let test = &self.submission.tests[index];
        match self.try_test(test).await {
            Ok(result) => result,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the sandbox could not run a test");
                self.internal_error(index, &error)
            }
        }
    }

    fn internal_error(&self, index: usize, error: &Error) -> TestResult {
        let mut result = TestResult::new(&self.submission.tests[index].name, Verdict::InternalError);
        result.message = Some(error.chain());
        result.error = Some(error.kind());
        result
    }

    async fn try_test(&self, test: &Test) -> Result<TestResult> {
        let _permit = self.evaluator.permit().await?;
        let program = runnable(&self.prepared)?;
        let sandbox = &self.evaluator.sandbox;
        let (execution, judgement) = match &self.referee {
            Referee::Interactor(interactor) => {
                let interactor = with_files(runnable(interactor)?, test, None)?;
                let connection = sandbox.connect(program, interactor).await?;
                let judgement = self.judge_connection(&connection);
                (connection.first, judgement)
            }
            referee => {
                let execution = sandbox.execute(program, test.stdin.clone()).await?;
                let mut judgement = self.judge_end(&execution);
                if judgement.verdict == Verdict::Accepted {
                    judgement = match referee {
                        Referee::Checker(checker) => {
                            let checker = with_files(runnable(checker)?, test, Some(&execution.stdout))?;
                            testlib::judge(&sandbox.execute(checker, Bytes::new()).await?)
                        }
                        Referee::Compare(comparison) => {
                            compare(*comparison, test.expected.as_ref(), &execution.stdout).await?
                        }
                        Referee::Interactor(_) => judgement,
                    };
                }
                (execution, judgement)
            }
        };
        Ok(self.result(test, execution, judgement))
    }

    /// What the program's end alone says.
    fn judge_end(&self, execution: &Execution) -> Judgement {
        let outcome = &execution.report.outcome;
        let (verdict, message) = match Verdict::of_outcome(outcome) {
            Verdict::Accepted => (Verdict::Accepted, None),
            Verdict::RuntimeError if self.is_out_of_memory(&execution.stderr) => {
                (Verdict::MemoryLimitExceeded, Some(format!("the program ran out of memory and {outcome}")))
            }
            verdict => (verdict, Some(format!("the program {outcome}"))),
        };
        Judgement { verdict, message, score: None }
    }

    /// Whether the language's runtime says that its own memory limit was met.
    fn is_out_of_memory(&self, stderr: &[u8]) -> bool {
        /// Runtimes say so first or last, and the rest may be megabytes.
        const END: usize = 8 << 10;
        let head = &stderr[..stderr.len().min(END)];
        let tail = &stderr[stderr.len().saturating_sub(END)..];
        self.prepared.language().out_of_memory.iter().map(String::as_bytes).any(|text| {
            !text.is_empty()
                && [head, tail].iter().any(|part| part.windows(text.len()).any(|window| window == text))
        })
    }

    /// Weighs what became of the program against what the interactor said.
    ///
    /// When one of them ends, the other reads end-of-file and may fail for
    /// that alone, a moment later. Reports come too close together then to
    /// tell the cause by their order; what they say is the better witness.
    fn judge_connection(&self, connection: &Connection) -> Judgement {
        let program = self.judge_end(&connection.first);
        let interactor = testlib::judge(&connection.second);
        let broken_pipe = Outcome::Signaled(Signal::PIPE);
        if program.verdict == Verdict::Accepted && connection.second.report.outcome == broken_pipe {
            let message = "the program ended while the interactor was talking to it".to_owned();
            return Judgement { verdict: Verdict::WrongAnswer, message: Some(message), score: None };
        }
        // Sure of a wrong answer, and not just puzzled by an early end.
        let is_wrong = connection.second.report.outcome == Outcome::Exited(1);
        let interactor_decides = match program.verdict {
            Verdict::Accepted => true,
            _ if connection.first.report.outcome == broken_pipe => {
                interactor.verdict != Verdict::InternalError
            }
            Verdict::RuntimeError => is_wrong,
            // A program that waits or spins after it was told that it is wrong.
            _ => is_wrong && connection.ended_first == Side::Second,
        };
        if interactor_decides { interactor } else { program }
    }

    fn result(&self, test: &Test, execution: Execution, judgement: Judgement) -> TestResult {
        let Execution { mut report, stdout, stderr } = execution;
        let mut result = TestResult::new(&test.name, judgement.verdict);
        result.message = judgement.message;
        result.score = judgement.score;
        if !report.outcome.is_success() {
            result.hints = self.prepared.hints(&self.evaluator, Phase::Run, &report, &stdout, &stderr);
        }
        (result.stdout, report.stdout.truncated) = self.kept(stdout, report.stdout.truncated);
        (result.stderr, report.stderr.truncated) = self.kept(stderr, report.stderr.truncated);
        result.report = Some(report);
        result
    }

    /// As much of an output as may still be kept, and whether it is cut.
    fn kept(&self, output: Bytes, cut_before: bool) -> (Bytes, bool) {
        let length = output.len() as u64;
        let take = |left: u64| Some(left - left.min(length));
        let left = self.keepable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        match usize::try_from(left) {
            // Copied, for a slice would keep all of it.
            Ok(left) if left < output.len() => (Bytes::copy_from_slice(&output[..left]), true),
            _ => (output, cut_before),
        }
    }
}

/// Compiles a checker or an interactor.
async fn prepare_referee(
    evaluator: &Evaluator,
    what: &str,
    code: &SourceCode,
    limits: &Limits,
) -> Result<Prepared> {
    let plan = RunPlan {
        arguments: &testlib::FILES.map(str::to_owned),
        limits,
        network: Network::None,
        syscalls: SyscallPolicy::Default,
        stderr: StderrMode::Separate,
    };
    let prepared = evaluator.prepare_code(code, &plan).await?;
    match prepared.compile().filter(|compile| !compile.is_success()) {
        Some(compile) => Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("the {what} does not compile: {}", prepare::excerpt(compile)),
        )),
        None => Ok(prepared),
    }
}

fn runnable(prepared: &Prepared) -> Result<Program> {
    prepared
        .program()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a program that was not compiled is run"))
}

/// Places what a checker or interactor reads.
fn with_files(program: Program, test: &Test, output: Option<&Bytes>) -> Result<Program> {
    let [input_name, output_name, answer_name] = testlib::FILES;
    let answer = test.expected.clone().unwrap_or_default();
    let mut program = program
        .with_file(SandboxPath::new(input_name)?, FileContents::data(test.stdin.clone()))
        .with_file(SandboxPath::new(answer_name)?, FileContents::data(answer));
    if let Some(output) = output {
        program = program.with_file(SandboxPath::new(output_name)?, FileContents::data(output.clone()));
    }
    Ok(program)
}

/// Compares an output, if anything was expected.
async fn compare(comparison: Comparison, expected: Option<&Bytes>, actual: &Bytes) -> Result<Judgement> {
    let difference = match expected {
        None => None,
        Some(expected) if expected.len().max(actual.len()) < LARGE => {
            comparison.compare(expected, actual).err()
        }
        Some(expected) => {
            let (expected, actual) = (expected.clone(), actual.clone());
            task::spawn_blocking(move || comparison.compare(&expected, &actual).err()).await.map_err(
                |error| Error::new(ErrorKind::Internal, "comparing an output panicked").with_source(error),
            )?
        }
    };
    let verdict = if difference.is_some() { Verdict::WrongAnswer } else { Verdict::Accepted };
    Ok(Judgement { verdict, message: difference.map(|difference| difference.to_string()), score: None })
}
