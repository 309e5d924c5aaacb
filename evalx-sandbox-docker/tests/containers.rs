//! What containers are, how the pool keeps them, and what happens when the
//! engine or a container is lost.

mod daemon;
mod hosts;
mod proxy;
mod rig;
mod traces;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daemon::Daemon;
use evalx_core::{
    Artifact, ArtifactFile, ByteSize, Collect, DynSandbox, ErrorKind, FileContents, Limits, Origin, Outcome,
    Result, Sandbox, SandboxPath, Session, SessionSpec, Step,
};
use evalx_sandbox_docker::{DockerConfig, DockerSandbox, Image, Reuse, Way};
use evalx_testkit::{Probes, Token};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use proxy::Proxy;
use traces::{inspect, kill, owned, poll};

/// An image without a single file.
const EMPTY_IMAGE: &str = "evalx/scratch";
/// How long anything may take on a busy machine that does not have to wait.
const PROMPT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if hosts::is_one() {
        return hosts::main();
    }
    let mut arguments = Arguments::from_args();
    // Each counts the containers that there are.
    arguments.test_threads = Some(1);
    let mut trials = vec![
        trial("hardened", hardened),
        trial("image_without_a_file", image_without_a_file),
        trial("absent_image_is_named", absent_image),
        trial("absent_engine_is_named", absent_engine),
        trial("spares_before_traffic", spares_before_traffic),
        trial("one_container_for_a_submission", one_container_for_a_submission),
        trial("reset_within_a_submission", reset_within_a_submission),
        trial("what_a_program_does_to_its_folders", what_a_program_does_to_its_folders),
        trial("sessions_in_quick_succession", sessions_in_quick_succession),
        trial("artifacts_are_copies", artifacts_are_copies),
        trial("short_tests_share_a_container", short_tests_share_a_container),
        trial("no_container_for_two_submissions", no_container_for_two_submissions),
        trial("burst", burst),
        trial("limits_beyond_the_container", limits_beyond_the_container),
        trial("container_killed_in_a_session", container_killed),
        trial("spare_killed", spare_killed),
        trial("engine_cut_off_in_a_burst", engine_cut_off),
        trial("host_killed_at_any_moment", host_killed),
        trial("steps_without_an_agent", steps_without_an_agent),
        trial("files_without_an_agent", files_without_an_agent),
        trial("never_started_is_swept", never_started_is_swept),
        trial("shutdown_leaves_nothing", shutdown_leaves_nothing),
        trial("dropped_sandbox_leaves_nothing", dropped_sandbox),
    ];
    trials.push(Trial::ignorable_test("engine_restarted_in_a_burst", || match Daemon::start(EMPTY_IMAGE) {
        // Not every machine that has an engine can have two.
        Err(why) => Ok(Completion::ignored_with(why)),
        Ok(daemon) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let time = Duration::from_secs(240);
            runtime.block_on(async { tokio::time::timeout(time, engine_restarted(daemon)).await })?;
            Ok(Completion::Completed)
        }
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial<F>(name: &'static str, run: fn() -> F) -> Trial
where
    F: Future<Output = ()> + Send + 'static,
{
    Trial::ignorable_test(name, move || {
        if let Err(why) = rig::config().map_err(|error| error.chain()).and_then(|_| traces::docker(&["info"]))
        {
            return if evalx_testkit::required("docker") {
                Err(Failed::from(why))
            } else {
                Ok(Completion::ignored_with(why))
            };
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(240), run()).await })?;
        drop(runtime);
        assert!(poll(PROMPT, || owned().is_empty()), "containers are left: {:?}", owned());
        Ok(Completion::Completed)
    })
}

/// A submission on its way.
type Submission = tokio::task::JoinHandle<Result<String>>;

fn config() -> DockerConfig {
    rig::config().expect("there is an agent")
}

async fn start(config: DockerConfig) -> DockerSandbox {
    let sandbox =
        DockerSandbox::start(config).await.unwrap_or_else(|error| panic!("start: {}", error.chain()));
    sandbox.ready().await.unwrap_or_else(|error| panic!("ready: {}", error.chain()));
    sandbox
}

async fn end(sandbox: impl Sandbox) {
    sandbox.shutdown().await.unwrap_or_else(|error| panic!("shutdown: {}", error.chain()));
}

fn path(path: &str) -> SandboxPath {
    SandboxPath::new(path).expect("it is a path")
}

async fn probe(session: &mut dyn Session, arguments: &[&str]) -> Result<(Outcome, String)> {
    let mut io = Collect::default();
    let report = session.run(Step::new("./probe").with_arguments(arguments.iter().copied()), &mut io).await?;
    Ok((report.outcome, String::from_utf8_lossy(&io.into_output().0).into_owned()))
}

/// A session with the probe in it.
async fn open(sandbox: &dyn Sandbox, spec: SessionSpec) -> Result<Box<dyn Session>> {
    let program = Probes::find().expect("there is a probe").program();
    let mut session = sandbox.open(spec).await?;
    session.write_file(&path("probe"), FileContents::executable(program)).await?;
    Ok(session)
}

/// A whole submission: a session, a program, its output.
async fn submit(sandbox: &dyn Sandbox) -> Result<String> {
    let mut session = open(sandbox, SessionSpec::default()).await?;
    let (_, text) = probe(session.as_mut(), &["hello"]).await?;
    session.close().await?;
    Ok(text)
}

/// What the engine says of a container is what was promised of it.
async fn hardened() {
    let sandbox = start(config()).await;
    let names = owned();
    assert!(!names.is_empty(), "there are no containers");
    let mut users = BTreeSet::new();
    for name in &names {
        let facts = inspect(name);
        let host = &facts["HostConfig"];
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{facts}");
        assert!(host["CapAdd"].is_null(), "{facts}");
        assert_eq!((&host["Privileged"], &host["ReadonlyRootfs"]), (&false.into(), &true.into()), "{facts}");
        assert_eq!((&host["NetworkMode"], &host["IpcMode"]), (&"none".into(), &"private".into()), "{facts}");
        assert_eq!((&host["AutoRemove"], &host["LogConfig"]["Type"]), (&true.into(), &"none".into()));
        assert!(host["Memory"].as_u64().is_some_and(|memory| memory > 0), "{facts}");
        assert_eq!(host["Memory"], host["MemorySwap"], "{facts}");
        assert!(host["PidsLimit"].as_u64().is_some_and(|most| most > 0), "{facts}");
        assert!(host["NanoCpus"].as_u64().is_some_and(|most| most > 0), "{facts}");
        assert!(
            host["Tmpfs"]["/box"].as_str().is_some_and(|options| options.contains("nr_inodes")),
            "{facts}"
        );
        let security = host["SecurityOpt"].to_string();
        assert!(security.contains("no-new-privileges") && security.contains("SCMP_ACT_ERRNO"), "{facts}");
        let mounts = host["Mounts"].as_array().expect("the agent is mounted");
        assert!(host["Binds"].is_null() && !mounts.is_empty(), "{facts}");
        let is_agents = |mount: &serde_json::Value| {
            mount["ReadOnly"] == true && mount["Target"].as_str().is_some_and(|it| it.starts_with("/.evalx/"))
        };
        assert!(mounts.iter().all(is_agents), "{facts}");
        let user = facts["Config"]["User"].as_str().expect("there is a user").to_owned();
        assert!(!user.starts_with('0'), "{facts}");
        assert!(users.insert(user), "two containers have one user: {facts}");
    }
    end(sandbox).await;
}

/// An image without a single file runs a program that needs none.
async fn image_without_a_file() {
    let mut config = config();
    config.image = Image::new(EMPTY_IMAGE, 1);
    let sandbox = start(config).await;
    let mut session = open(&sandbox, SessionSpec::default()).await.expect("a session is opened");
    let (outcome, text) = probe(session.as_mut(), &["hello"]).await.expect("it runs");
    assert_eq!((outcome, text.as_str()), (Outcome::Exited(0), "hello\n"));
    session.close().await.expect("it closes");
    end(sandbox).await;
}

/// An image that is not there is named, with what to do.
async fn absent_image() {
    let mut config = config();
    config.image = Image::new("evalx/no-such-image", 1);
    let error = DockerSandbox::start(config).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.chain().contains("evalx/no-such-image"), "{}", error.chain());
    assert!(error.help().is_some_and(|help| help.contains("make.sh")), "{:?}", error.help());
}

