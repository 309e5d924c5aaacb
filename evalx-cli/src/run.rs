//! `evalx run`: source code, compiled once and judged over any number of tests.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use evalx_core::{
    ByteSize, Checker, Comparison, DynSandbox, Error, ErrorKind, Evaluation, Evaluator, Event, Language,
    Languages, OnFailure, Submission, Test, Toolchain, Toolchains, Verdict,
};
use evalx_hints::HintEngine;
use indicatif::ProgressBar;

use crate::backend::{self, BackendArguments, SessionArguments};
use crate::console::Console;
use crate::evaluation::{EvaluationDocument, print};
use crate::failure::{Failure, Status};
use crate::interrupt::interrupted;
use crate::limits::LimitArguments;
use crate::resolve::{TestFiles, parse_test_files, read_bytes, read_stdin};
use crate::source::{language_of, read_sources};

const EXAMPLES: &str = "\
Examples:
  evalx run hello.py
  evalx run --cpu 1s --stdin numbers.txt main.cpp numbers.h
  evalx run --test 1.in:1.out --test 2.in:2.out --jobs 2 sum.py
  evalx run --checker float:1e-9 --test in.txt:out.txt --json Main.java | jq .verdict
  evalx run --interactor judge.cpp --test secret.txt guess.py

The first SOURCE is the main one; its name tells the language, unless --language
does. The others are compiled with it if they are sources, and placed beside it
if not. --checker and --interactor take programs by testlib's protocol. Time and
memory that the language's runtime itself needs are added to the limits. The
exit status is 0 if every test is accepted, 1 if not.";

/// What to run, and how to judge it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The language, by its id or another name of it.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    #[command(flatten)]
    backend: BackendArguments,
    #[command(flatten)]
    session: SessionArguments,
    /// Its stdin where there are no tests: a file, or `-` for the stdin of evalx.
    #[arg(long, value_name = "FILE|-", conflicts_with = "tests")]
    stdin: Option<PathBuf>,
    /// A test: a file to read, and one that has what is to be written.
    #[arg(long = "test", value_name = "INPUT[:EXPECTED]", value_parser = parse_test_files)]
    tests: Vec<TestFiles>,
    /// What makes an output right: exact, lines, tokens, `float[:EPS]`, unordered, or a program.
    #[arg(long, value_name = "RULE|FILE", default_value = "lines")]
    checker: String,
    /// A program that talks to this one, and judges it.
    #[arg(long, value_name = "FILE")]
    interactor: Option<PathBuf>,
    /// Tests at once; as many as there are processors if not given.
    #[arg(long, value_name = "COUNT")]
    jobs: Option<NonZeroUsize>,
    /// Skip the tests behind the first that fails.
    #[arg(long)]
    fail_fast: bool,
    /// Compile again what was compiled before.
    #[arg(long)]
    no_cache: bool,
    /// Print the verdicts as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    limits: LimitArguments,
    /// The source files, the main one first.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
}

/// Evaluates the program and prints the verdicts.
pub(crate) async fn run(arguments: Arguments, console: &Console) -> Result<Status, Failure> {
    let languages = Languages::builtin();
    let language = match (&arguments.language, arguments.sources.first()) {
        (Some(name), _) => languages.get(name).cloned().ok_or_else(|| {
            Failure::usage(format!("`{name}` is no language: `evalx languages` lists them"))
        })?,
        (None, Some(source)) => language_of(&languages, source)?,
        (None, None) => return Err(Failure::usage("no source is given")),
    };
    let submission = submission(&arguments, &languages, &language).await?;
    let jobs = arguments.jobs.or_else(|| std::thread::available_parallelism().ok());
    let jobs = jobs.unwrap_or(NonZeroUsize::MIN).min(NonZeroUsize::new(256).unwrap_or(NonZeroUsize::MIN));

    // A test with an interactor has two sessions.
    let sandbox = arguments.backend.start(2 * jobs.get()).await?;
    let mut evaluator =
        Evaluator::new(Arc::clone(&sandbox)).with_parallelism(jobs).with_hints(HintEngine::new());
    if arguments.no_cache {
        evaluator = evaluator.with_cache(ByteSize::ZERO);
    }
    let progress = console.progress(submission.tests.len() as u64, "testing");
    let evaluated = tokio::select! {
        // Dropping the evaluation kills what runs; the shutdown waits for that.
        evaluated = evaluate(&evaluator, submission, &progress) => evaluated,
        () = interrupted() => Err(Failure::Interrupted),
    };
    progress.finish_and_clear();
    let evaluated = explain_absence(evaluated, &sandbox, &language).await;
    let evaluation = backend::finish(&sandbox, evaluated).await?;

    if console.is_json() {
        console.document(&EvaluationDocument::new(&evaluation, &sandbox.capabilities().backend))?;
    } else {
        print(&evaluation, arguments.tests.is_empty(), console)?;
    }
    Ok(match evaluation.verdict {
        Verdict::Accepted => Status::Well,
        Verdict::InternalError => Status::Broken,
        _ => Status::Badly,
    })
}

