//! [`Values`]: what the texts of a rule may name, and where each comes from.

use std::cell::OnceCell;
use std::collections::HashMap;

use regex::{Captures, Regex};

use crate::diagnostic::Diagnostic;
use crate::matching::Scene;
use crate::rulebook::compile;
use crate::similar::most_similar;
use crate::spot::{Spot, brackets, stands_behind_dot};
use crate::text::base_name;
use crate::vocabulary::Vocabulary;

/// How a value is found; not at all where it is unknown.
type Find = fn(&Values<'_>) -> Option<String>;

/// What the engine knows, besides what the patterns of a rule capture.
const KNOWN: &[(&str, Find)] = &[
    // Of the diagnostic.
    ("kind", |of| known(&of.diagnostic.kind)),
    ("message", |of| known(&of.diagnostic.message)),
    ("function", |of| known(of.diagnostic.function.trim_end_matches("()"))),
    ("file", |of| known(base_name(&of.diagnostic.file))),
    ("line", |of| (of.diagnostic.line > 0).then(|| of.diagnostic.line.to_string())),
    // Of the program's end.
    ("exit", |of| of.fact("exit")),
    ("signal", |of| of.fact("signal")),
    ("syscall", |of| of.fact("syscall")),
    // Of the program.
    ("source_file", |of| known(base_name(of.scene.source_file))),
    ("recursive", |of| of.scene.source.recursive_function().and_then(|(name, _)| known(name))),
    ("endless", |of| {
        let (name, ends) = of.scene.source.recursive_function()?;
        known(name).filter(|_| !ends)
    }),
    // The bracket that the line of code before leaves open.
    ("open_before", |of| known(brackets(of.scene.source.line_before(of.diagnostic.line)?).ok()??)),
    // Of the line.
    ("code", |of| known(of.line.trim())),
    ("extra_bracket", |of| known(brackets(of.line).err()?)),
    ("open_bracket", |of| known(brackets(of.line).ok()??)),
    ("balanced", |of| known_if(brackets(of.line) == Ok(None))),
    // Of the column in it.
    ("inside_call", |of| known(of.spot().call_around()?)),
    ("at_column", |of| known(of.spot().name()?)),
    ("call_at_column", |of| known(of.spot().called()?)),
    ("follows_on_line", |of| known(of.spot().rest()?)),
    ("in_type_position", |of| known_if(of.spot().is_of_type())),
    ("in_type_position_go", |of| known_if(of.spot().is_of_type_in_go())),
    ("starts_declaration", |of| known_if(of.spot().begins_declaration())),
    // Of the name that was captured.
    ("after_dot", |of| known(of.name().filter(|name| stands_behind_dot(of.line, name))?)),
    // The module whose name the learner's file has taken.
    ("shadowing", |of| {
        let stem = base_name(of.scene.source_file).split('.').next()?;
        known(of.name().filter(|name| *name == stem)?)
    }),
    ("import", |of| of.words().imports.get(of.name()?).cloned()),
    ("foreign", |of| of.words().foreign.get(of.name()?).cloned()),
    ("foreign_member", |of| of.words().foreign_members.get(of.name()?).cloned()),
    ("package", |of| {
        let name = of.name()?;
        of.words().packages.get(name).cloned().or_else(|| known(name))
    }),
    ("module", |of| known(most_similar(of.name()?, each(&of.words().modules))?)),
    ("similar", |of| {
        let words = of.words();
        of.similar(&[&words.keywords, &words.names, &words.types])
    }),
    ("similar_member", |of| of.similar(&[&of.words().members])),
    ("similar_type", |of| of.similar(&[&of.words().types, &of.words().keywords])),
    ("similar_keyword", |of| {
        let (name, keywords) = (of.name()?, &of.words().keywords);
        if keywords.iter().any(|keyword| keyword == name) {
            return None;
        }
        known(most_similar(name, each(keywords))?)
    }),
];

/// The names of all that the engine knows.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// The names that a pattern's groups give values to.
pub(crate) fn captured_by(pattern: &Regex) -> impl Iterator<Item = &str> {
    pattern.capture_names().flatten().map(value_of)
}

/// The value that a group is for; one that is given in alternatives has a group
/// in each: `name`, `name2`.
fn value_of(group: &str) -> &str {
    group.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// What a rule's texts may name.
pub(crate) struct Values<'a> {
    scene: &'a Scene<'a>,
    diagnostic: &'a Diagnostic,
    line: &'a str,
    captured: HashMap<String, String>,
    names: OnceCell<Vec<&'a str>>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(scene: &'a Scene<'a>, diagnostic: &'a Diagnostic, line: &'a str) -> Self {
        Self { scene, diagnostic, line, captured: HashMap::new(), names: OnceCell::new() }
    }

    /// Takes the named groups of a match; the first to capture a name keeps it.
    pub(crate) fn take(&mut self, pattern: &Regex, captures: &Captures<'_>) {
        for group in pattern.capture_names().flatten() {
            if let Some(found) = captures.name(group).filter(|found| !found.is_empty()) {
                let value = || found.as_str().trim().to_owned();
                self.captured.entry(value_of(group).to_owned()).or_insert_with(value);
            }
        }
    }

    pub(crate) fn captured(&self, name: &str) -> Option<&str> {
        self.captured.get(name).map(String::as_str)
    }

    /// A value, if it is known here; what was captured is more than what the
    /// engine knows.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = self.captured(name) {
            return Some(value.to_owned());
        }
        let (_, find) = KNOWN.iter().find(|(known, _)| *known == name)?;
        find(self)
    }

    /// A pattern of the program, with values in their places.
    pub(crate) fn pattern(&self, text: &str) -> Option<Regex> {
        let filled = fill(text, |name| self.get(name).ok_or(()));
        compile(&filled.ok()?).ok()
    }

    /// The name that the failure is about.
    fn name(&self) -> Option<&str> {
        self.captured("name")
    }

    fn fact(&self, name: &str) -> Option<String> {
        self.scene.facts.iter().find(|(fact, _)| *fact == name).map(|(_, value)| value.clone())
    }

    fn spot(&self) -> Spot<'a> {
        Spot::new(self.line, self.diagnostic.column)
    }

    fn words(&self) -> &'a Vocabulary {
        &self.scene.book.vocabulary
    }

    /// What the tool itself suggests, or else the most similar name of the
    /// program or of the language.
    fn similar(&self, lists: &[&Vec<String>]) -> Option<String> {
        let name = self.name()?;
        if let Some(meant) = self.captured("meant").filter(|meant| *meant != name) {
            return Some(meant.to_owned());
        }
        let own = self.names.get_or_init(|| self.scene.source.names()).iter().copied();
        let standard = lists.iter().flat_map(|list| each(list));
        let importable = self.words().imports.keys().map(String::as_str).filter(|_| lists.len() > 1);
        most_similar(name, own.chain(standard).chain(importable)).map(str::to_owned)
    }
}

/// Fills values into a pattern of the program: `def <name>`.
pub(crate) fn fill<E>(text: &str, value: impl Fn(&str) -> Result<String, E>) -> Result<String, E> {
    let mut pattern = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        pattern.push_str(&rest[..at]);
        let inside = &rest[at + 1..];
        let end = inside
            .find('>')
            .filter(|end| inside[..*end].bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        match end {
            // Not the name of a group: `(?<name>…)`.
            Some(end) if end > 0 && !pattern.ends_with("(?") => {
                pattern.push_str(&regex::escape(&value(&inside[..end])?));
                rest = &inside[end + 1..];
            }
            _ => {
                pattern.push('<');
                rest = inside;
            }
        }
    }
    pattern.push_str(rest);
    Ok(pattern)
}

fn known(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A value that says only that something holds.
fn known_if(holds: bool) -> Option<String> {
    holds.then(|| "yes".to_owned())
}

fn each(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(String::as_str)
}