/// An engine that is not there is named, with what to do.
async fn absent_engine() {
    let config = config().with_endpoint("unix:///nowhere/docker.sock");
    let error = DockerSandbox::start(config).await.expect_err("it is not there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable() && error.chain().contains("/nowhere/docker.sock"), "{}", error.chain());
    assert!(error.help().is_some(), "{}", error.chain());
}

/// A session is given a spare, and another is made behind.
async fn spares_before_traffic() {
    let sandbox = start(config()).await;
    let before = sandbox.statistics();
    assert_eq!((before.shelves[0].spare, before.containers), (2, 2), "{before:?}");
    let session = sandbox.open(SessionSpec::default()).await.expect("a session is opened");
    // Whatever is made now, the session did not wait for it.
    assert_eq!(sandbox.statistics().sessions, 1);
    sandbox.ready().await.expect("the shelf is filled again");
    let during = sandbox.statistics();
    assert_eq!((during.shelves[0].spare, during.containers), (2, 3), "{during:?}");
    session.close().await.expect("it closes");
    let settled = || sandbox.statistics().containers == 2;
    assert!(poll(PROMPT, settled), "{:?}", sandbox.statistics());
    end(sandbox).await;
}

/// Sessions of one submission are served by one container, which goes with the submission.
async fn one_container_for_a_submission() {
    let sandbox = start(config()).await;
    let origin = Origin::new();
    let first = owned();
    for _ in 0..3 {
        let spec = SessionSpec::default().with_origin(origin.clone());
        let mut session = open(&sandbox, spec).await.expect("a session is opened");
        assert_eq!(probe(session.as_mut(), &["hello"]).await.expect("it runs").1, "hello\n");
        session.close().await.expect("it closes");
        assert_eq!(sandbox.statistics().parked, 1, "{:?}", sandbox.statistics());
    }
    sandbox.ready().await.expect("the shelf is filled again");
    let then = owned();
    assert_eq!(then.len(), 3, "one served, two wait: {then:?}");
    assert!(first.is_subset(&then), "a container was thrown away: {first:?} {then:?}");
    drop(origin);
    let settled = || sandbox.statistics().parked == 0 && sandbox.statistics().containers == 2;
    assert!(poll(PROMPT, settled), "{:?}", sandbox.statistics());
    end(sandbox).await;
}

/// What one session of a submission leaves is not there for the next.
async fn reset_within_a_submission() {
    let sandbox = start(config()).await;
    let origin = Origin::new();
    for _ in 0..2 {
        for kind in ["file", "shm", "sem", "msg", "mq"] {
            let spec = SessionSpec::default().with_origin(origin.clone());
            let mut session = open(&sandbox, spec).await.expect("a session is opened");
            assert_eq!(
                probe(session.as_mut(), &["find", kind]).await.expect("it runs").0,
                Outcome::Exited(0)
            );
            probe(session.as_mut(), &["leave", kind]).await.expect("it runs");
            probe(session.as_mut(), &["daemon", "double"]).await.expect("it runs");
            assert_eq!(
                probe(session.as_mut(), &["proc-list", "2"]).await.expect("it runs").0,
                Outcome::Exited(0)
            );
            session.close().await.expect("it closes");
        }
    }
    assert_eq!(sandbox.statistics().parked, 1, "one container served all: {:?}", sandbox.statistics());
    end(sandbox).await;
}

/// Whatever a program does to the folders that it is given, and leaves in them,
/// the next session of its submission has them as new.
async fn what_a_program_does_to_its_folders() {
    /// All that there is to see of them.
    const LOOK: &str = "
import os
for folder in '/box', '/tmp', '/dev/shm':
    seen = os.stat(folder)
    print(folder, seen.st_mode, seen.st_uid, seen.st_gid, seen.st_nlink, seen.st_size, os.listdir(folder),
          seen.st_mtime > 1e9, seen.st_atime > 1e9, os.listxattr(folder), os.statvfs(folder).f_bfree, os.statvfs(folder).f_ffree)
";
    const SPOIL: [&str; 8] = [
        "import os; [os.utime(folder, (1, 2)) for folder in ('/box', '/tmp', '/dev/shm')]",
        "import os; [os.chmod(folder, 0) for folder in ('/box', '/tmp', '/dev/shm')]",
        "import os; os.makedirs('/tmp/a/b/c'); os.symlink('/', '/tmp/a/b/l'); os.chmod('/tmp/a/b', 0)",
        "for number in range(1000): open(f'/dev/shm/{number}', 'w').close()",
        "import os; [os.mkdir('a') or os.chdir('a') for _ in range(200)]",
        "open('/box/large', 'wb').write(bytes(8 << 20))",
        "import os; os.setxattr('/tmp', 'user.note', b'left')",
        // An access list that new files inherit: of the owner, the group and others.
        "import os, struct; os.setxattr('/box', 'system.posix_acl_default', struct.pack('<I', 2) +
    b''.join(struct.pack('<HHI', tag, 7, 0xffffffff) for tag in (1, 4, 32)))",
    ];
    let sandbox = start(config()).await;
    let origin = Origin::new();
    let python = async |session: &mut dyn Session, script: &str| {
        let mut io = Collect::default();
        let step = Step::new("/usr/bin/python3").with_arguments(["-c", script]);
        let report = session.run(step, &mut io).await.expect("it runs");
        (report.outcome, String::from_utf8_lossy(&io.into_output().0).into_owned())
    };
    let mut new = None;
    for script in SPOIL {
        let spec = SessionSpec::default().with_origin(origin.clone());
        let mut session = sandbox.open(spec).await.expect("a session is opened");
        let seen = python(session.as_mut(), LOOK).await.1;
        assert_eq!(*new.get_or_insert(seen.clone()), seen, "before {script}");
        let (outcome, _) = python(session.as_mut(), script).await;
        // A kernel that has no attributes here can't keep them either.
        assert!(outcome.is_success() || script.contains("setxattr"), "{script}: {outcome:?}");
        session.close().await.expect("it closes");
    }
    let spec = SessionSpec::default().with_origin(origin.clone());
    let mut session = sandbox.open(spec).await.expect("a session is opened");
    assert_eq!(new, Some(python(session.as_mut(), LOOK).await.1));
    session.close().await.expect("it closes");
    assert_eq!(sandbox.statistics().parked, 1, "one container served all: {:?}", sandbox.statistics());
    end(sandbox).await;
}

