//! [`Evaluator`]: compiles once, runs many tests, and judges.
//!
//! ```text
//! evaluate() ─ drives ──┬─ compile (at most one of equal ones)     one permit
//! stream() ── a task    ├─ test 1: session, run, judge             one permit
//!                       ├─ test 2 …                                one permit
//!                       └─ …  as many at once as there are permits
//! ```
//!
//! Every test is a task in the `JoinSet` of its evaluation: dropping the
//! evaluation aborts them, and their sessions' janitors kill the programs.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::cache::CompileCache;
use crate::judge::{self, Listener};
use crate::prepare::Compiled;
use crate::{
    ByteSize, DynSandbox, Error, ErrorKind, Evaluation, Event, HintProvider, Isolation, Languages, Limits,
    NoHints, Result, Sandbox, Submission, Toolchains,
};

/// How many events may wait for the reader of a stream; then tests wait too.
const EVENT_DEPTH: usize = 16;

/// The end of a channel of events that [`Evaluator::evaluate_telling`] is given.
#[derive(Debug)]
pub struct EventSender(mpsc::Sender<Event>);

/// The end of a channel of events that its caller reads.
#[derive(Debug)]
pub struct EventReceiver(mpsc::Receiver<Event>);

/// A channel of the events of one evaluation.
#[must_use]
pub fn events() -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::channel(EVENT_DEPTH);
    (EventSender(sender), EventReceiver(receiver))
}

impl EventReceiver {
    /// The next event; `None` once the evaluation has ended and all are read.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event, if there is one now.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// Compiles submissions once, runs their tests in parallel, and judges them.
///
/// Clones share the permits and the cache. An application has one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> evalx_core::Result<()> {
/// use evalx_core::{Evaluator, Submission, Test, Verdict};
/// use evalx_testkit::{FakeRun, FakeSandbox};
///
/// // A stand-in for a true backend: doubles the number that it reads.
/// let sandbox = FakeSandbox::new(|step| {
///     let number: i64 = String::from_utf8_lossy(&step.stdin).trim().parse().unwrap_or(0);
///     FakeRun::exited(0).with_stdout(format!("{}\n", number * 2))
/// });
///
/// let submission = Submission::new("python", "print(int(input()) * 2)")
///     .with_test(Test::new("two", "2").with_expected("4"))
///     .with_test(Test::new("wrong", "2").with_expected("5"));
/// let evaluation = Evaluator::new(sandbox).evaluate(submission).await?;
///
/// assert_eq!(evaluation.tests[0].verdict, Verdict::Accepted);
/// assert_eq!(evaluation.verdict, Verdict::WrongAnswer);
/// assert_eq!(evaluation.tests[1].message.as_deref(), Some("line 1: expected `5`, found `4`"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Evaluator {
    pub(crate) sandbox: DynSandbox,
    pub(crate) languages: Arc<Languages>,
    pub(crate) toolchains: Arc<Toolchains>,
    pub(crate) hints: Arc<dyn HintProvider>,
    pub(crate) limits: Limits,
    pub(crate) compile_limits: Limits,
    pub(crate) checker_limits: Limits,
    pub(crate) parallelism: NonZeroUsize,
    pub(crate) kept_output: ByteSize,
    pub(crate) required: BTreeSet<Isolation>,
    pub(crate) cache: Arc<CompileCache<Compiled>>,
    permits: Arc<Semaphore>,
}

