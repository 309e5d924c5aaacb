//! The sandbox under test, as this machine can have it.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use evalx_core::{DynSandbox, Error, ErrorKind, Result};
use evalx_sandbox_docker::{DockerConfig, DockerSandbox, Image, Metering, Reuse, Way};
use evalx_testkit::{Case, Need, Suite};

/// The image that tests use unless `EVALX_DOCKER_IMAGE` names another.
pub(crate) fn image() -> String {
    std::env::var("EVALX_DOCKER_IMAGE").unwrap_or_else(|_| "evalx/gcc".to_owned())
}

/// The agent that `EVALX_AGENT` names, or one that is built here, once.
pub(crate) fn agent() -> Result<PathBuf> {
    static AGENT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let agent = AGENT.get_or_init(|| match std::env::var_os("EVALX_AGENT") {
        Some(path) => Ok(path.into()),
        None => build(),
    });
    agent.clone().map_err(|why| Error::new(ErrorKind::Unsupported, format!("no agent: {why}")))
}

/// Builds the agent, statically linked, in a target folder of its own beside
/// the tests'.
fn build() -> std::result::Result<PathBuf, String> {
    let failed = |why: &dyn std::fmt::Display| format!("it could not be built: {why}");
    let current = std::env::current_exe().map_err(|error| failed(&error))?;
    // …/target/debug/deps/conformance-0123
    let target = current.ancestors().nth(3).unwrap_or(Path::new("target")).join("agent");
    let triple = format!("{ARCH}-unknown-linux-gnu");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "--package", "evalx-agent", "--target", &triple])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(target.join(triple).join("release/evalx-agent"))
}

/// A pool that suites share: containers serve many cases, and are reset between them.
pub(crate) fn config() -> Result<DockerConfig> {
    let config = DockerConfig::new(Image::new(image(), 2))
        .with_way(Way::AgentAt(agent()?))
        .with_sessions(16)
        .with_reuse(Reuse::Sessions(10_000));
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
