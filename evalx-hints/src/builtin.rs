//! The rules and words that are part of this crate.
//!
//! `rules/` has a folder for each language, and `any` for what holds in all of
//! them. They are embedded, and read when their language is first needed.

use crate::rule::Rule;
use crate::rulebook::{RuleBook, parse_rules};
use crate::vocabulary::Vocabulary;

/// A file of the folder `rules`.
#[derive(Debug)]
pub(crate) struct RuleText {
    /// The folder, `python`.
    pub(crate) folder: &'static str,
    /// The file, `syntax`.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// The files, by folder and in the order in which their rules are tried.
macro_rules! embed {
    ($($folder:literal / $name:literal,)*) => {
        &[$(RuleText {
            folder: $folder,
            name: $name,
            text: include_str!(concat!("../rules/", $folder, "/", $name, ".toml")),
        },)*]
    };
}

/// Every file of rules, and the words of each language (`words`).
pub(crate) const FILES: &[RuleText] = embed! {
    "any" / "outcome",
    "c" / "words",
    "c" / "syntax",
    "c" / "names",
    "c" / "types",
    "cpp" / "words",
    "cpp" / "rules",
    "java" / "words",
    "java" / "compile",
    "jvm" / "runtime",
    "kotlin" / "words",
    "kotlin" / "compile",
    "javascript" / "words",
    "javascript" / "syntax",
    "javascript" / "runtime",
    "typescript" / "words",
    "typescript" / "compile",
    "rust" / "words",
    "rust" / "compile",
    "rust" / "panic",
    "go" / "words",
    "go" / "compile",
    "go" / "panic",
    "ruby" / "words",
    "ruby" / "rules",
    "php" / "words",
    "php" / "rules",
    "bash" / "words",
    "bash" / "rules",
    "haskell" / "words",
    "haskell" / "rules",
    "csharp" / "words",
    "csharp" / "rules",
    "swift" / "words",
    "swift" / "rules",
    "perl" / "rules",
    "lua" / "rules",
    "native" / "aborts",
    "native" / "sanitizers",
    "python" / "words",
    "python" / "syntax",
    "python" / "runtime",
};

/// The files of one folder.
pub(crate) fn files(folder: &str) -> impl Iterator<Item = &'static RuleText> {
    FILES.iter().filter(move |file| file.folder == folder)
}

/// The rules of these folders behind those that a host added.
pub(crate) fn book(folders: &[&str], added: &[Rule]) -> RuleBook {
    let mut rules = added.to_vec();
    let mut vocabulary = Vocabulary::default();
    for file in folders.iter().flat_map(|folder| files(folder)) {
        if file.name == "words" {
            vocabulary.extend(Vocabulary::parse(file.text).expect("a test parses the built-in words"));
        } else {
            let more = parse_rules(file.folder, file.text).expect("a test parses the built-in rules");
            rules.extend(more.into_iter().filter(|rule| added.iter().all(|own| own.id != rule.id)));
        }
    }
    RuleBook::new(rules, vocabulary).expect("a test compiles the built-in rules")
}
