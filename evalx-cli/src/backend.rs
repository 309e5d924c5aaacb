//! Which sandbox a command runs programs in, and what it asks of it.

use std::ffi::OsStr;

use clap::{Args, ValueEnum};
use evalx::docker::Image;
use evalx::{Backends, Choice, DockerConfig, docker_image};
use evalx_core::{DynSandbox, Limits, Network, SessionSpec, SyscallPolicy};
use evalx_sandbox_isolate::IsolateConfig;
use evalx_sandbox_native::{Cgroup, NativeConfig};

use crate::failure::Failure;

/// A backend by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// The first of the others that works here.
    Auto,
    /// Linux namespaces, cgroups and seccomp, driven directly.
    Native,
    /// The `isolate` program.
    Isolate,
    /// Docker containers.
    Docker,
}

impl BackendName {
    /// Every backend by its own name.
    pub(crate) const ALL: [Self; 3] = [Self::Native, Self::Isolate, Self::Docker];

    /// The name as it is written.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Isolate => "isolate",
            Self::Docker => "docker",
        }
    }
}

/// The choice of a backend.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct BackendArguments {
    /// What runs the program. Without it, the variable EVALX_SANDBOX decides (names with commas
    /// between them), else USE_ISOLATE (true or false), else auto.
    #[arg(long, value_enum, value_name = "NAME")]
    backend: Option<BackendName>,
}

impl BackendArguments {
    /// Starts the backend that was chosen, for this many sessions at once.
    ///
    /// # Errors
    ///
    /// If it can't work here; says what is missing.
    pub(crate) async fn start(self, sessions: usize) -> Result<DynSandbox, Failure> {
        let choice = match self.backend {
            None => environment()?,
            Some(BackendName::Auto) => Choice::Auto,
            Some(name) => Choice::only(name.as_str()),
        };
        Ok(backends(sessions)?.choose(&choice).await?)
    }
}

/// The choice that the environment makes.
///
/// # Errors
///
/// Names the variable whose value means nothing.
pub(crate) fn environment() -> Result<Choice, Failure> {
    Choice::from_environment().map_err(|error| Failure::usage(error.chain()))
}

/// Starts the backend of this name alone, for this many sessions at once.
///
/// # Errors
///
/// If it can't work here; says what is missing.
pub(crate) async fn start(name: BackendName, sessions: usize) -> Result<DynSandbox, Failure> {
    Ok(backends(sessions)?.start(name.as_str()).await?)
}

/// The backends as the command has them, for this many sessions at once.
fn backends(sessions: usize) -> Result<Backends, Failure> {
    let native = native_config(sessions)?;
    let isolate = isolate_config(sessions, &native);
    let docker = docker_config(sessions);
    Ok(Backends::default().with_native(native).with_isolate(isolate).with_docker(docker))
}

/// Ends the sandbox, whatever came of the work in it: the work's own failure
/// is the one to tell.
pub(crate) async fn finish<T>(sandbox: &DynSandbox, result: Result<T, Failure>) -> Result<T, Failure> {
    let shutdown = sandbox.shutdown().await;
    let value = result?;
    shutdown?;
    Ok(value)
}

/// Says which control group the native backend uses: `auto`, `adopt`, a
/// delegated folder; or `rlimits-only`: none, with what is weaker by that accepted.
const CGROUP_VARIABLE: &str = "EVALX_CGROUP";

fn native_config(sessions: usize) -> Result<NativeConfig, Failure> {
    let cgroup = cgroup_choice(std::env::var_os(CGROUP_VARIABLE).as_deref())?;
    Ok(NativeConfig::default().with_sessions(sessions).with_named_cgroup(cgroup).with_discovered_toolchains())
}

/// Names the `isolate` program, where it is not the one in `PATH`.
const ISOLATE_VARIABLE: &str = "EVALX_ISOLATE";

fn isolate_config(sessions: usize, native: &NativeConfig) -> IsolateConfig {
    let config = IsolateConfig::default().with_sessions(sessions).with_spares(sessions.min(2));
    let program = std::env::var_os(ISOLATE_VARIABLE).filter(|program| !program.is_empty());
    let config = program.into_iter().fold(config, IsolateConfig::with_program);
    native.toolchains.iter().fold(config, IsolateConfig::with_toolchain)
}

fn docker_config(sessions: usize) -> DockerConfig {
    DockerConfig::new(Image::new(docker_image(), sessions)).with_sessions(sessions)
}

fn cgroup_choice(value: Option<&OsStr>) -> Result<Cgroup, Failure> {
    let Some(value) = value else { return Ok(Cgroup::Auto) };
    value.to_string_lossy().parse().map_err(|error| Failure::usage(format!("{CGROUP_VARIABLE}: {error}")))
}

/// What a session is kept from.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SessionArguments {
    /// The network that the program has.
    #[arg(long, value_enum, default_value_t, value_name = "NETWORK")]
    network: NetworkName,
    /// The system calls it may make: `strict` ends it at any that plain computing does not need.
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    seccomp: PolicyName,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum NetworkName {
    /// None at all.
    #[default]
    None,
    /// A loopback interface of its own.
    Loopback,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum PolicyName {
    /// Dangerous calls are refused with an error.
    #[default]
    Default,
    /// Calls that plain computing does not need end the program.
    Strict,
}

impl SessionArguments {
    /// The session to open.
    pub(crate) fn spec(self, limits: Limits) -> SessionSpec {
        let network = match self.network {
            NetworkName::None => Network::None,
            NetworkName::Loopback => Network::Loopback,
        };
        let policy = match self.seccomp {
            PolicyName::Default => SyscallPolicy::Default,
            PolicyName::Strict => SyscallPolicy::Strict,
        };
        SessionSpec::new(limits).with_network(network).with_syscalls(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_group_is_chosen_by_name_or_path() {
        let choice = |value: Option<&str>| cgroup_choice(value.map(OsStr::new));
        assert_eq!(choice(None).unwrap(), Cgroup::Auto);
        assert_eq!(choice(Some("auto")).unwrap(), Cgroup::Auto);
        assert_eq!(choice(Some("adopt")).unwrap(), Cgroup::Adopt);
        assert_eq!(choice(Some("rlimits-only")).unwrap(), Cgroup::RlimitsOnly);
        assert_eq!(choice(Some("/sys/fs/cgroup/x")).unwrap(), Cgroup::Path("/sys/fs/cgroup/x".into()));
        assert!(choice(Some("sys/fs/cgroup")).unwrap_err().to_string().contains("auto, adopt"));
    }
}
