//! What happens when a part of the sandbox dies at a bad moment: the host, the
//! launcher, a zygote; and what the next one makes of what was left.
//!
//! This program is also the host that dies: it starts itself again, with
//! orders in its environment (`HOST` below), and kills that.
//!
//! - `EVALX_DEATHS=200`: how many hosts to kill; 24 by default.
//! - `EVALX_TIME_SCALE=10`: how many times slower this machine is.

mod traces;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use evalx_core::{
    Collect, Error, ErrorKind, FileContents, LimitKind, Limits, Outcome, Result, Sandbox, SandboxPath,
    SessionSpec, Step, StepReport, SyscallPolicy,
};
use evalx_sandbox_native::{Cgroup, Launcher, NativeConfig, NativeSandbox};
use evalx_testkit::{Probes, Token};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use traces::{Holdings, Traces, eventually, stretched};

/// What a process is told that is to be a host: what to do, the state folder,
/// and the word that its programs carry.
const HOST: [&str; 3] = ["EVALX_DEATHS_HOST", "EVALX_DEATHS_STATE", "EVALX_DEATHS_TOKEN"];

/// How long after a death something of the dead may live.
const AFTERLIFE: Duration = Duration::from_secs(1);
/// How long anything may take that does not have to wait.
const PROMPT: Duration = Duration::from_secs(5);
/// How long a host may take to get going.
const STARTING: Duration = Duration::from_secs(20);

type Trialled = std::result::Result<Completion, Failed>;

fn main() -> ExitCode {
    if let [Some(orders), Some(state), Some(token)] = HOST.map(std::env::var_os) {
        return host::main(&orders.to_string_lossy(), Path::new(&state), &token.to_string_lossy());
    }
    // The first one opens what the process then keeps for good.
    drop(runtime());
    let mut arguments = Arguments::from_args();
    // What is found of this process is to be the trial's own.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("host_killed_at_any_moment", || hosts_killed(rounds(24), Victims::Host)),
        trial("host_and_launcher_killed_at_once", || hosts_killed(rounds(24) / 3, Victims::Both)),
        trial("launcher_killed", launcher_killed),
        trial("launcher_killed_while_slots_are_made", launcher_killed_early),
        trial("idle_zygotes_killed", idle_zygotes_killed),
        trial("running_zygote_killed", running_zygote_killed),
        trial("zygotes_killed_at_any_moment", zygotes_killed),
        trial("start_dropped_at_any_moment", start_dropped),
        trial("sandbox_dropped", sandbox_dropped),
        trial("failed_start_leaves_nothing", failed_start),
        trial("shutdown_leaves_nothing", shutdown_leaves_nothing),
        trial("slots_are_numbered_anew", slots_numbered_anew),
        trial("two_sandboxes_with_folders_of_their_own", two_folders),
        trial("the_living_are_left_alone", the_living_are_left_alone),
        trial("many_starts_at_once", many_starts),
        trial("junk_in_the_state_folder", junk),
        trial("state_folder_of_somebody_else", foreign_state),
        trial("state_folder_that_others_can_write", writable_state),
        trial("few_descriptors", few_descriptors),
        trial("rlimits_only", rlimits_only),
        trial("no_cgroup_is_refused", no_cgroup),
        Trial::ignorable_test("as_an_ordinary_user", as_an_ordinary_user),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}

/// `EVALX_DEATHS`, or else `usual`.
fn rounds(usual: usize) -> usize {
    std::env::var("EVALX_DEATHS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[expect(clippy::print_stderr, reason = "a test program says on its stderr what it measured")]
fn note(text: &str) {
    eprintln!("note: {text}");
}

// What trials are made of.

/// Whether slots are held by cgroups here; an ordinary user mostly has none.
fn has_cgroup() -> bool {
    Uid::effective().is_root() || std::env::var_os("EVALX_CGROUP").is_some()
}

/// The best sandbox that this user can have.
fn config(state: &Path) -> NativeConfig {
    let config = NativeConfig::default().with_sessions(4).with_state_folder(state);
    match std::env::var("EVALX_CGROUP") {
        Ok(path) if path.starts_with('/') => config.with_cgroup(Cgroup::Path(path.into())),
        Ok(_) => config.with_cgroup(Cgroup::Adopt),
        Err(_) if has_cgroup() => config,
        Err(_) => weak(config),
    }
}

/// Without cgroups, and content with that.
fn weak(config: NativeConfig) -> NativeConfig {
    [LimitKind::Memory, LimitKind::Processes, LimitKind::CpuTime]
        .into_iter()
        .fold(config.with_cgroup(Cgroup::RlimitsOnly), NativeConfig::with_accepted_weak_limit)
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("evalx-deaths-").tempdir().expect("a folder is made")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime is made")
}

fn probes() -> Probes {
    Probes::find().expect("the probe is built")
}

fn own(state: &Path) -> Traces {
    Traces::of(state, std::process::id())
}

/// What a state folder keeps for good: nothing of any instance.
fn instances(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state).expect("the state folder is read").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "uids" && name != "lock").collect()
}

async fn start(state: &Path) -> NativeSandbox {
    NativeSandbox::start(config(state)).await.unwrap_or_else(|error| panic!("start: {error:?}"))
}

fn limits(probes: &Probes) -> Limits {
    // On rlimits the number of processes is that of the whole user.
    if has_cgroup() { probes.limits() } else { probes.limits().with_processes(512) }
}

