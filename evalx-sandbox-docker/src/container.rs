//! [`Container`]: one hardened container with its agent, from its making to its
//! removal.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ResourcesUlimits,
};
use evalx_agent::wire::{CELLS_AHEAD, FromAgent, ToAgent};
use evalx_core::{Limits, WeakOrigin};

use crate::agent::Agent;
use crate::cgroup::{Groups, Moving, StepGroup};
use crate::config::{DockerConfig, Metering};
use crate::engine::{About, Engine, OWNER_LABEL};
use crate::error::DockerError;
use crate::link::Link;
use crate::registry::{Claim, Registry};
use crate::seccomp;
use crate::store::Store;

/// Memory that the agent and the kernel need beside a step's.
const OVERHEAD: u64 = 64 << 20;
/// The same where a step has no control group of its own: what a step may so
/// use beyond its limit.
const CLOSE_OVERHEAD: u64 = 8 << 20;
/// How much an agent may keep of what is placed in many sessions: a part of
/// the memory that is beside the steps'.
const KEPT: usize = 32 << 20;
/// Processes of a container that are none of a step's: guard, supervisor, and the step's cell.
const OWN_PROCESSES: u64 = 3;

/// How containers of one sandbox are made.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) engine: Engine,
    pub(crate) about: About,
    pub(crate) config: DockerConfig,
    pub(crate) agent: Option<Agent>,
    /// The value of [`OWNER_LABEL`].
    pub(crate) owner: String,
    pub(crate) registry: Arc<Registry>,
    made: AtomicU64,
}

/// A container whose agent waits for a session, or serves one.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) link: Link,
    /// Where steps get control groups of their own.
    pub(crate) groups: Option<Groups>,
    pub(crate) image: String,
    /// Sessions that it has served.
    pub(crate) served: u32,
    /// Whose sessions it serves.
    pub(crate) origin: Option<WeakOrigin>,
    /// What its agent keeps.
    pub(crate) store: Store,
    /// Cells that may have an order.
    cells: u64,
    /// Cells on their way to a control group, in the order of their making.
    moving: VecDeque<Moving>,
    /// Whether the agent was told to end a session and has not answered yet.
    closing: bool,
    id: String,
    memory: u64,
    processes: u64,
    /// Removes it once nobody uses it any more.
    _claim: Claim,
}

impl Recipe {
    pub(crate) fn new(
        engine: Engine,
        about: About,
        config: DockerConfig,
        agent: Option<Agent>,
        owner: String,
        registry: Arc<Registry>,
    ) -> Self {
        Self { engine, about, config, agent, owner, registry, made: AtomicU64::new(0) }
    }

