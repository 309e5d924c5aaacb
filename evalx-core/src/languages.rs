//! [`Languages`]: the registry of languages.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

use crate::{Error, ErrorKind, Language, Result};

/// The languages that are built in, by family.
const BUILTIN: [&str; 4] = [
    include_str!("../languages/native.toml"),
    include_str!("../languages/jvm.toml"),
    include_str!("../languages/dotnet.toml"),
    include_str!("../languages/scripts.toml"),
];

/// The languages an [`Evaluator`](crate::Evaluator) knows. Clones are cheap.
///
/// ```
/// use evalx_core::Languages;
///
/// let languages = Languages::builtin().with_toml(r#"
///     [c]                                # changes a field of a language
///     image = "example/gcc:15"
///
///     [awk]                              # adds one
///     name = "AWK"
///     source = "main.awk"
///     run = ["awk", "-f", "{source}", "{arguments}"]
///     version = ["awk", "--version"]
///     packages = ["gawk"]
/// "#)?;
/// assert_eq!(languages.get("AWK").map(|awk| awk.name.as_str()), Some("AWK"));
/// assert_eq!(languages.by_extension("c").map(|c| c.id.as_str()), Some("c"));
/// # Ok::<(), evalx_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Languages(BTreeMap<String, Arc<Language>>);

impl Languages {
    /// No languages.
    #[must_use]
    pub const fn empty() -> Self {
        Self(BTreeMap::new())
    }

    /// All that are built in: every language that Judge0 CE has, and some more.
    ///
    /// # Panics
    ///
    /// Never: the tests hold that the tables embedded in the crate are sound.
    #[must_use]
    pub fn builtin() -> Self {
        static PARSED: LazyLock<Languages> = LazyLock::new(|| {
            BUILTIN
                .into_iter()
                .try_fold(Languages::empty(), Languages::with_toml)
                .expect("the built-in languages are sound")
        });
        PARSED.clone()
    }

    /// Adds the languages of a TOML document, or changes those that are there.
    ///
    /// Each table is an entry and its key the id. A field of an entry that is
    /// there already replaces the old one whole; the other fields stay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] naming the entry and the field: one that
    /// is unknown, missing, of a wrong type, has an unknown placeholder, or a
    /// name, alias, extension or Judge0 id that another language has.
    pub fn with_toml(mut self, text: &str) -> Result<Self> {
        let document: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Error::new(ErrorKind::InvalidRequest, "the table of languages is not TOML").with_source(error)
        })?;
        for (id, entry) in document {
            let language = self.merged(&id, entry).map_err(|why| refuse(&id, &why))?;
            self.0.insert(id, Arc::new(language));
        }
        self.check_unique()?;
        Ok(self)
    }

    /// Removes a language, by its id.
    #[must_use]
    pub fn without(mut self, id: &str) -> Self {
        self.0.remove(id);
        self
    }

    /// The language of this id or alias, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Language>> {
        let name = name.to_ascii_lowercase();
        self.0.get(&name).or_else(|| self.iter().find(|language| language.aliases.contains(&name)))
    }

    /// The language whose files end in this, without the dot.
    #[must_use]
    pub fn by_extension(&self, extension: &str) -> Option<&Arc<Language>> {
        self.iter().find(|language| language.extensions.iter().any(|own| own == extension))
    }

    /// The language that a file's name implies.
    #[must_use]
    pub fn by_file_name(&self, name: &str) -> Option<&Arc<Language>> {
        self.by_extension(name.rsplit_once('.')?.1)
    }

    /// The language that has this id in Judge0 CE, of any version.
    #[must_use]
    pub fn by_judge0_id(&self, id: u32) -> Option<&Arc<Language>> {
        self.iter().find(|language| language.judge0.contains(&id))
    }

    /// The language that has this id in Judge0 Extra CE, of any version.
    #[must_use]
    pub fn by_judge0_extra_id(&self, id: u32) -> Option<&Arc<Language>> {
        self.iter().find(|language| language.judge0_extra.contains(&id))
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Language>> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entry laid over the language of this id, if there is one.
    fn merged(&self, id: &str, entry: toml::Value) -> Result<Language, String> {
        let toml::Value::Table(entry) = entry else {
            return Err(format!("it must be a table, not {}", entry.type_str()));
        };
        let mut table = match self.0.get(id) {
            Some(language) => toml::Table::try_from(&**language).map_err(|error| error.to_string())?,
            None => toml::Table::new(),
        };
        table.extend(entry);
        let mut language =
            Language::deserialize(table).map_err(|error| error.to_string().trim_end().replace('\n', " "))?;
        id.clone_into(&mut language.id);
        language.validate()?;
        Ok(language)
    }

    /// Checks that no two languages claim the same.
    fn check_unique(&self) -> Result<()> {
        let mut owners = HashMap::new();
        for language in self.iter() {
            let names = std::iter::once(&language.id).chain(&language.aliases);
            let claims = names
                .map(|name| format!("name `{name}`"))
                .chain(language.extensions.iter().map(|ending| format!("extension `{ending}`")))
                .chain(language.judge0.iter().map(|id| format!("Judge0 id {id}")))
                .chain(language.judge0_extra.iter().map(|id| format!("Judge0 Extra id {id}")));
            for claim in claims {
                if let Some(owner) = owners.insert(claim.clone(), &language.id) {
                    return Err(refuse(&language.id, &format!("the {claim} is `{owner}`'s already")));
                }
            }
        }
        Ok(())
    }
}

