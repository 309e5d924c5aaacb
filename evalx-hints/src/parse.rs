//! Parsers: from the text of an output to diagnostics.
//!
//! A parser knows the shape of a tool's reports and nothing of their meaning.
//! It takes for an error only what the tool itself wrote: of a program that
//! ran, the last report that ends its output.

mod bash;
mod dotnet;
mod generic;
mod ghc;
mod gnu;
mod go;
mod javac;
mod jvm;
mod kotlinc;
mod linker;
mod native;
mod node;
mod php;
mod place;
mod python;
mod ruby;
mod rustc;
mod sanitizer;
mod scripts;
mod swift;
mod tsc;

use evalx_core::{Phase, Signal};

use crate::diagnostic::Diagnostic;
use crate::text::base_name;

/// How many diagnostics are read of one output.
const MOST: usize = 100;

/// An output and what is known about where it came from.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) phase: Phase,
    pub(crate) stderr: &'a str,
    pub(crate) stdout: &'a str,
    pub(crate) source_file: &'a str,
    pub(crate) source: &'a str,
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<Signal>,
}

impl Report<'_> {
    /// Whether a file of a stack trace is the learner's.
    pub(crate) fn is_own(&self, file: &str) -> bool {
        match self.source_file {
            "" => !is_library(file),
            own => base_name(own) == base_name(file),
        }
    }

    /// Whether the program may have ended with this exit code: it did, or it
    /// is not known how it ended.
    pub(crate) fn may_have_exited(&self, code: i32) -> bool {
        match (self.exit, self.signal) {
            (None, None) => true,
            (exit, _) => exit == Some(code),
        }
    }

    /// Whether the source is known and has none of these words, by which a
    /// program writes to stderr: all that is there is the tool's.
    fn writes_no_errors(&self, writers: &[&str]) -> bool {
        !self.source.trim().is_empty() && writers.iter().all(|word| !self.source.contains(word))
    }

    fn is_compile(&self) -> bool {
        self.phase == Phase::Compile
    }
}

/// Whether a file belongs to a library or to the tool itself.
pub(crate) fn is_library(file: &str) -> bool {
    const ROOTS: [&str; 9] = ["/usr/", "/lib", "/opt/", "<", "node:", "internal/", "/rustc/", "java.", "../"];
    const PARTS: [&str; 5] =
        ["/site-packages/", "/node_modules/", "/libsanitizer/", "/sysdeps/", "/lib/python"];
    file.is_empty()
        || ROOTS.iter().any(|root| file.starts_with(root))
        || PARTS.iter().any(|part| file.contains(part))
}

/// The tools of a language.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parsers {
    Bash,
    C,
    CSharp,
    Generic,
    Go,
    Haskell,
    Java,
    Kotlin,
    Lua,
    Node,
    Perl,
    Php,
    Python,
    Ruby,
    Rust,
    Swift,
    TypeScript,
}

impl Parsers {
    /// The diagnostics of an output, in the tool's order.
    pub(crate) fn parse(self, report: &Report<'_>) -> Vec<Diagnostic> {
        let mut found = self.parse_language(report);
        found.truncate(MOST);
        for diagnostic in &mut found {
            if diagnostic.file.starts_with("./") {
                diagnostic.file.drain(..2);
            }
        }
        found
    }

    fn parse_language(self, report: &Report<'_>) -> Vec<Diagnostic> {
        let compile = report.is_compile();
        match self {
            Self::C if compile => or(gnu::parse(report, "gcc"), || linker::parse(report)),
            Self::C => native::parse(report),
            Self::Rust if compile => rustc::parse(report),
            Self::Rust => or(rustc::parse_panic(report), || native::parse(report)),
            Self::Go if compile => go::parse(report),
            // `go run` compiles first.
            Self::Go => or(go::parse_panic(report), || compiled_first(report, go::parse)),
            Self::Swift if compile => gnu::parse(report, "swiftc"),
            Self::Swift => or(swift::parse(report), || native::parse(report)),
            Self::Java if compile => javac::parse(report),
            // `java Main.java` compiles first.
            Self::Java => or(jvm::parse(report), || compiled_first(report, javac::parse)),
            Self::Kotlin if compile => kotlinc::parse(report),
            Self::Kotlin => jvm::parse(report),
            Self::Haskell if compile => ghc::parse(report),
            Self::Haskell => or(ghc::parse_runtime(report), || native::parse(report)),
            Self::CSharp if compile => tsc::parse(report),
            Self::CSharp => dotnet::parse(report),
            Self::TypeScript if compile => tsc::parse(report),
            // `ts-node` and `tsx` report errors of types when they run.
            Self::TypeScript => or(node::parse(report), || compiled_first(report, tsc::parse)),
            Self::Node => node::parse(report),
            Self::Python => python::parse(report),
            Self::Ruby => ruby::parse(report),
            Self::Php => php::parse(report),
            Self::Bash => bash::parse(report),
            Self::Perl => scripts::parse_perl(report),
            Self::Lua => scripts::parse_lua(report),
            Self::Generic if compile => generic::parse(report),
            Self::Generic => Vec::new(),
        }
    }
}

/// What a compiler says that runs the program too; it exits with 1 or 2.
fn compiled_first(report: &Report<'_>, parse: fn(&Report<'_>) -> Vec<Diagnostic>) -> Vec<Diagnostic> {
    let failed = [1, 2].into_iter().any(|code| report.may_have_exited(code));
    if failed { parse(report) } else { Vec::new() }
}

/// What one parser found, or else another.
fn or(found: Vec<Diagnostic>, other: impl FnOnce() -> Vec<Diagnostic>) -> Vec<Diagnostic> {
    if found.is_empty() { other() } else { found }
}