fn lasting(probes: &Probes) -> Limits {
    let long = Duration::from_secs(120);
    limits(probes).with_cpu_time(long).with_wall_time(long)
}

/// Runs the probe in a session of its own.
async fn run(
    sandbox: &NativeSandbox,
    probes: &Probes,
    spec: SessionSpec,
    arguments: &[&str],
) -> Result<(StepReport, String)> {
    let mut session = sandbox.open(spec).await?;
    session.write_file(&SandboxPath::new("probe")?, FileContents::executable(probes.program())).await?;
    let mut io = Collect::new("");
    let report = session.run(Step::new("./probe").with_arguments(arguments), &mut io).await?;
    session.close().await?;
    Ok((report, String::from_utf8_lossy(&io.into_output().0).into_owned()))
}

async fn hello(sandbox: &NativeSandbox, probes: &Probes) -> Result<()> {
    let spec = SessionSpec::new(limits(probes));
    let attempt = timeout(stretched(STARTING), run(sandbox, probes, spec, &["hello"]));
    let (report, text) = attempt.await.expect("hello hangs")?;
    assert_eq!((&report.outcome, text.as_str()), (&Outcome::Exited(0), "hello\n"), "{report:?}");
    Ok(())
}

/// As many programs at once as there are slots all run well.
async fn all_work(sandbox: &NativeSandbox, probes: &Probes) {
    let one = || async { hello(sandbox, probes).await.unwrap_or_else(|error| panic!("hello: {error:?}")) };
    tokio::join!(one(), one(), one(), one());
    tokio::join!(one(), one(), one(), one());
}

/// Errors come at once, are of this kind, and can be read.
#[track_caller]
fn unavailable(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

fn murder(pid: i32) {
    // It may have ended by itself meanwhile.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Numbers that differ from run to run.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        use std::hash::BuildHasher;
        Self(std::hash::RandomState::new().hash_one(0) | 1)
    }

    fn throw(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Its upper half is the better one.
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    /// A time below `most`.
    fn below(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(self.throw()) / f64::from(u32::MAX))
    }

    fn one_of<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        let count = u32::try_from(things.len()).ok().filter(|count| *count > 0)?;
        things.get((self.throw() % count) as usize)
    }
}

/// Lets time pass before a blow, not before a look.
fn linger(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// The process that is killed.
mod host {
    use super::*;

    pub(crate) fn main(orders: &str, state: &Path, token: &str) -> ExitCode {
        let runtime = runtime();
        let result = runtime.block_on(async {
            match orders.split_once(' ').unwrap_or((orders, "")) {
                ("few", descriptors) => few(state, descriptors.parse().unwrap_or(0)).await,
                (orders, _) => act(orders, state, token).await,
            }
        });
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("error {error:?}"));
                ExitCode::FAILURE
            }
        }
    }

    /// One line to whoever started this.
    fn say(line: &str) {
        let mut stdout = std::io::stdout();
        // Nobody reads any more if the other is gone; so will this be.
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }

    async fn act(orders: &str, state: &Path, token: &str) -> Result<()> {
        let probes = probes();
        say("starting");
        let sandbox = Arc::new(start(state).await);
        say("started");
        sandbox.ready().await?;
        say("ready");
        if orders == "end" {
            hello(&sandbox, &probes).await?;
            say("ending");
            sandbox.shutdown().await?;
            say("ended");
            return Ok(());
        }
        let programs: &[&[&str]] = match orders {
            // What lives long, and holds on to life.
            "run" => &[
                &["spin"],
                &["sleep-ever"],
                &["trickle"],
                &["daemon", "spin"],
                &["sleep-children"],
                &["ignore-signals"],
                &["stop-self"],
                &["memory-slow"],
            ],
            // What is over at once, so that most of the time slots are reset.
            _ => &[&["hello"], &["fork-once"], &["hello"], &["touch", "4"]],
        };
        let next = AtomicUsize::new(0);
        let worker = async || -> Result<()> {
            loop {
                let program = programs[next.fetch_add(1, Ordering::Relaxed) % programs.len()];
                let arguments = [program, &[token][..]].concat();
                let wall = if orders == "run" { Duration::from_millis(500) } else { PROMPT };
                let spec = SessionSpec::new(lasting(&probes).with_wall_time(stretched(wall)));
                run(&sandbox, &probes, spec, &arguments).await?;
                say("run");
            }
        };
        tokio::try_join!(worker(), worker(), worker(), worker()).map(drop)
    }

    /// Starts with so many descriptors left, and is never hung.
    async fn few(state: &Path, left: u64) -> Result<()> {
        let probes = probes();
        let open = fs::read_dir("/proc/self/fd").map_or(3, Iterator::count) as u64;
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit is read");
        setrlimit(Resource::RLIMIT_NOFILE, open + left, hard).expect("the limit is lowered");
        let sandbox = NativeSandbox::start(config(state)).await?;
        sandbox.ready().await?;
        hello(&sandbox, &probes).await?;
        sandbox.shutdown().await?;
        say("well");
        Ok(())
    }
}

/// A host that was started, and what it has said.
struct Host {
    child: Child,
    lines: Receiver<String>,
    traces: Traces,
    token: Token,
}