fn refuse(id: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("language `{}`: {why}", id.escape_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(toml: &str) -> String {
        Languages::builtin().with_toml(toml).unwrap_err().to_string()
    }

    #[test]
    fn the_builtin_tables_are_sound() {
        let languages = Languages::builtin();
        assert!(languages.len() >= 45);
        for language in languages.iter() {
            let id = &language.id;
            assert!(
                !language.packages.is_empty() || !language.install.is_empty() || id == "executable",
                "{id}"
            );
            assert!(language.hello.ends_with('\n') || id == "executable", "{id} has no hello world");
            assert!(language.is_source(&language.source), "{id}");
            assert_eq!(languages.get(id).unwrap().id, *id);
        }
    }

    #[test]
    fn every_language_of_judge0_is_there() {
        let languages = Languages::builtin();
        for id in 43..=113 {
            // 96 is JavaFX, whose library is no part of a toolchain.
            assert_eq!(languages.by_judge0_id(id).is_some(), id != 96, "{id}");
        }
        for (id, name) in
            [(71, "python"), (113, "python"), (50, "c"), (105, "cpp"), (62, "java"), (89, "multi_file")]
        {
            assert_eq!(languages.by_judge0_id(id).unwrap().id, name);
        }
        assert_eq!(languages.by_judge0_extra_id(2).unwrap().id, "clangpp");
    }

    #[test]
    fn names_extensions_and_files() {
        let languages = Languages::builtin();
        for (name, id) in [("Python3", "python"), ("c++", "cpp"), ("C#", "csharp"), ("node", "javascript")] {
            assert_eq!(languages.get(name).unwrap().id, id);
        }
        assert!(languages.get("klingon").is_none());
        assert_eq!(languages.by_file_name("a/b.tar.py").unwrap().id, "python");
        assert!(languages.by_file_name("Makefile").is_none());
        assert!(languages.clone().without("c").get("gcc").is_none());
    }

    #[test]
    fn an_entry_changes_only_what_it_names() {
        let languages = Languages::builtin().with_toml("[python]\nrun = ['python3.12', '{source}']").unwrap();
        let (old, new) = (Languages::builtin(), languages.get("python").unwrap());
        let old = old.get("python").unwrap();
        assert_eq!(new.run, ["python3.12", "{source}"]);
        assert_eq!(Language { run: old.run.clone(), ..(**new).clone() }, **old);
    }

    #[test]
    fn errors_name_the_entry_and_the_field() {
        let new = "name = 'X'\nsource = 'x.x'\nrun = ['x']\nversion = ['x']\n";
        let cases = [
            ("[c]\nnmae = 'C'".to_owned(), ["`c`", "nmae"]),
            ("[c]\nname = 3".to_owned(), ["`c`", "name"]),
            ("[c]\nsource = '../x'".to_owned(), ["`c`", "source"]),
            ("[c]\nlimits = { time_factr = 1.0 }".to_owned(), ["`c`", "time_factr"]),
            ("[c]\nlimits = { time_factor = -1.0 }".to_owned(), ["`c`", "time_factor"]),
            ("[c]\ncompile = ['gcc', '{sauce}']".to_owned(), ["`c`", "{sauce}"]),
            ("[c]\nrun = []".to_owned(), ["`c`", "`run`"]),
            ("[python]\ncompile = ['x']".to_owned(), ["`python`", "`output`"]),
            ("[new]\nname = 'New'".to_owned(), ["`new`", "source"]),
            ("c = 1".to_owned(), ["`c`", "table"]),
            (format!("[new]\n{new}aliases = ['gcc']"), ["`new`", "name `gcc`"]),
            (format!("[new]\n{new}judge0 = [50]"), ["`new`", "Judge0 id 50"]),
            (format!("[new]\n{new}extensions = ['.x']"), ["`new`", "extensions"]),
            (format!("[New]\n{new}"), ["`New`", "id"]),
        ];
        for (toml, expected) in cases {
            let error = error(&toml);
            assert!(expected.iter().all(|part| error.contains(part)), "{toml}\n{error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
    }
}
