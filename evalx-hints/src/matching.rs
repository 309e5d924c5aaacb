//! Whether a rule applies to a diagnostic, and what the hint then says.

use std::borrow::Cow;

use evalx_core::Hint;

use crate::diagnostic::Diagnostic;
use crate::rulebook::{CompiledRule, RuleBook};
use crate::source::Source;
use crate::text::{base_name, clip};
use crate::values::Values;

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
