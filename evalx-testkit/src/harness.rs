//! [`Suite`]: runs cases as libtest trials, on one sandbox that is started once.
//!
//! Trials run on the threads of `libtest-mimic`; each blocks on a task of one
//! tokio runtime, which the suite owns, and which ends with it. Cases that
//! measure time hold a lock that keeps all others out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evalx_core::{ByteSize, Collect, DynSandbox, Limits, Result, SessionSpec, Step};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::{Case, Facilities, Need, Ownership, Probes, Timing};

/// How long a case may take before it counts as hung.
const CASE_TIME: Duration = Duration::from_secs(60);
/// How long a sandbox may take to start or to shut down.
const SHUTDOWN_TIME: Duration = Duration::from_secs(60);

type Starting = Pin<Box<dyn Future<Output = Result<DynSandbox>> + Send>>;
type Factory = Box<dyn Fn() -> Starting + Send + Sync>;
type LeakCheck = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Cases to be run on one backend.
///
/// ```no_run
/// use std::process::ExitCode;
/// use evalx_testkit::{Need, Suite, escape};
/// # async fn start() -> evalx_core::Result<evalx_core::DynSandbox> { unimplemented!() }
///
/// fn main() -> ExitCode {
///     Suite::new("docker", escape::cases(), || async { start().await })
///         .lacking(Need::Terminal, "an exec of this daemon has none")
///         .with_leak_check(|| Ok(()))
///         .main()
/// }
/// ```
pub struct Suite {
    backend: String,
    cases: Vec<Case>,
    factory: Factory,
    lacking: Vec<(Need, String)>,
    attempting: Vec<Need>,
    without: Vec<(String, String)>,
    case_time: Duration,
    memory_slack: ByteSize,
    leak_check: LeakCheck,
}

/// A sandbox that is ready for cases.
struct Started {
    sandbox: DynSandbox,
    probes: Probes,
    facilities: Facilities,
}

/// What all trials share.
struct Stage {
    suite: Suite,
    runtime: Runtime,
    started: OnceCell<Result<Started, String>>,
    quiet: RwLock<()>,
}

impl Suite {
    /// Cases for the backend of this name, and how one of its sandboxes is
    /// made. An error of `factory` means that this host can't run it: its
    /// cases are then ignored, or fail if `EVALX_REQUIRE` names the backend.
    pub fn new<F, S>(backend: impl Into<String>, cases: Vec<Case>, factory: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Future<Output = Result<DynSandbox>> + Send + 'static,
    {
        Self {
            backend: backend.into(),
            cases,
            factory: Box::new(move || Box::pin(factory())),
            lacking: Vec::new(),
            attempting: Vec::new(),
            without: Vec::new(),
            case_time: CASE_TIME,
            memory_slack: ByteSize::ZERO,
            leak_check: Box::new(|| Ok(())),
        }
    }

    /// Declares that this backend can never meet `need`, and why: its cases
    /// are ignored whatever `EVALX_REQUIRE` says.
    #[must_use]
    pub fn lacking(mut self, need: Need, reason: impl Into<String>) -> Self {
        self.lacking.push((need, reason.into()));
        self
    }

    /// Runs the cases of `need` although the backend does not claim to meet it:
    /// much of what it needs may hold all the same. What does not is named to
    /// [`without`](Self::without).
    #[must_use]
    pub fn attempting(mut self, need: Need) -> Self {
        self.attempting.push(need);
        self
    }

    /// Declares that this backend can't hold one case, or all whose names
    /// begin as `name` does if that ends in `*`, and why: ignored whatever
    /// `EVALX_REQUIRE` says.
    #[must_use]
    pub fn without(mut self, name: impl Into<String>, reason: impl Into<String>) -> Self {
        self.without.push((name.into(), reason.into()));
        self
    }

    /// How much more memory than its limit a step can use, and no more; nothing
    /// by default.
    #[must_use]
    pub fn with_memory_slack(mut self, more: ByteSize) -> Self {
        self.memory_slack = more;
        self
    }

    /// How long a case may take before it counts as hung; a minute by default,
    /// stretched by `EVALX_TIME_SCALE`.
    #[must_use]
    pub fn with_case_time(mut self, most: Duration) -> Self {
        self.case_time = most;
        self
    }

    /// What is asked once the sandbox was shut down and dropped: an error names
    /// what was left.
    #[must_use]
    pub fn with_leak_check(mut self, check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.leak_check = Box::new(check);
        self
    }

    /// Runs the trials that the command line selects, shuts the sandbox down,
    /// and looks for what it left.
    #[must_use]
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&format!("the runtime could not be started: {error}")),
        };
        let stage =
            Arc::new(Stage { suite: self, runtime, started: OnceCell::new(), quiet: RwLock::new(()) });
        let trials = (0..stage.suite.cases.len()).map(|index| {
            let name = stage.suite.cases[index].name().to_owned();
            let stage = Arc::clone(&stage);
            Trial::ignorable_test(name, move || stage.run(index))
        });
        let conclusion = libtest_mimic::run(&arguments, trials.collect());
        match Stage::end(stage) {
            Ok(()) => conclusion.exit_code(),
            Err(problem) => fail(&problem),
        }
    }
}

