//! What happens when the host dies at a bad moment, and when several hosts
//! share the box numbers of a machine.
//!
//! This program is also the host that dies: it starts itself again, with a
//! state folder in its environment (`HOST` below), and kills that.
//!
//! - `EVALX_DEATHS=30`: how many hosts to kill; 12 by default.

#[expect(dead_code, reason = "the suite that the other tests run is not run here")]
mod backend;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evalx_core::{
    Collect, DynSandbox, ErrorKind, FileContents, Limits, Outcome, Sandbox, SandboxPath, Session,
    SessionSpec, Step,
};
use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};
use evalx_testkit::{Probes, Token};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What a process is told that is to be a host: the state folder, and the word
/// that its programs carry.
const HOST: [&str; 2] = ["EVALX_DEATHS_STATE", "EVALX_DEATHS_TOKEN"];

/// The numbers that these tests use: far from those of a real sandbox.
const FIRST_BOX: u32 = 900;
const BOXES: u32 = 8;

type Trialled = Result<Completion, Failed>;

fn main() -> ExitCode {
    if let [Some(state), Some(token)] = HOST.map(std::env::var_os) {
        return live(Path::new(&state), &token.to_string_lossy());
    }
    let mut arguments = Arguments::from_args();
    // They share the numbers of boxes.
    arguments.test_threads = Some(1);
    let trials = vec![
        Trial::ignorable_test("host_killed_at_any_moment", || trial(hosts_killed)),
        Trial::ignorable_test("processes_share_the_numbers", || trial(numbers_are_shared)),
        Trial::ignorable_test("the_living_are_left_alone", || trial(the_living_are_left_alone)),
        Trial::ignorable_test("sandbox_dropped_amid_a_run", || trial(sandbox_dropped)),
        Trial::ignorable_test("junk_in_the_state_folder", || trial(junk)),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs it, or says why this machine can't.
fn trial(run: fn(&Probes)) -> Trialled {
    let required = evalx_testkit::required("isolate");
    let state = folder();
    let fit = runtime().block_on(async {
        let sandbox = IsolateSandbox::start(config(state.path())).await?;
        sandbox.shutdown().await
    });
    let probes = match (fit, Probes::find()) {
        (Ok(()), Ok(probes)) => probes,
        (Err(error), _) if required => return Err(error.chain().into()),
        (Err(error), _) => return Ok(Completion::ignored_with(error.chain())),
        (_, Err(reason)) if required => return Err(reason.into()),
        (_, Err(reason)) => return Ok(Completion::ignored_with(reason)),
    };
    run(&probes);
    Ok(Completion::Completed)
}

fn config(state: &Path) -> IsolateConfig {
    backend::config().with_boxes(FIRST_BOX, BOXES).with_sessions(4).with_state_folder(state)
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("evalx-isolate-deaths-").tempdir().expect("a folder is made")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it starts")
}

async fn start(state: &Path) -> IsolateSandbox {
    IsolateSandbox::start(config(state)).await.unwrap_or_else(|error| panic!("{}", error.chain()))
}

async fn session(sandbox: &dyn Sandbox, probes: &Probes) -> Box<dyn Session> {
    let spec = SessionSpec::new(probes.limits());
    let mut session = sandbox.open(spec).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    let path = SandboxPath::new("probe").expect("it is a path");
    session.write_file(&path, FileContents::executable(probes.program())).await.expect("it is placed");
    session
}

async fn run(session: &mut dyn Session, arguments: &[&str]) -> Outcome {
    let step = Step::new("./probe").with_arguments(arguments.iter().copied());
    session
        .run(step, &mut Collect::default())
        .await
        .unwrap_or_else(|error| panic!("{}", error.chain()))
        .outcome
}

/// The life of a host that is going to be killed: sessions without end.
fn live(state: &Path, token: &str) -> ExitCode {
    let probes = Probes::find().expect("the probe was built by the one who kills");
    runtime().block_on(async {
        let sandbox: DynSandbox = Arc::new(start(state).await);
        let tasks = (0..3).map(|first| {
            tokio::spawn(work_for_ever(DynSandbox::clone(&sandbox), probes.clone(), token.to_owned(), first))
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("it goes on until it is killed");
        }
    });
    ExitCode::SUCCESS
}

/// Sessions without end, each of some steps that begin with the one of this number.
async fn work_for_ever(sandbox: DynSandbox, probes: Probes, token: String, first: usize) {
    loop {
        let mut session = session(&sandbox, &probes).await;
        let work: [&[&str]; 3] = [&["hello"], &["sleep", "50"], &["spin-children", "2", "20"]];
        for arguments in work.iter().cycle().skip(first).take(3) {
            run(session.as_mut(), &[*arguments, &[&token]].concat()).await;
        }
        session.close().await.expect("it is closed");
    }
}

/// Starts a host.
fn host(state: &Path, token: &Token) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env(HOST[0], state).env(HOST[1], token.as_str());
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts")
}

/// What boxes of these tests leave on a machine, besides the state folder.
fn remains(state: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("it can be read");
    let state = state.canonicalize().expect("the folder is there").display().to_string();
    found.extend(mounts.lines().filter(|line| line.contains(&state)).map(|line| format!("mount {line}")));
    let numbers = FIRST_BOX..FIRST_BOX + BOXES;
    let names: Vec<String> =
        numbers.flat_map(|number| [format!("box-{number}"), format!("evalx-isolate-box-{number}")]).collect();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if names.iter().any(|name| entry.file_name() == name.as_str()) {
                    found.insert(format!("group {}", entry.path().display()));
                }
                folders.push(entry.path());
            }
        }
    }
    found.extend(entries(Path::new(&state)).into_iter().filter(|name| !name.ends_with(".lock")));
    found
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// isolates that are at work on boxes of these tests.
fn isolates() -> Vec<String> {
    let marks: Vec<String> =
        (FIRST_BOX..FIRST_BOX + BOXES).map(|number| format!("--box-id={number}")).collect();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.filter(|line| marks.iter().any(|mark| line.split('\0').any(|word| word == mark))).collect()
}

