//! [`Engine`]: the sandbox of a worker, what it found there, and the evaluator.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use evalx::{Backends, Choice, NativeConfig};
use evalx_core::{
    ByteSize, DynSandbox, Error, ErrorKind, Evaluator, Languages, Limits, Observed, Result, Sandbox,
    Toolchain, Toolchains,
};
use evalx_hints::HintEngine;
use tokio_util::task::AbortOnDropHandle;

/// How much output of one submission is kept. The JSON of the worst bytes has
/// six for each, and fits into a result of the queue.
const KEPT_OUTPUT: ByteSize = ByteSize::mib(4);

/// What an [`Engine`] is started with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineConfig {
    /// Which backends are wanted.
    pub sandbox: Choice,
    /// How many compilers and programs run at once.
    pub steps: NonZeroUsize,
    /// How many programs people may talk to at once, besides those.
    pub sessions: usize,
    /// Which control group the native backend uses. Who names
    /// `rlimits-only` accepts what is weaker by it.
    pub cgroup: evalx::native::Cgroup,
    /// The languages that are known.
    pub languages: Languages,
    /// What a compiler may use.
    pub compile_limits: Limits,
}

impl EngineConfig {
    /// So many steps at once, in the best backend that this machine has.
    #[must_use]
    pub fn new(steps: NonZeroUsize) -> Self {
        Self {
            sandbox: Choice::Auto,
            steps,
            sessions: 0,
            cgroup: evalx::native::Cgroup::default(),
            languages: Languages::builtin(),
            compile_limits: Limits::for_compiling(),
        }
    }

    /// Sets which backends are wanted.
    #[must_use]
    pub fn with_sandbox(mut self, sandbox: Choice) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// Sets how many programs people may talk to at once.
    #[must_use]
    pub const fn with_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets which control group the native backend uses.
    #[must_use]
    pub fn with_cgroup(mut self, cgroup: evalx::native::Cgroup) -> Self {
        self.cgroup = cgroup;
        self
    }

    /// Sets the languages that are known.
    #[must_use]
    pub fn with_languages(mut self, languages: Languages) -> Self {
        self.languages = languages;
        self
    }
}

/// The sandbox of a worker, what was found there, and the evaluator over both.
#[derive(Debug)]
pub struct Engine {
    evaluator: Evaluator,
    sandbox: DynSandbox,
    found: Toolchains,
    /// With their versions, once all have said them.
    asked: Arc<OnceLock<Toolchains>>,
    asking: AbortOnDropHandle<()>,
}

impl Engine {
    /// Chooses and starts a backend, sees which toolchains are in it, and
    /// warms up the hints. Their versions are asked for behind: some need
    /// seconds to say them, and no program waits for that.
    ///
    /// # Errors
    ///
    /// If no backend of the choice is fit; it says why of each.
    pub async fn start(config: EngineConfig) -> Result<Self> {
        // A test with an interactor has two sessions.
        let busy = 2 * config.steps.get();
        let sessions = busy + config.sessions;
        let native = NativeConfig::default()
            .with_sessions(sessions)
            .with_spares(busy)
            .with_named_cgroup(config.cgroup.clone())
            .with_discovered_toolchains();
        let backends = with_docker(with_isolate(Backends::default(), &native, sessions), sessions);
        let backends = backends.with_native(native);
        let sandbox: DynSandbox = Arc::new(Observed::new(backends.choose(&config.sandbox).await?));
        let found = match Toolchains::find(Arc::clone(&sandbox), &config.languages).await {
            Ok(found) => found,
            Err(error) => {
                // What it says of its shutdown would not help anybody.
                let _ = sandbox.shutdown().await;
                return Err(error);
            }
        };
        let hints = Arc::new(HintEngine::new());
        let engine = Self::over(sandbox, found, Arc::clone(&hints), config);
        // The first failure is explained as fast as the second.
        let warm: Vec<String> = engine.available().map(str::to_owned).collect();
        let warmed =
            tokio::task::spawn_blocking(move || hints.warm_up(warm.iter().map(String::as_str))).await;
        warmed.map_err(|error| Error::new(ErrorKind::Internal, "the hints panicked").with_source(error))?;
        Ok(engine)
    }