async fn submission(
    arguments: &Arguments,
    languages: &Languages,
    language: &Language,
) -> Result<Submission, Failure> {
    let spec = arguments.session.spec(arguments.limits.to_limits()?);
    let checker = checker(&arguments.checker, languages)?;
    let mut submission = Submission::from_code(read_sources(language, &arguments.sources)?)
        .with_limits(spec.limits)
        .with_network(spec.network)
        .with_syscalls(spec.syscalls)
        .with_checker(checker)
        .with_stdin(read_stdin(arguments.stdin.as_deref()).await?);
    for files in &arguments.tests {
        let mut test = Test::new(files.input.display().to_string(), read_bytes(&files.input)?);
        if let Some(expected) = &files.expected {
            test = test.with_expected(read_bytes(expected)?);
        }
        submission = submission.with_test(test);
    }
    if let Some(path) = &arguments.interactor {
        let interactor = read_sources(&*language_of(languages, path)?, std::slice::from_ref(path))?;
        submission = submission.with_interactor(interactor);
    }
    if arguments.fail_fast {
        submission = submission.with_on_failure(OnFailure::Stop);
    }
    Ok(submission)
}

/// Reads `--checker`: a rule by its name, or else a program's source file.
fn checker(text: &str, languages: &Languages) -> Result<Checker, Failure> {
    let path = PathBuf::from(text);
    match Comparison::from_str(text) {
        Ok(comparison) => Ok(Checker::Compare(comparison)),
        Err(_) if path.is_file() => {
            let program = read_sources(&*language_of(languages, &path)?, &[path])?;
            Ok(Checker::Program(program))
        }
        Err(error) => Err(Failure::usage(format!("--checker: {error}, nor is it a file"))),
    }
}

async fn evaluate(
    evaluator: &Evaluator,
    submission: Submission,
    progress: &ProgressBar,
) -> Result<Evaluation, Failure> {
    let mut events = evaluator.stream(submission);
    while let Some(event) = events.next().await {
        match event? {
            Event::Test { .. } => progress.inc(1),
            Event::Finished(evaluation) => return Ok(evaluation),
            _ => {}
        }
    }
    Err(Error::new(ErrorKind::Internal, "the evaluation ended without a result").into())
}

/// Where evaluating failed because the language's toolchain is not there,
/// says that, and what to install.
async fn explain_absence(
    evaluated: Result<Evaluation, Failure>,
    sandbox: &DynSandbox,
    language: &Language,
) -> Result<Evaluation, Failure> {
    let suspicious = match &evaluated {
        Ok(evaluation) => evaluation.verdict == Verdict::InternalError,
        Err(failure) => failure.kind() == ErrorKind::InvalidRequest,
    };
    if !suspicious {
        return evaluated;
    }
    let others = Languages::builtin();
    let only = others
        .iter()
        .filter(|other| other.id != language.id)
        .fold(Languages::builtin(), |all, other| all.without(&other.id));
    match Toolchains::probe(Arc::clone(sandbox), &only).await?.get(&language.id) {
        Some(Toolchain::Absent { reason, install }) => {
            let message = format!("{} can't be run here: {reason}", language.name);
            Err(Error::new(ErrorKind::Unsupported, message).with_help(install).into())
        }
        _ => evaluated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkers_are_rules_or_programs() {
        let languages = Languages::builtin();
        let read = |text: &str| checker(text, &languages);
        assert_eq!(read("tokens").unwrap(), Checker::Compare(Comparison::Tokens));
        assert_eq!(read("float:0.5").unwrap(), Checker::Compare(Comparison::Float { epsilon: 0.5 }));
        assert!(read("fuzzy").unwrap_err().to_string().contains("unordered"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("check.py");
        std::fs::write(&path, "pass").unwrap();
        let Checker::Program(program) = read(path.to_str().unwrap()).unwrap() else {
            panic!("a file is a program");
        };
        assert_eq!(program.language, "python");
    }
}
