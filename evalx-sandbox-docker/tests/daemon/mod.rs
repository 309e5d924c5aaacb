//! An engine of our own beside the machine's, which can be stopped and started
//! again while nobody else uses it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::traces::{docker, poll};

/// How long an engine may take to answer, or to end.
const PROMPT: Duration = Duration::from_secs(30);

/// A `dockerd` with everything of its own below one folder, without a network,
/// and with one image.
#[derive(Debug)]
pub(crate) struct Daemon {
    folder: TempDir,
    process: Option<Child>,
}

impl Daemon {
    /// Starts one that has this image of the machine's engine; why it can't be.
    pub(crate) fn start(image: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut daemon = Self { folder, process: None };
        daemon.run()?;
        let saved = daemon.path("image.tar");
        docker(&["save", "--output", text(&saved), image])?;
        daemon.docker(&["load", "--input", text(&saved)])?;
        Ok(daemon)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("unix://{}", self.path("engine.sock").display())
    }

    /// What the `docker` command says with this engine.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let endpoint = self.endpoint();
        docker(&[&["--host", &endpoint], arguments].concat())
    }

    /// Starts it, again or for the first time.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let log = File::create(self.path("log")).map_err(|error| error.to_string())?;
        // What the machine's own is told is not for this one.
        std::fs::write(self.path("daemon.json"), "{}").map_err(|error| error.to_string())?;
        // An engine without a bridge removes the one that it finds, which is the
        // machine's: it gets a network of its own, where there is none.
        let process = Command::new("unshare")
            .args(["--net", "--", "dockerd"])
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"])
            // An image without a file is copied for nothing.
            .args(["--storage-driver=vfs", "--shutdown-timeout=5", "--host"])
            .arg(self.endpoint())
            .arg("--config-file")
            .arg(self.path("daemon.json"))
            .arg("--data-root")
            .arg(self.path("data"))
            .arg("--exec-root")
            .arg(self.path("exec"))
            .arg("--pidfile")
            .arg(self.path("pid"))
            .arg(format!("--cgroup-parent=/evalx-engine-{}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("dockerd can't be started: {error}"))?;
        let process = self.process.insert(process);
        let deadline = Instant::now() + PROMPT;
        let mut ended = false;
        let endpoint = format!("unix://{}", self.folder.path().join("engine.sock").display());
        let answers = || docker(&["--host", &endpoint, "info"]).is_ok();
        while !ended && !poll(Duration::from_millis(500), answers) {
            ended = process.try_wait().is_ok_and(|status| status.is_some()) || Instant::now() >= deadline;
        }
        if ended {
            self.stop();
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it says nothing").to_owned();
            return Err(format!("no second dockerd can run here: {last}"));
        }
        Ok(())
    }

    /// Has it end in order, as a machine's operator would.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if process.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        let _ = Command::new("kill").arg(process.id().to_string()).status();
        let gone = poll(PROMPT, || !Path::new("/proc").join(process.id().to_string()).join("exe").exists());
        if !gone {
            let _ = process.kill();
        }
        let _ = process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        // What it has mounted for itself goes before its folder.
        for place in ["exec/netns/default", "data/vfs", "data"] {
            let _ = Command::new("umount").arg(self.path(place)).stderr(Stdio::null()).status();
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary folder is UTF-8")
}