impl Suite {
    /// Why a case is left out by its name.
    fn excused(&self, case: &Case) -> Option<&str> {
        let matches = |name: &str| match name.strip_suffix('*') {
            Some(start) => case.name().starts_with(start),
            None => case.name() == name,
        };
        self.without.iter().find(|(name, _)| matches(name)).map(|(_, reason)| reason.as_str())
    }
}

/// Runs `cases` on sandboxes that `factory` makes: the whole of a backend's
/// `tests/conformance.rs` or `tests/escape.rs`.
pub fn main_with<F, S>(backend: impl Into<String>, cases: Vec<Case>, factory: F) -> ExitCode
where
    F: Fn() -> S + Send + Sync + 'static,
    S: Future<Output = Result<DynSandbox>> + Send + 'static,
{
    Suite::new(backend, cases, factory).main()
}

#[expect(clippy::print_stderr, reason = "a test program says on its stderr why it failed")]
fn fail(problem: &str) -> ExitCode {
    eprintln!("\nerror: {problem}");
    ExitCode::from(101)
}

/// Whether the variable `EVALX_REQUIRE`, words with commas between them, names
/// this: what is then not here is a failure, and no reason to leave a trial out.
#[must_use]
pub fn required(word: &str) -> bool {
    std::env::var("EVALX_REQUIRE").is_ok_and(|list| list.split(',').any(|item| item.trim() == word))
}

impl Stage {
    fn run(&self, index: usize) -> Result<Completion, Failed> {
        let case = &self.suite.cases[index];
        let started = match self.runtime.block_on(self.started.get_or_init(|| self.start())) {
            Ok(started) => started,
            Err(reason) if required(&self.suite.backend) => return Err(reason.as_str().into()),
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        };
        if let Some(reason) = self.suite.excused(case) {
            return Ok(Completion::ignored_with(reason));
        }
        for need in case.needs().iter().filter(|need| !self.suite.attempting.contains(need)) {
            let Some(reason) = started.facilities.lacks(*need) else { continue };
            if let Some((_, declared)) = self.suite.lacking.iter().find(|(lacking, _)| lacking == need) {
                return Ok(Completion::ignored_with(declared));
            }
            return match need.required_by(&self.suite.backend) {
                Some(word) if required(word) => Err(reason.into()),
                _ => Ok(Completion::ignored_with(reason)),
            };
        }
        // A case that failed while it held the lock has left nothing behind it.
        match case.timing() {
            Timing::Exclusive => {
                let _alone = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
                self.perform(case, started)
            }
            Timing::Shared => {
                let _beside = self.quiet.read().unwrap_or_else(PoisonError::into_inner);
                self.perform(case, started)
            }
        }
    }

