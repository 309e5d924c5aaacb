//! Class 10: what a program leaves for the host to trip over, and the host's own calls abused.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    Artifact, ArtifactFile, ByteSize, Collect, Control, DynSandbox, ErrorKind, FileContents, LimitKind,
    Limits, OutputStream, SandboxPath, SessionSpec, Stdin, Step, StepIo,
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::case::case;
use crate::escape::library;
use crate::rig::{
    Live, close, eventually, once, open, path, probe, refused, run, run_with, still_works, try_run,
};
use crate::{Case, Need, Probes, Token};

/// Every case of this module.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        case!(library::paths_that_leave),
        case!(library::folder_swapped_for_a_symlink),
        case!(library::sparse_file_kept),
        case!(library::sparse_file_read),
        case!(library::deep_tree_kept),
        case!(library::wide_tree_kept),
        case!(library::odd_names_kept),
        case!(library::largest_read),
        case!(library::artifact_that_contradicts_itself),
        case!(library::artifact_of_too_many_files).needing(Need::Limit(LimitKind::Files)),
        case!(library::too_many_files_placed).needing(Need::Limit(LimitKind::Files)),
        case!(library::smallest_limits),
        case!(library::largest_limits),
        case!(library::flood_of_controls),
        case!(library::controls_without_a_sender),
        case!(library::stdin_that_fails),
        case!(library::output_taken_slowly),
        case!(library::output_never_taken),
        case!(library::out_of_descriptors).needing(Need::FewDescriptors).owning().exclusive(),
        case!(library::memory_of_the_host_returns).exclusive(),
    ]
}

const ALL: ByteSize = ByteSize::mib(8);

/// No text that leaves the work folder becomes a path.
pub async fn paths_that_leave(_sandbox: &DynSandbox, _probes: &Probes) {
    let bad = ["/etc/passwd", "..", "../x", "a/../../x", "a/..", "", ".", "/", "a\0b", "\0"];
    for text in bad {
        assert!(SandboxPath::new(text).is_err(), "{text:?} is a path");
    }
    assert!(SandboxPath::new("x/".repeat(3000)).is_err());
    assert!(SandboxPath::new("x".repeat(256)).is_err());
}

/// A folder that was being swapped for a symlink to `/etc` gives nothing of `/etc`.
pub async fn folder_swapped_for_a_symlink(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(50)));
    for _ in 0..8 {
        let mut session = open(sandbox, probes, limits.clone()).await;
        run(session.as_mut(), &["swap-folder"]).await;
        for name in ["a/passwd", "b/passwd"] {
            match session.read_file(&path(name), ALL).await {
                Ok(contents) => assert_eq!(contents, "mine"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain()),
            }
        }
        for name in ["a", "b"] {
            if let Ok(artifact) = session.keep(&path(name)).await {
                assert!(artifact.files().iter().all(|file| file.contents == "mine"), "{name} was followed");
            }
        }
        close(session).await;
    }
}

/// A file of a tebibyte without contents does not become one in the host's memory.
pub async fn sparse_file_kept(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["sparse", "sparse", "1024"]).await;
    let disk = probes.limits().disk;
    match session.keep(&path("sparse")).await {
        Ok(artifact) => assert!(artifact.size() <= disk, "{} bytes were kept", artifact.size()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain()),
    }
    close(session).await;
    still_works(sandbox, probes).await;
}

/// The same, read: it is larger than asked for, and that is all.
pub async fn sparse_file_read(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let made = run(session.as_mut(), &["sparse", "sparse", "1024"]).await;
    if made.report.outcome.is_success() {
        refused(session.read_file(&path("sparse"), ALL).await, ErrorKind::InvalidRequest, "a tebibyte");
    }
    close(session).await;
    still_works(sandbox, probes).await;
}

/// Folders deeper than any path is long are kept or refused, and gone with the session.
pub async fn deep_tree_kept(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_files(8192)).await;
    run(session.as_mut(), &["make-files", "0", "dir", "4000"]).await;
    if let Err(error) = session.keep(&path("dir0")).await {
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain());
    }
    close(session).await;
    still_works(sandbox, probes).await;
}

/// A folder of ten thousand files is kept whole.
pub async fn wide_tree_kept(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_files(16_384).with_memory(ByteSize::mib(128));
    let mut session = open(sandbox, probes, limits).await;
    run(session.as_mut(), &["make", "folder", "wide"]).await.well();
    run(session.as_mut(), &["make-files", "1", "file", "10000", "/box/wide"]).await.well();
    let artifact = session.keep(&path("wide")).await.expect("the tree is kept");
    assert_eq!(artifact.files().len(), 10_000);
    close(session).await;
}

/// Names that are not UTF-8, or have newlines, harm nobody.
pub async fn odd_names_kept(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["make", "folder", "out"]).await.well();
    for name in [&b"out/\xff\xfe"[..], b"out/line\nbreak", b"out/ ", b"out/\x1b[31m", b"out/...", b"out/\\"] {
        let step = probe(["make", "file"]).with_argument(OsString::from_vec(name.to_vec()));
        run_with(session.as_mut(), step, Bytes::new()).await.well();
    }
    match session.keep(&path("out")).await {
        Ok(artifact) => assert!((5..=6).contains(&artifact.files().len()), "{artifact:?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain()),
    }
    close(session).await;
}

