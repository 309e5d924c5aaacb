//! [`HintEngine`]: from a failure to ranked hints.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use evalx_core::{Hint, HintProvider, HintRequest, Phase};

use crate::builtin;
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::LoadError;
use crate::facts::Facts;
use crate::language::{PROFILES, Profile, UNKNOWN, find};
use crate::matching::Scene;
use crate::parse::Report;
use crate::rule::Rule;
use crate::rulebook::{RuleBook, parse_rules};
use crate::source::Source;
use crate::text::clean;

/// How many hints are given at most.
const MOST: usize = 3;
/// How many diagnostics are looked at for them.
const DIAGNOSTICS: usize = 12;
const DOCUMENTATION: &str = "https://github.com/evalx-rs/evalx/blob/main/docs/hints/";

/// Explains failures by its rules.
///
/// Making one costs next to nothing: the rules of a language are compiled when
/// a failure in it is first explained, or by [`warm_up`](Self::warm_up).
///
/// ```
/// use evalx_core::{HintProvider, HintRequest, Outcome, Phase};
/// use evalx_hints::HintEngine;
///
/// let stderr = b"Traceback (most recent call last):\n  File \"main.py\", line 1, in <module>\nNameError: name 'pritn' is not defined\n";
/// let request = HintRequest::new("python", Phase::Run)
///     .with_outcome(Outcome::Exited(1))
///     .with_output(b"", stderr)
///     .with_source("main.py", b"pritn('hello')");
/// let hints = HintEngine::new().hints(&request);
/// assert_eq!(hints[0].category, "undefined-name");
/// assert!(hints[0].suggestion.as_deref().is_some_and(|text| text.contains("print")));
/// ```
pub struct HintEngine {
    /// One for each of `PROFILES`, and one for the unknown languages.
    books: Vec<OnceLock<RuleBook>>,
    /// What the host added, by the language's id.
    added: HashMap<String, Vec<Rule>>,
    /// Books of languages that only the host knows.
    strangers: HashMap<String, OnceLock<RuleBook>>,
    documentation: Option<String>,
}

impl HintEngine {
    /// An engine with the built-in rules.
    #[must_use]
    pub fn new() -> Self {
        Self {
            books: (0..=PROFILES.len()).map(|_| OnceLock::new()).collect(),
            added: HashMap::new(),
            strangers: HashMap::new(),
            documentation: Some(DOCUMENTATION.to_owned()),
        }
    }

    /// Adds rules to a language, as TOML. They come before the built-in ones;
    /// one that has the id of a built-in rule takes its place.
    ///
    /// A rule's text has values in braces, which its patterns captured or which
    /// the engine knows; [the crate's page](crate#rules) names all fields.
    ///
    /// ```
    /// use evalx_core::{HintProvider, HintRequest, Outcome, Phase};
    /// use evalx_hints::HintEngine;
    ///
    /// let engine = HintEngine::new().with_rules("python", r#"
    ///     [[rule]]
    ///     id = "school/turtle"
    ///     category = "missing-module"
    ///     kind = "ModuleNotFoundError"
    ///     match = "No module named '(?<name>turtle)'"
    ///     title = "There is no turtle here"
    ///     suggestion = "Draw with `svgwrite`."
    /// "#)?;
    /// let stderr = b"Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nModuleNotFoundError: No module named 'turtle'\n";
    /// let request = HintRequest::new("python", Phase::Run)
    ///     .with_outcome(Outcome::Exited(1))
    ///     .with_output(b"", stderr);
    /// assert_eq!(engine.hints(&request)[0].title, "There is no turtle here");
    /// # Ok::<(), evalx_hints::LoadError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the text is no valid file of rules, or names a value that nothing
    /// gives; the error says which rule is wrong and what is allowed.
    pub fn with_rules(mut self, language: &str, rules: &str) -> Result<Self, LoadError> {
        let rules = parse_rules(language, rules)?;
        RuleBook::new(rules.clone(), Default::default())?.check()?;
        let id = match find(language) {
            Some(index) => {
                self.books[index] = OnceLock::new();
                PROFILES[index].id.to_owned()
            }
            None => {
                self.strangers.insert(language.to_owned(), OnceLock::new());
                language.to_owned()
            }
        };
        // What was added last comes first.
        let all = self.added.entry(id).or_default();
        all.retain(|old| rules.iter().all(|new| new.id != old.id));
        all.splice(0..0, rules);
        Ok(self)
    }

    /// Sets where the pages of the categories are; a slug and `.md` follow.
    #[must_use]
    pub fn with_documentation(mut self, base: impl Into<String>) -> Self {
        self.documentation = Some(base.into());
        self
    }

