//! [`Vocabulary`]: the words of a language, which a misspelled name may have
//! meant, and what makes a library's names known.

use std::collections::HashMap;

use serde::Deserialize;

/// The words of a language.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Vocabulary {
    /// The reserved words.
    pub(crate) keywords: Vec<String>,
    /// Functions and values that need no import.
    pub(crate) names: Vec<String>,
    /// Types that need no import.
    pub(crate) types: Vec<String>,
    /// Methods and fields of its usual values.
    pub(crate) members: Vec<String>,
    /// What other languages call something, and what this one does.
    pub(crate) foreign: HashMap<String, String>,
    /// Methods as other languages call them.
    pub(crate) foreign_members: HashMap<String, String>,
    /// A library's name, and the line that makes it known.
    pub(crate) imports: HashMap<String, String>,
    /// Modules that an `import` finds without installing anything.
    pub(crate) modules: Vec<String>,
    /// A module's name, and the package that has it.
    pub(crate) packages: HashMap<String, String>,
}

impl Vocabulary {
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Adds another's words; its own stay where both have one.
    pub(crate) fn extend(&mut self, other: Self) {
        self.keywords.extend(other.keywords);
        self.names.extend(other.names);
        self.types.extend(other.types);
        self.members.extend(other.members);
        self.modules.extend(other.modules);
        for (mine, theirs) in [
            (&mut self.foreign, other.foreign),
            (&mut self.foreign_members, other.foreign_members),
            (&mut self.imports, other.imports),
            (&mut self.packages, other.packages),
        ] {
            for (name, value) in theirs {
                mine.entry(name).or_insert(value);
            }
        }
    }
}