    /// A name that no other container has.
    pub(crate) fn name(&self) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        format!("evalx-{:016x}-{number}", self.registry.instance())
    }

    /// Makes a container of an image, and waits for its agent.
    pub(crate) async fn make(&self, image: &str) -> Result<Container, DockerError> {
        let agent =
            self.agent.as_ref().ok_or_else(|| DockerError::NoAgent("`exec` was asked for".to_owned()))?;
        let name = self.name();
        let claim = self.registry.claim(&self.engine, &name)?;
        let (memory, processes) = (self.config.memory.as_u64(), u64::from(self.config.processes));
        let mut body = self.body(image, claim.user());
        body.entrypoint = Some(agent.entrypoint());
        body.cmd = Some(agent.arguments.clone());
        body.env = Some(agent.environment());
        if let Some(host) = &mut body.host_config {
            host.memory = Some(signed(memory));
            host.memory_swap = Some(signed(memory));
            host.pids_limit = Some(signed(processes));
            host.mounts = Some(agent.mounts());
            // Each session's own disk is mounted over it, of the session's size.
            let options = "rw,nosuid,nodev,size=64k,nr_inodes=16,mode=0755";
            host.tmpfs = Some(places(&[("/box", options), ("/tmp", options)]));
            // Only where nothing hides parts of /proc may the agent mount a
            // fresh one for each step; the agent hides them from programs.
            host.masked_paths = Some(Vec::new());
            host.readonly_paths = Some(Vec::new());
        }
        let id = self.engine.create(&name, body).await?;
        claim.made();
        let mut link = Link::new(self.engine.attach(&id).await?);
        self.engine.start(&id).await?;
        let greeting = tokio::time::timeout(self.engine.patience(), link.greet());
        greeting.await.map_err(|_| DockerError::Slow { what: "start an agent" })??;
        let groups = self.groups(&id).await?;
        let mut container = Container {
            link,
            // Where the container's own limits are the step's, nothing is kept at their expense.
            store: Store::new(if groups.is_some() { KEPT } else { 0 }),
            groups,
            image: image.to_owned(),
            served: 0,
            origin: None,
            cells: 0,
            moving: VecDeque::new(),
            closing: false,
            id,
            memory,
            processes,
            _claim: claim,
        };
        container.await_cell().await?;
        Ok(container)
    }

    /// What every container is, whoever starts steps in it.
    pub(crate) fn body(&self, image: &str, user: u32) -> ContainerCreateBody {
        let mut security = vec![
            "no-new-privileges".to_owned(),
            format!("seccomp={}", seccomp::profile(self.agent.is_some())),
        ];
        if self.about.apparmor && self.agent.is_some() {
            // The engine's profile lets nobody mount, whatever the namespace.
            security.push("apparmor=unconfined".to_owned());
        }
        let limit = |name: &str, value| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(value),
            hard: Some(value),
        };
        let nano_processors =
            i64::from(self.config.milli_processors.min(self.about.processors * 1000)) * 1_000_000;
        let host = HostConfig {
            nano_cpus: Some(nano_processors),
            ulimits: Some(vec![limit("core", 0)]),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            auto_remove: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            privileged: Some(false),
            readonly_rootfs: Some(true),
            security_opt: Some(security),
            shm_size: Some(1 << 20),
            // If the machine itself runs out of memory, programs go first.
            oom_score_adj: Some(500),
            runtime: self.config.runtime.clone(),
            ..Default::default()
        };
        ContainerCreateBody {
            image: Some(image.to_owned()),
            user: Some(format!("{user}:{user}")),
            hostname: Some("box".to_owned()),
            working_dir: Some("/".to_owned()),
            labels: Some(HashMap::from([(OWNER_LABEL.to_owned(), self.owner.clone())])),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            // Without its host, an agent reads the end of its input, and ends.
            stdin_once: Some(true),
            tty: Some(false),
            // There is nothing that it would have to finish.
            stop_signal: Some("SIGKILL".to_owned()),
            stop_timeout: Some(0),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
            host_config: Some(host),
            ..Default::default()
        }
    }

    async fn groups(&self, id: &str) -> Result<Option<Groups>, DockerError> {
        if self.config.metering == Metering::Container {
            return Ok(None);
        }
        let guard =
            self.engine.main_process(id).await?.ok_or_else(|| DockerError::Lost("it ended".to_owned()))?;
        match Groups::find(guard) {
            Ok(groups) => Ok(Some(groups)),
            Err(source) if self.config.metering == Metering::Step => {
                Err(DockerError::Group { what: "steps can't have control groups of their own here", source })
            }
            Err(error) => {
                tracing::debug!(%error, "steps are measured by their containers");
                Ok(None)
            }
        }
    }
}

/// The cell that has gone first, once it is in its group; never, if none is on its way.
///
/// # Cancel safety
///
/// No cell is lost if the future is dropped.
async fn arrival(moving: &mut VecDeque<Moving>) -> Result<StepGroup, DockerError> {
    let Some(first) = moving.front_mut() else { return std::future::pending().await };
    let moved = first.await;
    moving.pop_front();
    moved.unwrap_or_else(|error| Err(DockerError::Lost(error.to_string())))
}

/// File systems in memory, by where they are mounted.
pub(crate) fn places(places: &[(&str, &str)]) -> HashMap<String, String> {
    places.iter().map(|(place, options)| ((*place).to_owned(), (*options).to_owned())).collect()
}

pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Container {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Begins a session, once the one before is known to have left nothing.
    pub(crate) async fn open(&mut self, engine: &Engine, limits: &Limits) -> Result<(), DockerError> {
        self.fit(engine, limits).await?;
        let open = ToAgent::Open { disk: limits.disk.as_u64(), files: u64::from(limits.files) };
        self.link.send(&open).await?;
        loop {
            match self.next().await? {
                FromAgent::Closed { left } if left.is_empty() => self.closing = false,
                FromAgent::Closed { left } => {
                    return Err(DockerError::Lost(format!("a session has left {left}")));
                }
                FromAgent::Opened if !self.closing => break,
                other => Self::heed(&other)?,
            }
        }
        self.served += 1;
        Ok(())
    }

    /// Has the agent end a session, and make sure that nothing is left of it:
    /// what it says of that is heard before the next begins.
    pub(crate) async fn close(&mut self) -> Result<(), DockerError> {
        self.closing = true;
        self.link.send(&ToAgent::Close).await
    }

    /// The next message that is of no cell: those are put in their control groups.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<FromAgent, DockerError> {
        loop {
            if self.link.has_more() {
                self.link.flush().await?;
            }
            tokio::select! {
                biased;
                message = self.link.next() => match message? {
                    FromAgent::Cell { pid } => self.welcome(pid)?,
                    message => return Ok(message),
                },
                moved = arrival(&mut self.moving) => self.attach(moved).await?,
            }
        }
    }

    /// Gives a new cell its place.
    fn welcome(&mut self, pid: u64) -> Result<(), DockerError> {
        if self.cells + self.moving.len() as u64 >= CELLS_AHEAD {
            return Err(DockerError::Agent("it has more cells than it should".to_owned()));
        }
        match &mut self.groups {
            Some(groups) => self.moving.push_back(groups.put(pid)),
            None => {
                self.cells += 1;
                self.link.queue(&ToAgent::Attach { group: String::new() });
            }
        }
        Ok(())
    }

    /// Has the agent know that a cell is in its group.
    async fn attach(&mut self, moved: Result<StepGroup, DockerError>) -> Result<(), DockerError> {
        match moved {
            Ok(group) => {
                let group = self.groups.as_mut().map(|groups| groups.add(group));
                self.link.queue(&ToAgent::Attach { group: group.unwrap_or_default() });
                self.cells += 1;
                Ok(())
            }
            Err(error) => {
                let lost = self.link.lost(error.to_string());
                // A cell that is not there died with its agent, which says why.
                Err(self.link.last_words().await.unwrap_or(lost))
            }
        }
    }

    /// Attends to a message that nobody waits for.
    pub(crate) fn heed(message: &FromAgent) -> Result<(), DockerError> {
        match message {
            // What was said of a step when it had just ended.
            FromAgent::Taken(_) | FromAgent::StdinClosed => Ok(()),
            _ => Err(DockerError::Agent("it spoke out of turn".to_owned())),
        }
    }

    /// Waits until there is a cell.
    async fn await_cell(&mut self) -> Result<(), DockerError> {
        while self.cells == 0 {
            tokio::select! {
                moved = arrival(&mut self.moving) => self.attach(moved).await?,
                message = self.link.next() => match message? {
                    FromAgent::Cell { pid } => self.welcome(pid)?,
                    message => Self::heed(&message)?,
                },
            }
        }
        Ok(())
    }

    /// Waits for a cell, and takes it for a step of these limits.
    pub(crate) async fn take_cell(&mut self, limits: &Limits) -> Result<(), DockerError> {
        self.await_cell().await?;
        self.cells -= 1;
        match &mut self.groups {
            Some(groups) => groups.take(limits.memory.as_u64(), u64::from(limits.processes)),
            None => Ok(()),
        }
    }

    /// Gives it the limits that a session of these needs.
    async fn fit(&mut self, engine: &Engine, limits: &Limits) -> Result<(), DockerError> {
        let processes = u64::from(limits.processes) + OWN_PROCESSES;
        let (memory, processes) = match self.groups {
            // The step's own group holds the limits; the container's are only above
            // them, and have room for the cells of the next steps.
            Some(_) => {
                let processes = processes + CELLS_AHEAD;
                let memory = limits.memory.as_u64() + limits.disk.as_u64() + OVERHEAD;
                (memory.max(self.memory), processes.max(self.processes))
            }
            None => (limits.memory.as_u64() + CLOSE_OVERHEAD, processes),
        };
        if (memory, processes) != (self.memory, self.processes) {
            engine.update(&self.id, memory, processes).await?;
            (self.memory, self.processes) = (memory, processes);
        }
        Ok(())
    }
}
