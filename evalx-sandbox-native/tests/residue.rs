//! What a step leaves in its slot's cgroup must not serve the next one.
//!
//! On cgroup v1 a slot keeps its memory group from step to step. Page cache of
//! files that a step was the first to read stays charged to the group, and the
//! kernel gives it up for whoever needs memory: without a fresh group the next
//! step could use its own limit and the cache's share on top.

use std::fs::File;
use std::path::PathBuf;

use evalx_core::{ByteSize, Limits, Outcome, Sandbox, SandboxExt, SessionSpec, Step};
use evalx_sandbox_native::{NativeConfig, NativeSandbox};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Large files that programs may read, thrown out of the page cache.
fn cold_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("/usr/lib")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                folders.push(entry.path());
            } else if data.is_file() && data.len() > 4 << 20 {
                files.push(entry.path());
            }
        }
    }
    files.truncate(16);
    for file in &files {
        let file = File::open(file).expect("what is below /usr/lib can be read");
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("a file takes advice");
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn page_cache_of_one_step_is_no_memory_for_the_next() {
    let config = NativeConfig::default().with_sessions(1).with_spares(0);
    let sandbox = match NativeSandbox::start(config).await {
        Ok(sandbox) => sandbox,
        Err(error) if !evalx_testkit::required("native") => {
            // The suites say so as an ignored trial; a plain test can't.
            println!("not run: {error:?}");
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    let spec = |memory| SessionSpec::new(Limits::default().with_memory(memory));
    let read = Step::new("cat").with_arguments(cold_files());
    let read = evalx_core::Program::new(
        spec(ByteSize::mib(512)),
        Step::new("sh").with_arguments(["-c", "cat \"$@\" > /dev/null", "sh"]).with_arguments(read.arguments),
    );
    let took = sandbox.execute(read, "").await.expect("cat runs").report;
    assert_eq!(took.outcome, Outcome::Exited(0), "{took:?}");

    // tail keeps a line whole in memory, however long it is.
    let hog = Step::new("sh").with_arguments(["-c", "head -c 50000000 /dev/zero | tail"]);
    let hog = evalx_core::Program::new(spec(ByteSize::mib(16)), hog);
    let took = sandbox.execute(hog, "").await.expect("sh runs").report;
    assert_eq!(took.outcome, Outcome::MemoryLimit, "{took:?}");
    sandbox.shutdown().await.expect("the sandbox can be shut down");
}