impl Host {
    fn start(orders: &str, state: &Path) -> Self {
        let token = Token::new();
        let probes = probes();
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
            .envs(HOST.into_iter().zip([OsStr::new(orders), state.as_os_str(), OsStr::new(token.as_str())]))
            .env("EVALX_PROBES", probes.path().parent().expect("it is in a folder"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the host is started");
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("it is a pipe");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let traces = Traces::of(state, child.id());
        Self { child, lines, traces, token }
    }

    /// Waits until it says this.
    fn says(&self, word: &str) {
        loop {
            let line = self.lines.recv_timeout(stretched(STARTING));
            match line.unwrap_or_else(|error| panic!("the host does not say `{word}`: {error}")) {
                line if line == word => return,
                line if line.starts_with("error") => panic!("the host failed: {line}"),
                _ => {}
            }
        }
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.child.wait().expect("the host is waited for");
    }

    /// Whether none of its tree lives; else who does.
    fn is_dead(&self) -> std::result::Result<(), String> {
        let (processes, programs) = (self.traces.processes(), self.token.alive());
        if processes.is_empty() && programs.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let processes = processes.iter().map(|process| process.pid.cast_unsigned());
        for pid in processes.chain(programs) {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let state = status.lines().find(|line| line.starts_with("State")).unwrap_or_default().to_owned();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let _ = write!(text, "\n  {pid} lives, {state}: {line}");
        }
        Err(text)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

// The host dies.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    Host,
    Both,
}

fn hosts_killed(rounds: usize, victims: Victims) {
    let state = folder();
    let runtime = runtime();
    let probes = probes();
    let mut dice = Dice::new();
    let mut longest = Duration::ZERO;
    let mut left_behind = 0;
    for round in 0..rounds {
        // Whose end it is, and how long after what it comes.
        let (orders, word, most) = match round % 5 {
            0 => ("run", "starting", 60),
            1 => ("run", "started", 40),
            2 => ("run", "ready", 800),
            3 => ("reset", "run", 60),
            _ => ("end", "ending", 12),
        };
        let mut host = Host::start(orders, state.path());
        host.says(word);
        let delay = dice.below(stretched(Duration::from_millis(most)));
        linger(delay);
        let story = format!("round {round}, {victims:?} killed {delay:?} after `{word}`");
        if victims == Victims::Both {
            let launchers = host.traces.launchers();
            murder(i32::try_from(host.child.id()).expect("it is a process id"));
            launchers.into_iter().for_each(murder);
        }
        host.kill();
        let killed = Instant::now();
        // Every other time the next sandbox comes while the last still ends.
        let at_once = round % 2 == 1;
        if !at_once {
            if let Err(left) = eventually(AFTERLIFE, || host.is_dead()) {
                panic!("{story}: {left}");
            }
            longest = longest.max(killed.elapsed());
            left_behind += usize::from(host.traces.gone().is_err());
        }
        runtime.block_on(async {
            let sandbox = start(state.path()).await;
            if at_once && let Err(left) = eventually(AFTERLIFE, || host.is_dead()) {
                panic!("{story}: {left}");
            }
            // What the dying launcher removed by itself, or else the new sandbox.
            if let Err(left) = eventually(AFTERLIFE, || host.traces.gone()) {
                panic!("{story}: after the next start there is {left}");
            }
            hello(&sandbox, &probes).await.unwrap_or_else(|error| panic!("{story}: {error:?}"));
            sandbox.shutdown().await.unwrap_or_else(|error| panic!("{story}: {error:?}"));
        });
        own(state.path()).gone().unwrap_or_else(|left| panic!("{story}: its successor left {left}"));
        assert_eq!(instances(state.path()), [""; 0], "{story}");
    }
    note(&format!(
        "{rounds} hosts killed ({victims:?}): dead after {longest:?} at most; {left_behind} left things"
    ));
}

// The launcher dies.

/// What runs fails, says why, and soon; nothing survives; the next runs do well.
fn launcher_killed() {
    let state = folder();
    let probes = probes();
    let before = Holdings::now();
    let runtime = runtime();
    let traces = own(state.path());
    runtime.block_on(async {
        let sandbox = Arc::new(start(state.path()).await);
        sandbox.ready().await.expect("the slots are made");
        let token = Token::new();
        let running = tokio::spawn({
            let (sandbox, probes, token) = (Arc::clone(&sandbox), probes.clone(), token.clone());
            async move {
                run(&sandbox, &probes, SessionSpec::new(lasting(&probes)), &["sleep-ever", token.as_str()])
                    .await
            }
        });
        alive(&token);
        let launchers = traces.launchers();
        assert_eq!(launchers.len(), 1, "{launchers:?}");
        murder(launchers[0]);
        let result = timeout(stretched(PROMPT), running).await.expect("the run hangs").expect("no panic");
        unavailable(&result.expect_err("its slot is dead"));
        if let Err(left) = eventually(AFTERLIFE, || dead(&token)) {
            panic!("{left}");
        }
        // Whoever comes next gets a slot of a new launcher.
        all_work(&sandbox, &probes).await;
        sandbox.check().await.expect("it has recovered");
        assert_eq!(traces.launchers().len(), 1, "{:?}", traces.launchers());
        let ended = timeout(stretched(PROMPT), sandbox.shutdown()).await.expect("the shutdown hangs");
        ended.expect("it is shut down");
        traces.gone().unwrap_or_else(|left| panic!("{left}"));
    });
    drop(runtime);
    eventually(PROMPT, || before.restored()).unwrap_or_else(|left| panic!("{left}"));
}

/// A zygote that is not finished dies with its launcher as well.
fn launcher_killed_early() {
    let state = folder();
    let runtime = runtime();
    let traces = own(state.path());
    let mut dice = Dice::new();
    for round in 0..rounds(24) {
        runtime.block_on(async {
            let sandbox = start(state.path()).await;
            let delay = dice.below(stretched(Duration::from_millis(20)));
            linger(delay);
            traces.launchers().into_iter().for_each(murder);
            if let Err(left) = eventually(AFTERLIFE, || none(&traces)) {
                panic!("round {round}, {delay:?} after the start: {left}");
            }
            let ready = timeout(stretched(PROMPT), sandbox.ready()).await.expect("waiting for slots hangs");
            if let Err(error) = ready {
                unavailable(&error);
            }
            timeout(stretched(PROMPT), sandbox.shutdown()).await.expect("it hangs").expect("it is shut down");
        });
        traces.gone().unwrap_or_else(|left| panic!("round {round}: {left}"));
    }
}

fn none(traces: &Traces) -> std::result::Result<(), String> {
    match traces.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("there is still {left:?}")),
    }
}

#[track_caller]
fn alive(token: &Token) {
    let started = || if token.alive().is_empty() { Err(String::new()) } else { Ok(()) };
    assert!(eventually(PROMPT, started).is_ok(), "the program does not start");
}

fn dead(token: &Token) -> std::result::Result<(), String> {
    match token.alive() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("there is still {left:?}")),
    }
}