/// Sessions that follow each other at once: the cell of each is made while the
/// one before is being taken away.
async fn sessions_in_quick_succession() {
    let sandbox = start(config()).await;
    let origin = Origin::new();
    let program = Artifact::executable(Probes::find().expect("there is a probe").program());
    let first = owned();
    for round in 0..300 {
        let spec = SessionSpec::default().with_origin(origin.clone());
        let run = async {
            let mut session = sandbox.open(spec).await?;
            session.write_file(&path("probe"), program.clone().into()).await?;
            let (_, text) = probe(session.as_mut(), &["hello"]).await?;
            session.close().await?;
            Ok::<_, evalx_core::Error>(text)
        };
        let text = run.await.unwrap_or_else(|error| panic!("round {round}: {}", error.chain()));
        assert_eq!(text, "hello\n");
    }
    assert!(first.is_subset(&owned()), "a container was lost: {first:?} {:?}", owned());
    end(sandbox).await;
}

/// What a program does to an artifact in its session is not in the next one's, although
/// the container was sent it once.
async fn artifacts_are_copies() {
    let sandbox = start(config()).await;
    let origin = Origin::new();
    let program = Probes::find().expect("there is a probe").program();
    let file = |name: &str, text: &'static str| ArtifactFile::new(Some(path(name)), text.into(), false);
    let tree = Artifact::new([file("a", "first"), file("b/c", "second")]);
    for _ in 0..3 {
        let spec = SessionSpec::default().with_origin(origin.clone());
        let mut session = sandbox.open(spec).await.expect("a session is opened");
        let probe_file = FileContents::executable(program.clone());
        session.write_file(&path("probe"), probe_file).await.expect("it is placed");
        session.write_file(&path("tree"), tree.clone().into()).await.expect("it is placed");
        for (name, text) in [("tree/a", "first"), ("tree/b/c", "second")] {
            assert_eq!(session.read_file(&path(name), ByteSize::mib(1)).await.expect("it is read"), text);
            probe(session.as_mut(), &["make", "remove", name]).await.expect("it runs");
            probe(session.as_mut(), &["make", "file", name, "spoilt"]).await.expect("it runs");
            assert_eq!(session.read_file(&path(name), ByteSize::mib(1)).await.expect("it is read"), "spoilt");
        }
        session.close().await.expect("it closes");
    }
    end(sandbox).await;
}

