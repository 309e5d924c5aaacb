//! The agent as a program of its own; `evalx agent` is the same.

use std::process::ExitCode;

fn main() -> ExitCode {
    evalx_agent::main(std::env::args_os().skip(1))
}
