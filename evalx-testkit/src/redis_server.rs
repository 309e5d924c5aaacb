//! [`RedisServer`]: a server that a test starts, tortures and throws away.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// How a server is started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RedisOptions {
    /// Further words of its command line, such as `--maxmemory 10mb`.
    pub arguments: Vec<String>,
    /// What is in its file of settings; none by default.
    pub settings: Option<String>,
}

impl RedisOptions {
    /// Nothing is kept on disk.
    #[must_use]
    pub fn volatile() -> Self {
        Self::default().with_arguments(["--appendonly", "no"])
    }

    /// All is written to disk before it is acknowledged.
    #[must_use]
    pub fn always() -> Self {
        Self::default().with_arguments(["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// All is written to disk each second.
    #[must_use]
    pub fn every_second() -> Self {
        Self::default().with_arguments(["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// One that watches the server at this port under a name, and has a replica
    /// take its place when it was gone for a second.
    #[must_use]
    pub fn sentinel(name: &str, port: u16) -> Self {
        let settings = format!(
            "sentinel monitor {name} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {name} 1000\n\
             sentinel failover-timeout {name} 10000\n"
        );
        Self { settings: Some(settings), ..Self::default().with_arguments(["--sentinel"]) }
    }

    /// Adds words to its command line.
    #[must_use]
    pub fn with_arguments<const N: usize>(mut self, words: [&str; N]) -> Self {
        self.arguments.extend(words.map(str::to_owned));
        self
    }
}

/// A server of Redis or Valkey on a free port of the loopback interface, with a
/// folder of its own; it ends when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    program: PathBuf,
    options: RedisOptions,
    port: u16,
    folder: TempDir,
    child: Child,
}

impl RedisServer {
    /// Starts a server: the one that `EVALX_REDIS_SERVER` names, else
    /// `redis-server` or `valkey-server`.
    ///
    /// # Errors
    /// Text that says why none could be started.
    #[expect(clippy::needless_pass_by_value, reason = "as a builder reads: `start(RedisOptions::always())`")]
    pub fn start(options: RedisOptions) -> Result<Self, String> {
        let program = find()?;
        let mut last = String::new();
        // Between finding a free port and using it somebody else may take it.
        for _ in 0..5 {
            let port = free_port()?;
            let folder = tempfile::tempdir().map_err(|error| format!("no folder for the server: {error}"))?;
            let child = spawn(&program, &options, port, &folder)?;
            let mut server = Self { program: program.clone(), options: options.clone(), port, folder, child };
            match server.wait_until_ready() {
                Ok(()) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Has the kernel prefer it to its clients, if the user may ask for that
    /// (root may): else they push it off a processor in the midst of a call.
    pub fn prefer(&self) -> bool {
        let pid = self.child.id().to_string();
        let status = Command::new("renice").args(["-n", "-15", "-p", &pid]).stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// Kills it with SIGKILL, as a loss of power to its process would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port and folder, and waits until it answers.
    ///
    /// # Errors
    /// Text that says why it could not be started.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.child = spawn(&self.program, &self.options, self.port, &self.folder)?;
        self.wait_until_ready()
    }

    /// Stops it where it is; connections stay open.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id is a small number");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    /// Sends one command of plain words; gives what came back as it stands.
    ///
    /// # Errors
    /// Text that says why there was no answer.
    pub fn ask(&self, words: &[&str]) -> Result<String, String> {
        ask(self.port, words).map_err(|error| format!("the server does not answer: {error}"))
    }

    /// Whether it answers, and not another server that was given the same port.
    fn is_ready(&self) -> bool {
        let pid = format!("process_id:{}\r\n", self.child.id());
        let ready = ask(self.port, &["PING"]).and_then(|pong| {
            Ok(pong.contains("NOAUTH")
                || pong.starts_with("+PONG") && ask(self.port, &["INFO", "server"])?.contains(&pid))
        });
        ready.unwrap_or(false)
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        loop {
            if self.is_ready() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                let why = log.lines().last().unwrap_or_default();
                return Err(format!("{} ended at its start: {status}: {why}", self.program.display()));
            }
            if Instant::now() > deadline {
                return Err(format!("{} did not answer in {START:?}", self.program.display()));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("EVALX_REDIS_SERVER") {
        return Ok(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for name in ["redis-server", "valkey-server"] {
        // Where an ordinary user's PATH lacks it, it may be there all the same.
        let folders =
            std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")]);
        for folder in folders {
            let program = folder.join(name);
            if program.is_file() {
                return Ok(program);
            }
        }
    }
    Err("there is no redis-server: apt-get install redis-server".to_owned())
}

/// A port that is still free when a server that was killed is started again:
/// none of those that the kernel gives to connections (32768 and above by
/// default), nor one that a node of a cluster adds (10,000 above its own).
fn free_port() -> Result<u16, String> {
    const PORTS: Range<u16> = 10_240..20_240;
    let mut last = String::new();
    for _ in 0..50 {
        let random = RandomState::new().hash_one(()) % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(random).expect("a number below their count");
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = format!("no port is free: {error}"),
        }
    }
    Err(last)
}

fn spawn(program: &PathBuf, options: &RedisOptions, port: u16, folder: &TempDir) -> Result<Child, String> {
    let log = std::fs::File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    if let Some(settings) = &options.settings {
        let file = folder.path().join("settings");
        // A sentinel writes into it what it has seen.
        if !file.exists() {
            std::fs::write(&file, settings).map_err(|error| error.to_string())?;
        }
        command.arg(file);
    }
    command
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--daemonize", "no"])
        .arg("--dir")
        .arg(folder.path())
        .args(&options.arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{} could not be started: {error}", program.display()))
}

fn ask(port: u16, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let count = words.len();
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    let command = format!("*{count}\r\n{words}");
    stream.write_all(command.as_bytes())?;
    // So that the server closes the connection after the answer.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