/// The largest limit on a read is none on the file, and costs no memory.
pub async fn largest_read(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    session.write_file(&path("small"), FileContents::data("small")).await.expect("the file is placed");
    assert_eq!(session.read_file(&path("small"), ByteSize::MAX).await.expect("it is small"), "small");
    close(session).await;
}

fn artifact(names: impl IntoIterator<Item = String>) -> Artifact {
    let file = |name: String| ArtifactFile::new(Some(path(&name)), Bytes::from_static(b"x"), false);
    Artifact::new(names.into_iter().map(file).collect::<Vec<_>>())
}

/// An artifact in which a file is a folder too is refused, or loses one of them.
pub async fn artifact_that_contradicts_itself(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for names in [["a", "a/b"], ["a/b", "a"], ["same", "same"]] {
        let tree = artifact(names.map(str::to_owned));
        if let Err(error) = session.write_file(&path("tree"), tree.into()).await {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain());
        }
        run(session.as_mut(), &["hello"]).await.well();
    }
    close(session).await;
}

/// An artifact of more files than the session may have is refused.
pub async fn artifact_of_too_many_files(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_files(64)).await;
    let tree = artifact((0..1000).map(|number| format!("file{number}")));
    // A backend may place it without copying, which costs the session nothing.
    if let Err(error) = session.write_file(&path("tree"), tree.into()).await {
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", error.chain());
    }
    run(session.as_mut(), &["hello"]).await.well();
    close(session).await;
}

/// Files placed one by one meet the session's limit, and are refused from there on.
pub async fn too_many_files_placed(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_files(64)).await;
    let mut placed = 0;
    let refusal = loop {
        match session.write_file(&path(&format!("file{placed}")), FileContents::data("x")).await {
            Ok(()) => placed += 1,
            Err(error) => break error,
        }
        assert!(placed <= 64, "more files were placed than allowed");
    };
    assert_eq!(refusal.kind(), ErrorKind::InvalidRequest, "{}", refusal.chain());
    run(session.as_mut(), &["hello"]).await.well();
    close(session).await;
}

/// The smallest limits there are end the program, and nothing else.
pub async fn smallest_limits(sandbox: &DynSandbox, probes: &Probes) {
    let limits = Limits::default()
        .with_cpu_time(Duration::from_millis(1))
        .with_wall_time(Duration::from_millis(1))
        .with_memory(ByteSize::mib(1))
        .with_processes(1)
        .with_output(ByteSize::ZERO)
        .with_disk(ByteSize::kib(64))
        .with_files(16)
        .with_stack(ByteSize::kib(128))
        .with_open_files(8);
    limits.validate().expect("they are the smallest");
    for _ in 0..8 {
        let mut session = sandbox.open(SessionSpec::new(limits.clone())).await.expect("they are allowed");
        let step = Step::new("sh").with_arguments(["-c", "echo out"]);
        // What can't even start under them may be refused, but is no defect.
        if let Err(error) = try_run(session.as_mut(), step, Collect::default()).await {
            assert_ne!(error.kind(), ErrorKind::Internal, "{}", error.chain());
        }
        close(session).await;
    }
    still_works(sandbox, probes).await;
}

/// The largest limits there are may be refused, but do no harm.
pub async fn largest_limits(sandbox: &DynSandbox, probes: &Probes) {
    let limits = Limits::default()
        .with_cpu_time(Duration::from_secs(24 * 60 * 60))
        .with_wall_time(Duration::from_secs(24 * 60 * 60))
        .with_memory(ByteSize::gib(1024))
        .with_processes(32_768)
        .with_output(ByteSize::gib(1024))
        .with_disk(ByteSize::gib(1024))
        .with_files(16_777_216)
        .with_stack(ByteSize::gib(1024))
        .with_open_files(1_048_576);
    limits.validate().expect("they are the largest");
    match sandbox.open(SessionSpec::new(limits)).await {
        Ok(mut session) => {
            let step = Step::new("sh").with_arguments(["-c", "exit 0"]);
            if let Err(error) = try_run(session.as_mut(), step, Collect::default()).await {
                assert_ne!(error.kind(), ErrorKind::Internal, "{}", error.chain());
            }
            close(session).await;
        }
        Err(error) => assert_ne!(error.kind(), ErrorKind::Internal, "{}", error.chain()),
    }
    still_works(sandbox, probes).await;
}

