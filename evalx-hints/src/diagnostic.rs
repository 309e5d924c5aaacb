//! [`Diagnostic`]: one error as a tool reported it, in the shape that rules read.

use crate::text::{clip, plain_quotes};

/// How much of a message, and of what belongs to it, rules read.
const MESSAGE: usize = 2 << 10;
const DETAIL: usize = 8 << 10;

/// How bad a tool says that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Severity {
    #[default]
    Error,
    Warning,
    Note,
}

/// A place in a stack trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) function: String,
    /// The line of source, where the tool shows it.
    pub(crate) snippet: String,
}

/// One error as a tool reported it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Diagnostic {
    /// Who reported it, by the name that rules use: `gcc`, `python`, `asan`.
    pub(crate) tool: &'static str,
    pub(crate) severity: Severity,
    /// The class of the exception, or the tool's number of the error.
    pub(crate) kind: String,
    /// The first line of what it says, with plain quotation marks.
    pub(crate) message: String,
    /// What it says beyond that: notes, labels, the symbol, the place.
    pub(crate) detail: String,
    pub(crate) file: String,
    /// From 1; 0 if unknown.
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// The function it happened in.
    pub(crate) function: String,
    /// The line of source, where the tool shows it.
    pub(crate) snippet: String,
    /// Innermost first.
    pub(crate) frames: Vec<Frame>,
    /// Whether the place is in a library and not in the learner's files.
    pub(crate) in_library: bool,
}

impl Diagnostic {
    pub(crate) fn new(tool: &'static str, kind: &str, message: &str) -> Self {
        Self {
            tool,
            kind: clip(kind, 200).to_owned(),
            message: plain_quotes(clip(message.trim(), MESSAGE)),
            ..Self::default()
        }
    }

    pub(crate) fn at(mut self, file: &str, line: u32, column: u32) -> Self {
        file.clone_into(&mut self.file);
        self.line = line;
        self.column = column;
        self
    }

    pub(crate) fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Adds a line of what the tool says beyond its message.
    pub(crate) fn push_detail(&mut self, line: &str) {
        if self.detail.len() + line.len() < DETAIL {
            self.detail.push_str(&plain_quotes(line));
            self.detail.push('\n');
        }
    }

    /// Takes the place from the innermost frame in the learner's own file, or
    /// else the innermost that is no library's.
    pub(crate) fn place_by_frames(
        &mut self,
        is_own: impl Fn(&str) -> bool,
        is_library: impl Fn(&str) -> bool,
    ) {
        let own = self.frames.iter().find(|frame| is_own(&frame.file));
        let frame = own.or_else(|| self.frames.iter().find(|frame| !is_library(&frame.file)));
        if let Some(frame) = frame.cloned() {
            self.file = frame.file;
            self.line = frame.line;
            self.function = frame.function;
            self.snippet = frame.snippet;
        }
        self.in_library = self.frames.first().is_some_and(|frame| !is_own(&frame.file));
    }
}