/// Two sessions of one submission at a time, each short, need no second container.
async fn short_tests_share_a_container() {
    let sandbox = Arc::new(start(config()).await);
    let origin = Origin::new();
    for _ in 0..4 {
        let both = [0, 1].map(|_| {
            let (sandbox, origin) = (Arc::clone(&sandbox), origin.clone());
            tokio::spawn(async move {
                let spec = SessionSpec::default().with_origin(origin);
                let session = sandbox.open(spec).await?;
                session.close().await
            })
        });
        for task in both {
            task.await.expect("no panic").unwrap_or_else(|error| panic!("{}", error.chain()));
        }
    }
    assert_eq!(sandbox.statistics().parked, 1, "{:?}", sandbox.statistics());
    drop(origin);
    let settled = || sandbox.statistics().parked == 0 && sandbox.statistics().containers == 2;
    assert!(poll(PROMPT, settled), "{:?}", sandbox.statistics());
    end(sandbox).await;
}

/// Without an origin, and with another, no container is used twice.
async fn no_container_for_two_submissions() {
    let sandbox = start(config().with_sessions(2)).await;
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let mut spec = SessionSpec::default();
        if round % 2 == 0 {
            spec = spec.with_origin(Origin::new());
        }
        let before = owned();
        let session = sandbox.open(spec).await.expect("a session is opened");
        session.close().await.expect("it closes");
        sandbox.ready().await.expect("the shelf is filled again");
        let gone = || before.difference(&owned()).count() == 1;
        assert!(poll(PROMPT, gone), "the container of a submission lives on");
        seen.extend(before.difference(&owned()).cloned());
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    end(sandbox).await;
}

