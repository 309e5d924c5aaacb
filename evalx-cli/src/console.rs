//! [`Console`]: what the command itself prints, and where.
//!
//! Results go to stdout, everything said about them to stderr. With `--json`
//! stdout has one document and nothing else. A reader that has gone
//! (`evalx languages | head -1`) is no failure: the rest is dropped.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::failure::Failure;

/// How a piece of text is set off on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Paint {
    /// What went well.
    Good,
    /// What did not.
    Bad,
    /// What is less important.
    Dim,
    /// A heading.
    Bold,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

/// Where the command prints.
#[derive(Debug)]
pub(crate) struct Console {
    json: bool,
    colour_stdout: bool,
    colour_stderr: bool,
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    kind: &'a str,
    message: String,
    hint: Option<&'a str>,
}

impl Console {
    /// A console on this process's stdout and stderr. `NO_COLOR` is heeded.
    pub(crate) fn new(json: bool) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            colour_stdout: colour && io::stdout().is_terminal(),
            colour_stderr: colour && io::stderr().is_terminal(),
        }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// `text` as it is to appear on stdout.
    pub(crate) fn paint(&self, paint: Paint, text: impl fmt::Display) -> String {
        painted(self.colour_stdout, paint, text)
    }

    /// Prints a line of the result.
    pub(crate) fn line(&self, line: impl fmt::Display) -> Result<(), Failure> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Prints a piece of the result as it is.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::host("could not write to stdout", error))
            }
            _ => Ok(()),
        }
    }

    /// Passes on what a program wrote to its stderr. Nobody may be listening.
    pub(crate) fn error_bytes(&self, bytes: &[u8]) {
        drop(io::stderr().lock().write_all(bytes));
    }

    /// Prints the one JSON document.
    pub(crate) fn document(&self, document: &impl Serialize) -> Result<(), Failure> {
        let mut text = serde_json::to_vec(document)
            .map_err(|error| Failure::host("could not write JSON", error.into()))?;
        text.push(b'\n');
        self.bytes(&text)
    }

    /// Says something about the result, on stderr. Nobody may be listening.
    pub(crate) fn note(&self, paint: Paint, line: impl fmt::Display) {
        let text = painted(self.colour_stderr, paint, line);
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    /// Prints why the command failed, and gives the exit status that says so.
    pub(crate) fn report_failure(&self, failure: &Failure) -> ExitCode {
        if self.json {
            let kind = failure.kind();
            let body = ErrorBody { kind: kind.as_str(), message: failure.to_string(), hint: failure.hint() };
            // With stdout broken too there is nobody left to tell.
            drop(self.document(&ErrorDocument { error: body }));
        } else {
            let label = painted(self.colour_stderr, Paint::Bad, "error:");
            let mut stderr = io::stderr().lock();
            drop(writeln!(stderr, "{label} {failure}"));
            if let Some(hint) = failure.hint() {
                drop(writeln!(stderr, "help: {hint}"));
            }
        }
        failure.exit_code()
    }

    /// A bar for long work, on stderr; hidden where that is no terminal.
    pub(crate) fn progress(&self, length: u64, what: &'static str) -> ProgressBar {
        if length == 0 || !self.colour_stderr {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length).with_style(style).with_message(what)
    }
}

fn painted(colour: bool, paint: Paint, text: impl fmt::Display) -> String {
    if colour { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_for_those_who_see_it() {
        assert_eq!(painted(false, Paint::Good, "well"), "well");
        assert_eq!(painted(true, Paint::Bad, "ill"), "\x1b[31mill\x1b[0m");
    }

    #[test]
    fn an_error_document_has_all_its_fields() {
        let body = ErrorBody { kind: "unavailable", message: "no cgroup".to_owned(), hint: None };
        assert_eq!(
            serde_json::to_string(&ErrorDocument { error: body }).unwrap(),
            r#"{"error":{"kind":"unavailable","message":"no cgroup","hint":null}}"#
        );
    }
}
