//! Explains failures of compilers and programs to the people who wrote them.
mod builtin;
mod category;
mod diagnostic;
mod engine;
mod error;
mod facts;
mod language;
mod matching;
#[cfg(test)]
mod pages;
mod parse;
mod rule;
mod rulebook;
mod similar;
mod source;
mod template;
mod text;
#[cfg(test)]
mod trials;
mod vocabulary;

pub use category::Category;
pub use engine::HintEngine;
pub use error::LoadError;
