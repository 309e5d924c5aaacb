//! Hosts that are killed: this program, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evalx_core::{Collect, Sandbox, SessionSpec, Step};
use evalx_sandbox_docker::DockerSandbox;

use crate::rig;
use crate::traces::poll;

/// Says to this program that it is to be a host.
const ORDER: &str = "EVALX_DOCKER_DEATHS_HOST";

pub(crate) fn is_one() -> bool {
    std::env::var_os(ORDER).is_some()
}

/// A host that opens, runs and closes until it is killed.
pub(crate) fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let _ = writeln!(std::io::stdout(), "begins");
    runtime.block_on(async {
        let config = rig::config().expect("there is an agent").with_sessions(4);
        let sandbox = Arc::new(DockerSandbox::start(config).await.expect("it starts"));
        let work = |number: usize| {
            let sandbox = Arc::clone(&sandbox);
            async move {
                loop {
                    let Ok(mut session) = sandbox.open(SessionSpec::default()).await else { return };
                    let seconds = ["0", "0.05", "60"][number % 3];
                    let step = Step::new("sleep").with_argument(seconds);
                    let _ = session.run(step, &mut Collect::default()).await;
                    let _ = session.close().await;
                }
            }
        };
        tokio::join!(work(0), work(1), work(2), work(3));
    });
    ExitCode::SUCCESS
}

/// Starts a host and kills it at a moment that depends on `round`.
pub(crate) fn kill_one(round: u64) {
    let program = std::env::current_exe().expect("this is a program");
    let mut host = Command::new(program)
        .env(ORDER, "1")
        // Built by now, whoever builds it.
        .env("EVALX_AGENT", rig::agent().expect("there is an agent"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a host is started");
    let mut line = String::new();
    BufReader::new(host.stdout.take().expect("it is piped")).read_line(&mut line).expect("it begins");
    assert_eq!(line, "begins\n");
    // From before its first container to the midst of its work.
    let moment = Duration::from_millis((round * 7919 + 137) % 2900);
    std::thread::park_timeout(moment);
    host.kill().expect("it is killed");
    host.wait().expect("it is dead");
}

/// Processes of agents that are left, once they have had their time to end.
pub(crate) fn strays() -> Vec<u32> {
    poll(Duration::from_secs(20), || agents().is_empty());
    agents()
}

fn agents() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("there is a /proc");
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_agent = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"/.evalx/")
    };
    numbers.filter(is_agent).collect()
}
