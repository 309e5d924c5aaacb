//! The engine's own ways, without evalx: `exec` into a warm container.

use std::path::Path;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig};
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions};
use futures_util::StreamExt;

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

impl Warm {
    /// Starts one with as much around it as its engine has for this.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn start(image: &str, programs: &Path) -> Result<Self, String> {
        let docker = Docker::connect_with_local_defaults().map_err(failed("be reached"))?;
        let docker = docker.negotiate_version().await.map_err(failed("be reached"))?;
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
                [("/box".to_owned(), "exec,mode=1777".to_owned()), ("/tmp".to_owned(), "exec".to_owned())]
                    .into(),
            ),
            binds: Some(vec![format!("{}:{PROGRAMS}:ro", programs.display())]),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            user: Some("65534:65534".to_owned()),
            cmd: Some(vec!["sleep".to_owned(), "infinity".to_owned()]),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let options = None::<CreateContainerOptions>;
        let id = docker.create_container(options, body).await.map_err(failed("create a container"))?.id;
        let warm = Self { docker, id };
        let options = None::<bollard::query_parameters::StartContainerOptions>;
        warm.docker.start_container(&warm.id, options).await.map_err(failed("start a container"))?;
        Ok(warm)
    }

    /// Executes a command; what it printed.
    ///
    /// # Errors
    ///
    /// What the engine says, or the exit code.
    pub async fn execute(&self, command: &[&str], stdin: &[u8]) -> Result<Vec<u8>, String> {
        let command = command.iter().map(|word| match word.strip_prefix("./") {
            Some("program") => format!("{PROGRAMS}/program"),
            _ => (*word).to_owned(),
        });
        let config = ExecConfig {
            cmd: Some(command.collect()),
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
            while let Some(piece) = output.next().await {
                if let LogOutput::StdOut { message } = piece.map_err(failed("pass the output on"))? {
                    printed.extend_from_slice(&message);
                }
            }
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
