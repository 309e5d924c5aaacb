//! The sandbox that the suites run on.

#[path = "../rig/mod.rs"]
mod rig;

use std::sync::Arc;

use evalx_core::{DynSandbox, Result};
use evalx_sandbox_docker::{DockerConfig, DockerSandbox, Metering, Reuse};
use evalx_testkit::{Case, Need, Suite};

/// A pool that all cases share: containers serve many, and are reset between them.
///
/// `EVALX_DOCKER_METERING=container` measures as where this process is not root.
fn config() -> Result<DockerConfig> {
    let config = rig::config()?.with_sessions(16).with_reuse(Reuse::Sessions(10_000));
    Ok(match std::env::var("EVALX_DOCKER_METERING").as_deref() {
        Ok("container") => config.with_metering(Metering::Container),
        _ => config,
    })
}

/// A suite over one sandbox that all its cases share.
pub(crate) fn suite(cases: Vec<Case>) -> Suite {
    let suite = Suite::new("docker", cases, || async {
        let sandbox = DockerSandbox::start(config()?).await?;
        sandbox.ready().await?;
        Ok(Arc::new(sandbox) as DynSandbox)
    });
    suite.lacking(
        Need::StrictSyscalls,
        "a filter that names the refused call needs a listener outside the cell",
    )
}
