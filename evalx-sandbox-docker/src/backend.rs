//! [`DockerSandbox`]: the backend.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use evalx_core::{
    Capabilities, Isolation, LimitKind, Network, Result, Sandbox, Session, SessionSpec, Strength,
    SyscallPolicy,
};

use crate::agent::Agent;
use crate::config::{DockerConfig, Reuse};
use crate::container::{Container, Recipe};
use crate::engine::Engine;
use crate::error::DockerError;
use crate::exec::ExecSession;
use crate::orphans::{self, Janitor, Owner};
use crate::pool::{Pool, PoolStatistics};
use crate::registry::Registry;
use crate::serve::Server;
use crate::session::DockerSession;

/// How many containers that died while they waited are passed over.
const MOST_DEAD: usize = 16;

/// Runs programs in containers of Docker or Podman; see the [crate's page](crate).
///
/// Containers are made in the background from the start on, ahead of sessions.
/// It must be used from the tokio runtime it was started in.
///
/// # Example
///
/// ```no_run
/// use evalx_core::{Collect, Sandbox, SessionSpec, Step};
/// use evalx_sandbox_docker::{DockerConfig, DockerSandbox, Image};
///
/// # async fn example() -> evalx_core::Result<()> {
/// let sandbox = DockerSandbox::start(DockerConfig::new(Image::new("evalx/base", 2))).await?;
/// sandbox.ready().await?;
/// let mut session = sandbox.open(SessionSpec::default()).await?;
/// let mut io = Collect::new("42\n");
/// let report = session.run(Step::new("cat"), &mut io).await?;
/// assert!(report.outcome.is_success());
/// session.close().await?;
/// sandbox.shutdown().await?;
/// # Ok(())
/// # }
/// ```
pub struct DockerSandbox {
    pool: Arc<Pool>,
    recipe: Arc<Recipe>,
    capabilities: Capabilities,
    _janitor: Janitor,
}

impl DockerSandbox {
    /// Connects to the engine, removes what dead hosts have left, makes one
    /// container to see what it can do, and has the spares made in the background.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for settings out of range, `Unsupported` if there is no
    /// agent, `Unavailable` if the engine can't be reached or can't make a
    /// container of the image; each names [what helps](evalx_core::Error::help).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, a container that was being made is removed.
    pub async fn start(config: DockerConfig) -> Result<Self> {
        config.validate()?;
        let agent = Agent::find(&config.way)?;
        let engine = Engine::connect(config.endpoint.as_deref(), config.patience).await?;
        let about = engine.about().await?;
        let swept = orphans::sweep(&engine).await?;
        if swept > 0 {
            tracing::info!(swept, "removed containers of hosts that are dead");
        }
        for image in config.images.values().chain([&config.image]) {
            engine.has_image(&image.name).await?;
        }
        let registry = Registry::new(orphans::nonce(), config.first_user, config.users);
        let owner = Owner::current().label();
        let recipe = Arc::new(Recipe::new(engine, about, config, agent, owner, registry));
        let first = match &recipe.agent {
            Some(_) => Some(recipe.make(&recipe.config.image.name).await?),
            None => None,
        };
        let capabilities = match &first {
            Some(first) => capabilities(&recipe, first),
            None => capabilities_of_exec(&recipe),
        };
        let pool = Pool::start(Arc::clone(&recipe), first);
        let _janitor = Janitor::start(recipe.engine.clone());
        Ok(Self { pool, recipe, capabilities, _janitor })
    }

    /// Waits until every image has its spares.
    ///
    /// # Errors
    ///
    /// Why a container could not be made; more attempts are made behind.
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn ready(&self) -> Result<()> {
        Ok(self.pool.ready().await?)
    }

    /// How full the pool is.
    #[must_use]
    pub fn statistics(&self) -> PoolStatistics {
        self.pool.statistics()
    }
}

fn capabilities(recipe: &Recipe, container: &Container) -> Capabilities {
    let (whole, each) = (Strength::Whole, Strength::PerProcess);
    let own_group = container.groups.is_some();
    let by = if own_group { "a control group of the step's own" } else { "the container's control group" };
    let inodes = match recipe.config.reuse {
        Reuse::Sessions(_) => "the container's own layer, which later sessions of other hands see too",
        _ => "the container's own layer",
    };
    let mut capabilities = Capabilities::new("docker")
        .with_limit(LimitKind::CpuTime, whole, format!("{by}, timer of the agent's supervisor"))
        .with_limit(LimitKind::WallTime, whole, "timer of the agent's supervisor")
        .with_limit(LimitKind::Memory, whole, by)
        .with_limit(LimitKind::Processes, whole, by)
        .with_limit(LimitKind::Output, whole, "counted by the agent's supervisor")
        .with_limit(LimitKind::Disk, whole, "size of the session's tmpfs")
        .with_limit(LimitKind::Files, whole, "inodes of the session's tmpfs")
        .with_limit(LimitKind::Stack, each, "RLIMIT_STACK")
        .with_limit(LimitKind::OpenFiles, each, "RLIMIT_NOFILE")
        .with_isolation(Isolation::Processes, whole, "a PID namespace for each step, in the container's")
        .with_isolation(Isolation::Files, whole, "the container's read-only root, a tmpfs for each session")
        .with_isolation(Isolation::Inodes, whole, inodes)
        .with_isolation(
            Isolation::Network,
            whole,
            "the container has no network, and seccomp refuses sockets",
        )
        .with_isolation(Isolation::Ipc, whole, "an IPC namespace for each step")
        .with_isolation(
            Isolation::Syscalls,
            whole,
            "no capabilities, no_new_privs, seccomp of the container and of the program",
        )
        .with_isolation(Isolation::Uid, whole, "a uid for each container");
    capabilities.networks = vec![Network::None, Network::Loopback];
    capabilities.syscall_policies = vec![SyscallPolicy::Default];
    capabilities.terminal = true;
    capabilities.accepted_weak_limits.clone_from(&recipe.config.accepted_weak_limits);
    capabilities
}

