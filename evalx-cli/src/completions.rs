//! `evalx completions`: what a shell needs to complete this command.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::console::Console;
use crate::failure::{Failure, Status};

const EXAMPLES: &str = "\
Examples:
  evalx completions bash > /etc/bash_completion.d/evalx
  evalx completions fish > ~/.config/fish/completions/evalx.fish";

/// Which shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell to complete in.
    shell: Shell,
}

/// Prints the completions.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Status, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "evalx", &mut script);
    console.bytes(&script)?;
    Ok(Status::Well)
}
