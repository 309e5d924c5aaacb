//! [`IsolateSandbox`]: the backend.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use evalx_core::{
    Capabilities, Error, ErrorKind, Isolation, LimitKind, Network, Result, Sandbox, Session, SessionSpec,
    Strength, SyscallPolicy,
};
use evalx_host::Owner;
use nix::unistd::Uid;

use crate::boxes::{Boxes, Common};
use crate::config::{ControlGroups, IsolateConfig};
use crate::error::IsolateError;
use crate::groups::Groups;
use crate::installation::Installation;
use crate::kit::Layers;
use crate::lease::{ODD_PATH, State, is_plain};
use crate::remains::{self, Note};
use crate::session::IsolateSession;
use crate::starter;

/// Where programs of the host are found inside.
const PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Runs programs with `isolate`, 1.x or 2.x.
///
/// Boxes are made ready before the first session is opened; see the [crate's
/// page](crate). It must be used from the tokio runtime it was started in.
///
/// # Example
///
/// ```no_run
/// use evalx_core::{Collect, Isolation, Sandbox, SessionSpec, Step};
/// use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};
///
/// # async fn example() -> evalx_core::Result<()> {
/// // isolate filters few system calls or none: who accepts that says so.
/// let config = IsolateConfig::default().with_accepted_weak_isolation(Isolation::Syscalls);
/// let sandbox = IsolateSandbox::start(config).await?;
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
pub struct IsolateSandbox {
    boxes: Arc<Boxes>,
    capabilities: Capabilities,
    name: String,
}

/// What one run in a box has shown.
struct Trial {
    groups: Option<Groups>,
    first_owner: Owner,
}

impl IsolateSandbox {
    /// Finds isolate, removes what dead processes have left in the state
    /// folder, tries a box, and begins to make spare ones.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a configuration out of range, `Unavailable` where
    /// isolate is not there or fails, `Unsupported` where something that was
    /// required can't be had, `Busy` if every box number is in use; each names
    /// [what helps](Error::help).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it may leave a box that the next start removes.
    pub async fn start(config: IsolateConfig) -> Result<Self> {
        validate(&config)?;
        let installation = Installation::find(&config.program).await?;
        if !Uid::effective().is_root() {
            return Err(IsolateError::NotRoot.into());
        }
        let state = State::open(config.state_folder.as_deref())?;
        remains::sweep(&state, &installation).await;
        let range = (config.first_box, config.boxes);
        let (trial, refusal) = attempt(&installation, &state, range, config.control_groups).await?;
        let mut path: Vec<PathBuf> = PATH.iter().map(PathBuf::from).collect();
        path.extend(config.toolchains.iter().map(|folder| folder.join("bin")));
        // On v2 the group that isolate makes for a box may count processes.
        let on_v2 = trial.groups.as_ref().is_some_and(|groups| groups.unified(0).is_some());
        let common = Common {
            installation,
            groups: trial.groups,
            first_owner: trial.first_owner,
            state,
            group_folders: if on_v2 { Vec::new() } else { starter::v1_folders() },
            readable: config.readable.iter().chain(&config.toolchains).cloned().collect(),
            path,
            range,
            spares: config.spares.min(config.sessions),
        };
        let name = format!("isolate {}", common.installation.version);
        let boxes = Boxes::new(common, config.sessions);
        let found = boxes.ready().await;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                if let Err(left) = boxes.shut_down().await {
                    tracing::warn!(error = %left, "not all of a sandbox that could not start is removed");
                }
                return Err(error.into());
            }
        };
        let mut capabilities = capabilities(&boxes.common, found.layers, found.pids, refusal.as_deref());
        capabilities.accepted_weak_limits = config.accepted_weak_limits;
        capabilities.accepted_weak_isolation = config.accepted_weak_isolation;
        Ok(Self { boxes, capabilities, name })
    }

    /// Waits until a box is ready to run a program at once.
    ///
    /// # Errors
    ///
    /// If one could not be made.
    ///
    /// # Cancel safety
    ///
    /// A box that was being made is one of the spares.
    pub async fn ready(&self) -> Result<()> {
        self.boxes.ready().await?;
        Ok(())
    }
}