impl Evaluator {
    /// Evaluates in `sandbox`, with the built-in languages, no hints, the
    /// default limits, as many steps at once as there are processors, and
    /// 256 MiB of compiled programs kept.
    pub fn new(sandbox: impl Sandbox) -> Self {
        let parallelism = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            sandbox: Arc::new(sandbox),
            languages: Arc::new(Languages::builtin()),
            toolchains: Arc::default(),
            hints: Arc::new(NoHints),
            limits: Limits::default(),
            compile_limits: Limits::for_compiling(),
            // Input, output and answer are files, which count as memory.
            checker_limits: Limits::default().with_memory(ByteSize::mib(512)).with_disk(ByteSize::mib(256)),
            parallelism,
            kept_output: ByteSize::mib(64),
            required: BTreeSet::new(),
            cache: Arc::new(CompileCache::new(ByteSize::mib(256))),
            permits: Arc::new(Semaphore::new(parallelism.get())),
        }
    }

    /// Sets the languages that are known.
    #[must_use]
    pub fn with_languages(mut self, languages: impl Into<Arc<Languages>>) -> Self {
        self.languages = languages.into();
        self
    }

    /// Tells which toolchains the sandbox has. What another version compiled
    /// is then not taken from the cache.
    #[must_use]
    pub fn with_toolchains(mut self, toolchains: impl Into<Arc<Toolchains>>) -> Self {
        self.toolchains = toolchains.into();
        self
    }

    /// Sets who explains failures.
    #[must_use]
    pub fn with_hints(mut self, hints: impl HintProvider) -> Self {
        self.hints = Arc::new(hints);
        self
    }

    /// Sets what a run may use, unless its submission says otherwise.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what compiling may use.
    #[must_use]
    pub fn with_compile_limits(mut self, limits: Limits) -> Self {
        self.compile_limits = limits;
        self
    }

    /// Sets what checker programs and interactors may use. An interactor has
    /// more wall time: it waits for the program it talks to.
    #[must_use]
    pub fn with_checker_limits(mut self, limits: Limits) -> Self {
        self.checker_limits = limits;
        self
    }

    /// Sets how many compiles and tests run at once, of all submissions
    /// together. A test with an interactor counts as one, though it has two
    /// sessions.
    ///
    /// # Panics
    ///
    /// If it is over 2⁶¹, more than tokio's semaphores can count.
    #[must_use]
    pub fn with_parallelism(mut self, parallelism: NonZeroUsize) -> Self {
        self.parallelism = parallelism;
        self.permits = Arc::new(Semaphore::new(parallelism.get()));
        self
    }

    /// Sets how many bytes of compiled programs are kept. With none, equal
    /// compiles at the same time are still one.
    #[must_use]
    pub fn with_cache(mut self, capacity: ByteSize) -> Self {
        self.cache = Arc::new(CompileCache::new(capacity));
        self
    }

    /// Sets how many bytes of output one evaluation keeps, of all its tests
    /// together. What is beyond is judged, but cut from the result.
    #[must_use]
    pub const fn with_kept_output(mut self, kept_output: ByteSize) -> Self {
        self.kept_output = kept_output;
        self
    }

    /// Requires a separation of every session, as
    /// [`SessionSpec::with_required`](crate::SessionSpec::with_required) does of one.
    #[must_use]
    pub fn with_required(mut self, isolation: Isolation) -> Self {
        self.required.insert(isolation);
        self
    }

    /// The sandbox that it evaluates in.
    #[must_use]
    pub const fn sandbox(&self) -> &DynSandbox {
        &self.sandbox
    }

    /// The languages that it knows.
    #[must_use]
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    /// Evaluates a submission.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if the submission can't be evaluated: an unknown
    /// language, limits out of range, a checker that does not compile. The
    /// errors of the sandbox if it could not compile. A test that the sandbox
    /// could not run is an `internal_error` among the results.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills what runs and drops its sessions.
    pub async fn evaluate(&self, submission: Submission) -> Result<Evaluation> {
        // Boxed, for it is large and its callers need not be.
        Box::pin(judge::drive(self.clone(), submission, Listener::none())).await
    }

    /// Evaluates a submission and sends what happens as it happens; all but
    /// [`Event::Finished`], which is what is returned.
    ///
    /// It goes on only while it is polled, in the task of its caller, which has
    /// to take the events meanwhile: once the channel is full, tests wait. To
    /// whom that is a burden, [`stream`](Self::stream) has a task of its own.
    ///
    /// # Errors
    ///
    /// Those of [`evaluate`](Self::evaluate).
    ///
    /// # Cancel safety
    ///
    /// As [`evaluate`](Self::evaluate).
    pub async fn evaluate_telling(&self, submission: Submission, events: EventSender) -> Result<Evaluation> {
        Box::pin(judge::drive(self.clone(), submission, Listener::new(events.0))).await
    }

    /// Evaluates a submission and tells what happens as it happens.
    ///
    /// A reader that is slow slows the evaluation down.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> evalx_core::Result<()> {
    /// use evalx_core::{Evaluator, Event, Submission};
    /// use evalx_testkit::{FakeRun, FakeSandbox};
    ///
    /// let evaluator = Evaluator::new(FakeSandbox::new(|_| FakeRun::exited(0)));
    /// let mut stream = evaluator.stream(Submission::new("bash", "true"));
    /// while let Some(event) = stream.next().await {
    ///     match event? {
    ///         Event::Test { index, result } => println!("{index}: {}", result.verdict),
    ///         Event::Finished(evaluation) => println!("{}", evaluation.verdict),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn stream(&self, submission: Submission) -> EvaluationStream {
        let (sender, events) = mpsc::channel(EVENT_DEPTH);
        let mut driver = JoinSet::new();
        driver.spawn(judge::drive(self.clone(), submission, Listener::new(sender)));
        EvaluationStream { events, driver }
    }

    /// Waits for one of the permits that all submissions share.
    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Error::new(ErrorKind::Internal, "the semaphore of the evaluator was closed"))
    }
}

/// The events of one evaluation. Dropping it cancels the evaluation.
#[derive(Debug)]
pub struct EvaluationStream {
    events: mpsc::Receiver<Event>,
    /// The one task that drives the evaluation; none once its end was told.
    driver: JoinSet<Result<Evaluation>>,
}

impl EvaluationStream {
    /// The next event; `None` after [`Event::Finished`] or an error.
    ///
    /// # Errors
    ///
    /// Those of [`Evaluator::evaluate`].
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        // The driver drops its sender when it ends, so its end comes last.
        if let Some(event) = self.events.recv().await {
            return Some(Ok(event));
        }
        let end = self.driver.join_next().await?;
        Some(match end {
            Ok(evaluation) => evaluation.map(Event::Finished),
            Err(error) => Err(Error::new(ErrorKind::Internal, "an evaluation panicked").with_source(error)),
        })
    }
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<Evaluator>();
};
