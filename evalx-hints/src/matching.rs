//! Whether a rule applies to a diagnostic, and what the hint then says.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use evalx_core::Hint;
use regex::{Captures, Regex};

use crate::diagnostic::Diagnostic;
use crate::rulebook::{CompiledRule, RuleBook, compile};
use crate::similar::most_similar;
use crate::source::Source;
use crate::text::{base_name, clip};
use crate::vocabulary::Vocabulary;

/// How long the text of a hint may become, whatever is inserted.
const TEXT: usize = 560;

/// What rules are matched against, besides the diagnostic.
pub(crate) struct Scene<'a> {
    pub(crate) book: &'a RuleBook,
    pub(crate) source: &'a Source<'a>,
    pub(crate) source_file: &'a str,
    /// What the supervisor knows, by name: `exit`, `signal`.
    pub(crate) facts: &'a [(&'static str, String)],
    /// Where the pages of the categories are.
    pub(crate) documentation: Option<&'a str>,
}

impl Scene<'_> {
    /// The hint of the first rule that applies.
    pub(crate) fn explain(&self, diagnostic: &Diagnostic) -> Option<Hint> {
        let line = self.line_of(diagnostic);
        self.book.candidates(&diagnostic.message).find_map(|rule| {
            let values = self.apply(rule, diagnostic, &line)?;
            self.hint(rule, diagnostic, &values)
        })
    }

    fn line_of<'d>(&'d self, diagnostic: &'d Diagnostic) -> Cow<'d, str> {
        let own = self.source_file.is_empty()
            || diagnostic.file.is_empty()
            || base_name(&diagnostic.file) == base_name(self.source_file);
        match self.source.line(diagnostic.line).filter(|_| own) {
            Some(line) => Cow::Borrowed(clip(line, 4096)),
            None => Cow::Borrowed(&diagnostic.snippet),
        }
    }

    /// The values that the rule's patterns captured, if all its conditions hold.
    fn apply<'d>(
        &'d self,
        compiled: &CompiledRule,
        diagnostic: &'d Diagnostic,
        line: &'d str,
    ) -> Option<Values<'d>> {
        let rule = &compiled.rule;
        let one_of =
            |allowed: &[String], value: &str| allowed.is_empty() || allowed.iter().any(|a| a == value);
        if !one_of(&rule.tool.0, diagnostic.tool)
            || !is_of_kind(&rule.kind.0, &diagnostic.kind)
            || rule.in_library.is_some_and(|inside| inside != diagnostic.in_library)
        {
            return None;
        }
        let mut values = Values::new(self, diagnostic, line);
        if !compiled.messages.is_empty() {
            let captured = compiled.messages.iter().find_map(|pattern| pattern.captures(&diagnostic.message));
            let (pattern, captures) = captured?;
            values.take(pattern, &captures);
        }
        if let Some(unless) = &compiled.unless
            && (unless.captures(&diagnostic.message).is_some()
                || unless.captures(&diagnostic.detail).is_some())
        {
            return None;
        }
        let before = match &compiled.before {
            Some(_) => self.source.line_before(diagnostic.line)?,
            None => "",
        };
        for (pattern, text) in [
            (&compiled.detail, diagnostic.detail.as_str()),
            (&compiled.line, line),
            (&compiled.before, before),
        ] {
            if let Some(pattern) = pattern {
                let (pattern, captures) = pattern.captures(text)?;
                values.take(pattern, &captures);
            }
        }
        if let Some(program) = &rule.program {
            let pattern = values.pattern(program)?;
            let captures = pattern.captures(self.source.text())?;
            values.take(&pattern, &captures);
        }
        if let Some(program) = &rule.program_without
            && (self.source.is_empty() || values.pattern(program)?.is_match(self.source.text()))
        {
            return None;
        }
        rule.needs.0.iter().all(|name| values.get(name).is_some()).then_some(values)
    }

    fn hint(&self, compiled: &CompiledRule, diagnostic: &Diagnostic, values: &Values<'_>) -> Option<Hint> {
        let value = |name: &str| values.get(name);
        let mut hint =
            Hint::new(&compiled.rule.id, compiled.category.slug, tidy(&compiled.title.render(&value)?));
        hint.explanation = tidy(&compiled.explanation.render(&value)?);
        hint.suggestion = compiled.suggestions.iter().find_map(|text| Some(tidy(&text.render(&value)?)));
        hint.identifier = compiled.identifier.render(&value).filter(|name| !name.is_empty());
        hint.confidence = compiled.rule.confidence;
        self.place(&mut hint, compiled, diagnostic, values);
        if let Some(base) = self.documentation {
            hint.documentation = Some(format!("{base}{}.md", compiled.category.slug));
        }
        shorten(&mut hint);
        Some(hint)
    }

    /// Sets where to look: what the rule captured, the frame it asks for, or
    /// else the place of the diagnostic.
    fn place(&self, hint: &mut Hint, compiled: &CompiledRule, diagnostic: &Diagnostic, values: &Values<'_>) {
        if compiled.rule.placeless {
            return;
        }
        let frame = match compiled.rule.frame {
            0 => None,
            number => {
                // Counted from the one that the diagnostic points to.
                let at = diagnostic.frames.iter().position(|frame| frame.line == diagnostic.line);
                diagnostic.frames.get(at.unwrap_or(0) + number)
            }
        };
        let (file, line, column) = match (values.captured("line").and_then(|line| line.parse().ok()), frame) {
            (Some(line), _) => (diagnostic.file.as_str(), line, 0),
            (None, Some(frame)) => (frame.file.as_str(), frame.line, 0),
            (None, None) => (diagnostic.file.as_str(), diagnostic.line, diagnostic.column),
        };
        if line > 0 {
            hint.line = Some(line);
            hint.column = (column > 0).then_some(column);
            let own = base_name(file) == base_name(self.source_file);
            let file = if own { base_name(file) } else { file };
            hint.file = (!file.is_empty()).then(|| clip(file, 200).to_owned());
        }
    }
}

