//! The `evalx` command: runs untrusted programs and source code in a sandbox.
//!
//! One file per command; besides them the pieces that several share: limits
//! and units of the command line, the choice of a backend, the JSON of a
//! report, and the console. Nothing here decides how a program ended: the
//! backend does, and this prints it.

mod backend;
mod bench;
mod completions;
mod console;
mod doctor;
mod evaluation;
mod exec;
mod failure;
mod hint;
mod interrupt;
mod languages;
mod limits;
mod live;
mod report;
mod resolve;
mod run;
mod source;
mod statistics;
mod units;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::console::Console;
use crate::failure::{Failure, Status};

const EXIT_STATUS: &str = "\
Exit status:
  0  the program, or every test, did well
  1  it did not
  2  wrong usage
  3  the sandbox could not do its job";

/// Runs untrusted programs and source code in a sandbox, and says how it went.
#[derive(Debug, Parser)]
#[command(name = "evalx", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one program in a sandbox.
    Exec(exec::Arguments),
    /// Compiles and runs source code, and judges it over tests.
    Run(run::Arguments),
    /// Measures what the sandbox costs over starting the program without it.
    Bench(bench::Arguments),
    /// Says which backends work here, what they enforce, and how to mend the rest.
    Doctor(doctor::Arguments),
    /// Lists the languages, with their versions here or what to install.
    Languages(languages::Arguments),
    /// Explains an error output: what went wrong, where, and what to try.
    Hint(hint::Arguments),
    /// Prints the completions of a shell.
    Completions(completions::Arguments),
}

impl Command {
    fn is_json(&self) -> bool {
        match self {
            Self::Exec(arguments) => arguments.json,
            Self::Run(arguments) => arguments.json,
            Self::Bench(arguments) => arguments.json,
            Self::Doctor(arguments) => arguments.json,
            Self::Languages(arguments) => arguments.json,
            Self::Hint(arguments) => arguments.json,
            Self::Completions(_) => false,
        }
    }

    async fn run(self, console: &Console) -> Result<Status, Failure> {
        match self {
            Self::Exec(arguments) => exec::run(arguments, console).await,
            Self::Run(arguments) => run::run(arguments, console).await,
            Self::Bench(arguments) => bench::run(arguments, console).await,
            Self::Doctor(arguments) => doctor::run(arguments, console).await,
            Self::Languages(arguments) => languages::run(arguments, console).await,
            Self::Hint(arguments) => hint::run(&arguments, console),
            Self::Completions(arguments) => completions::run(&arguments, console),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::new(cli.command.is_json());
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return console.report_failure(&Failure::host("could not start the runtime", error)),
    };
    let result = runtime.block_on(cli.command.run(&console));
    // A read of the terminal can't be called back; nothing else is left running.
    runtime.shutdown_timeout(Duration::ZERO);
    match result {
        Ok(status) => status.into(),
        Err(failure) => console.report_failure(&failure),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has none", command.get_name());
        }
    }
}
