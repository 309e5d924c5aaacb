//! [`Contender`]: a way to run programs, from none at all to a container for each.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode};
use evalx_core::{
    Collect, DynSandbox, Isolation, LimitKind, Limits, Origin, SandboxPath, Session, SessionSpec, Step,
    WORK_FOLDER,
};
use evalx_sandbox_docker::{DockerConfig, DockerSandbox, Image, Reuse, Way};
use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};
use evalx_sandbox_native::{NativeConfig, NativeSandbox};
use tokio::runtime::Runtime;

use crate::engine::{Once, Warm};
use crate::record::Record;
use crate::workload::{Programs, Workload};

/// A way to run programs.
#[derive(Clone, Debug)]
pub enum Contender {
    /// `posix_spawn` and a wait: what no sandbox can beat.
    Floor,
    /// A backend of evalx, warm. Runs are of one submission.
    Sandbox(DynSandbox, Origin),
    /// The engine's `exec` into one warm container, by its API.
    Exec(Arc<Warm>),
    /// A container for each run, by the engine's API, as `docker run` makes it.
    Run(Arc<Once>),
}

/// All who take part in a benchmark, and who can't.
#[derive(Debug)]
pub struct Stage {
    /// Drives everything.
    pub runtime: Runtime,
    /// The programs to run.
    pub programs: Programs,
    /// Each by the name it has in results.
    pub contenders: Vec<(&'static str, Contender)>,
    /// Whether the pool of containers is full again before each run.
    pub rested: bool,
    pool: Option<Arc<DockerSandbox>>,
    /// What was measured.
    pub record: Mutex<Record>,
}

/// The image that containers are made of, by `examples/images/make.sh`.
#[must_use]
pub fn image() -> String {
    std::env::var("EVALX_DOCKER_IMAGE").unwrap_or_else(|_| "evalx/base".to_owned())
}

/// The native sandbox.
///
/// # Errors
///
/// Why it can't run here.
pub async fn native() -> evalx_core::Result<NativeSandbox> {
    let sandbox = NativeSandbox::start(NativeConfig::default().with_sessions(8)).await?;
    sandbox.ready().await?;
    Ok(sandbox)
}

/// Boxes of `isolate`, each made ahead.
///
/// # Errors
///
/// Why it can't run here.
pub async fn isolate() -> evalx_core::Result<IsolateSandbox> {
    let mut config = IsolateConfig::default().with_sessions(8).with_spares(8);
    if let Some(program) = std::env::var_os("EVALX_ISOLATE") {
        config = config.with_program(program);
    }
    // Without control groups it holds these for each process alone.
    let config = config
        .with_accepted_weak_limit(LimitKind::Memory)
        .with_accepted_weak_limit(LimitKind::CpuTime)
        .with_accepted_weak_isolation(Isolation::Syscalls);
    IsolateSandbox::start(config).await
}

/// Containers with the agent: warm, or made for each session.
///
/// # Errors
///
/// Why it can't run here.
pub async fn docker(warm: bool) -> evalx_core::Result<DockerSandbox> {
    let config = DockerConfig::new(Image::new(image(), if warm { 8 } else { 0 }))
        .with_way(Way::Agent)
        .with_sessions(8)
        .with_reuse(if warm { Reuse::Submission } else { Reuse::Session });
    let sandbox = DockerSandbox::start(config).await?;
    sandbox.ready().await?;
    Ok(sandbox)
}

/// How long each contender runs before it is measured.
pub const WARM_UP: Duration = Duration::from_millis(500);

/// How long each contender is measured at one task: as many seconds as
/// `EVALX_BENCH_SECONDS` says, or 4. What is slow takes as long as ten runs do.
#[must_use]
pub fn patience() -> Duration {
    let seconds = std::env::var("EVALX_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.filter(|seconds| (0.1..=600.0).contains(seconds)).unwrap_or(4.0))
}

impl Stage {
    /// Sets up all who can take part in the benchmark of this name.
    ///
    /// # Panics
    ///
    /// Without threads or a compiler.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "whoever measures is told who is missing")]
    pub fn set(bench: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let programs = Programs::make();
        let mut record = Record { bench: bench.to_owned(), ..Record::default() };
        let mut contenders = vec![("floor", Contender::Floor)];
        let mut pool = None;
        let mut enter = |name: &'static str, contender: Result<Contender, String>| match contender {
            Ok(contender) => contenders.push((name, contender)),
            Err(why) => {
                eprintln!("{name} is skipped: {why}");
                record.skipped.insert(name.to_owned(), why);
            }
        };
        runtime.block_on(async {
            let of = |sandbox: DynSandbox| Contender::Sandbox(sandbox, Origin::new());
            enter("native", native().await.map(|it| of(Arc::new(it))).map_err(|error| error.chain()));
            enter("isolate", isolate().await.map(|it| of(Arc::new(it))).map_err(|error| error.chain()));
            let agent = docker(true).await.map(Arc::new).map_err(|error| error.chain());
            pool = agent.as_ref().ok().map(Arc::clone);
            enter("docker agent", agent.map(|sandbox| of(sandbox)));
            let warm = Warm::start(&image(), programs.folder()).await;
            enter("docker exec", warm.map(|warm| Contender::Exec(Arc::new(warm))));
            enter(
                "docker create",
                docker(false).await.map(|it| of(Arc::new(it))).map_err(|error| error.chain()),
            );
            let once = Once::connect(&image(), programs.folder()).await;
            enter("docker run", once.map(|once| Contender::Run(Arc::new(once))));
        });
        record.versions = versions();
        Self { runtime, programs, contenders, rested: false, pool, record: Mutex::new(record) }
    }

    /// Measures each contender at one task, run after run.
    ///
    /// # Panics
    ///
    /// If a run panicked before.
    pub fn compare<T, F>(&self, criterion: &mut Criterion, group: &str, task: &str, mut run: T)
    where
        T: FnMut(Contender) -> F,
        F: Future<Output = ()>,
    {
        let mut group = criterion.benchmark_group(group);
        group.sampling_mode(SamplingMode::Flat).sample_size(10);
        group.warm_up_time(WARM_UP).measurement_time(patience());
        for (name, contender) in &self.contenders {
            let mut begun = false;
            group.bench_function(BenchmarkId::new(*name, task), |bencher| {
                bencher.iter_custom(|count| {
                    // What is done once, such as a compile that is kept, is not measured.
                    if !std::mem::replace(&mut begun, true) {
                        self.runtime.block_on(run(contender.clone()));
                    }
                    let mut runs = Vec::new();
                    for _ in 0..count {
                        if self.rested && *name == "docker agent" {
                            self.runtime.block_on(self.rest());
                        }
                        let began = Instant::now();
                        self.runtime.block_on(run(contender.clone()));
                        runs.push(began.elapsed());
                    }
                    self.record.lock().expect("no panic").add(name, task, &runs);
                    runs.iter().sum()
                });
            });
        }
        group.finish();
    }

    /// Waits until the pool has its spares, and nothing else is there.
    async fn rest(&self) {
        let Some(pool) = &self.pool else { return };
        pool.ready().await.expect("the pool is filled");
        let settled = || {
            let statistics = pool.statistics();
            statistics.containers == statistics.shelves.iter().map(|shelf| shelf.spare).sum::<usize>()
        };
        while !settled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends all sandboxes, and keeps what was measured.
    ///
    /// # Panics
    ///
    /// If something measured has panicked.
    pub fn end(self) {
        self.record.lock().expect("no panic").save();
        self.runtime.block_on(async {
            for (_, contender) in self.contenders {
                match contender {
                    Contender::Floor | Contender::Run(_) => {}
                    Contender::Sandbox(sandbox, _) => sandbox.shutdown().await.expect("it shuts down"),
                    Contender::Exec(warm) => {
                        if let Some(warm) = Arc::into_inner(warm) {
                            warm.remove().await;
                        }
                    }
                }
            }
        });
    }
}

/// What the machine and its tools are.
fn versions() -> std::collections::BTreeMap<String, String> {
    let first_line = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cgroup = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "v2" } else { "v1" };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let facts = [
        ("evalx", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("processors", Some(format!("{processors} of {}", cpu.unwrap_or_default()))),
        ("kernel", first_line("uname", &["-r"])),
        ("cgroup", Some(cgroup.to_owned())),
        ("rustc", first_line("rustc", &["--version"])),
        ("gcc", first_line("gcc", &["--version"])),
        ("python", first_line("/usr/bin/python3", &["--version"])),
        ("docker", first_line("docker", &["version", "--format", "{{.Server.Version}}"])),
        ("date", first_line("date", &["-u", "+%Y-%m-%d"])),
    ];
    facts.into_iter().filter_map(|(name, fact)| Some((name.to_owned(), fact?))).collect()
}

/// The work folder's path of a file.
///
/// # Panics
///
/// If it is none.
#[must_use]
pub fn path(path: &str) -> SandboxPath {
    SandboxPath::new(path).expect("it is a path")
}

/// Runs a command without any sandbox; what it printed.
///
/// # Panics
///
/// If it fails.
#[must_use]
pub fn bare(folder: &Path, command: &[&str], stdin: Stdio) -> Vec<u8> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .stdin(stdin)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Runs a step that must go well; what it printed.
///
/// # Panics
///
/// If it fails.
pub async fn step(session: &mut dyn Session, command: &[&str], stdin: &'static [u8]) -> bytes::Bytes {
    let mut io = Collect::new(stdin);
    let step = Step::new(command[0]).with_arguments(&command[1..]);
    let report = session.run(step, &mut io).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    let (stdout, stderr) = io.into_output();
    assert!(report.outcome.is_success(), "{report:?} {stderr:?}");
    stdout
}

impl Contender {
    /// Runs a workload once, from nothing but what is warm to its output.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub async fn once(&self, programs: &Path, work: &Workload) {
        let printed = match self {
            Self::Floor => bare(programs, &work.command, Stdio::null()).into(),
            Self::Exec(warm) => {
                warm.execute(&work.command, b"").await.unwrap_or_else(|error| panic!("{error}")).into()
            }
            Self::Run(once) => once.run(&work.command).await.unwrap_or_else(|error| panic!("{error}")).into(),
            Self::Sandbox(sandbox, origin) => {
                let spec = SessionSpec::new(Limits::default()).with_origin(origin.clone());
                let mut session =
                    sandbox.open(spec).await.unwrap_or_else(|error| panic!("{}", error.chain()));
                if let Some((_, artifact)) = &work.program {
                    session
                        .write_file(&path("program"), artifact.clone().into())
                        .await
                        .expect("it is placed");
                }
                let printed = step(session.as_mut(), &work.command, b"").await;
                session.close().await.expect("it closes");
                printed
            }
        };
        assert_eq!(printed, work.output, "in {WORK_FOLDER}");
    }
}
