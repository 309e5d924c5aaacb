//! The sandbox that the suites run on.

#[path = "../rig/mod.rs"]
mod rig;

use std::sync::Arc;

use evalx_core::{ByteSize, DynSandbox, Result};
use evalx_sandbox_docker::{DockerConfig, DockerSandbox, Metering, Reuse};
use evalx_testkit::{Case, Need, Suite};

/// What a step can use beyond its limit where that is its container's: what the
/// agent leaves of its own part.
const CONTAINER_SLACK: ByteSize = ByteSize::mib(8);

fn is_measured_by_container() -> bool {
    std::env::var("EVALX_DOCKER_METERING").is_ok_and(|metering| metering == "container")
}

/// A pool that all cases share: containers serve many, and are reset between them.
///
/// `EVALX_DOCKER_METERING=container` measures as where this process is not root.
fn config() -> Result<DockerConfig> {
    let config = rig::config()?.with_sessions(16).with_reuse(Reuse::Sessions(10_000));
    Ok(if is_measured_by_container() { config.with_metering(Metering::Container) } else { config })
}

/// A suite over one sandbox that all its cases share.
pub(crate) fn suite(cases: Vec<Case>) -> Suite {
    let suite = Suite::new("docker", cases, || async {
        let sandbox = DockerSandbox::start(config()?).await?;
        sandbox.ready().await?;
        Ok(Arc::new(sandbox) as DynSandbox)
    });
    let suite = suite.lacking(
        Need::StrictSyscalls,
        "a filter that names the refused call needs a listener outside the cell",
    );
    if is_measured_by_container() {
        suite.with_memory_slack(CONTAINER_SLACK).without(
            "memory::peak_of_children",
            "a container's memory is looked at every 50 ms: what was there between is not in a step's peak",
        )
    } else {
        suite
    }
}