/// More submissions than sessions: none fails, creations keep to their bound,
/// and the pool is back at its target.
async fn burst() {
    const CREATIONS: usize = 2;
    let config = config().with_sessions(8).with_creations(CREATIONS);
    let sandbox = Arc::new(start(config).await);
    let tasks = submissions(&sandbox, bursting());
    for task in tasks {
        let text = task.await.expect("no panic").unwrap_or_else(|error| panic!("{}", error.chain()));
        assert_eq!(text, "hello\n");
    }
    sandbox.ready().await.expect("the shelf is filled again");
    let statistics = sandbox.statistics();
    assert!(statistics.most_making <= CREATIONS, "{statistics:?}");
    let settled = || sandbox.statistics().containers == 2 && owned().len() == 2;
    assert!(poll(PROMPT, settled), "{:?} {:?}", sandbox.statistics(), owned());
    end(sandbox).await;
}

/// A session may have more memory and processes than containers have at first.
async fn limits_beyond_the_container() {
    let mut config = config();
    (config.memory, config.processes) = (ByteSize::mib(128), 16);
    let sandbox = start(config).await;
    let limits = Limits::default().with_memory(ByteSize::mib(256)).with_processes(64);
    let mut session = open(&sandbox, SessionSpec::new(limits)).await.expect("a session is opened");
    assert_eq!(probe(session.as_mut(), &["touch", "200"]).await.expect("it runs").0, Outcome::Exited(0));
    let (outcome, text) = probe(session.as_mut(), &["children", "40", "1"]).await.expect("it runs");
    assert_eq!((outcome, text.as_str()), (Outcome::Exited(0), "40\n"));
    session.close().await.expect("it closes");
    end(sandbox).await;
}

