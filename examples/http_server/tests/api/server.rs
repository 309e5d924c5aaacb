//! A server under test: the built program, on a free port of loopback.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::client::{Answer, send};

/// The server.
const PROGRAM: &str = env!("CARGO_BIN_EXE_http_server");

/// How long a server may take to start on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// A server that is ended with its test.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts one with these settings, and waits until it listens.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Result<Self, String> {
        Self::start_with(settings, Stdio::inherit())
    }

    /// The same, with its log there.
    pub(crate) fn start_with(settings: &[(&str, &str)], stderr: Stdio) -> Result<Self, String> {
        Self::spawn(Command::new(PROGRAM).stderr(stderr), settings)
    }

    /// Starts one that may have so many descriptors.
    pub(crate) fn start_within(descriptors: u32, settings: &[(&str, &str)]) -> Result<Self, String> {
        let script = format!("ulimit -n {descriptors} && exec \"$0\"");
        Self::spawn(Command::new("sh").args(["-c", &script, PROGRAM]), settings)
    }

    /// Starts this with these settings, and waits until it listens.
    fn spawn(command: &mut Command, settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut process = command
            .env("EVALX_ADDR", "127.0.0.1:0")
            .env("EVALX_LOG", "error")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        let stdout = process.stdout.take().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.trim_end_matches(['/', '\n']).parse().ok());
        match address {
            Some(address) => Ok(Self { process, address }),
            None => Err(format!("the server did not start: {line:?}, {:?}", process.wait())),
        }
    }

    /// Waits until it is ready.
    pub(crate) fn ready(mut self) -> Result<Self, String> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("the server has ended: {status}"));
            }
            if self.get("/readyz").status == 200 {
                return Ok(self);
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Err("the server did not get ready in time".to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        send(self.address, "GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body)
    }

    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        send(self.address, "POST", path, &headers, body.to_string().as_bytes())
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        send(self.address, "DELETE", path, &[], b"")
    }

    /// Hands in a program, and gives its token.
    pub(crate) fn submit(&self, body: &Value) -> String {
        let receipt = self.post("/v1/submissions", body).expect(202).json();
        receipt["token"].as_str().unwrap().to_owned()
    }

    /// Waits for the end of a submission.
    pub(crate) fn result(&self, token: &str) -> Value {
        let deadline = Instant::now() + START;
        loop {
            let document = self.get(&format!("/v1/submissions/{token}?wait=20s")).expect(200).json();
            if document["finished_at"].is_string() {
                return document;
            }
            assert!(Instant::now() < deadline, "it did not end: {document}");
        }
    }

    /// The memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, but not longer than this.
    pub(crate) fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end in {within:?}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // The kind way, so that the sandbox leaves nothing behind.
            self.signal(Signal::SIGTERM);
            let deadline = Instant::now() + Duration::from_secs(30);
            while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
