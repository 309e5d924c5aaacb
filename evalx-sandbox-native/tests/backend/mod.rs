//! The sandbox under test, as this machine can have it.

#[path = "../traces/mod.rs"]
mod traces;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use evalx_core::{DynSandbox, Isolation, LimitKind};
use evalx_sandbox_native::{Cgroup, NativeConfig, NativeSandbox};
use evalx_testkit::{Case, Need, Suite};
use traces::{Holdings, Traces, eventually};

/// A state folder that no other process uses, so that what is left in it is ours.
fn state() -> PathBuf {
    std::env::temp_dir().join(format!("evalx-suite-{}", std::process::id()))
}

/// `EVALX_CGROUP` names a delegated cgroup v2 folder, as for the `evalx`
/// command; `rlimits` takes none and is content with that.
pub(crate) fn config() -> NativeConfig {
    let config = NativeConfig::default().with_sessions(16).with_state_folder(state());
    match std::env::var("EVALX_CGROUP") {
        Ok(path) if path.starts_with('/') => config.with_cgroup(Cgroup::Path(PathBuf::from(path))),
        Ok(word) if word == "adopt" => config.with_cgroup(Cgroup::Adopt),
        Ok(word) if word == "rlimits" => [LimitKind::Memory, LimitKind::Processes, LimitKind::CpuTime]
            .into_iter()
            .fold(config.with_cgroup(Cgroup::RlimitsOnly), NativeConfig::with_accepted_weak_limit),
        _ => config,
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A suite over one sandbox that all its cases share.
pub(crate) fn suite(cases: Vec<Case>) -> Suite {
    /// What this process had before its first sandbox.
    static BEFORE: OnceLock<Holdings> = OnceLock::new();
    let suite = Suite::new("native", cases, || async {
        BEFORE.get_or_init(Holdings::now);
        let sandbox = NativeSandbox::start(config()).await?;
        sandbox.ready().await?;
        Ok(Arc::new(sandbox) as DynSandbox)
    });
    let suite = if is_root() {
        suite
    } else {
        suite
            .lacking(Need::Isolation(Isolation::Uid), "an ordinary user has but one uid")
            .lacking(Need::Isolation(Isolation::Inodes), "an ordinary user can't make device nodes")
    };
    suite.with_leak_check(|| {
        let left = Traces::of(&state(), std::process::id()).gone();
        // Tasks that cases have aborted end a moment later.
        let held =
            BEFORE.get().map_or(Ok(()), |before| eventually(Duration::from_secs(5), || before.restored()));
        let removed = std::fs::remove_dir_all(state()).map_err(|error| error.to_string());
        left.and(held).and(removed)
    })
}
