//! [`NativeSandbox`]: the backend.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use evalx_core::{
    Capabilities, Error, ErrorKind, Isolation, LimitKind, Limits, Network, Result, Sandbox, Session,
    SessionSpec, Strength, SyscallPolicy,
};
use nix::sys::resource::{Resource, getrlimit};

use crate::cgroup::Plan;
use crate::config::NativeConfig;
use crate::error::NativeError;
use crate::fleet::Found;
use crate::fleets::Fleets;
use crate::session::{Common, NativeSession};
use crate::sys;
use crate::wire::Shape;

/// Where programs of the host are found inside.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Runs programs in namespaces of this machine, with cgroups and seccomp.
///
/// It starts processes of its own that hold what is dear to make, and are
/// ready before the first session is opened; see the [crate's page](crate).
/// It must be used from the tokio runtime it was started in.
///
/// # Example
///
/// ```no_run
/// use evalx_core::{Collect, Sandbox, SessionSpec, Step};
/// use evalx_sandbox_native::{NativeConfig, NativeSandbox};
///
/// # async fn example() -> evalx_core::Result<()> {
/// let sandbox = NativeSandbox::start(NativeConfig::default()).await?;
/// let mut session = sandbox.open(SessionSpec::default()).await?;
/// let mut io = Collect::new("42\n");
/// let report = session.run(Step::new("cat"), &mut io).await?;
/// assert!(report.outcome.is_success());
/// assert_eq!(io.into_output().0, "42\n");
/// session.close().await?;
/// sandbox.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct NativeSandbox {
    fleets: Fleets,
    common: Arc<Common>,
    capabilities: Capabilities,
}

impl NativeSandbox {
    /// Starts the launcher and every slot; does not wait for the slots.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a number of sessions out of range, `Unsupported`
    /// where there is no usable cgroup, `Unavailable` where the kernel refuses
    /// namespaces or mounts; each names [what helps](Error::help).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, everything that was started ends by itself.
    pub async fn start(config: NativeConfig) -> Result<Self> {
        if std::env::var_os(sys::arm().0).is_some() {
            // The hook did not take over: without this, each would start the next.
            return Err(NativeError::refused("this process is a launcher itself").into());
        }
        if !(1..=1024).contains(&config.sessions) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("{} sessions are not allowed: from 1 to 1024", config.sessions),
            ));
        }
        if config.spares > 1024 {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("{} spare slots are not allowed: at most 1024", config.spares),
            ));
        }
        for folder in config.readable.iter().chain(&config.toolchains) {
            let text = folder.to_string_lossy();
            if !folder.is_absolute() || !folder.is_dir() || text.contains([',', ':', '\\']) {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "{text} can't be shown to programs: it must be an absolute path of a folder, without `,`, `:` or `\\`"
                    ),
                ));
            }
        }
        let plan = Plan::find(&config.cgroup)?;
        let mut path: Vec<PathBuf> = PATH.iter().map(PathBuf::from).collect();
        path.extend(config.toolchains.iter().map(|folder| folder.join("bin")));
        let hard = |resource| getrlimit(resource).map_or(u64::MAX, |(_, hard)| hard);
        let common = Common {
            path,
            most_open_files: hard(Resource::RLIMIT_NOFILE),
            most_stack: hard(Resource::RLIMIT_STACK),
        };
        let accepted_weak_limits = config.accepted_weak_limits.clone();
        let fleets = Fleets::start(config, plan.clone(), shape(&SessionSpec::default())).await?;
        let mut capabilities = capabilities(&plan, fleets.found(), fleets.is_privileged());
        capabilities.accepted_weak_limits = accepted_weak_limits;
        Ok(Self { fleets, common: Arc::new(common), capabilities })
    }

    /// Waits until every slot is ready to run a program at once.
    ///
    /// # Errors
    ///
    /// If a slot could not be made; the message says at what it failed.
    ///
    /// # Cancel safety
    ///
    /// Slots that were being waited for are replaced when they are next needed.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.fleets.ready().await?)
    }
}

