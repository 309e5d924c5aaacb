//! [`Rule`]: what a kind of diagnostic means, as data.
//!
//! This module is the format of the TOML files; `rulebook.rs` compiles them.

use serde::Deserialize;

/// A file of rules.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    #[serde(default, rename = "rule")]
    pub(crate) rules: Vec<Rule>,
}

/// One rule. It applies if all the conditions that it has hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Its name, `python/name-error`.
    pub(crate) id: String,
    /// The slug of its category.
    pub(crate) category: String,

    /// The tools whose diagnostics it is about; any if there is none.
    #[serde(default)]
    pub(crate) tool: OneOrMany,
    /// The classes of exception or numbers of error, `TS1*` for all that begin
    /// so; any if there is none.
    #[serde(default)]
    pub(crate) kind: OneOrMany,
    /// Patterns of the message, one of which must match; any if there is none.
    #[serde(default, rename = "match")]
    pub(crate) message: OneOrMany,
    /// What must match in the rest of the diagnostic.
    pub(crate) detail: Option<String>,
    /// What must match in the line of source that it points to.
    pub(crate) line: Option<String>,
    /// What must match in the line of code before.
    pub(crate) before: Option<String>,
    /// What must match in the program. Values may be used: `def {name}`.
    pub(crate) program: Option<String>,
    /// What must not match in the program.
    pub(crate) program_without: Option<String>,
    /// What must not match in the message or the rest.
    pub(crate) unless: Option<String>,
    /// Values that must be known: `import`, `similar`.
    #[serde(default)]
    pub(crate) needs: OneOrMany,
    /// Whether the place must be inside a library (or must not be).
    pub(crate) in_library: Option<bool>,

    /// The mistake in a few words.
    pub(crate) title: String,
    /// What it means.
    #[serde(default)]
    pub(crate) explanation: String,
    /// What to try; the first whose values are all known.
    #[serde(default)]
    pub(crate) suggestion: OneOrMany,
    /// The name that it is about, `{name}` if not given.
    pub(crate) identifier: Option<String>,
    /// Which frame of the stack is the place: 1 is the caller of the innermost.
    #[serde(default)]
    pub(crate) frame: usize,
    /// Whether no place is given, since the tool's is no help.
    #[serde(default)]
    pub(crate) placeless: bool,
    /// How sure it is.
    #[serde(default = "default_confidence")]
    pub(crate) confidence: f32,

    /// An output that it explains.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests try rules on it"))]
    pub(crate) example: String,
    /// Whether the example was put together from the tool's wording, because
    /// no such output could be recorded yet.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "only the pages of categories say it"))]
    pub(crate) made: bool,
    /// The program of the example, where the rule looks at it.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests try rules on it"))]
    pub(crate) source: String,
    /// The name of that program's file.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests try rules on it"))]
    pub(crate) source_file: String,
    /// Messages that it must match, `Kind: message` where it has kinds.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests try rules on it"))]
    pub(crate) matches: Vec<String>,
    /// Messages that it must not match.
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests try rules on it"))]
    pub(crate) rejects: Vec<String>,
}

const fn default_confidence() -> f32 {
    0.9
}

/// A string or a list of strings.
#[derive(Clone, Debug, Default)]
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMany(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