/// A container that dies under a session is an error that says so; the next session works.
async fn container_killed() {
    let sandbox = start(config()).await;
    let mut session = open(&sandbox, SessionSpec::default()).await.expect("a session is opened");
    for name in owned() {
        kill(&name);
    }
    let error = probe(session.as_mut(), &["hello"]).await.expect_err("its container is dead");
    assert!(error.is_retryable() && error.chain().contains("lost"), "{}", error.chain());
    session.close().await.expect("what is gone is closed");
    assert_eq!(submit(&sandbox).await.unwrap_or_else(|error| panic!("{}", error.chain())), "hello\n");
    end(sandbox).await;
}

/// A spare that died while it waited is passed over.
async fn spare_killed() {
    let sandbox = start(config()).await;
    for name in owned() {
        kill(&name);
    }
    for _ in 0..3 {
        assert_eq!(submit(&sandbox).await.unwrap_or_else(|error| panic!("{}", error.chain())), "hello\n");
    }
    end(sandbox).await;
}

/// An engine that goes away in a burst: errors that may be tried again, nobody
/// waits for ever, and all is well once it is back.
async fn engine_cut_off() {
    let proxy = Proxy::start();
    let config =
        config().with_endpoint(proxy.endpoint()).with_sessions(4).with_patience(Duration::from_secs(10));
    let sandbox = Arc::new(start(config).await);
    let tasks = submissions(&sandbox, 24);
    // In the midst of it.
    let busy = || sandbox.statistics().sessions > 0;
    assert!(poll(PROMPT, busy), "no session was opened");
    proxy.cut();
    let failed = failures(tasks).await;
    assert!(failed > 0, "nothing was cut off");
    proxy.mend();
    recover(&sandbox).await;
    for task in submissions(&sandbox, 8) {
        assert_eq!(task.await.expect("no panic").expect("it works again"), "hello\n");
    }
    let settled = || sandbox.statistics().containers == 2 && owned().len() == 2;
    assert!(poll(PROMPT, settled), "{:?} {:?}", sandbox.statistics(), owned());
    end(sandbox).await;
}

/// An engine that is stopped in a burst, with all of its containers, and started
/// again: errors that may be tried again, then all is well, and nothing is left.
async fn engine_restarted(mut daemon: Daemon) {
    let mut config = config().with_endpoint(daemon.endpoint()).with_sessions(8);
    config = config.with_patience(Duration::from_secs(10));
    config.image = Image::new(EMPTY_IMAGE, 8);
    let sandbox = Arc::new(start(config).await);
    let tasks = submissions(&sandbox, bursting());
    assert!(poll(PROMPT, || sandbox.statistics().sessions > 0), "no session was opened");
    daemon.stop();
    daemon.run().expect("it starts again");
    let failed = failures(tasks).await;
    assert!(failed > 0, "nothing was stopped");
    recover(&sandbox).await;
    for task in submissions(&sandbox, 16) {
        assert_eq!(task.await.expect("no panic").expect("it works again"), "hello\n");
    }
    sandbox.ready().await.unwrap_or_else(|error| panic!("ready: {}", error.chain()));
    sandbox.shutdown().await.unwrap_or_else(|error| panic!("shutdown: {}", error.chain()));
    let left = || daemon.docker(&["ps", "--all", "--quiet"]).unwrap_or_default();
    assert!(poll(PROMPT, || left().is_empty()), "containers are left: {}", left());
}

/// So many submissions at once.
fn submissions(sandbox: &Arc<DockerSandbox>, count: usize) -> Vec<Submission> {
    let submission = |sandbox: Arc<DockerSandbox>| async move { submit(sandbox.as_ref()).await };
    (0..count).map(|_| tokio::spawn(submission(Arc::clone(sandbox)))).collect()
}