    fn perform(&self, case: &Case, started: &Started) -> Result<Completion, Failed> {
        self.runtime.block_on(async {
            let own = match case.ownership() {
                Ownership::Shared => None,
                Ownership::Own => Some((self.suite.factory)().await?),
            };
            let sandbox = own.clone().unwrap_or_else(|| Arc::clone(&started.sandbox));
            // In a task of its own, so that a backend that blocks a thread is noticed too.
            let mut task = tokio::spawn(case.run(sandbox, started.probes.clone()));
            let most = started.probes.stretch(self.suite.case_time);
            let result = match timeout(most, &mut task).await {
                Ok(Ok(())) => Ok(Completion::Completed),
                Ok(Err(error)) => Err(Failed::from(message(error))),
                Err(_) => {
                    task.abort();
                    Err(Failed::from(format!("{} hung: it was not done in {most:?}", case.name())))
                }
            };
            if let Some(own) = own {
                match timeout(SHUTDOWN_TIME, own.shutdown()).await {
                    Ok(shut_down) => shut_down?,
                    Err(_) => return Err(Failed::from(format!("{} hung at its shutdown", case.name()))),
                }
            }
            result
        })
    }

    async fn start(&self) -> Result<Started, String> {
        let probes = Probes::find()?.with_memory_slack(self.suite.memory_slack);
        let sandbox = (self.suite.factory)().await.map_err(|error| error.chain())?;
        sandbox.check().await.map_err(|error| error.chain())?;
        let needs_gcc = self.suite.cases.iter().any(|case| case.needs().contains(&Need::Gcc));
        let gcc = needs_gcc && has_gcc(&sandbox).await;
        let facilities = Facilities::new(sandbox.capabilities(), gcc);
        Ok(Started { sandbox, probes, facilities })
    }

    /// Shuts down and drops what was started, if anything was.
    fn end(mut stage: Arc<Self>) -> Result<(), String> {
        let Some(Ok(started)) = stage.started.get() else { return Ok(()) };
        let name = started.sandbox.to_string();
        let shutdown = async { timeout(SHUTDOWN_TIME, started.sandbox.shutdown()).await };
        match stage.runtime.block_on(shutdown) {
            Err(_) => return Err(format!("{name} did not shut down in {SHUTDOWN_TIME:?}")),
            Ok(Err(error)) => return Err(format!("{name} did not shut down well: {}", error.chain())),
            Ok(Ok(())) => {}
        }
        // The last trial's thread lets go of the stage after its result is out.
        let deadline = Instant::now() + SHUTDOWN_TIME;
        loop {
            match Arc::get_mut(&mut stage) {
                Some(stage) => break drop(stage.started.take()),
                None if Instant::now() < deadline => std::thread::park_timeout(Duration::from_millis(1)),
                None => return Err(format!("the cases of {name} do not end")),
            }
        }
        (stage.suite.leak_check)().map_err(|left| format!("{name} left something behind: {left}"))
    }
}

/// Whether `gcc` runs in this sandbox.
async fn has_gcc(sandbox: &DynSandbox) -> bool {
    let attempt = async {
        let mut session = sandbox.open(SessionSpec::new(Limits::for_compiling())).await?;
        let step = Step::new("gcc").with_argument("--version");
        let report = session.run(step, &mut Collect::new(Bytes::new())).await?;
        session.close().await?;
        Ok::<_, evalx_core::Error>(report.outcome.is_success())
    };
    attempt.await.unwrap_or(false)
}

/// What a case said when it panicked.
pub(crate) fn message(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "the case was aborted".to_owned() };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("the case panicked", |text| *text).to_owned(),
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("backend", &self.backend).field("cases", &self.cases.len()).finish()
    }
}