// A zygote dies.

fn idle_zygotes_killed() {
    let state = folder();
    let probes = probes();
    let before = Holdings::now();
    let runtime = runtime();
    let traces = own(state.path());
    runtime.block_on(async {
        let sandbox = start(state.path()).await;
        sandbox.ready().await.expect("the slots are made");
        let zygotes = traces.zygotes();
        assert!(zygotes.len() >= 4, "{zygotes:?}");
        for zygote in &zygotes {
            murder(*zygote);
        }
        // Each of the dead may cost one run, which says so.
        let mut failures = 0;
        for _ in 0..8 {
            if let Err(error) = hello(&sandbox, &probes).await {
                unavailable(&error);
                failures += 1;
            }
        }
        note(&format!("{failures} of 8 runs failed after {} idle zygotes were killed", zygotes.len()));
        assert!(failures <= zygotes.len(), "{failures} runs failed");
        all_work(&sandbox, &probes).await;
        assert!(traces.zygotes().len() >= 4);
        sandbox.shutdown().await.expect("it is shut down");
        traces.gone().unwrap_or_else(|left| panic!("{left}"));
    });
    drop(runtime);
    eventually(PROMPT, || before.restored()).unwrap_or_else(|left| panic!("{left}"));
}

fn running_zygote_killed() {
    let state = folder();
    let probes = probes();
    let runtime = runtime();
    let traces = own(state.path());
    runtime.block_on(async {
        let sandbox = Arc::new(start(state.path()).await);
        sandbox.ready().await.expect("the slots are made");
        for program in ["sleep-ever", "spin", "trickle", "sleep-children"] {
            let token = Token::new();
            let running = tokio::spawn({
                let (sandbox, probes, token) = (Arc::clone(&sandbox), probes.clone(), token.clone());
                async move {
                    run(&sandbox, &probes, SessionSpec::new(lasting(&probes)), &[program, token.as_str()])
                        .await
                }
            });
            alive(&token);
            murder(*above(&traces, &token).first().expect("the program has a zygote"));
            let result = timeout(stretched(PROMPT), running).await;
            match result.expect("the run hangs").expect("no panic") {
                Ok((report, _)) => assert_ne!(report.outcome, Outcome::Exited(0), "{report:?}"),
                Err(error) => unavailable(&error),
            }
            eventually(AFTERLIFE, || dead(&token)).unwrap_or_else(|left| panic!("{program}: {left}"));
            all_work(&sandbox, &probes).await;
        }
        sandbox.shutdown().await.expect("it is shut down");
        traces.gone().unwrap_or_else(|left| panic!("{left}"));
    });
}

/// The zygotes above what carries the token.
fn above(traces: &Traces, token: &Token) -> Vec<i32> {
    let zygotes = traces.zygotes();
    let parent = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.get(stat.rfind(')')? + 1..)?.split_whitespace().nth(1)?.parse().ok()
    };
    let mut found = Vec::new();
    for pid in token.alive() {
        let mut at = i32::try_from(pid).ok();
        while let Some(pid) = at.filter(|pid| *pid > 1) {
            if zygotes.contains(&pid) {
                found.push(pid);
                break;
            }
            at = parent(pid);
        }
    }
    found
}