/// Waits until a state holds, and says whether it came in time.
fn eventually(most: Duration, mut state: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + most;
    while !state() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// A host killed at any moment leaves nothing after the next start.
fn hosts_killed(probes: &Probes) {
    let rounds: u32 = std::env::var("EVALX_DEATHS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let state = folder();
    for round in 0..rounds {
        let token = Token::new();
        let mut host = host(state.path(), &token);
        // From before it is up to when it is at full work; the steps are odd,
        // so that no two rounds meet the same moment.
        let life = probes.stretch(Duration::from_millis(u64::from(round * 97 % 701)));
        let died = eventually(life, || host.try_wait().expect("it can be asked").is_some());
        assert!(!died, "the host died by itself in round {round}");
        let pid = Pid::from_raw(i32::try_from(host.id()).expect("it is a pid"));
        // Only the host: what isolate starts goes on without it.
        kill(pid, Signal::SIGKILL).expect("it can be killed");
        host.wait().expect("it can be waited for");
        runtime().block_on(async {
            let sandbox = start(state.path()).await;
            assert_eq!(token.alive(), Vec::<u32>::new(), "round {round}: programs of the dead live on");
            let mut session = session(&sandbox, probes).await;
            assert_eq!(run(session.as_mut(), &["hello"]).await, Outcome::Exited(0));
            session.close().await.expect("it is closed");
            sandbox.shutdown().await.expect("it shuts down");
        });
        assert_eq!(remains(state.path()), BTreeSet::new(), "round {round}");
        assert_eq!(isolates(), Vec::<String>::new(), "round {round}");
    }
}

/// Two sandboxes use the same numbers, and never the same one at once.
fn numbers_are_shared(probes: &Probes) {
    let state = folder();
    runtime().block_on(async {
        let config = config(state.path()).with_boxes(FIRST_BOX, 3).with_sessions(3).with_spares(0);
        let first = IsolateSandbox::start(config.clone()).await.expect("it starts");
        let second = IsolateSandbox::start(config).await.expect("it starts");
        let mut open = vec![
            session(&first, probes).await,
            session(&second, probes).await,
            session(&second, probes).await,
        ];
        let mut users = BTreeSet::new();
        for session in &mut open {
            let mut io = Collect::default();
            let step = Step::new("/usr/bin/id").with_argument("-u");
            session.run(step, &mut io).await.expect("it runs");
            users.insert(io.into_output().0);
        }
        assert_eq!(users.len(), 3, "two sessions had the same box");
        // All are taken: the next is told to come again, or waits for one.
        let refused = first.open(SessionSpec::new(Limits::default())).await;
        assert_eq!(refused.expect_err("there is none left").kind(), ErrorKind::Busy);
        let waiting = first.open(SessionSpec::new(Limits::default()));
        let closing = async { open.pop().expect("there are three").close().await };
        let (opened, closed) = tokio::join!(waiting, closing);
        closed.expect("it is closed");
        opened.expect("a number was let go").close().await.expect("it is closed");
        for session in open {
            session.close().await.expect("it is closed");
        }
        first.shutdown().await.expect("it shuts down");
        second.shutdown().await.expect("it shuts down");
    });
    assert_eq!(remains(state.path()), BTreeSet::new());
}

/// A start cleans up after the dead, and touches nothing of the living.
fn the_living_are_left_alone(probes: &Probes) {
    let state = folder();
    runtime().block_on(async {
        let living = start(state.path()).await;
        let mut session = session(&living, probes).await;
        let token = Token::new();
        let step = Step::new("./probe").with_arguments(["sleep", "700", token.as_str()]);
        let mut io = Collect::default();
        let work = session.run(step, &mut io);
        let others = async {
            for _ in 0..3 {
                start(state.path()).await.shutdown().await.expect("it shuts down");
            }
        };
        let (report, ()) = tokio::join!(work, others);
        assert_eq!(report.expect("it runs").outcome, Outcome::Exited(0));
        session.close().await.expect("it is closed");
        living.shutdown().await.expect("it shuts down");
    });
    assert_eq!(remains(state.path()), BTreeSet::new());
}

/// A sandbox that is dropped with its runtime while a program runs, and was
/// never shut down, ends the program.
fn sandbox_dropped(probes: &Probes) {
    let (state, token) = (folder(), Token::new());
    let runtime = runtime();
    runtime.block_on(async {
        let sandbox = start(state.path()).await;
        let mut session = session(&sandbox, probes).await;
        let word = token.as_str().to_owned();
        tokio::spawn(async move {
            let _sandbox = sandbox;
            run(session.as_mut(), &["wait", &word]).await;
        });
        let running = async {
            while token.alive().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(probes.stretch(Duration::from_secs(10)), running).await.expect("it runs");
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    let most = probes.stretch(Duration::from_secs(10));
    assert!(eventually(most, || token.alive().is_empty()), "the program of a dropped sandbox lives on");
    self::runtime().block_on(async {
        start(state.path()).await.shutdown().await.expect("it shuts down");
    });
    assert_eq!(remains(state.path()), BTreeSet::new());
}

/// What is in the state folder and is none of ours keeps nobody from starting,
/// and is not followed.
fn junk(probes: &Probes) {
    let (state, elsewhere) = (folder(), folder());
    let precious = elsewhere.path().join("precious");
    fs::write(&precious, "x").expect("a file is made");
    let below = |name: &str| state.path().join(name);
    fs::write(below("readme"), "junk").expect("a file is made");
    fs::create_dir_all(below("not-a-number/deep")).expect("a folder is made");
    // Left by nobody: a note that lies, and one that is not there.
    for (number, note) in [(FIRST_BOX, Some("1 0\n/bin/false\n/sys/fs/cgroup/pids")), (FIRST_BOX + 1, None)] {
        let folder = below(&number.to_string());
        fs::create_dir(&folder).expect("a folder is made");
        std::os::unix::fs::symlink(elsewhere.path(), folder.join("work")).expect("a symlink is made");
        if let Some(note) = note {
            fs::write(folder.join("note"), note).expect("a file is made");
        }
    }
    runtime().block_on(async {
        let sandbox = start(state.path()).await;
        let mut session = session(&sandbox, probes).await;
        assert_eq!(run(session.as_mut(), &["hello"]).await, Outcome::Exited(0));
        session.close().await.expect("it is closed");
        sandbox.shutdown().await.expect("it shuts down");
    });
    assert!(precious.exists(), "a symlink was followed");
    assert!(below("readme").exists() && below("not-a-number/deep").exists());
}
