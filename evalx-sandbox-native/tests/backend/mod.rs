//! The sandbox under test, as this machine can have it.

use std::path::PathBuf;
use std::sync::Arc;

use evalx_core::DynSandbox;
use evalx_sandbox_native::{Cgroup, NativeConfig, NativeSandbox};
use evalx_testkit::{Case, Suite};

/// `EVALX_CGROUP` names a delegated cgroup v2 folder, as for the `evalx` command.
pub(crate) fn config() -> NativeConfig {
    let cgroup = match std::env::var("EVALX_CGROUP") {
        Ok(path) if path.starts_with('/') => Cgroup::Path(PathBuf::from(path)),
        Ok(word) if word == "adopt" => Cgroup::Adopt,
        _ => Cgroup::Auto,
    };
    NativeConfig::default().with_slots(16).with_cgroup(cgroup)
}

/// A suite over one sandbox that all its cases share.
pub(crate) fn suite(cases: Vec<Case>) -> Suite {
    Suite::new("native", cases, || async {
        let sandbox = NativeSandbox::start(config()).await?;
        sandbox.ready().await?;
        Ok(Arc::new(sandbox) as DynSandbox)
    })
}
