//! Many slots at once: how soon they are ready, and what they cost.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evalx_core::{Error, Outcome, Program, Result, SandboxExt, SessionSpec, Step};
use evalx_sandbox_native::{NativeConfig, NativeSandbox};

use crate::traces::Traces;

/// What a slot takes that waits for a session, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Its zygote's proportional share of memory, and the part that is its own.
    pub(crate) share: u64,
    pub(crate) private: u64,
    /// What the kernel holds for it: page tables, stacks, mounts, namespaces.
    pub(crate) kernel: u64,
}

/// Slots that were ready, and how long that took.
pub(crate) struct Ready {
    pub(crate) sandbox: Arc<NativeSandbox>,
    pub(crate) took: Duration,
}

/// Starts so many slots and waits until each is ready.
pub(crate) async fn ready(slots: usize, state: &Path) -> Result<Ready> {
    let began = Instant::now();
    let config = NativeConfig::default().with_sessions(slots).with_spares(0).with_state_folder(state);
    let sandbox = NativeSandbox::start(config).await?;
    sandbox.ready().await?;
    Ok(Ready { sandbox: Arc::new(sandbox), took: began.elapsed() })
}

/// Runs as many programs at once as there are slots, each of which has to see
/// its own input; returns how long that took.
pub(crate) async fn run_at_once(sandbox: &Arc<NativeSandbox>, slots: usize) -> Result<Duration> {
    let began = Instant::now();
    let runs: Vec<_> = (0..slots)
        .map(|number| {
            let sandbox = Arc::clone(sandbox);
            tokio::spawn(async move {
                let text = format!("run {number}\n");
                let ran = sandbox
                    .execute(Program::new(SessionSpec::default(), Step::new("cat")), text.clone())
                    .await?;
                assert_eq!(ran.report.outcome, Outcome::Exited(0), "run {number}: {:?}", ran.report);
                assert_eq!(ran.stdout, text.as_bytes(), "run {number}");
                Ok::<(), Error>(())
            })
        })
        .collect();
    for run in runs {
        run.await.expect("a run does not panic")?;
    }
    Ok(began.elapsed())
}

/// What each slot costs on average, where this user may look into its zygote.
pub(crate) fn cost(traces: &Traces) -> Option<Cost> {
    let zygotes = traces.zygotes();
    let count = u64::try_from(zygotes.len()).ok().filter(|count| *count > 0)?;
    let mut sum = Cost::default();
    for zygote in zygotes {
        let text = fs::read_to_string(format!("/proc/{zygote}/smaps_rollup")).ok()?;
        sum.share += field(&text, "Pss:")?;
        sum.private += field(&text, "Private_Clean:")? + field(&text, "Private_Dirty:")?;
    }
    for group in traces.groups() {
        for slot in fs::read_dir(group).into_iter().flatten().flatten() {
            sum.kernel += kernel(&slot.path()).unwrap_or(0);
        }
    }
    Some(Cost { share: sum.share / count, private: sum.private / count, kernel: sum.kernel / count })
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The kernel memory of a cgroup, in KiB.
fn kernel(group: &Path) -> Option<u64> {
    let v1 = fs::read_to_string(group.join("memory.kmem.usage_in_bytes")).ok();
    let bytes = match v1 {
        Some(text) => text.trim().parse::<u64>().ok()?,
        None => field(&fs::read_to_string(group.join("memory.stat")).ok()?, "kernel ")?,
    };
    Some(bytes >> 10)
}
