//! The sandbox under test, as this machine can have it.

use std::path::PathBuf;
use std::sync::Arc;

use evalx_core::{DynSandbox, Isolation};
use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};
use evalx_testkit::{Case, Need, Suite};

/// A state folder that no other process uses, so that what is left in it is ours.
fn state() -> PathBuf {
    std::env::temp_dir().join(format!("evalx-isolate-suite-{}", std::process::id()))
}

/// `EVALX_ISOLATE` names the program, as for the `evalx` command.
pub(crate) fn config() -> IsolateConfig {
    let config = IsolateConfig::default().with_sessions(16).with_state_folder(state());
    match std::env::var_os("EVALX_ISOLATE") {
        Some(program) => config.with_program(program),
        None => config,
    }
}

/// A suite over one sandbox that all its cases share.
pub(crate) fn suite(cases: Vec<Case>) -> Suite {
    Suite::new("isolate", cases, || async {
        let sandbox = IsolateSandbox::start(config()).await?;
        Ok(Arc::new(sandbox) as DynSandbox)
    })
    .attempting(Need::Isolation(Isolation::Syscalls))
    .attempting(Need::Isolation(Isolation::Network))
}