/// Whatever a slot is doing when its zygote is killed, runs end, and with the
/// truth: well, or with an error that says that it was not the program's doing.
fn zygotes_killed() {
    let state = folder();
    let probes = probes();
    let before = Holdings::now();
    let runtime = runtime();
    let traces = own(state.path());
    let mut dice = Dice::new();
    runtime.block_on(async {
        let sandbox = Arc::new(start(state.path()).await);
        sandbox.ready().await.expect("the slots are made");
        let over = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (sandbox, probes, over) = (Arc::clone(&sandbox), probes.clone(), Arc::clone(&over));
                tokio::spawn(async move {
                    let (mut well, mut failed, mut last) = (0, 0, String::new());
                    while !over.load(Ordering::Relaxed) {
                        match hello(&sandbox, &probes).await {
                            Ok(()) => well += 1,
                            Err(error) => {
                                unavailable(&error);
                                failed += 1;
                                last = error.chain();
                            }
                        }
                    }
                    (well, failed, last)
                })
            })
            .collect();
        let kills = 4 * rounds(24);
        for _ in 0..kills {
            linger(dice.below(Duration::from_millis(12)));
            dice.one_of(&traces.zygotes()).copied().into_iter().for_each(murder);
        }
        over.store(true, Ordering::Relaxed);
        let (mut well, mut failed, mut errors) = (0, 0, Vec::new());
        for worker in workers {
            let (more, lost, error) = worker.await.expect("no run panics");
            well += more;
            failed += lost;
            errors.push(error);
        }
        note(&format!("{kills} zygotes killed: {well} runs went well, {failed} failed"));
        assert!(failed <= kills, "{failed} runs failed of {kills} deaths: {errors:?}");
        // Slots that died last are found dead by the runs that take them.
        for _ in 0..4 {
            if let Err(error) = hello(&sandbox, &probes).await {
                unavailable(&error);
            }
        }
        all_work(&sandbox, &probes).await;
        sandbox.shutdown().await.expect("it is shut down");
        traces.gone().unwrap_or_else(|left| panic!("{left}"));
    });
    drop(runtime);
    eventually(PROMPT, || before.restored()).unwrap_or_else(|left| panic!("{left}"));
}

// Nothing dies, but ends early.

fn start_dropped() {
    let state = folder();
    let before = Holdings::now();
    let runtime = runtime();
    let traces = own(state.path());
    let mut dice = Dice::new();
    for round in 0..rounds(24) {
        let delay = dice.below(stretched(Duration::from_millis(60)));
        runtime.block_on(async {
            let ready = async {
                let sandbox = start(state.path()).await;
                sandbox.ready().await.expect("the slots are made");
            };
            // Dropped midway, or just when it is done.
            let _ = timeout(delay, ready).await;
        });
        if let Err(left) = eventually(PROMPT, || traces.gone()) {
            panic!("round {round}, dropped after {delay:?}: {left}");
        }
    }
    drop(runtime);
    eventually(PROMPT, || before.restored()).unwrap_or_else(|left| panic!("{left}"));
}

fn sandbox_dropped() {
    let state = folder();
    let probes = probes();
    let before = Holdings::now();
    let runtime = runtime();
    let traces = own(state.path());
    runtime.block_on(async {
        let sandbox = start(state.path()).await;
        all_work(&sandbox, &probes).await;
        drop(sandbox);
        eventually(PROMPT, || traces.gone()).unwrap_or_else(|left| panic!("{left}"));
    });
    drop(runtime);
    eventually(PROMPT, || before.restored()).unwrap_or_else(|left| panic!("{left}"));
}

fn failed_start() {
    let state = folder();
    let before = Holdings::now();
    let runtime = runtime();
    let traces = own(state.path());
    runtime.block_on(async {
        // Not there; not linked with this crate; and a folder.
        for program in ["/nowhere/evalx", "/bin/true", "/"] {
            let config = config(state.path()).with_launcher(Launcher::Path(program.into()));
            let error = NativeSandbox::start(config).await.expect_err("it is no launcher");
            unavailable(&error);
            assert!(error.chain().contains("launcher"), "{error:?}");
            eventually(PROMPT, || traces.gone()).unwrap_or_else(|left| panic!("{program}: {left}"));
        }
    });
    drop(runtime);
    eventually(PROMPT, || before.restored()).unwrap_or_else(|left| panic!("{left}"));
}

/// Not even for a moment after it returns.
fn shutdown_leaves_nothing() {
    let state = folder();
    let probes = probes();
    let runtime = runtime();
    let traces = own(state.path());
    for round in 0..rounds(24) / 2 {
        runtime.block_on(async {
            let sandbox = Arc::new(start(state.path()).await);
            let token = Token::new();
            let running = tokio::spawn({
                let (sandbox, probes, token) = (Arc::clone(&sandbox), probes.clone(), token.clone());
                async move {
                    run(
                        &sandbox,
                        &probes,
                        SessionSpec::new(lasting(&probes)),
                        &["sleep-children", token.as_str()],
                    )
                    .await
                }
            });
            if round % 2 == 0 {
                alive(&token);
            }
            sandbox.shutdown().await.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            traces.gone().and(dead(&token)).unwrap_or_else(|left| panic!("round {round}: {left}"));
            let result = timeout(stretched(PROMPT), running).await.expect("the run hangs").expect("no panic");
            unavailable(&result.expect_err("the sandbox is shut down"));
        });
    }
}

// Many at once.