/// What holds without an agent.
fn capabilities_of_exec(recipe: &Recipe) -> Capabilities {
    let (whole, each) = (Strength::Whole, Strength::PerProcess);
    let group = "the container's control group";
    let looked = "the container's control group, looked at every 100 ms through the engine";
    let disk = "the sizes of three tmpfs, which add up to it";
    let mut capabilities = Capabilities::new("docker")
        .with_limit(LimitKind::CpuTime, whole, looked)
        .with_limit(LimitKind::WallTime, whole, "timer of this process")
        .with_limit(LimitKind::Memory, whole, group)
        .with_limit(LimitKind::Processes, whole, group)
        .with_limit(LimitKind::Output, whole, "counted by this process")
        .with_limit(LimitKind::Disk, whole, disk)
        .with_limit(LimitKind::Files, whole, disk)
        .with_limit(LimitKind::Stack, each, "RLIMIT_STACK")
        .with_limit(LimitKind::OpenFiles, each, "RLIMIT_NOFILE")
        .with_isolation(Isolation::Processes, whole, "the container's PID namespace")
        .with_isolation(Isolation::Files, whole, "the container's read-only root, three tmpfs")
        .with_isolation(Isolation::Inodes, whole, "the container's own layer")
        .with_isolation(
            Isolation::Network,
            whole,
            "the container has no network, and seccomp refuses sockets",
        )
        .with_isolation(
            Isolation::Ipc,
            whole,
            "the IPC namespace of the session's own container, which its steps share",
        )
        .with_isolation(Isolation::Syscalls, whole, "no capabilities, no_new_privs, seccomp")
        .with_isolation(Isolation::Uid, whole, "two uids for each container");
    capabilities.networks = vec![Network::None];
    capabilities.syscall_policies = vec![SyscallPolicy::Default];
    capabilities.accepted_weak_limits.clone_from(&recipe.config.accepted_weak_limits);
    capabilities
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn check(&self) -> Result<()> {
        self.recipe.engine.about().await?;
        self.recipe.engine.has_image(&self.recipe.config.image.name).await?;
        Ok(())
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        self.capabilities.admit(&spec)?;
        let image = self.recipe.config.image_of(&spec.label).name.clone();
        let mut permit = self.pool.permit().await?;
        if self.recipe.agent.is_none() {
            return Ok(Box::new(ExecSession::open(&self.recipe, &image, spec, permit).await?));
        }
        let mut last = DockerError::ShutDown;
        for _ in 0..MOST_DEAD {
            let container = self.pool.take(&image, spec.origin.as_ref()).await?.spend()?;
            let (limits, origin) = (spec.limits.clone(), spec.origin.clone());
            let (engine, pool) = (self.recipe.engine.clone(), Arc::clone(&self.pool));
            // In a task of its own: if this future is dropped, the session begins
            // and ends at once, and leaves the container in order.
            let task = tokio::spawn(Server::begin(container, limits, origin, engine, pool, permit));
            let begun = task.await.map_err(|error| DockerError::Lost(error.to_string()))?;
            match begun {
                Ok(begun) => return Ok(Box::new(DockerSession::start(begun, &spec))),
                Err((error @ DockerError::Lost(_), back)) => (last, permit) = (error, back),
                Err((error, _)) => return Err(error.into()),
            }
        }
        Err(last.into())
    }

    async fn shutdown(&self) -> Result<()> {
        self.pool.close();
        self.recipe.registry.clear(&self.recipe.engine).await?;
        if self.recipe.registry.emptied(self.recipe.engine.patience()).await {
            return Ok(());
        }
        Err(DockerError::Slow { what: "remove all containers" }.into())
    }
}

impl Drop for DockerSandbox {
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl fmt::Debug for DockerSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerSandbox").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl fmt::Display for DockerSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker sandbox ({})", self.recipe.about.name)
    }
}
