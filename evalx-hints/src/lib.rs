//! Explains failures of compilers and programs to the people who wrote them:
//! error output in, ranked hints out.
//!
//! A [`HintEngine`] implements [`HintProvider`](evalx_core::HintProvider), so
//! that an [`Evaluator`](evalx_core::Evaluator) asks it whenever a compile or a
//! run fails. It can be asked directly too:
//!
//! ```
//! use evalx_core::{HintProvider, HintRequest, Outcome, Phase};
//! use evalx_hints::HintEngine;
//!
//! let stderr = "main.c:4:14: error: expected ';' before '}' token\n";
//! let request = HintRequest::new("c", Phase::Compile)
//!     .with_outcome(Outcome::Exited(1))
//!     .with_output(b"", stderr.as_bytes())
//!     .with_source("main.c", b"int main(void)\n{\n    int a = 5;\n    return a\n}\n");
//! let hints = HintEngine::new().hints(&request);
//! assert_eq!(hints[0].category, "syntax-missing-semicolon");
//! assert_eq!(hints[0].line, Some(4));
//! ```
//!
//! # How it decides
//!
//! 1. The supervisor's facts: success means silence; a time-out, an exceeded
//!    limit or a signal says more than any text.
//! 2. The language and the phase choose a parser, which takes for an error only
//!    what the tool itself wrote. Of a program that ran, the last traceback,
//!    panic or sanitizer report counts, if it ends the output and fits the exit
//!    status.
//! 3. Rules match on the parsed diagnostic; the source refines them.
//! 4. The first error is the root cause; what follows from it is left out.
//!
//! It takes any bytes without a panic, and its time is bounded: the first 256 KiB and
//! the last 512 KiB of an output are read, and patterns match in linear time.
//!
//! # Rules
//!
//! Rules are data: TOML files, a folder for each language, embedded in this
//! crate. Each carries an output that it explains, and a test tries them all. A
//! host adds to them or replaces some by [`HintEngine::with_rules`]. A rule has
//!
//! - `id` and `category`, one of [`Category::all`];
//! - conditions, of which all must hold: `tool`, `kind` (the exception's class
//!   or the tool's number of the error), `match` (patterns of the message, with
//!   every quotation mark made `'`), `detail` (a pattern of what the tool says
//!   beyond that), `line`, `before` and `program` (patterns of the source line,
//!   of the line of code before it, and of the whole program), `program_without`
//!   and `unless` (what must not match), `needs` (values that must be known) and
//!   `in_library`;
//! - texts: `title`, `explanation`, `suggestion` (one or several; the first whose
//!   values are all known is taken), `identifier`, `confidence`;
//! - its trial: `example` (with `made` if it is no recorded one), `source` and
//!   `source_file`, `matches`, `rejects`.
//!
//! Texts name values in braces: what a pattern's groups captured (`(?<name>…)`)
//! and what the engine knows, such as `{similar}`, the name that a misspelled one
//! may have meant, `{function}`, `{kind}`, `{message}` or `{import}`. A part
//! between `{?` and `?}` is left out if a value in it is unknown; a name that
//! nothing can give a value is an error of the rule.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builtin;
mod category;
mod diagnostic;
mod engine;
mod error;
mod facts;
mod language;
mod matching;
mod needle;
#[cfg(test)]
mod pages;
mod parse;
mod rule;
mod rulebook;
mod similar;
mod source;
mod spot;
mod template;
mod text;
#[cfg(test)]
mod trials;
mod values;
mod vocabulary;

pub use category::Category;
pub use engine::HintEngine;
pub use error::LoadError;

const fn assert_send_sync<T: Send + Sync>() {}
const _: () = assert_send_sync::<HintEngine>();
