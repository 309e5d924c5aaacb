//! `evalx hint`: what an error output means.
//!
//! One failure is read from stdin as it was written; with `--jsonl` each line
//! of stdin is a recorded failure, and each line of stdout its hints.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use evalx_core::{Hint, HintProvider, HintRequest, Languages, Outcome, Phase, ProgramEnd, Signal};
use evalx_hints::HintEngine;
use serde::{Deserialize, Serialize};

use crate::console::Console;
use crate::evaluation::print_hint;
use crate::failure::{Failure, Status};
use crate::resolve::read_bytes;
use crate::source::language_of;

const EXAMPLES: &str = "\
Examples:
  python3 main.py 2> errors; evalx hint --source main.py --exit-code 1 < errors
  gcc main.c 2>&1 | evalx hint --language c --phase compile
  evalx hint --language c --signal SIGSEGV < /dev/null
  evalx hint --jsonl < records.jsonl > answers.jsonl

The language follows from the source's name unless --language is given. A
record is a JSON object a line: id, language, phase, source, source_file,
exit_code or signal, timed_out, oom_killed, stdout, stderr. The answer has the
record's id and the hints, the best first.";

/// The failure to explain.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The language, by its id or another name of it.
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Which step failed.
    #[arg(long, value_enum, default_value = "run")]
    phase: PhaseArgument,
    /// The exit code it ended with.
    #[arg(long, value_name = "CODE", conflicts_with = "signal", allow_negative_numbers = true)]
    exit_code: Option<i32>,
    /// The signal that ended it.
    #[arg(long, value_name = "SIGNAL")]
    signal: Option<Signal>,
    /// A time limit ended it.
    #[arg(long)]
    timed_out: bool,
    /// The memory limit ended it.
    #[arg(long)]
    oom_killed: bool,
    /// What it wrote to stdout.
    #[arg(long, value_name = "FILE")]
    stdout: Option<PathBuf>,
    /// The main source file.
    #[arg(long, value_name = "FILE")]
    source: Option<PathBuf>,
    /// Print the hints as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Read recorded failures, a JSON object a line, and answer each with a line.
    #[arg(long, conflicts_with_all = [
        "language", "phase", "exit_code", "signal", "timed_out", "oom_killed", "stdout", "source",
    ])]
    pub(crate) jsonl: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PhaseArgument {
    Compile,
    Run,
}

#[derive(Serialize)]
struct Answer {
    hints: Vec<Hint>,
}

/// One line of `--jsonl`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    id: String,
    language: String,
    phase: Option<Phase>,
    source: Option<String>,
    source_file: Option<String>,
    exit_code: Option<i32>,
    signal: Option<String>,
    timed_out: Option<bool>,
    oom_killed: Option<bool>,
    stdout: Option<String>,
    stderr: Option<String>,
    /// The exact bytes, where those are not UTF-8.
    stdout_b64: Option<String>,
    stderr_b64: Option<String>,
}

#[derive(Serialize)]
struct RecordAnswer<'a> {
    id: &'a str,
    hints: Vec<Hint>,
}

/// Explains the failure, or the failures, on stdin.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Status, Failure> {
    let engine = HintEngine::new();
    if arguments.jsonl {
        return answer_records(&engine, console);
    }
    let hints = explain(&engine, arguments)?;
    if console.is_json() {
        console.document(&Answer { hints })?;
    } else {
        hints.iter().for_each(|hint| print_hint(hint, console));
        if hints.is_empty() {
            console.note(crate::console::Paint::Dim, "no hint: nothing here is known to be wrong");
        }
    }
    Ok(Status::Well)
}

fn explain(engine: &HintEngine, arguments: &Arguments) -> Result<Vec<Hint>, Failure> {
    let languages = Languages::builtin();
    let language = match (&arguments.language, &arguments.source) {
        (Some(name), _) => languages.get(name).map_or_else(|| name.clone(), |language| language.id.clone()),
        (None, Some(source)) => language_of(&languages, source)?.id.clone(),
        (None, None) => return Err(Failure::usage("give --language, or --source with a name that tells it")),
    };
    let stdout = arguments.stdout.as_deref().map(read_bytes).transpose()?.unwrap_or_default();
    let source = arguments.source.as_deref().map(read_bytes).transpose()?.unwrap_or_default();
    let name = arguments.source.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
    let name = name.to_string_lossy();
    let mut stderr = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut stderr)
        .map_err(|error| Failure::host("could not read stdin", error))?;
    let phase = match arguments.phase {
        PhaseArgument::Compile => Phase::Compile,
        PhaseArgument::Run => Phase::Run,
    };
    let mut request =
        HintRequest::new(&language, phase).with_output(&stdout, &stderr).with_source(&name, &source);
    let end = arguments.exit_code.map(ProgramEnd::Code).or(arguments.signal.map(ProgramEnd::Signal));
    request = with_end(request, end, arguments.timed_out, arguments.oom_killed);
    Ok(engine.hints(&request))
}

