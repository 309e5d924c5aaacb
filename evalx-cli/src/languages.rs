//! `evalx languages`: what can be run here, and what to install for the rest.

use std::sync::Arc;

use clap::Args;
use evalx_core::{
    Checker, Comparison, DynSandbox, Evaluator, Language, Languages, Submission, Test, Toolchain, Toolchains,
    Verdict,
};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::backend::{self, BackendArguments};
use crate::console::{Console, Paint};
use crate::failure::{Failure, Status};
use crate::interrupt::interrupted;

const EXAMPLES: &str = "\
Examples:
  evalx languages
  evalx languages --check
  evalx languages --json | jq -r '.[] | select(.available | not) | .install'";

/// What every hello world prints.
const GREETING: &str = "Hello, world!\n";

/// What to show.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    backend: BackendArguments,
    /// Run a hello world of each language that is there.
    #[arg(long)]
    check: bool,
    /// Print the list as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct LanguageDocument {
    id: String,
    name: String,
    available: bool,
    version: Option<String>,
    install: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckDocument>,
}

/// What came of a hello world.
#[derive(Serialize)]
struct CheckDocument {
    passed: bool,
    verdict: &'static str,
    message: Option<String>,
}

/// Looks for every language's toolchain, and prints what was found.
pub(crate) async fn run(arguments: Arguments, console: &Console) -> Result<Status, Failure> {
    let languages = Languages::builtin();
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    // The probes are four at once, the checks as many as there are processors.
    let sandbox = arguments.backend.start(at_once.max(4)).await?;
    let found = tokio::select! {
        // Dropping the look-up kills what runs; the shutdown waits for that.
        found = look(&sandbox, &languages, arguments.check, console) => found,
        () = interrupted() => Err(Failure::Interrupted),
    };
    let documents = backend::finish(&sandbox, found).await?;
    let well = documents.iter().all(|language| language.check.as_ref().is_none_or(|check| check.passed));
    if console.is_json() {
        console.document(&documents)?;
    } else {
        documents.iter().try_for_each(|language| print(language, console))?;
    }
    Ok(Status::of(well))
}

async fn look(
    sandbox: &DynSandbox,
    languages: &Languages,
    check: bool,
    console: &Console,
) -> Result<Vec<LanguageDocument>, Failure> {
    let toolchains = Toolchains::probe(Arc::clone(sandbox), languages).await?;
    let mut documents: Vec<_> =
        languages.iter().map(|language| document(language, toolchains.get(&language.id))).collect();
    if !check {
        return Ok(documents);
    }
    let evaluator = Evaluator::new(Arc::clone(sandbox));
    let mut checks = JoinSet::new();
    for (index, language) in languages.iter().enumerate() {
        if documents[index].available && !language.hello.is_empty() {
            let (evaluator, language) = (evaluator.clone(), Arc::clone(language));
            checks.spawn(async move { (index, greet(&evaluator, &language).await) });
        }
    }
    let progress = console.progress(checks.len() as u64, "checking");
    while let Some(checked) = checks.join_next().await {
        let (index, check) = checked.expect("a check does not panic");
        documents[index].check = Some(check);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(documents)
}

fn document(language: &Language, toolchain: Option<&Toolchain>) -> LanguageDocument {
    let version = toolchain.and_then(Toolchain::version).map(ToOwned::to_owned);
    LanguageDocument {
        id: language.id.clone(),
        name: language.name.clone(),
        available: version.is_some(),
        install: version.is_none().then(|| language.install_hint()),
        version,
        check: None,
    }
}

/// Runs the language's hello world.
async fn greet(evaluator: &Evaluator, language: &Language) -> CheckDocument {
    let submission = Submission::new(&language.id, language.hello.clone())
        .with_test(Test::new("hello", "").with_expected(GREETING))
        .with_checker(Checker::Compare(Comparison::Lines));
    match evaluator.evaluate(submission).await {
        Ok(evaluation) => {
            let said = evaluation.tests.first().and_then(|test| test.message.clone());
            let compiler = evaluation.compile.and_then(|compile| compile.failure);
            CheckDocument {
                passed: evaluation.verdict == Verdict::Accepted,
                verdict: evaluation.verdict.as_str(),
                message: compiler.or(said),
            }
        }
        Err(error) => CheckDocument {
            passed: false,
            verdict: Verdict::InternalError.as_str(),
            message: Some(error.chain()),
        },
    }
}

fn print(language: &LanguageDocument, console: &Console) -> Result<(), Failure> {
    let LanguageDocument { id, name, version, install, check, .. } = language;
    let state = match (version, install) {
        (Some(version), _) if version.is_empty() => "available".to_owned(),
        (Some(version), _) => version.clone(),
        (None, install) => {
            let install = install.as_deref().unwrap_or_default();
            console.paint(Paint::Dim, format_args!("absent: {install}"))
        }
    };
    let check = match check {
        None => String::new(),
        Some(check) if check.passed => format!("  {}", console.paint(Paint::Good, "runs")),
        Some(check) => {
            let why = check.message.as_deref().unwrap_or(check.verdict);
            format!("  {}", console.paint(Paint::Bad, format_args!("fails: {why}")))
        }
    };
    console.line(format_args!("{id:<14} {name:<22} {state}{check}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_that_is_absent_says_what_to_install() {
        let languages = Languages::builtin();
        let python = languages.get("python").unwrap();
        let document = document(python, None);
        let json = serde_json::to_value(&document).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["available", "id", "install", "name", "version"]);
        assert_eq!((&json["available"], &json["version"]), (&false.into(), &serde_json::Value::Null));
        assert!(json["install"].as_str().is_some_and(|install| install.contains("python3")));
    }
}
