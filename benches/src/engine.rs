//! The engine's own ways, without evalx: `exec` into a warm container, and a
//! container for each run.

use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, RemoveContainerOptions, StartContainerOptions,
    WaitContainerOptions,
};
use futures_util::{Stream, StreamExt};

/// Where the programs of benchmarks are seen in a container.
const PROGRAMS: &str = "/programs";

/// A container that does nothing, to execute in.
#[derive(Debug)]
pub struct Warm {
    docker: Docker,
    id: String,
}

fn failed(what: &str) -> impl Fn(bollard::errors::Error) -> String {
    move |error| format!("the engine could not {what}: {error}")
}

async fn connect() -> Result<Docker, String> {
    let docker = Docker::connect_with_local_defaults().map_err(failed("be reached"))?;
    docker.negotiate_version().await.map_err(failed("be reached"))
}

/// A command as it is inside a container.
fn inside(command: &[&str]) -> Vec<String> {
    let word = |word: &&str| match word.strip_prefix("./") {
        Some("program") => format!("{PROGRAMS}/program"),
        _ => (*word).to_owned(),
    };
    command.iter().map(word).collect()
}

/// A container with as much around it as its engine has for this.
fn body(image: &str, programs: &Path, command: Vec<String>) -> ContainerCreateBody {
    let host = HostConfig {
        network_mode: Some("none".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        memory: Some(2 << 30),
        memory_swap: Some(2 << 30),
        pids_limit: Some(512),
        readonly_rootfs: Some(true),
        auto_remove: Some(true),
        init: Some(true),
        tmpfs: Some(
            [("/box".to_owned(), "exec,mode=1777".to_owned()), ("/tmp".to_owned(), "exec".to_owned())].into(),
        ),
        binds: Some(vec![format!("{}:{PROGRAMS}:ro", programs.display())]),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some("65534:65534".to_owned()),
        cmd: Some(command),
        attach_stdout: Some(true),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// Makes a container for each run.
#[derive(Debug)]
pub struct Once {
    docker: Docker,
    image: String,
    programs: PathBuf,
}

impl Once {
    /// Connects to the engine.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn connect(image: &str, programs: &Path) -> Result<Self, String> {
        let docker = connect().await?;
        docker.inspect_image(image).await.map_err(failed("find the image"))?;
        Ok(Self { docker, image: image.to_owned(), programs: programs.to_owned() })
    }

    /// Creates, starts and waits for a container, which removes itself; what it
    /// printed.
    ///
    /// # Errors
    ///
    /// What the engine says, or the exit code.
    pub async fn run(&self, command: &[&str]) -> Result<Vec<u8>, String> {
        let docker = &self.docker;
        let body = body(&self.image, &self.programs, inside(command));
        let options = None::<CreateContainerOptions>;
        let id = docker.create_container(options, body).await.map_err(failed("create a container"))?.id;
        let options =
            AttachContainerOptions { stream: true, stdout: true, ..AttachContainerOptions::default() };
        let mut streams =
            docker.attach_container(&id, Some(options)).await.map_err(failed("attach to a container"))?;
        // Asked for before it starts: afterwards it may be gone.
        let options = WaitContainerOptions { condition: "removed".to_owned() };
        let mut ends = docker.wait_container(&id, Some(options));
        let started = async {
            let options = None::<StartContainerOptions>;
            docker.start_container(&id, options).await.map_err(failed("start a container"))?;
            printed(&mut streams.output).await
        };
        let (printed, end) = tokio::join!(started, ends.next());
        match end {
            Some(Ok(end)) if end.status_code == 0 => printed,
            other => Err(format!("it ended with {other:?}")),
        }
    }
}

/// What comes on stdout, to its end.
async fn printed(
    output: &mut (impl Stream<Item = Result<LogOutput, bollard::errors::Error>> + Unpin),
) -> Result<Vec<u8>, String> {
    let mut printed = Vec::new();
    while let Some(piece) = output.next().await {
        if let LogOutput::StdOut { message } = piece.map_err(failed("pass the output on"))? {
            printed.extend_from_slice(&message);
        }
    }
    Ok(printed)
}

impl Warm {
    /// Starts one with as much around it as its engine has for this.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn start(image: &str, programs: &Path) -> Result<Self, String> {
        let docker = connect().await?;
        let body = body(image, programs, vec!["sleep".to_owned(), "infinity".to_owned()]);
        let options = None::<CreateContainerOptions>;
        let id = docker.create_container(options, body).await.map_err(failed("create a container"))?.id;
        let warm = Self { docker, id };
        let options = None::<StartContainerOptions>;
        warm.docker.start_container(&warm.id, options).await.map_err(failed("start a container"))?;
        Ok(warm)
    }

    /// Executes a command; what it printed.
    ///
    /// # Errors
    ///
    /// What the engine says, or the exit code.
    pub async fn execute(&self, command: &[&str], stdin: &[u8]) -> Result<Vec<u8>, String> {
        let config = ExecConfig {
            cmd: Some(inside(command)),
            attach_stdin: Some(!stdin.is_empty()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            working_dir: Some("/box".to_owned()),
            ..ExecConfig::default()
        };
        let exec = self.docker.create_exec(&self.id, config).await.map_err(failed("create an exec"))?.id;
        let started = self.docker.start_exec(&exec, None).await.map_err(failed("start an exec"))?;
        let mut printed = Vec::new();
        if let StartExecResults::Attached { mut output, mut input } = started {
            use tokio::io::AsyncWriteExt;
            if !stdin.is_empty() {
                input.write_all(stdin).await.map_err(|error| error.to_string())?;
            }
            input.shutdown().await.map_err(|error| error.to_string())?;
            printed = self::printed(&mut output).await?;
        }
        let state = self.docker.inspect_exec(&exec).await.map_err(failed("inspect an exec"))?;
        match state.exit_code {
            Some(0) => Ok(printed),
            other => Err(format!("it exited with {other:?}")),
        }
    }

    /// Removes it.
    pub async fn remove(self) {
        let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
        // It removes itself too; the benchmark is over either way.
        let _ = self.docker.remove_container(&self.id, Some(options)).await;
    }
}