/// What the supervisor knew of the end.
fn with_end(
    mut request: HintRequest<'_>,
    end: Option<ProgramEnd>,
    timed_out: bool,
    oom_killed: bool,
) -> HintRequest<'_> {
    request.end = end;
    request.outcome = match end {
        _ if timed_out => Some(Outcome::WallTimeLimit),
        _ if oom_killed => Some(Outcome::MemoryLimit),
        Some(ProgramEnd::Code(code)) => Some(Outcome::Exited(code)),
        Some(ProgramEnd::Signal(signal)) => Some(Outcome::Signaled(signal)),
        None => None,
    };
    request
}

fn answer_records(engine: &HintEngine, console: &Console) -> Result<Status, Failure> {
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let line = line.map_err(|error| Failure::host("could not read stdin", error))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |what: String| Failure::usage(format!("line {} is no record: {what}", number + 1));
        let record: Record = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        let hints = explain_record(engine, &record).map_err(wrong)?;
        console.document(&RecordAnswer { id: &record.id, hints })?;
    }
    Ok(Status::Well)
}

fn explain_record(engine: &HintEngine, record: &Record) -> Result<Vec<Hint>, String> {
    let bytes = |exact: &Option<String>, text: &Option<String>| match exact {
        Some(exact) => STANDARD.decode(exact).map_err(|error| format!("its base64 is invalid: {error}")),
        None => Ok(text.clone().unwrap_or_default().into_bytes()),
    };
    let stdout = bytes(&record.stdout_b64, &record.stdout)?;
    let stderr = bytes(&record.stderr_b64, &record.stderr)?;
    let signal =
        record.signal.as_deref().map(str::parse::<Signal>).transpose().map_err(|error| error.to_string())?;
    let request = HintRequest::new(&record.language, record.phase.unwrap_or(Phase::Run))
        .with_output(&stdout, &stderr)
        .with_source(
            record.source_file.as_deref().unwrap_or_default(),
            record.source.as_deref().unwrap_or_default().as_bytes(),
        );
    let end = record.exit_code.map(ProgramEnd::Code).or(signal.map(ProgramEnd::Signal));
    let request =
        with_end(request, end, record.timed_out.unwrap_or_default(), record.oom_killed.unwrap_or_default());
    Ok(engine.hints(&request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_answered_with_every_field() {
        let record = r#"{"id":"x","language":"python","phase":"run","exit_code":1,"signal":null,
            "source":"print(total)\n","source_file":"main.py","stdout":"",
            "stderr":"Traceback (most recent call last):\n  File \"main.py\", line 1, in <module>\nNameError: name 'total' is not defined\n"}"#;
        let record: Record = serde_json::from_str(record).unwrap();
        let hints = explain_record(&HintEngine::new(), &record).unwrap();
        let answer = serde_json::to_value(RecordAnswer { id: &record.id, hints }).unwrap();
        let hint = &answer["hints"][0];
        assert_eq!(hint["category"], "undefined-name");
        assert_eq!(hint["line"], 1);
        for field in [
            "rule",
            "title",
            "explanation",
            "suggestion",
            "identifier",
            "file",
            "column",
            "documentation",
            "confidence",
        ] {
            assert!(hint.get(field).is_some(), "{field} is missing");
        }
    }

    #[test]
    fn success_is_silent_and_nonsense_refused() {
        let record = Record { language: "c".to_owned(), exit_code: Some(0), ..Record::default() };
        assert_eq!(explain_record(&HintEngine::new(), &record).unwrap(), []);
        let record = Record { stderr_b64: Some("%".to_owned()), ..Record::default() };
        assert!(explain_record(&HintEngine::new(), &record).unwrap_err().contains("base64"));
    }
}