    fn over(sandbox: DynSandbox, found: Toolchains, hints: Arc<HintEngine>, config: EngineConfig) -> Self {
        let asked = Arc::default();
        let asking = AbortOnDropHandle::new(tokio::spawn(ask(
            Arc::clone(&sandbox),
            present(&config.languages, &found),
            found.clone(),
            Arc::clone(&asked),
        )));
        let evaluator = Evaluator::new(Arc::clone(&sandbox))
            .with_languages(config.languages)
            .with_hints(hints)
            .with_compile_limits(config.compile_limits)
            .with_kept_output(KEPT_OUTPUT)
            .with_parallelism(config.steps);
        Self { evaluator, sandbox, found, asked, asking }
    }

    /// Evaluates submissions.
    #[must_use]
    pub const fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Where programs are run.
    #[must_use]
    pub const fn sandbox(&self) -> &DynSandbox {
        &self.sandbox
    }

    /// What was found there; with versions once all are known.
    #[must_use]
    pub fn toolchains(&self) -> &Toolchains {
        self.asked.get().unwrap_or(&self.found)
    }

    /// The languages whose toolchains were found.
    pub fn available(&self) -> impl Iterator<Item = &str> {
        let is_there = |toolchain: &Toolchain| matches!(toolchain, Toolchain::Available { .. });
        self.toolchains().iter().filter(move |(_, toolchain)| is_there(toolchain)).map(|(id, _)| id)
    }

    /// Ends the sandbox: nothing of it is left on the machine.
    ///
    /// # Errors
    ///
    /// What the backend could not remove.
    pub async fn shutdown(&self) -> Result<()> {
        self.asking.abort();
        self.sandbox.shutdown().await
    }
}

/// The languages whose toolchains are there.
fn present(languages: &Languages, found: &Toolchains) -> Languages {
    let absent = |id: &&str| matches!(found.get(id), Some(Toolchain::Absent { .. }));
    let ids: Vec<&str> = languages.iter().map(|language| language.id.as_str()).filter(absent).collect();
    ids.into_iter().fold(languages.clone(), |languages, id| languages.without(id))
}

/// Asks the toolchains that are there for their versions.
async fn ask(sandbox: DynSandbox, present: Languages, found: Toolchains, asked: Arc<OnceLock<Toolchains>>) {
    match Toolchains::probe(sandbox, &present).await {
        Ok(known) => {
            // Set once, here.
            let _ = asked.set(found.updated(known));
        }
        Err(error) => {
            tracing::warn!(error = %error.chain(), "the toolchains were not asked for their versions");
        }
    }
}

#[cfg(feature = "isolate")]
fn with_isolate(backends: Backends, native: &NativeConfig, sessions: usize) -> Backends {
    let isolate = evalx::IsolateConfig::default().with_sessions(sessions).with_spares(sessions.min(2));
    backends.with_isolate(native.toolchains.iter().fold(isolate, evalx::IsolateConfig::with_toolchain))
}

#[cfg(not(feature = "isolate"))]
fn with_isolate(backends: Backends, _native: &NativeConfig, _sessions: usize) -> Backends {
    backends
}

/// As many sessions as there may be at once, and two containers that wait.
#[cfg(feature = "docker")]
fn with_docker(backends: Backends, sessions: usize) -> Backends {
    let image = evalx::docker::Image::new(evalx::docker_image(), sessions.min(2));
    backends.with_docker(evalx::DockerConfig::new(image).with_sessions(sessions))
}

#[cfg(not(feature = "docker"))]
fn with_docker(backends: Backends, _sessions: usize) -> Backends {
    backends
}