/// Whether a kind is among these, of which one that ends in `*` stands for all
/// that begin so.
fn is_of_kind(kinds: &[String], kind: &str) -> bool {
    let fits = |allowed: &String| match allowed.strip_suffix('*') {
        Some(beginning) => kind.starts_with(beginning),
        None => allowed == kind,
    };
    kinds.is_empty() || kinds.iter().any(fits)
}

/// Mends what an omitted part leaves behind: spaces that meet, a sentence that
/// begins with a small letter.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c != ' ' || !tidy.ends_with(' ') {
            tidy.push(c);
        }
    }
    if let Some(first) = tidy.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    // A message that is quoted at the end of a sentence may bring its own stop.
    tidy.replace(".. ", ". ").trim_end_matches("..").to_owned() + if tidy.ends_with("..") { "." } else { "" }
}

/// Cuts what is longer than a hint may be, the least important first.
fn shorten(hint: &mut Hint) {
    let length = |hint: &Hint| {
        hint.title.len() + hint.explanation.len() + hint.suggestion.as_ref().map_or(0, String::len)
    };
    if length(hint) > TEXT {
        let room = TEXT.saturating_sub(hint.title.len() + hint.explanation.len());
        hint.suggestion = hint.suggestion.take().map(|text| clip(&text, room).to_owned());
    }
    if length(hint) > TEXT {
        let room = TEXT.saturating_sub(hint.title.len());
        hint.explanation = clip(&hint.explanation, room).to_owned();
    }
}

/// What a rule's texts may name.
struct Values<'a> {
    scene: &'a Scene<'a>,
    diagnostic: &'a Diagnostic,
    line: &'a str,
    captured: HashMap<String, String>,
    names: OnceCell<Vec<&'a str>>,
}

impl<'a> Values<'a> {
    fn new(scene: &'a Scene<'a>, diagnostic: &'a Diagnostic, line: &'a str) -> Self {
        Self { scene, diagnostic, line, captured: HashMap::new(), names: OnceCell::new() }
    }

    /// Takes the named groups of a match; the first to capture a name keeps it.
    fn take(&mut self, pattern: &Regex, captures: &Captures<'_>) {
        for name in pattern.capture_names().flatten() {
            if let Some(found) = captures.name(name).filter(|found| !found.is_empty()) {
                // A name that is given in alternatives: `name`, `name2`.
                let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
                self.captured.entry(name.to_owned()).or_insert_with(|| found.as_str().trim().to_owned());
            }
        }
    }

    fn captured(&self, name: &str) -> Option<&str> {
        self.captured.get(name).map(String::as_str)
    }

    fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = self.captured(name) {
            return Some(value.to_owned());
        }
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let vocabulary = &self.scene.book.vocabulary;
        match name {
            "kind" => known(&self.diagnostic.kind),
            "message" => known(&self.diagnostic.message),
            "function" => known(self.diagnostic.function.trim_end_matches("()")),
            "file" => known(base_name(&self.diagnostic.file)),
            "source_file" => known(base_name(self.scene.source_file)),
            "code" => known(self.line.trim()),
            // The module whose name the learner's file has taken.
            "shadowing" => {
                let stem = base_name(self.scene.source_file).split('.').next()?;
                self.captured("name").filter(|name| *name == stem).map(str::to_owned)
            }
            "line" => (self.diagnostic.line > 0).then(|| self.diagnostic.line.to_string()),
            "import" => self.captured("name").and_then(|name| vocabulary.imports.get(name)).cloned(),
            "foreign" => self.captured("name").and_then(|name| vocabulary.foreign.get(name)).cloned(),
            "foreign_member" => {
                self.captured("name").and_then(|name| vocabulary.foreign_members.get(name)).cloned()
            }
            "package" => self
                .captured("name")
                .map(|name| vocabulary.packages.get(name).cloned().unwrap_or_else(|| name.to_owned())),
            "module" => self
                .captured("name")
                .and_then(|name| most_similar(name, words(&vocabulary.modules)))
                .map(str::to_owned),
            "similar" => {
                self.similar(vocabulary, &[&vocabulary.keywords, &vocabulary.names, &vocabulary.types])
            }
            "similar_member" => self.similar(vocabulary, &[&vocabulary.members]),
            "similar_type" => self.similar(vocabulary, &[&vocabulary.types, &vocabulary.keywords]),
            "similar_keyword" => self
                .captured("name")
                .filter(|name| !vocabulary.keywords.iter().any(|keyword| keyword == name))
                .and_then(|name| most_similar(name, words(&vocabulary.keywords)))
                .map(str::to_owned),
            "recursive" => self.scene.source.recursive_function().map(|(name, _)| name.to_owned()),
            "endless" => self
                .scene
                .source
                .recursive_function()
                .filter(|(_, ends)| !ends)
                .map(|(name, _)| name.to_owned()),
            // Known if the name stands behind a dot in the line.
            "after_dot" => {
                self.captured("name").filter(|name| stands_behind_dot(self.line, name)).map(str::to_owned)
            }
            "inside_call" => call_around(self.line, self.diagnostic.column).map(str::to_owned),
            // Known if the column is where a type stands: `x: Name`.
            "in_type_position" => {
                let column = usize::try_from(self.diagnostic.column).ok()?.checked_sub(1)?;
                let before = self.line.get(..column)?.trim_end();
                let position =
                    before.ends_with([':', '<', '|']) || TYPE_WORDS.iter().any(|word| before.ends_with(word));
                position.then(|| "type".to_owned())
            }
            // In Go a type follows its variable: `x name`, `[]name`, `*name`.
            "in_type_position_go" => {
                let column = usize::try_from(self.diagnostic.column).ok()?.checked_sub(1)?;
                let before = self.line.get(..column)?;
                let position = before.ends_with([']', '*'])
                    || before.ends_with(' ') && before.trim_end().ends_with(|c| is_name(c) || c == ')');
                let word = before.trim_end().rsplit(|c| !is_name(c)).next().unwrap_or_default();
                (position
                    && !["return", "if", "for", "range", "case", "switch", "go", "defer", "else"]
                        .contains(&word))
                .then(|| "type".to_owned())
            }
            // The name at the column, or behind the dot there.
            "at_column" => {
                let column = usize::try_from(self.diagnostic.column).ok()?.checked_sub(1)?;
                let behind = self.line.get(column..)?.trim_start_matches(['.', ' ', '?', '-', '>', ':']);
                known(&behind[..behind.find(|c| !is_name(c)).unwrap_or(behind.len())])
            }
            "call_at_column" => {
                let column = usize::try_from(self.diagnostic.column).ok()?.checked_sub(1)?;
                let (called, _) = self.line.get(column..)?.split_once('(')?;
                let called = called.split("::<").next().unwrap_or(called).trim();
                let name = called.rsplit(|c| !is_name(c)).next()?;
                known(name)
            }
            // Known if the column is where a declaration begins: `(Name x`.
            "starts_declaration" => {
                let column = usize::try_from(self.diagnostic.column).ok()?.checked_sub(1)?;
                let before = self.line.get(..column)?.trim_end().trim_end_matches("const").trim_end();
                (before.is_empty() || before.ends_with(['(', ',', '<', '{', ';'])).then(|| "type".to_owned())
            }
            // The bracket that the line of code before leaves open.
            "open_before" => {
                let before = self.scene.source.line_before(self.diagnostic.line)?;
                brackets(before).ok().flatten().map(str::to_owned)
            }
            // Known if something follows the column on its line.
            "follows_on_line" => {
                let column = usize::try_from(self.diagnostic.column).ok()?.checked_sub(1)?;
                let behind = self.line.get(column..)?.trim();
                known(behind.split("//").next()?.split("/*").next()?)
            }
            "extra_bracket" => brackets(self.line).err().map(str::to_owned),
            "open_bracket" => brackets(self.line).ok().flatten().map(str::to_owned),
            "balanced" => brackets(self.line).is_ok_and(|open| open.is_none()).then(|| "balanced".to_owned()),
            _ => self.scene.facts.iter().find(|(fact, _)| *fact == name).map(|(_, value)| value.clone()),
        }
    }

    /// What the tool itself suggests, or else the most similar name of the
    /// program or of the language.
    fn similar(&self, vocabulary: &Vocabulary, lists: &[&Vec<String>]) -> Option<String> {
        let name = self.captured("name")?;
        if let Some(meant) = self.captured("meant").filter(|meant| *meant != name) {
            return Some(meant.to_owned());
        }
        let own = self.names.get_or_init(|| self.scene.source.names()).iter().copied();
        let standard = lists.iter().flat_map(|list| words(list));
        let importable = vocabulary.imports.keys().map(String::as_str).filter(|_| lists.len() > 1);
        most_similar(name, own.chain(standard).chain(importable)).map(str::to_owned)
    }

    /// A pattern of the program, with values in their places.
    fn pattern(&self, text: &str) -> Option<Regex> {
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
                    pattern.push_str(&regex::escape(&self.get(&inside[..end])?));
                    rest = &inside[end + 1..];
                }
                _ => {
                    pattern.push('<');
                    rest = inside;
                }
            }
        }
        pattern.push_str(rest);
        compile(&pattern).ok()
    }
}