/// How many of them a burst is of; `EVALX_BURST` says otherwise.
fn bursting() -> usize {
    std::env::var("EVALX_BURST").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

/// How many of them have failed, each with an error that may be tried again.
async fn failures(tasks: Vec<Submission>) -> usize {
    let mut failed = 0;
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(text) => assert_eq!(text, "hello\n"),
            Err(error) => {
                assert!(error.is_retryable(), "{}", error.chain());
                failed += 1;
            }
        }
    }
    failed
}

/// Waits until a submission goes well again.
async fn recover(sandbox: &DockerSandbox) {
    let recovered = async {
        loop {
            match submit(sandbox).await {
                Ok(text) => break text,
                Err(error) => assert!(error.is_retryable(), "{}", error.chain()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let text = tokio::time::timeout(PROMPT, recovered).await.expect("it recovers");
    assert_eq!(text, "hello\n");
}

/// Hosts that are killed leave no container after the next start.
async fn host_killed() {
    let rounds = std::env::var("EVALX_DEATHS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for round in 0..rounds {
        hosts::kill_one(round);
        let sandbox = start(config()).await;
        let own = sandbox.statistics().containers;
        assert!(poll(PROMPT, || owned().len() == own), "of round {round} are left: {:?}", owned());
        assert_eq!(submit(&sandbox).await.expect("it works"), "hello\n");
        end(sandbox).await;
        assert_eq!(hosts::strays(), Vec::<u32>::new(), "processes of round {round} are left");
    }
}

/// By the engine's `exec`: what programs do, their limits, and that nothing of a step lives on.
async fn steps_without_an_agent() {
    let sandbox = DockerSandbox::start(config().with_way(Way::Exec)).await.expect("it starts");
    let limits = Limits::default()
        .with_wall_time(Duration::from_secs(5))
        .with_memory(ByteSize::mib(64))
        .with_output(ByteSize::kib(64));
    let mut session = open(&sandbox, SessionSpec::new(limits)).await.expect("a session is opened");
    for (arguments, outcome) in [
        (&["hello"][..], Outcome::Exited(0)),
        (&["exit", "7"], Outcome::Exited(7)),
        (&["sleep-ever"], Outcome::WallTimeLimit),
        (&["flood", "stdout"], Outcome::OutputLimit),
        (&["socket", "2", "1"], Outcome::Exited(0)),
    ] {
        let token = Token::new();
        let arguments: Vec<&str> = arguments.iter().copied().chain([token.as_str()]).collect();
        assert_eq!(probe(session.as_mut(), &arguments).await.expect("it runs").0, outcome, "{arguments:?}");
        assert_eq!(token.alive(), Vec::<u32>::new(), "{arguments:?} lives on");
    }
    let token = Token::new();
    probe(session.as_mut(), &["daemon", "double", token.as_str()]).await.expect("it runs");
    assert_eq!(token.alive(), Vec::<u32>::new(), "a daemon lives on");
    let mut io = Collect::new("through");
    session.run(Step::new("cat"), &mut io).await.expect("it runs");
    assert_eq!(io.into_output().0, "through");
    // More stdin than pipes hold, for a program that does not read and for one that writes meanwhile.
    let zeros = "\0".repeat(8 << 20);
    for (command, outcome) in [("sleep 60", Outcome::WallTimeLimit), ("cat", Outcome::OutputLimit)] {
        let (step, mut io) = (Step::new("sh").with_arguments(["-c", command]), Collect::new(zeros.clone()));
        let run = tokio::time::timeout(PROMPT, session.run(step, &mut io));
        assert_eq!(run.await.expect("it is stopped").expect("it runs").outcome, outcome, "{command}");
    }
    for program in ["no-such-program", "./no-such-program"] {
        let error =
            session.run(Step::new(program), &mut Collect::default()).await.expect_err("it is not there");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain());
    }
    // A run that is dropped is killed, and the next call works.
    let token = Token::new();
    let arguments = ["wait", token.as_str()];
    let dropped = probe(session.as_mut(), &arguments);
    let _ = tokio::time::timeout(Duration::from_secs(1), dropped).await;
    assert_eq!(probe(session.as_mut(), &["hello"]).await.expect("it runs").1, "hello\n");
    assert_eq!(token.alive(), Vec::<u32>::new(), "a dropped step lives on");
    assert_eq!(probe(session.as_mut(), &["touch", "200"]).await.expect("it runs").0, Outcome::MemoryLimit);
    session.close().await.expect("it closes");
    let strict = SessionSpec::default().with_network(evalx_core::Network::Loopback);
    assert_eq!(sandbox.open(strict).await.expect_err("there is none").kind(), ErrorKind::Unsupported);
    end(sandbox).await;
}

/// By the engine's `exec`: files come and go, and no symlink is followed.
async fn files_without_an_agent() {
    let all = ByteSize::mib(1);
    let sandbox = DockerSandbox::start(config().with_way(Way::Exec)).await.expect("it starts");
    let mut session = open(&sandbox, SessionSpec::default()).await.expect("a session is opened");
    let contents = FileContents::data(&b"\0binary\xff"[..]);
    session.write_file(&path("a/b/c d"), contents).await.expect("it is placed");
    assert_eq!(session.read_file(&path("a/b/c d"), all).await.expect("it is read"), &b"\0binary\xff"[..]);
    for arguments in [
        ["make", "symlink", "link", "/etc/passwd"],
        ["make", "symlink", "folder", "/etc"],
        ["make", "fifo", "fifo", ""],
        ["make", "symlink", "a/host", "/etc/passwd"],
    ] {
        probe(session.as_mut(), &arguments).await.expect("it runs");
    }
    for name in ["link", "folder/passwd", "fifo", "absent", "a"] {
        let error = session.read_file(&path(name), all).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}: {}", error.chain());
    }
    let error = session.write_file(&path("folder/x"), FileContents::data("x")).await.expect_err("a symlink");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain());
    assert!(session.read_file(&path("a/b/c d"), ByteSize::bytes(3)).await.is_err(), "it is larger");
    let kept = session.keep(&path("a")).await.expect("it is kept");
    assert_eq!(kept.files().len(), 1, "{kept:?}");
    session.write_file(&path("copy"), kept.into()).await.expect("it is placed");
    assert_eq!(session.read_file(&path("copy/b/c d"), all).await.expect("it is read"), &b"\0binary\xff"[..]);
    // A folder that was being swapped for a symlink to `/etc` gives nothing of that.
    let swapping = tokio::time::timeout(Duration::from_secs(1), probe(session.as_mut(), &["swap-folder"]));
    assert!(swapping.await.is_err(), "it does not end by itself");
    if let Ok(contents) = session.read_file(&path("a/passwd"), all).await {
        assert_eq!(contents, "mine");
    }
    drop(session);
    end(sandbox).await;
}

/// A container that a dead host has made and never started is removed at the next start.
async fn never_started_is_swept() {
    // The owner is a process that never was.
    let name = format!("evalx-orphan-{}", std::process::id());
    traces::create_orphan(&name, &rig::image());
    assert!(owned().contains(&name), "{:?}", owned());
    let sandbox = start(config()).await;
    assert!(!owned().contains(&name), "an orphan is left");
    end(sandbox).await;
}

/// Once `shutdown` returns, there is no container, whatever was going on.
async fn shutdown_leaves_nothing() {
    let sandbox = Arc::new(start(config().with_reuse(Reuse::Sessions(10))).await);
    let mut running = open(sandbox.as_ref(), SessionSpec::default()).await.expect("a session is opened");
    let task = tokio::spawn(async move { probe(running.as_mut(), &["sleep", "20000"]).await });
    let _idle = sandbox.open(SessionSpec::default()).await.expect("a session is opened");
    sandbox.shutdown().await.unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(owned(), BTreeSet::new());
    let error = task.await.expect("no panic").expect_err("the sandbox is shut down");
    assert!(error.is_retryable(), "{}", error.chain());
}

/// A sandbox that is dropped takes its containers along, sooner or later.
async fn dropped_sandbox() {
    let sandbox: DynSandbox = Arc::new(start(config()).await);
    let session = sandbox.open(SessionSpec::default()).await.expect("a session is opened");
    drop(sandbox);
    drop(session);
    assert!(poll(PROMPT, || owned().is_empty()), "{:?}", owned());
}