    /// Compiles the rules of these languages now, in place of when they are
    /// first needed. Unknown names are ignored.
    pub fn warm_up<'a>(&self, languages: impl IntoIterator<Item = &'a str>) {
        for language in languages {
            self.book(language);
        }
    }

    /// The ids of the languages that have rules of their own.
    pub fn languages() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|profile| profile.id)
    }

    /// The rules of a language and what it is made of.
    pub(crate) fn book(&self, language: &str) -> (&RuleBook, &'static Profile) {
        static STRANGER: Profile = UNKNOWN;
        let found = find(language);
        let profile = found.map_or(&STRANGER, |index| &PROFILES[index]);
        let cell = match found {
            Some(index) => &self.books[index],
            None => self.strangers.get(language).unwrap_or(&self.books[PROFILES.len()]),
        };
        let id = if found.is_some() { profile.id } else { language };
        let book = cell.get_or_init(|| {
            let added = self.added.get(id).map(Vec::as_slice).unwrap_or_default();
            builtin::book(profile.folders, added)
        });
        (book, profile)
    }

    /// What went wrong, the root cause first.
    fn diagnostics(
        request: &HintRequest<'_>,
        profile: &Profile,
        facts: &Facts,
        source: &Source<'_>,
    ) -> Vec<Diagnostic> {
        if let Some(verdict) = facts.supervisor() {
            return vec![verdict];
        }
        let stderr = clean(request.stderr);
        let stdout = clean(request.stdout);
        let report = Report {
            phase: request.phase,
            stderr: &stderr,
            stdout: &stdout,
            source_file: request.source_file,
            source: source.text(),
            exit: facts.exit,
            signal: facts.signal,
        };
        let mut found = profile.parsers.parse(&report);
        found.retain(|diagnostic| diagnostic.severity == Severity::Error);
        found.truncate(DIAGNOSTICS);
        match request.phase {
            Phase::Run if found.is_empty() => {
                let said = facts.exit.and_then(|_| system_error(&stderr));
                said.or_else(|| facts.end()).into_iter().collect()
            }
            _ => found,
        }
    }
}

impl Default for HintEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HintEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compiled = self.books.iter().filter(|book| book.get().is_some()).count();
        f.debug_struct("HintEngine")
            .field("languages", &PROFILES.len())
            .field("compiled", &compiled)
            .field("added", &self.added.values().map(Vec::len).sum::<usize>())
            .finish()
    }
}

impl HintProvider for HintEngine {
    fn hints(&self, request: &HintRequest<'_>) -> Vec<Hint> {
        let facts = Facts::of(request);
        if facts.is_success() {
            return Vec::new();
        }
        let (book, profile) = self.book(request.language);
        let source = Source::new(request.source);
        let named = facts.named();
        let scene = Scene {
            book,
            source: &source,
            source_file: request.source_file,
            facts: &named,
            documentation: self.documentation.as_deref(),
        };
        let mut hints: Vec<Hint> = Vec::new();
        for diagnostic in Self::diagnostics(request, profile, &facts, &source) {
            if hints.len() == MOST {
                break;
            }
            if let Some(mut hint) = scene.explain(&diagnostic).filter(|hint| !follows(hint, &hints)) {
                // Later ones may follow from the first in a way not seen here.
                hint.confidence /= u8::try_from(hints.len()).map_or(1.0, |before| f32::from(before) + 1.0);
                hints.push(hint);
            }
        }
        hints
    }
}

/// What a program says with the system's own words before it gives up:
/// `words.dat: No such file or directory`.
fn system_error(stderr: &str) -> Option<Diagnostic> {
    let last = stderr.lines().rfind(|line| !line.trim().is_empty())?;
    let known = SYSTEM_ERRORS.iter().any(|words| last.trim_end_matches(['.', ' ', ')']).ends_with(words));
    known.then(|| Diagnostic::new("errno", "", last))
}

/// How the C library words the errors that matter here.
const SYSTEM_ERRORS: &[&str] = &[
    "No such file or directory",
    "no such file or directory",
    "Permission denied",
    "permission denied",
    "Is a directory",
    "Not a directory",
    "Cannot allocate memory",
    "Read-only file system",
    "Operation not permitted",
];

/// Whether a hint says what follows from one before it.
fn follows(hint: &Hint, before: &[Hint]) -> bool {
    before.iter().any(|first| {
        let same_place = hint.line == first.line;
        let same_name = hint.identifier.is_some() && hint.identifier == first.identifier;
        let same_rule = hint.rule == first.rule && hint.identifier == first.identifier;
        // Where a parser lost its way, nothing it says after that counts.
        let lost = first.category.starts_with("syntax-") || first.category == "missing-module";
        same_place || same_name || same_rule || lost
    })
}