/// What a type follows, besides a colon.
const TYPE_WORDS: [&str; 5] = [" as", " extends", " implements", " is", " keyof"];

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a name is looked up in something: `x.name`, `S::name`.
fn stands_behind_dot(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let ends = !line[at + name.len()..].starts_with(is_name);
        let before = &line[..at];
        // A space behind `->` makes it the arrow of a lambda.
        ends && (before.trim_end().ends_with('.') || before.ends_with("::") || before.ends_with("->"))
    })
}

/// The function whose arguments the column is among.
fn call_around(line: &str, column: u32) -> Option<&str> {
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let before = line.get(..column)?;
    let mut closed = 0;
    for (at, c) in before.char_indices().rev() {
        match c {
            ')' => closed += 1,
            '(' if closed > 0 => closed -= 1,
            '(' => {
                let name = before[..at].trim_end();
                let start = name
                    .rfind(|c| !is_name(c))
                    .map_or(0, |at| at + name[at..].chars().next().map_or(1, char::len_utf8));
                let name = &name[start..];
                return Some(name)
                    .filter(|name| !name.is_empty() && !["if", "while", "for", "switch"].contains(name));
            }
            _ => {}
        }
    }
    None
}

/// The bracket of a line that is still open at its end, or as an error the one
/// that closes nothing; braces go over lines and do not count.
fn brackets(line: &str) -> Result<Option<&'static str>, &'static str> {
    let mut open = Vec::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\'' | '`' => rest = rest.find(c).map_or(rest, |end| &rest[end + c.len_utf8()..]),
            '(' => open.push("("),
            '[' => open.push("["),
            ')' if open.pop() != Some("(") => return Err(")"),
            ']' if open.pop() != Some("[") => return Err("]"),
            '/' if rest.starts_with('/') => break,
            _ => {}
        }
    }
    Ok(open.pop())
}

fn words(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().map(String::as_str)
}
