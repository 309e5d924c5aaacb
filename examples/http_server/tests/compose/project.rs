//! [`Project`]: the containers of `examples/compose`, of this test alone.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long containers may take until they are healthy, on a machine that
/// starts and measures others meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// A project of Compose, removed with all it has when this is dropped.
pub(crate) struct Project {
    compose: Vec<&'static str>,
    folder: PathBuf,
    name: String,
}

impl Project {
    /// Makes the images. An error says what this machine lacks.
    pub(crate) fn prepare() -> Result<Self, String> {
        let compose = [vec!["docker", "compose"], vec!["docker-compose"]]
            .into_iter()
            .find(|words| output(Command::new(words[0]).args(&words[1..]).arg("version")).is_ok())
            .ok_or("Docker has no Compose here")?;
        output(Command::new("docker").arg("info"))?;
        let binaries = Path::new(env!("CARGO_BIN_EXE_http_server")).parent().ok_or("it lies nowhere")?;
        if !binaries.join("worker").exists() {
            return Err("there is no worker beside the server: build it by `cargo build -p worker`".into());
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose");
        output(Command::new(folder.join("images.sh")).arg("--binaries").arg(binaries))?;
        Ok(Self { compose, folder, name: format!("evalx-test-{}", std::process::id()) })
    }

    pub(crate) fn up(&self) {
        self.run(["up", "--detach", "--no-build", "--scale", "worker=2"]);
    }

    /// Where the server is to be found.
    pub(crate) fn address(&self) -> SocketAddr {
        self.run(["port", "app", "3000"]).trim().parse().unwrap()
    }

    /// Waits until each container's own check has been passed.
    pub(crate) fn wait_until_healthy(&self) {
        let began = Instant::now();
        loop {
            let states: Vec<String> = ["app", "worker", "redis"]
                .into_iter()
                .flat_map(|service| self.containers(service))
                .map(|id| docker(&["inspect", "--format", "{{.State.Health.Status}}", &id]))
                .collect();
            if states.len() == 4 && states.iter().all(|state| state == "healthy") {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{states:?}: {}", self.run(["logs", "--tail", "20"]));
            #[expect(clippy::disallowed_methods, reason = "between two looks at a state, with a deadline")]
            std::thread::sleep(PAUSE);
        }
    }

    pub(crate) fn kill_a_worker(&self) {
        docker(&["kill", "--signal", "KILL", &self.containers("worker")[0]]);
    }

    pub(crate) fn stop(&self) {
        self.run(["stop"]);
    }

    /// Removes all, and looks whether it is gone.
    pub(crate) fn down(&self) {
        self.run(["down", "--volumes"]);
        let ours = format!("label=com.docker.compose.project={}", self.name);
        assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &ours]), "");
        assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &ours]), "");
    }

    fn containers(&self, service: &str) -> Vec<String> {
        self.run(["ps", "--quiet", service]).lines().map(str::to_owned).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.compose[0]);
        command
            .args(&self.compose[1..])
            .args(["--env-file", "local.env", "--project-name", &self.name])
            .current_dir(&self.folder)
            // A port that is free.
            .env("EVALX_PORT", "127.0.0.1:0");
        command
    }

    fn run<const N: usize>(&self, arguments: [&str; N]) -> String {
        output(self.command().args(arguments)).unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Nothing is left even if a step before has failed.
        let _ = output(self.command().args(["down", "--volumes", "--timeout", "0"]));
    }
}

fn docker(arguments: &[&str]) -> String {
    output(Command::new("docker").args(arguments)).unwrap().trim().to_owned()
}

/// What a command says; if it fails or is not there, why.
fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_owned();
    let Output { status, stdout, stderr } =
        command.output().map_err(|error| format!("{}: {error}", OsStr::display(&name)))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!("{}: {status}: {}", OsStr::display(&name), String::from_utf8_lossy(&stderr)))
}
