//! What is said over the WebSocket of a session, in both directions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evalx_core::{Control, Hint, TerminalSize};
use evalx_service::ReportDocument;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::reader::{Fields, Wrong};
use crate::problem::{FieldError, Problem};

/// The widest and highest terminal.
const LARGEST: u64 = 1000;

/// What the server says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionOutput)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Spoken<'a> {
    /// What the compiler did.
    Compiled {
        /// How it ended, and what it wrote.
        report: Box<ReportDocument>,
    },
    /// The program runs.
    Started,
    /// The program has written this.
    Output {
        /// `stdout` or `stderr`; a terminal has `stdout` alone.
        stream: &'static str,
        /// What it wrote, if that is text. A character is never cut in two.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        /// What it wrote, if that is no text.
        #[serde(skip_serializing_if = "Option::is_none")]
        base64: Option<String>,
    },
    /// The session is over.
    Finished {
        /// How the program ended; without its output, which was told.
        report: Option<Box<ReportDocument>>,
        /// Why it was ended, if it did not end by itself: `cancelled`, `idle` or `shutting_down`.
        reason: Option<&'static str>,
        /// What explains a failure, as text.
        hint: Option<String>,
        /// What explains a failure, the best first.
        #[schema(value_type = Vec<Object>)]
        hints: &'a [Hint],
    },
    /// What was said is wrong, and the session is over.
    Error {
        /// What is wrong, and what is allowed.
        problem: &'a Problem,
    },
}

/// What a client says after `start`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The program gets these bytes.
    Stdin(Vec<u8>),
    /// The program reads end-of-file.
    CloseStdin,
    /// The program is signalled or ended, or its terminal has a new size.
    Control(Control),
}

impl Heard {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// Every wrong field.
    pub(crate) fn read(text: &str) -> Result<Self, Problem> {
        let mut wrong = Wrong::default();
        let heard = object(text, &mut wrong)?.and_then(|fields| read(fields, &mut wrong));
        match heard {
            Some(heard) if wrong.is_empty() => Ok(heard),
            _ => Err(Problem::fields(wrong.into_errors())),
        }
    }
}

/// The fields of a message.
///
/// # Errors
///
/// If it is no JSON.
pub(super) fn object(text: &str, wrong: &mut Wrong) -> Result<Option<Fields>, Problem> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let detail = format!("the message is not JSON: {error}");
        Problem::fields(vec![FieldError { pointer: String::new(), detail }])
    })?;
    Ok(Fields::of("", value, wrong))
}

fn read(mut fields: Fields, wrong: &mut Wrong) -> Option<Heard> {
    let kind = fields.required("type", wrong)?;
    let heard = match kind.as_str() {
        "stdin" => stdin(&mut fields, wrong).map(Heard::Stdin),
        "close_stdin" => Some(Heard::CloseStdin),
        "cancel" => Some(Heard::Control(Control::Cancel)),
        "resize" => size(&mut fields, wrong).map(|size| Heard::Control(Control::Resize(size))),
        "signal" => {
            let name = fields.required("signal", wrong)?;
            match name.parse() {
                Ok(signal) => Some(Heard::Control(Control::Signal(signal))),
                Err(_) => {
                    wrong
                        .note(fields.at("signal"), "there is no such signal: SIGINT, SIGTERM, … are allowed");
                    None
                }
            }
        }
        _ => {
            let allowed = "stdin, close_stdin, signal, resize, cancel";
            wrong.note(fields.at("type"), format!("there is no such message: {allowed} are allowed"));
            // Its other fields can't be judged.
            return None;
        }
    };
    fields.finish(wrong);
    heard
}

fn stdin(fields: &mut Fields, wrong: &mut Wrong) -> Option<Vec<u8>> {
    let text = fields.text("text", wrong);
    let bytes = fields.text("base64", wrong);
    match (text, bytes) {
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(bytes)) => match STANDARD.decode(bytes) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                wrong.note(fields.at("base64"), format!("it is not base64: {error}"));
                None
            }
        },
        _ => {
            wrong.note(fields.at("text"), "one of `text` and `base64` is needed");
            None
        }
    }
}

/// The fields `rows` and `columns`.
pub(super) fn size(fields: &mut Fields, wrong: &mut Wrong) -> Option<TerminalSize> {
    let mut count = |name| {
        let count = fields.integer(name, 1..=LARGEST, wrong);
        if count.is_none() && wrong.is_empty() {
            wrong.note(
                fields.at(name),
                format!("it is missing: a whole number from 1 to {LARGEST} is expected"),
            );
        }
        count.and_then(|count| u16::try_from(count).ok())
    };
    let (rows, columns) = (count("rows"), count("columns"));
    Some(TerminalSize { rows: rows?, columns: columns? })
}

#[cfg(test)]
mod tests {
    use evalx_core::Signal;

    use super::*;

    #[test]
    fn messages_are_read() {
        for (text, heard) in [
            (r#"{"type":"stdin","text":"a\n"}"#, Heard::Stdin(b"a\n".to_vec())),
            (r#"{"type":"stdin","base64":"/w=="}"#, Heard::Stdin(vec![255])),
            (r#"{"type":"close_stdin"}"#, Heard::CloseStdin),
            (r#"{"type":"cancel"}"#, Heard::Control(Control::Cancel)),
            (r#"{"type":"signal","signal":"SIGINT"}"#, Heard::Control(Control::Signal(Signal::INT))),
            (
                r#"{"type":"resize","rows":24,"columns":80}"#,
                Heard::Control(Control::Resize(TerminalSize { rows: 24, columns: 80 })),
            ),
        ] {
            assert_eq!(Heard::read(text).unwrap(), heard);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, pointer) in [
            ("{", r#""pointer":"""#),
            ("[]", r#""pointer":"""#),
            ("{}", "/type"),
            (r#"{"type":"start"}"#, "/type"),
            (r#"{"type":"stdin"}"#, "/text"),
            (r#"{"type":"stdin","text":"a","base64":""}"#, "/text"),
            (r#"{"type":"stdin","base64":"?"}"#, "/base64"),
            (r#"{"type":"cancel","now":true}"#, "/now"),
            (r#"{"type":"signal","signal":"SIGNAL"}"#, "/signal"),
            (r#"{"type":"resize","rows":0,"columns":80}"#, "/rows"),
            (r#"{"type":"resize","rows":1}"#, "/columns"),
        ] {
            let problem = Heard::read(text).unwrap_err().document().to_string();
            assert!(problem.contains(pointer), "{text}: {problem}");
        }
    }
}
