//! `evalx exec`: one program in a sandbox.

use std::ffi::OsString;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use evalx_core::{
    Collect, DynSandbox, FileContents, ReportDocument, SandboxPath, SessionSpec, Stdin, Step, StepReport,
};

use crate::backend::{self, BackendArguments, SessionArguments};
use crate::console::{Console, Paint};
use crate::failure::{Failure, Status};
use crate::interrupt::Interrupt;
use crate::limits::LimitArguments;
use crate::live::Live;
use crate::report::summary;
use crate::resolve::{PlacedFile, open_stdin, parse_placed_file};
use crate::units::parse_variable;

const EXAMPLES: &str = "\
Examples:
  evalx exec -- python3 -c 'print(6 * 7)'
  evalx exec --cpu 1s --memory 64M --file a.out -- ./a.out
  evalx exec --stdin numbers.txt --file sum.py -- python3 sum.py
  evalx exec --json --network none -- /usr/bin/id | jq .outcome

PROGRAM is looked up inside the sandbox: a bare name in its PATH, a relative
path from the work folder /box, where it starts. It has an empty stdin unless
--stdin says otherwise, and nothing of the caller's environment. Ctrl-C cancels
it, and its report is still printed. The exit status is 0 if it exits with 0,
1 if it ends in any other way.";

/// What to run, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = "evalx exec [OPTIONS] -- PROGRAM [ARGUMENT...]")]
pub(crate) struct Arguments {
    #[command(flatten)]
    backend: BackendArguments,
    #[command(flatten)]
    session: SessionArguments,
    /// Its stdin: a file, or `-` for the stdin of evalx; empty if not given.
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<PathBuf>,
    /// A file to place in the work folder, with its permission to be executed.
    #[arg(long = "file", value_name = "HOST[:INSIDE]", value_parser = parse_placed_file)]
    files: Vec<PlacedFile>,
    /// A variable of its environment.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    variables: Vec<OsString>,
    /// Print the report as JSON, with the output in it.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    limits: LimitArguments,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_names = ["PROGRAM", "ARGUMENT"])]
    command: Vec<OsString>,
}

/// Runs the program and prints its report.
pub(crate) async fn run(arguments: Arguments, console: &Console) -> Result<Status, Failure> {
    let spec = arguments.session.spec(arguments.limits.to_limits()?);
    let files = arguments.files.iter().map(PlacedFile::read).collect::<Result<Vec<_>, _>>()?;
    let stdin = open_stdin(arguments.stdin.as_deref()).await?;
    let [program, rest @ ..] = arguments.command.as_slice() else {
        return Err(Failure::usage("no program is given"));
    };
    let mut step = Step::new(program).with_arguments(rest);
    for variable in &arguments.variables {
        let (name, value) = parse_variable(variable).map_err(Failure::usage)?;
        step = step.with_variable(name, value);
    }
    step.validate()?;

    let sandbox = arguments.backend.start(1).await?;
    let ran = run_step(&sandbox, spec, files, step, stdin, console).await;
    let Ran { report, stdout, stderr } = backend::finish(&sandbox, ran).await?;
    if console.is_json() {
        let backend = sandbox.capabilities().backend;
        console.document(&ReportDocument::new(&report, &stdout, &stderr, &backend))?;
    } else {
        let paint = if report.outcome.is_success() { Paint::Dim } else { Paint::Bad };
        console.note(paint, format_args!("evalx: {}", summary(&report)));
    }
    Ok(Status::of(report.outcome.is_success()))
}

/// A step that ran; with no output kept where it has passed through.
struct Ran {
    report: StepReport,
    stdout: Bytes,
    stderr: Bytes,
}

async fn run_step(
    sandbox: &DynSandbox,
    spec: SessionSpec,
    files: Vec<(SandboxPath, FileContents)>,
    step: Step,
    stdin: Stdin,
    console: &Console,
) -> Result<Ran, Failure> {
    let (interrupt, controls) = Interrupt::listen();
    let mut session = sandbox.open(spec).await?;
    for (path, contents) in files {
        session.write_file(&path, contents).await?;
    }
    let ran = if console.is_json() {
        let mut io = Collect::from_stdin(stdin).with_controls(controls);
        let report = session.run(step, &mut io).await;
        let (stdout, stderr) = io.into_output();
        report.map(|report| Ran { report, stdout, stderr })
    } else {
        let mut io = Live::new(stdin, controls, interrupt.sender());
        let report = session.run(step, &mut io).await;
        report.map(|report| Ran { report, stdout: Bytes::new(), stderr: Bytes::new() })
    };
    let closed = session.close().await;
    let ran = ran?;
    closed?;
    Ok(ran)
}