/// More slots are made in a life than numbers there are for them, while one
/// keeps its own.
fn slots_numbered_anew() {
    const NUMBERS: usize = 2048;
    let state = folder();
    let probes = probes();
    let runtime = runtime();
    runtime.block_on(async {
        let config = config(state.path()).with_sessions(2);
        let sandbox = NativeSandbox::start(config).await.unwrap_or_else(|error| panic!("start: {error:?}"));
        let lasting = sandbox.open(SessionSpec::new(lasting(&probes))).await.expect("a session is opened");
        // A slot's policy is for good, so that each of these takes a new slot.
        let policies = [SyscallPolicy::Strict, SyscallPolicy::Default];
        for number in 0..NUMBERS + 4 {
            let spec = SessionSpec::new(limits(&probes)).with_syscalls(policies[number % 2]);
            let session = sandbox.open(spec).await;
            let session = session.unwrap_or_else(|error| panic!("session {number}: {error:?}"));
            session.close().await.expect("it is closed");
        }
        lasting.close().await.expect("it is closed");
        sandbox.shutdown().await.expect("it is shut down");
        own(state.path()).gone().unwrap_or_else(|left| panic!("{left}"));
    });
}

fn two_folders() {
    let states = [folder(), folder()];
    let probes = probes();
    let runtime = runtime();
    runtime.block_on(async {
        let (one, other) = (start(states[0].path()).await, start(states[1].path()).await);
        tokio::join!(all_work(&one, &probes), all_work(&other, &probes));
        if Uid::effective().is_root() {
            let [one, other] = states.each_ref().map(|state| uids(&own(state.path())));
            assert!(!one.is_empty() && one.is_disjoint(&other), "{one:?} and {other:?} have uids in common");
        }
        one.shutdown().await.expect("it is shut down");
        all_work(&other, &probes).await;
        other.shutdown().await.expect("it is shut down");
    });
    for state in &states {
        own(state.path()).gone().unwrap_or_else(|left| panic!("{left}"));
    }
}

/// As whom its zygotes run.
fn uids(traces: &Traces) -> BTreeSet<String> {
    let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uid = |text: String| text.lines().find(|line| line.starts_with("Uid:")).map(str::to_owned);
    traces.zygotes().into_iter().filter_map(|pid| uid(status(pid))).collect()
}

fn the_living_are_left_alone() {
    let state = folder();
    let probes = probes();
    let runtime = runtime();
    let mut host = Host::start("run", state.path());
    host.says("ready");
    runtime.block_on(async {
        let (one, other) = (Arc::new(start(state.path()).await), start(state.path()).await);
        let token = Token::new();
        let running = tokio::spawn({
            let (one, probes, token) = (Arc::clone(&one), probes.clone(), token.clone());
            async move {
                run(&one, &probes, SessionSpec::new(lasting(&probes)), &["sleep-ever", token.as_str()]).await
            }
        });
        alive(&token);
        eventually(PROMPT, || {
            if host.token.alive().is_empty() { Err("no run") } else { Ok(()) }.map_err(str::to_owned)
        })
        .expect("the host's programs run");
        host.traces.launchers().into_iter().for_each(murder);
        host.kill();
        eventually(AFTERLIFE, || host.is_dead()).unwrap_or_else(|left| panic!("{left}"));
        assert!(host.traces.gone().is_err(), "the dead left nothing, so that this shows nothing");
        let third = start(state.path()).await;
        host.traces.gone().unwrap_or_else(|left| panic!("the third start did not remove {left}"));
        assert_eq!(own(state.path()).launchers().len(), 3);
        assert_eq!(own(state.path()).folders().len(), 3);
        assert!(!running.is_finished() && !token.alive().is_empty(), "the living was disturbed");
        tokio::join!(all_work(&other, &probes), all_work(&third, &probes), hello(&one, &probes))
            .2
            .expect("hello");
        third.shutdown().await.expect("it is shut down");
        other.shutdown().await.expect("it is shut down");
        assert!(!running.is_finished() && !token.alive().is_empty(), "the living was disturbed");
        hello(&one, &probes).await.expect("hello");
        one.shutdown().await.expect("it is shut down");
        let _ = running.await;
    });
    own(state.path()).gone().unwrap_or_else(|left| panic!("{left}"));
    assert_eq!(instances(state.path()), [""; 0]);
}

/// Sandboxes that start and end at the same time, in several processes, some
/// of which are killed, do not fail for each other.
fn many_starts() {
    let state = folder();
    let probes = probes();
    let runtime = runtime();
    for _ in 0..rounds(24) / 6 {
        let mut hosts: Vec<Host> = (0..4).map(|_| Host::start("end", state.path())).collect();
        hosts[0].says("starting");
        hosts[0].kill();
        runtime.block_on(async {
            let life = || async {
                let sandbox = start(state.path()).await;
                hello(&sandbox, &probes).await.unwrap_or_else(|error| panic!("hello: {error:?}"));
                sandbox.shutdown().await.unwrap_or_else(|error| panic!("shutdown: {error:?}"));
            };
            tokio::join!(life(), life(), life(), life());
        });
        for host in &hosts[1..] {
            host.says("ended");
        }
        let dead = hosts.remove(0);
        eventually(AFTERLIFE, || dead.is_dead()).unwrap_or_else(|left| panic!("{left}"));
    }
    runtime.block_on(async {
        start(state.path()).await.shutdown().await.expect("it is shut down");
    });
    assert_eq!(instances(state.path()), [""; 0]);
}

// The state folder.