fn validate(config: &IsolateConfig) -> Result<()> {
    let refuse = |why: String| Err(Error::new(ErrorKind::InvalidRequest, why));
    if !(1..=1024).contains(&config.sessions) {
        return refuse(format!("{} sessions are not allowed: from 1 to 1024", config.sessions));
    }
    let last = config.first_box.checked_add(config.boxes);
    if config.boxes == 0 || last.is_none_or(|last| last > 1_000_000) {
        return refuse(format!(
            "{} boxes from number {} on are not allowed: at least one, below number 1000000",
            config.boxes, config.first_box
        ));
    }
    for folder in config.readable.iter().chain(&config.toolchains) {
        if !is_plain(folder) {
            return refuse(format!("{} can't be shown to programs: {ODD_PATH}", folder.display()));
        }
        // What an operator shows must not take the place of what a session has.
        let own = ["/", "/box", "/tmp", "/dev", "/proc", "/etc"];
        if own.iter().any(|place| folder.as_path() == Path::new(place)) || folder.starts_with("/box") {
            return refuse(format!("{} can't be shown to programs: a session has its own", folder.display()));
        }
    }
    Ok(())
}

/// Tries a box with control groups, if they are wanted, and else without.
/// With the trial comes the reason why there are no groups.
async fn attempt(
    installation: &Installation,
    state: &State,
    range: (u32, u32),
    wanted: ControlGroups,
) -> Result<(Trial, Option<String>)> {
    let Some(lease) = remains::lease(state, range, installation).await? else {
        return Err(IsolateError::no_box(range).into());
    };
    // Whoever finds this process dead knows by the note that there is something.
    let note = Note::new(installation.program.clone(), Vec::new());
    let path = lease.folder.clone();
    let refuse =
        |source| IsolateError::Host { what: "what belongs to a box can't be noted in", path, source };
    note.write(&lease).map_err(refuse)?;
    let found = find_groups(installation, lease.number, wanted).await;
    let removed = remains::remove(&lease, installation).await;
    // What went wrong before says more.
    let found = found?;
    removed?;
    Ok(found)
}

async fn find_groups(
    installation: &Installation,
    number: u32,
    wanted: ControlGroups,
) -> Result<(Trial, Option<String>), IsolateError> {
    let refusal = if wanted == ControlGroups::Off {
        "they are turned off by the configuration".to_owned()
    } else {
        match trial(installation, number, true).await {
            Ok(found) if found.groups.is_some() => return Ok((found, None)),
            Ok(_) => "isolate puts programs in no group that can be found".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    if wanted == ControlGroups::Required {
        return Err(IsolateError::NoGroups(refusal));
    }
    Ok((trial(installation, number, false).await?, Some(refusal)))
}

/// Runs a program that shows its user and its control groups.
async fn trial(installation: &Installation, number: u32, groups: bool) -> Result<Trial, IsolateError> {
    installation.initialise(number, groups).await?;
    let mut command = installation.about(number, groups);
    command.args(["--silent", "--processes=8", "--time=5", "--wall-time=10", "--run", "--"]);
    command.args(["/bin/cat", "/proc/self/cgroup", "/proc/self/status"]).stderr(Stdio::piped());
    let shown = installation.call("--run", command).await;
    // What went wrong before says more.
    let cleaned = installation.clean_up(number, groups).await;
    let text = String::from_utf8_lossy(&shown?).into_owned();
    cleaned?;
    let id = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok()?.checked_sub(number))
    };
    let (Some(uid), Some(gid)) = (id("Uid:"), id("Gid:")) else {
        return Err(IsolateError::Command { command: "--run", message: "/proc shows no user".to_owned() });
    };
    let groups = if groups { Groups::from_inside(&text, number) } else { None };
    Ok(Trial { groups, first_owner: Owner { uid, gid } })
}

