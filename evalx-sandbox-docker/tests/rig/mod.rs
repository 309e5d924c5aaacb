//! What tests need of this machine: an engine, an image, an agent.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use evalx_core::{Error, ErrorKind, Result};
use evalx_sandbox_docker::{DockerConfig, Image, Way};

/// The image that tests use unless `EVALX_DOCKER_IMAGE` names another.
pub(crate) fn image() -> String {
    std::env::var("EVALX_DOCKER_IMAGE").unwrap_or_else(|_| "evalx/base".to_owned())
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

/// Two spares of that image, by that agent.
pub(crate) fn config() -> Result<DockerConfig> {
    Ok(DockerConfig::new(Image::new(image(), 2)).with_way(Way::AgentAt(agent()?)))
}
