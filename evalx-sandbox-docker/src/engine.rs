//! The engine, Docker's or Podman's: the few requests that are made of it, each
//! with an end in time.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bollard::API_DEFAULT_VERSION;
use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error as EngineError;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ContainerSummary, ContainerUpdateBody, ExecConfig};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StartContainerOptions, StatsOptions, TopOptions,
};
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWrite;

use crate::error::DockerError;

/// Says whose a container is.
pub(crate) const OWNER_LABEL: &str = "evalx.owner";

/// A connection to the engine; clones share it.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: Docker,
    endpoint: String,
    patience: Duration,
}

/// What the engine says of itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) apparmor: bool,
    pub(crate) processors: u32,
}

/// What runs by the engine's `exec`.
pub(crate) struct Executed {
    pub(crate) exec: String,
    pub(crate) input: Pin<Box<dyn AsyncWrite + Send>>,
    pub(crate) output: Pin<Box<dyn Stream<Item = Result<LogOutput, EngineError>> + Send>>,
}

/// What a container has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) cpu_ns: u64,
    pub(crate) user_ns: u64,
    pub(crate) system_ns: u64,
    pub(crate) memory_peak: u64,
}

impl Engine {
    /// Connects, and agrees on a version.
    pub(crate) async fn connect(endpoint: Option<&str>, patience: Duration) -> Result<Self, DockerError> {
        let endpoint = endpoint
            .map(str::to_owned)
            .or_else(|| std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()))
            .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let unreachable = |source| DockerError::Endpoint { endpoint: endpoint.clone(), source };
        let seconds = patience.as_secs().max(1);
        let docker = match endpoint.strip_prefix("unix://") {
            Some(path) => Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION),
            None => Docker::connect_with_http(&endpoint, seconds, API_DEFAULT_VERSION),
        }
        .map_err(unreachable)?;
        let negotiated = tokio::time::timeout(patience, docker.negotiate_version());
        let docker =
            negotiated.await.map_err(|_| DockerError::Slow { what: "answer" })?.map_err(unreachable)?;
        Ok(Self { docker, endpoint, patience })
    }

    async fn within<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, DockerError> {
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(DockerError::Engine { what, source }),
            Err(_) => Err(DockerError::Slow { what }),
        }
    }

    pub(crate) async fn about(&self) -> Result<About, DockerError> {
        let info = self.within("tell of itself", self.docker.info()).await?;
        let version = info.server_version.unwrap_or_default();
        let options = info.security_options.unwrap_or_default();
        Ok(About {
            name: format!("engine {version} at {}", self.endpoint),
            apparmor: options.iter().any(|option| option.starts_with("name=apparmor")),
            processors: info.ncpu.and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1),
        })
    }

    pub(crate) async fn has_image(&self, name: &str) -> Result<(), DockerError> {
        match self.within("find an image", self.docker.inspect_image(name)).await {
            Err(DockerError::Engine { source, .. }) if status(&source) == Some(404) => {
                Err(DockerError::NoImage(name.to_owned()))
            }
            result => result.map(drop),
        }
    }

    /// Makes a container; its identifier.
    pub(crate) async fn create(&self, name: &str, body: ContainerCreateBody) -> Result<String, DockerError> {
        let image = body.image.clone().unwrap_or_default();
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let create = self.docker.create_container(Some(options), body);
        match self.within("create a container", create).await {
            Err(DockerError::Engine { source, .. }) if status(&source) == Some(404) => {
                Err(DockerError::NoImage(image))
            }
            result => Ok(result?.id),
        }
    }

    /// Takes hold of a container's streams.
    pub(crate) async fn attach(&self, id: &str) -> Result<AttachContainerResults, DockerError> {
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..Default::default()
        };
        self.within("attach to a container", self.docker.attach_container(id, Some(options))).await
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), DockerError> {
        let options = None::<StartContainerOptions>;
        self.within("start a container", self.docker.start_container(id, options)).await
    }

    /// The process that a container began with, on the engine's machine.
    pub(crate) async fn main_process(&self, id: &str) -> Result<Option<u32>, DockerError> {
        let options = None::<InspectContainerOptions>;
        let found = self.within("inspect a container", self.docker.inspect_container(id, options)).await?;
        let pid = found.state.and_then(|state| state.pid).and_then(|pid| u32::try_from(pid).ok());
        Ok(pid.filter(|pid| *pid > 0))
    }

    /// Changes a container's limits; one that is gone was lost.
    pub(crate) async fn update(&self, id: &str, memory: u64, processes: u64) -> Result<(), DockerError> {
        let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
        let body = ContainerUpdateBody {
            memory: Some(signed(memory)),
            memory_swap: Some(signed(memory)),
            pids_limit: Some(signed(processes)),
            ..Default::default()
        };
        match self.within("change a container's limits", self.docker.update_container(id, body)).await {
            Err(DockerError::Engine { source, .. }) if matches!(status(&source), Some(404 | 409)) => {
                Err(DockerError::Lost(source.to_string()))
            }
            result => result,
        }
    }

    /// Kills and removes a container, whatever it does; one that is gone is well too.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), DockerError> {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        match self.within("remove a container", self.docker.remove_container(id, Some(options))).await {
            // Gone, or about to be.
            Err(DockerError::Engine { source, .. }) if matches!(status(&source), Some(404 | 409)) => Ok(()),
            result => result,
        }
    }

    /// Whether there is a container of this name or identifier, in whatever state.
    pub(crate) async fn exists(&self, id: &str) -> Result<bool, DockerError> {
        let options = None::<InspectContainerOptions>;
        match self.within("inspect a container", self.docker.inspect_container(id, options)).await {
            Ok(_) => Ok(true),
            Err(DockerError::Engine { source, .. }) if status(&source) == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Starts a command in a container, as this user. Without `streams` it
    /// returns when the command has ended.
    pub(crate) async fn execute(
        &self,
        id: &str,
        user: &str,
        command: Vec<String>,
        streams: bool,
    ) -> Result<Executed, DockerError> {
        let config = ExecConfig {
            cmd: Some(command),
            user: Some(user.to_owned()),
            attach_stdin: Some(streams),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.within("create an exec", self.docker.create_exec(id, config)).await?.id;
        let started = self.within("start an exec", self.docker.start_exec(&exec, None)).await?;
        let StartExecResults::Attached { mut output, input } = started else {
            return Err(DockerError::Lost("its exec has no streams".to_owned()));
        };
        if !streams {
            let drained = async { while output.next().await.is_some() {} };
            let drained = tokio::time::timeout(self.patience, drained).await;
            drained.map_err(|_| DockerError::Slow { what: "end an exec" })?;
        }
        Ok(Executed { exec, input, output })
    }

    /// How a command ended that has closed its streams.
    pub(crate) async fn exit_code(&self, exec: &str) -> Result<i64, DockerError> {
        let deadline = tokio::time::Instant::now() + self.patience;
        loop {
            let state = self.within("inspect an exec", self.docker.inspect_exec(exec)).await?;
            if let (Some(code), false) = (state.exit_code, state.running.unwrap_or(false)) {
                return Ok(code);
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(DockerError::Slow { what: "end an exec" });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How many processes of a user are in a container.
    pub(crate) async fn users_processes(&self, id: &str, user: &str) -> Result<usize, DockerError> {
        let options = TopOptions { ps_args: "-eo uid,pid".to_owned() };
        let list = self.within("list processes", self.docker.top_processes(id, Some(options))).await?;
        let uid = user.split(':').next().unwrap_or_default();
        let rows = list.processes.unwrap_or_default();
        Ok(rows.iter().filter(|row| row.first().is_some_and(|own| own.trim() == uid)).count())
    }

    /// What a container has used so far.
    pub(crate) async fn used(&self, id: &str) -> Result<Used, DockerError> {
        let options = StatsOptions { stream: false, one_shot: true };
        let mut stats = self.docker.stats(id, Some(options));
        let first = async { stats.next().await.unwrap_or(Err(EngineError::RequestTimeoutError)) };
        let stats = self.within("measure a container", first).await?;
        let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage).unwrap_or_default();
        let memory = stats.memory_stats.unwrap_or_default();
        Ok(Used {
            cpu_ns: cpu.total_usage.unwrap_or(0),
            user_ns: cpu.usage_in_usermode.unwrap_or(0),
            system_ns: cpu.usage_in_kernelmode.unwrap_or(0),
            memory_peak: memory.max_usage.or(memory.usage).unwrap_or(0),
        })
    }

    /// Every container with an owner, in whatever state.
    pub(crate) async fn owned(&self) -> Result<Vec<ContainerSummary>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![OWNER_LABEL.to_owned()])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        self.within("list containers", self.docker.list_containers(Some(options))).await
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The status that the engine answered with, if it did.
fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// What a piece of a container's output is: stdout, or anything else as text.
pub(crate) fn split(output: LogOutput) -> Result<bytes::Bytes, bytes::Bytes> {
    match output {
        LogOutput::StdOut { message } => Ok(message),
        LogOutput::StdErr { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            Err(message)
        }
    }
}