/// Thousands of controls are taken, and the last of them still counts.
pub async fn flood_of_controls(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let mut live = Live::new(Stdin::Empty, []);
    let (ready, sender) = (live.ready(), live.sender());
    let flood = tokio::spawn(async move {
        ready.await.expect("the program says that it is ready");
        let signal = evalx_core::Signal::from_number(28).expect("SIGWINCH, which is ignored");
        for _ in 0..2000 {
            sender.send(Control::Signal(signal)).await;
            sender.send(Control::CloseStdin).await;
        }
        sender.send(Control::Cancel).await;
    });
    let ran = live.run(session.as_mut(), probe(["wait"])).await;
    ran.ended(&evalx_core::Outcome::Cancelled);
    flood.await.expect("the flood does not panic");
    close(session).await;
}

/// Controls whose sender is gone hold nothing up.
pub async fn controls_without_a_sender(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let (sender, receiver) = evalx_core::controls();
    drop(sender);
    let io = Collect::new("through").with_controls(receiver);
    assert_eq!(
        try_run(session.as_mut(), probe(["cat"]), io).await.expect("it runs").well().text(),
        "through"
    );
    close(session).await;
}

/// A reader that yields an error.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Err(std::io::Error::other("broken")))
    }
}

/// A stdin whose reader fails ends the step in one way or another.
pub async fn stdin_that_fails(sandbox: &DynSandbox, probes: &Probes) {
    let token = Token::new();
    let mut session = open(sandbox, probes, probes.limits()).await;
    let io = Collect::from_stdin(Stdin::Stream(Box::new(Broken)));
    // Whether that is an error or an early end of stdin is the backend's choice.
    let _ = try_run(session.as_mut(), probe(["cat", "-1", token.as_str()]), io).await;
    run(session.as_mut(), &["hello"]).await.well();
    assert_eq!(token.alive(), Vec::<u32>::new());
    close(session).await;
}

/// Takes its time, or never takes anything.
struct Taker {
    pause: Option<Duration>,
    taken: Vec<u8>,
}

#[async_trait]
impl StepIo for Taker {
    async fn output(&mut self, _: OutputStream, piece: &[u8]) {
        match self.pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
        self.taken.extend_from_slice(piece);
    }
}

/// Output that is taken slowly is complete.
pub async fn output_taken_slowly(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let mut taker = Taker { pause: Some(Duration::from_millis(3)), taken: Vec::new() };
    let report = session.run(probe(["write", "600000"]), &mut taker).await.expect("it runs");
    assert!(report.outcome.is_success(), "{report:?}");
    assert_eq!(taker.taken.len(), 600_000);
    close(session).await;
}

/// Output that nobody takes does not keep a program alive beyond its wall time.
pub async fn output_never_taken(sandbox: &DynSandbox, probes: &Probes) {
    let token = Token::new();
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(300)));
    let mut session = open(sandbox, probes, limits).await;
    let mut taker = Taker { pause: None, taken: Vec::new() };
    let step = probe(["flood", "stdout", token.as_str()]);
    {
        let mut stuck = pin!(session.run(step, &mut taker));
        let most = probes.stretch(Duration::from_secs(5));
        // First it is there, then it is gone.
        let mut seen = false;
        let gone = eventually(most, || {
            let alive = !token.alive().is_empty();
            seen |= alive;
            seen && !alive
        });
        tokio::select! {
            _ = &mut stuck => {}
            gone = gone => assert!(gone, "a program lives on because its output is not taken"),
        }
    }
    run(session.as_mut(), &["hello"]).await.well();
    close(session).await;
}

/// With no descriptor left, calls fail with an error; with some again, they work.
pub async fn out_of_descriptors(sandbox: &DynSandbox, probes: &Probes) {
    still_works(sandbox, probes).await;
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    for free in [0, 1, 2, 4] {
        held.truncate(held.len() - free);
        let attempt = async {
            let mut session = sandbox.open(SessionSpec::new(probes.limits())).await?;
            session.write_file(&path("probe"), FileContents::executable(probes.program())).await?;
            try_run(session.as_mut(), probe(["hello"]), Collect::default()).await?;
            session.close().await
        };
        // Refused or not: it must return.
        let result = tokio::time::timeout(probes.stretch(Duration::from_secs(10)), attempt).await;
        if result.is_err() {
            drop(held);
            panic!("a call waits for ever when {free} more descriptors are free");
        }
    }
    drop(held);
    still_works(sandbox, probes).await;
}

/// Kibibytes of files and shared memory in the host's memory.
fn shared_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Shmem:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Memory that sessions took as files, shared memory and memfds is the host's again.
pub async fn memory_of_the_host_returns(sandbox: &DynSandbox, probes: &Probes) {
    let before = shared_memory();
    let limits = probes.limits().with_disk(ByteSize::mib(48)).with_memory(ByteSize::mib(96));
    for _ in 0..8 {
        for arguments in [&["fill", "0", "/box/full"][..], &["sysv-shared"], &["memory-memfd"]] {
            once(sandbox, probes, limits.clone(), arguments).await;
        }
    }
    let most = before + 32 * 1024;
    let returned = eventually(probes.stretch(Duration::from_secs(10)), || shared_memory() <= most).await;
    assert!(returned, "{} KiB of shared memory, {before} KiB before", shared_memory());
}
