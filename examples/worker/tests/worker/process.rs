//! A worker under test: the built program, and what it says.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A worker that is ended with its test.
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

/// Runs the program to its end, with these arguments and nothing of the environment's settings.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    for name in ["EVALX_QUEUE", "EVALX_SANDBOX", "EVALX_WORKERS", "EVALX_LOG", "EVALX_WEBHOOK_SECRET"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a worker with these settings, and waits until it is ready.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut child = command()
            .env("EVALX_SANDBOX", "native")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (said, stderr) = (Arc::<Mutex<String>>::default(), child.stderr.take().unwrap());
        let log = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut process = Self { child, said };
        let deadline = Instant::now() + PATIENCE;
        while !process.said().contains(" ready") {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("the worker has ended: {status}: {}", process.said()));
            }
            assert!(Instant::now() < deadline, "not ready in time: {}", process.said());
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// All that it has logged.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, but not longer than this.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the worker did not end in {within:?}: {}", self.said());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Kills it as the kernel would for want of memory.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.ended(PATIENCE);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The kind way, so that the sandbox leaves nothing behind.
            self.signal(Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(30);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
