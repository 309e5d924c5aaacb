//! [`Server`]: the server that is measured: the program beside this one, on a
//! free port, with the settings of the environment.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Failure;
use crate::connection::Connection;

/// How long it may take to start.
const START: Duration = Duration::from_secs(120);

/// A server that ends with this process.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    /// How long it took until it was ready.
    pub(crate) ready: Duration,
}

impl Server {
    pub(crate) fn start() -> Result<Self, Failure> {
        let here = std::env::current_exe()?;
        // Examples are built into a folder below that of programs.
        let program = here.ancestors().nth(2).ok_or("this program lies nowhere")?.join("http_server");
        let began = Instant::now();
        let mut process = Command::new(&program)
            .env("EVALX_ADDR", "127.0.0.1:0")
            .env("EVALX_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("{}: {error}; build it: cargo build --release -p http_server", program.display())
            })?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let address = line.split("http://").nth(1).map(|rest| rest.trim_end_matches(['/', '\n']));
        let address = address.and_then(|text| text.parse().ok()).ok_or("the server did not start")?;
        let mut server = Self { process, address, ready: Duration::ZERO };
        let mut connection = Connection::open(address)?;
        while connection.get("/readyz")?.status != 200 {
            if began.elapsed() > START {
                return Err("the server did not get ready".into());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        server.ready = began.elapsed();
        // It asks toolchains for their versions behind that; what follows is
        // measured once it has come to rest.
        while began.elapsed() < START {
            let languages = connection.get("/v1/languages")?.body;
            if languages
                .as_array()
                .is_some_and(|all| all.iter().any(|language| !language["version"].is_null()))
            {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// The most memory that it has had, in bytes.
    pub(crate) fn memory_peak(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}