/// What a cell must be made for ahead of a session of this spec.
fn shape(spec: &SessionSpec) -> Shape {
    Shape {
        disk: spec.limits.disk.as_u64(),
        files: u64::from(spec.limits.files),
        loopback: spec.network == Network::Loopback,
        strict: spec.syscalls == SyscallPolicy::Strict,
    }
}

fn capabilities(plan: &Plan, found: Found, privileged: bool) -> Capabilities {
    let name = plan.name();
    let group = if *plan == Plan::Rlimits { Strength::PerProcess } else { Strength::Whole };
    let [memory, pids, cpu] = match plan {
        Plan::V1(_) => ["memory.limit_in_bytes", "pids.max", "cpuacct.usage"],
        Plan::V2(_) => ["memory.max", "pids.max", "cpu.stat"],
        Plan::Rlimits => ["RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_CPU"],
    };
    let cpu_by = match plan {
        Plan::Rlimits => cpu.to_owned(),
        _ => format!("{name} {cpu}, timer of the slot's zygote"),
    };
    let whole = Strength::Whole;
    let (inodes, inodes_by) = match (found.overlay, privileged) {
        (true, true) => (whole, "an overlay for each slot"),
        (true, false) => {
            (Strength::None, "an overlay for each slot, but the device nodes in /dev are the host's")
        }
        (false, _) => (Strength::None, "the kernel refuses overlays"),
    };
    let wall = if found.landlock > 0 { whole } else { Strength::None };
    let mut capabilities = Capabilities::new("native")
        .with_limit(LimitKind::CpuTime, group, cpu_by)
        .with_limit(LimitKind::WallTime, whole, "timer of the slot's zygote")
        .with_limit(LimitKind::Memory, group, format!("{name} {memory}"))
        .with_limit(LimitKind::Processes, group, format!("{name} {pids}"))
        .with_limit(LimitKind::Output, whole, "counted where it is read")
        .with_limit(LimitKind::Disk, whole, "tmpfs size, RLIMIT_FSIZE")
        .with_limit(LimitKind::Files, whole, "tmpfs nr_inodes")
        .with_limit(LimitKind::Stack, Strength::PerProcess, "RLIMIT_STACK")
        .with_limit(LimitKind::OpenFiles, Strength::PerProcess, "RLIMIT_NOFILE")
        .with_isolation(Isolation::Processes, whole, "PID namespace of each step")
        .with_isolation(Isolation::Files, whole, "mount namespace, pivoted read-only root")
        .with_isolation(Isolation::Inodes, inodes, inodes_by)
        .with_isolation(Isolation::Network, whole, "network namespace, seccomp on sockets")
        .with_isolation(Isolation::Ipc, whole, "IPC namespace of each step")
        .with_isolation(Isolation::Syscalls, whole, "seccomp, no_new_privs, no capability")
        .with_isolation(
            Isolation::Uid,
            if privileged { whole } else { Strength::None },
            if privileged { "a host uid for each slot" } else { "the host's own user, in a user namespace" },
        )
        .with_isolation(
            Isolation::SecondWall,
            wall,
            if found.landlock > 0 {
                format!("Landlock version {}", found.landlock)
            } else {
                "the kernel has no Landlock".to_owned()
            },
        );
    capabilities.networks = vec![Network::None, Network::Loopback];
    capabilities.syscall_policies = vec![SyscallPolicy::Default, SyscallPolicy::Strict];
    capabilities.terminal = true;
    capabilities
}

#[async_trait]
impl Sandbox for NativeSandbox {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn check(&self) -> Result<()> {
        let mut spec = SessionSpec::new(Limits::default());
        // Whether limits can be held is for `open` to say, with the spec it is given.
        spec.label = "check".to_owned();
        let mut taken = self.fleets.take(shape(&spec)).await?;
        taken.slot()?.ready().await?;
        Ok(())
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        self.capabilities.admit(&spec)?;
        let mut taken = self.fleets.take(shape(&spec)).await?;
        let folder = taken.slot()?.ready().await?;
        Ok(Box::new(NativeSession::new(taken, spec, Arc::clone(&self.common), folder)))
    }

    async fn shutdown(&self) -> Result<()> {
        Ok(self.fleets.shut_down().await?)
    }
}

impl fmt::Display for NativeSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("native")
    }
}

impl fmt::Debug for NativeSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeSandbox").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}