/// What is not an instance's is left alone, and keeps nobody from starting.
fn junk() {
    let state = folder();
    let outside = folder();
    let probes = probes();
    let runtime = runtime();
    const INSTANCE: &str = "1-00000000000000ab";
    let group = format!("evalx.{INSTANCE}");
    let precious = outside.path().join("evalx.precious/empty");
    fs::create_dir_all(&precious).expect("a folder is made");
    fs::write(outside.path().join("evalx.precious/cgroup.procs"), format!("{}\n", std::process::id()))
        .expect("a file is written");
    fs::write(outside.path().join("cgroups"), "").expect("a file is written");
    // A group of somebody else's with our prefix, where this user can make one.
    let foreign = Path::new("/sys/fs/cgroup/memory/evalx.precious");
    let foreign = fs::create_dir(foreign).is_ok().then_some(foreign);
    // What instances are called.
    let named =
        |name: &str| state.path().join(format!("{}-{:016x}", &name[..name.find('-').unwrap_or(0)], 0xab));
    let make = |name: &str, groups: &[u8]| {
        let folder = named(name);
        fs::create_dir(&folder).expect("a folder is made");
        fs::write(folder.join("cgroups"), groups).expect("a file is written");
        folder
    };
    let foreign_names = [
        "/sys/fs/cgroup/memory",
        "../..",
        "/",
        "",
        "/sys/fs/cgroup/memory/evalx.precious",
        &format!("/sys/fs/cgroup/memory/evalx.{INSTANCE}/../evalx.precious"),
        &format!("/sys/fs/cgroup/memory/../../../..{}", outside.path().join(&group).display()),
        &outside.path().join("evalx.precious").display().to_string(),
        &outside.path().join(&group).display().to_string(),
    ]
    .join("\n");
    make("1-names", foreign_names.as_bytes());
    symlink(outside.path().join("evalx.precious"), outside.path().join(&group)).expect("a link is made");
    make("14-own", format!("{}/evalx.14-00000000000000ab", outside.path().display()).as_bytes());
    let own_folder = outside.path().join("evalx.14-00000000000000ab/empty");
    fs::create_dir_all(&own_folder).expect("a folder is made");
    fs::write(
        outside.path().join("evalx.14-00000000000000ab/cgroup.procs"),
        format!("{}\n", std::process::id()),
    )
    .expect("a file is written");
    make("2-not-text", b"\xff\xfe\0/evalx.\xff\n");
    let unreadable = make("3-unreadable", b"");
    fs::set_permissions(unreadable.join("cgroups"), fs::Permissions::from_mode(0o000))
        .expect("modes are set");
    fs::create_dir_all(named("4-folders").join("cgroups")).expect("a folder is made");
    fs::create_dir_all(named("4-folders").join("lock")).expect("a folder is made");
    let links = make("5-links", b"");
    symlink("/dev/full", links.join("lock")).expect("a link is made");
    symlink(outside.path(), links.join("stage")).expect("a link is made");
    symlink(outside.path(), named("6-link")).expect("a link is made");
    symlink("/nowhere", named("7-dangling")).expect("a link is made");
    fs::write(named("8-file"), "").expect("a file is written");
    fs::create_dir(named("9-empty")).expect("a folder is made");
    let locked = make("10-closed", b"");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("modes are set");
    nix::unistd::mkfifo(&make("11-fifo", b"").join("lock"), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    fs::create_dir(named("12-fifo")).expect("a folder is made");
    nix::unistd::mkfifo(&named("12-fifo").join("cgroups"), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    make("13-huge", &b"/x\n".repeat(1 << 20));

    runtime.block_on(async {
        let attempt = timeout(stretched(PROMPT), start(state.path())).await;
        let sandbox = attempt.expect("the start hangs");
        all_work(&sandbox, &probes).await;
        sandbox.shutdown().await.expect("it is shut down");
    });
    own(state.path()).gone().unwrap_or_else(|left| panic!("{left}"));
    assert!(precious.is_dir(), "a folder outside was removed");
    assert!(own_folder.is_dir(), "a folder outside was removed");
    assert!(outside.path().join(&group).is_symlink(), "a link outside was removed");
    assert!(outside.path().join("cgroups").is_file(), "a file outside was removed");
    assert!(!outside.path().join("lock").exists(), "a file was made outside");
    if let Some(foreign) = foreign {
        let stays = foreign.is_dir();
        let _ = fs::remove_dir(foreign);
        assert!(stays, "a cgroup of somebody else was removed");
    }
    let _ = fs::set_permissions(&locked, fs::Permissions::from_mode(0o700));
}

/// The error says what is wrong with which folder, and what to do.
#[track_caller]
fn refused(state: &Path) {
    let result = runtime().block_on(async { NativeSandbox::start(config(state)).await });
    let error = result.expect_err("the folder is not private");
    unavailable(&error);
    let text = error.chain();
    assert!(text.contains(&state.display().to_string()), "{text}");
    assert!(text.contains("somebody else") || text.contains("others"), "{text}");
    assert!(error.help().is_some(), "{error:?}");
}

fn foreign_state() {
    let state = folder();
    if Uid::effective().is_root() {
        chown(state.path(), Some(12_345), Some(12_345)).expect("it is given away");
        refused(state.path());
    } else {
        // What nobody but root has.
        refused(Path::new("/usr"));
    }
    // A symlink to what is ours may be turned elsewhere by whoever made it.
    let own = folder();
    symlink(own.path(), own.path().join("link")).expect("a link is made");
    refused(&own.path().join("link"));
}

fn writable_state() {
    for mode in [0o720, 0o702, 0o777, 0o1777] {
        let state = folder();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(mode)).expect("modes are set");
        refused(state.path());
        assert_eq!(instances(state.path()), [""; 0]);
    }
}

/// However few descriptors there are, the start succeeds, or says that it is
/// for want of descriptors; and what was started ends.
fn few_descriptors() {
    let state = folder();
    let mut enough = None;
    for left in (0..=60).step_by(2) {
        let host = Host::start(&format!("few {left}"), state.path());
        let line = loop {
            match host.lines.recv_timeout(stretched(STARTING)) {
                Ok(line) if line == "well" || line.starts_with("error") => break line,
                Ok(_) => {}
                Err(error) => panic!("a host with {left} descriptors left neither starts nor fails: {error}"),
            }
        };
        if line == "well" {
            enough.get_or_insert(left);
        } else {
            assert!(line.contains("os error 24") || line.contains("EMFILE"), "{left} left: {line}");
            assert!(line.contains("help") && line.contains("RLIMIT_NOFILE"), "{left} left: {line}");
            assert!(line.contains("error unavailable"), "{left} left: {line}");
        }
        if let Err(alive) = eventually(AFTERLIFE, || host.is_dead()) {
            panic!("{left} left: {alive}");
        }
    }
    note(&format!("4 slots and a run take {enough:?} descriptors"));
    assert!(enough.is_some(), "60 descriptors are not enough for 4 slots");
    runtime().block_on(async { start(state.path()).await.shutdown().await.expect("it is shut down") });
    assert_eq!(instances(state.path()), [""; 0]);
}

// Without cgroups.

fn rlimits_only() {
    let state = folder();
    let probes = probes();
    let runtime = runtime();
    runtime.block_on(async {
        let plain = NativeConfig::default().with_sessions(4).with_state_folder(state.path());
        // Nothing is weakened in silence.
        let sandbox = NativeSandbox::start(plain.clone().with_cgroup(Cgroup::RlimitsOnly)).await;
        let sandbox = sandbox.unwrap_or_else(|error| panic!("start: {error:?}"));
        let error = sandbox.open(SessionSpec::default()).await.expect_err("nobody has accepted that");
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        sandbox.shutdown().await.expect("it is shut down");

        let sandbox = NativeSandbox::start(weak(plain)).await;
        let sandbox = sandbox.unwrap_or_else(|error| panic!("start: {error:?}"));
        hello(&sandbox, &probes).await.expect("hello");
        let wall = stretched(Duration::from_millis(200));
        let spec = || SessionSpec::new(limits(&probes).with_processes(512).with_wall_time(wall));
        for program in ["sleep-ever", "sleep-children", "spin", "ignore-signals", "stop-self"] {
            // The best of three: others use this machine too.
            let mut late = Duration::MAX;
            for _ in 0..3 {
                let (report, _) = run(&sandbox, &probes, spec(), &[program]).await.expect("it runs");
                assert_eq!(report.outcome, Outcome::WallTimeLimit, "{program}: {report:?}");
                late = late.min(report.wall_time.saturating_sub(wall));
            }
            assert!(late < stretched(Duration::from_millis(20)), "{program} ended {late:?} late");
        }
        sandbox.shutdown().await.expect("it is shut down");
    });
    own(state.path()).gone().unwrap_or_else(|left| panic!("{left}"));
}

/// Where there is no cgroup to be had, the error names every way out.
fn no_cgroup() {
    let state = folder();
    let bare = NativeConfig::default().with_state_folder(state.path());
    let bare = if has_cgroup() { bare.with_cgroup(Cgroup::Path("/nowhere".into())) } else { bare };
    let result = runtime().block_on(NativeSandbox::start(bare));
    let error = result.expect_err("there is no cgroup");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert!(error.chain().contains("cgroup"), "{error:?}");
    let help = error.help().unwrap_or_default();
    for way in ["root", "Delegate=yes", "EVALX_CGROUP"] {
        assert!(help.contains(way), "the help does not name {way}: {help}");
    }
    own(state.path()).gone().unwrap_or_else(|left| panic!("{left}"));
}

// The same again.

/// Every claim above once more, by a copy of this program that root starts as
/// somebody who is nobody.
fn as_an_ordinary_user() -> Trialled {
    const SOMEBODY: u32 = 61_234;
    if !Uid::effective().is_root() {
        return Ok(Completion::ignored_with("this user is an ordinary one already"));
    }
    let folder = folder();
    let place = |from: &Path, name: &str| -> PathBuf {
        let to = folder.path().join(name);
        fs::copy(from, &to).expect("the program is copied");
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("modes are set");
        to
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("modes are set");
    let program = place(&std::env::current_exe().expect("this program has a path"), "deaths");
    place(probes().path(), "probe");
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder is made");
    chown(&temporary, Some(SOMEBODY), Some(SOMEBODY)).expect("it is given away");
    let output = Command::new(program)
        .env("EVALX_PROBES", folder.path())
        .env("TMPDIR", &temporary)
        .env_remove("EVALX_CGROUP")
        .env_remove("XDG_RUNTIME_DIR")
        .current_dir("/")
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("the copy could not be started: {error}"))?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let notes = text.lines().filter(|line| line.starts_with("note: "));
    notes.for_each(|line| note(&format!("(as an ordinary user) {}", &line["note: ".len()..])));
    if output.status.success() {
        return Ok(Completion::Completed);
    }
    if text.contains("user namespace") {
        return Ok(Completion::ignored_with("ordinary users may not make user namespaces here"));
    }
    Err(text.into())
}