/// What of a box was found when the first was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) layers: Layers,
    /// By what processes are counted, if they are.
    pub(crate) pids: Option<&'static str>,
}

fn capabilities(
    common: &Common,
    layers: Layers,
    pids: Option<&'static str>,
    refusal: Option<&str>,
) -> Capabilities {
    let whole = Strength::Whole;
    let (group, cpu_by, memory_by) = match (&common.groups, refusal) {
        (Some(groups), _) => {
            let files = match groups {
                Groups::V1 { .. } => ["cpuacct.usage", "memory.limit_in_bytes"],
                Groups::V2 { .. } => ["cpu.stat", "memory.max"],
            };
            let by = |file| format!("{} {file} (isolate --cg)", groups.name());
            (whole, by(files[0]), by(files[1]))
        }
        (None, refusal) => {
            let why = refusal.unwrap_or("no control groups");
            let by = |what| format!("{what}, since isolate --cg can't be had: {why}");
            (Strength::PerProcess, by("the main process's time"), by("RLIMIT_AS"))
        }
    };
    let (inodes, inodes_by) = match layers {
        Layers::Overlay => (whole, "an overlay and device nodes for each box"),
        Layers::Host => (Strength::None, "the kernel refuses overlays"),
    };
    let mut capabilities = Capabilities::new("isolate")
        .with_limit(LimitKind::CpuTime, group, cpu_by)
        .with_limit(LimitKind::WallTime, whole, "timer of this process, isolate's behind it")
        .with_limit(LimitKind::Memory, group, memory_by)
        .with_limit(
            LimitKind::Processes,
            whole,
            pids.unwrap_or("RLIMIT_NPROC of the box's own uid, which tells nobody what it refused"),
        )
        .with_limit(LimitKind::Output, whole, "counted where it is read")
        .with_limit(LimitKind::Disk, whole, "tmpfs size, RLIMIT_FSIZE")
        .with_limit(LimitKind::Files, whole, "tmpfs nr_inodes")
        .with_limit(LimitKind::Stack, Strength::PerProcess, "RLIMIT_STACK")
        .with_limit(LimitKind::OpenFiles, Strength::PerProcess, "RLIMIT_NOFILE")
        .with_isolation(Isolation::Processes, whole, "PID namespace of each step")
        .with_isolation(Isolation::Files, whole, "mount namespace, read-only root of isolate's")
        .with_isolation(Isolation::Inodes, inodes, inodes_by)
        .with_isolation(
            Isolation::Network,
            whole,
            "network namespace of each step with a loopback interface alone, for which Internet sockets can be made",
        )
        .with_isolation(Isolation::Ipc, whole, "IPC namespace of each step")
        .with_isolation(
            Isolation::Syscalls,
            Strength::None,
            if common.installation.version.major < 2 {
                "no capability, but this isolate filters no system calls"
            } else {
                "no capability, but isolate refuses only a few system calls"
            },
        )
        .with_isolation(Isolation::Uid, whole, "a host uid for each box")
        .with_isolation(Isolation::SecondWall, Strength::None, "isolate has none");
    capabilities.networks = vec![Network::None, Network::Loopback];
    capabilities.syscall_policies = vec![SyscallPolicy::Default];
    capabilities
}

#[async_trait]
impl Sandbox for IsolateSandbox {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn check(&self) -> Result<()> {
        self.ready().await
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        self.capabilities.admit(&spec)?;
        let tenancy = self.boxes.take(&spec.limits).await?;
        Ok(Box::new(IsolateSession::new(tenancy, spec)))
    }

    async fn shutdown(&self) -> Result<()> {
        Ok(self.boxes.shut_down().await?)
    }
}

impl fmt::Display for IsolateSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for IsolateSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsolateSandbox").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}
