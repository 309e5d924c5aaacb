//! [`RuleBook`]: the rules and words of one language, checked and compiled.

use std::collections::HashSet;
use std::sync::OnceLock;

use regex::{Captures, Regex, RegexBuilder};

use crate::category::Category;
use crate::error::{LoadError, Problem};
use crate::needle::Needles;
use crate::rule::{Rule, RuleFile};
use crate::template::Template;
use crate::values::{captured_by, fill, names};
use crate::vocabulary::Vocabulary;

/// How large a compiled pattern may become, in bytes.
const PATTERN: usize = 8 << 20;

/// The rules and words of one language.
#[derive(Debug)]
pub(crate) struct RuleBook {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) vocabulary: Vocabulary,
}

/// A rule with its texts parsed; its patterns are compiled when first used.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) rule: Rule,
    pub(crate) category: &'static Category,
    pub(crate) title: Template,
    pub(crate) explanation: Template,
    pub(crate) suggestions: Vec<Template>,
    pub(crate) identifier: Template,
    pub(crate) messages: Vec<LazyPattern>,
    pub(crate) detail: Option<LazyPattern>,
    pub(crate) line: Option<LazyPattern>,
    pub(crate) before: Option<LazyPattern>,
    pub(crate) unless: Option<LazyPattern>,
}

/// A pattern that is compiled when it is first needed.
#[derive(Debug)]
pub(crate) struct LazyPattern {
    text: String,
    needles: Needles,
    compiled: OnceLock<Option<Regex>>,
}

impl LazyPattern {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), needles: Needles::of(text), compiled: OnceLock::new() }
    }

    /// Whether it may match, which is found out without compiling it.
    pub(crate) fn may_match(&self, text: &str) -> bool {
        self.needles.allow(text)
    }

    /// Its match, with the pattern, which knows its groups by name.
    pub(crate) fn captures<'t>(&self, text: &'t str) -> Option<(&Regex, Captures<'t>)> {
        let pattern = self.may_match(text).then(|| self.get())??;
        Some((pattern, pattern.captures(text)?))
    }

    /// The pattern; none if it is invalid, which loading a host's rules and the
    /// tests of the built-in ones find out.
    pub(crate) fn get(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| compile(&self.text).ok()).as_ref()
    }
}

/// Compiles a pattern; `.` does not match a line's end, `^` and `$` match at lines.
pub(crate) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).multi_line(true).size_limit(PATTERN).build()
}

/// Reads a file of rules and checks everything but the patterns.
pub(crate) fn parse_rules(language: &str, text: &str) -> Result<Vec<Rule>, LoadError> {
    let file: RuleFile =
        toml::from_str(text).map_err(|source| Problem::Format { language: language.to_owned(), source })?;
    for rule in &file.rules {
        CompiledRule::new(rule.clone())?;
    }
    Ok(file.rules)
}

impl RuleBook {
    /// The rules of these files, in this order: where two match, the earlier wins.
    pub(crate) fn new(rules: Vec<Rule>, vocabulary: Vocabulary) -> Result<Self, LoadError> {
        let rules: Vec<CompiledRule> = rules.into_iter().map(CompiledRule::new).collect::<Result<_, _>>()?;
        Ok(Self { rules, vocabulary })
    }

    /// The rules whose message patterns may match this message, in order.
    pub(crate) fn candidates(&self, message: &str) -> impl Iterator<Item = &CompiledRule> {
        self.rules.iter().filter(move |rule| {
            rule.messages.is_empty() || rule.messages.iter().any(|pattern| pattern.may_match(message))
        })
    }

    /// Checks what else is found wrong only when a rule is used: its patterns,
    /// and the values that it names.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        self.rules.iter().try_for_each(CompiledRule::check)
    }
}

impl CompiledRule {
    pub(crate) fn new(rule: Rule) -> Result<Self, LoadError> {
        let wrong = |what: String| LoadError::rule(&rule.id, what);
        let category = Category::named(&rule.category).ok_or_else(|| {
            let known: Vec<_> = Category::all().iter().map(|category| category.slug).collect();
            wrong(format!("`{}` is no category; there are {}", rule.category, known.join(", ")))
        })?;
        if rule.id.is_empty() || !rule.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.+".contains(&b))
        {
            return Err(wrong("its id may have letters, digits and any of `/-_.+`".to_owned()));
        }
        if !(0.0..=1.0).contains(&rule.confidence) {
            return Err(wrong(format!("confidence is {}, and must be from 0 to 1", rule.confidence)));
        }
        let template = |text: &str| Template::parse(text).map_err(&wrong);
        let lazy = |text: &Option<String>| text.as_deref().map(LazyPattern::new);
        Ok(Self {
            category,
            title: template(&rule.title)?,
            explanation: template(&rule.explanation)?,
            suggestions: rule.suggestion.0.iter().map(|text| template(text)).collect::<Result<_, _>>()?,
            identifier: template(rule.identifier.as_deref().unwrap_or("{name}"))?,
            messages: rule.message.0.iter().map(|text| LazyPattern::new(text)).collect(),
            detail: lazy(&rule.detail),
            line: lazy(&rule.line),
            before: lazy(&rule.before),
            unless: lazy(&rule.unless),
            rule,
        })
    }

    fn check(&self) -> Result<(), LoadError> {
        let rule = &self.rule;
        let compiled = |field, pattern: &str| {
            compile(pattern).map_err(|source| Problem::Pattern {
                rule: rule.id.clone(),
                field,
                source: Box::new(source),
            })
        };
        let mut values: HashSet<String> = names().map(str::to_owned).collect();
        let single = [("detail", &rule.detail), ("line", &rule.line), ("before", &rule.before)];
        let single = single.into_iter().filter_map(|(field, text)| Some((field, text.as_ref()?)));
        for (field, text) in rule.message.0.iter().map(|text| ("match", text)).chain(single) {
            values.extend(captured_by(&compiled(field, text)?).map(str::to_owned));
        }
        // Those of the program are patterns once their values are filled in.
        if let Some(text) = &rule.program {
            let pattern = compiled("program", &self.filled(text, &values)?)?;
            values.extend(captured_by(&pattern).map(str::to_owned));
        }
        // What must not match captures nothing.
        if let Some(text) = &rule.program_without {
            compiled("program_without", &self.filled(text, &values)?)?;
        }
        if let Some(text) = &rule.unless {
            compiled("unless", text)?;
        }
        // Unless it is given, the identifier may be unknown.
        let identifier = rule.identifier.is_some().then_some(&self.identifier);
        let texts = [&self.title, &self.explanation].into_iter().chain(&self.suggestions).chain(identifier);
        let needed = rule.needs.0.iter().map(String::as_str);
        texts.flat_map(Template::values).chain(needed).try_for_each(|name| self.exists(name, &values))
    }

    /// A pattern of the program as it may become, of values of these names.
    fn filled(&self, text: &str, values: &HashSet<String>) -> Result<String, LoadError> {
        fill(text, |name| self.exists(name, values).map(|()| "value".to_owned()))
    }

    /// Refuses a name that is none of a value.
    fn exists(&self, name: &str, values: &HashSet<String>) -> Result<(), LoadError> {
        if values.contains(name) {
            return Ok(());
        }
        let known = names().collect::<Vec<_>>().join(", ");
        let what = format!("nothing gives `{name}`: no pattern captures it, and the engine knows {known}");
        Err(LoadError::rule(&self.rule.id, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a rule is refused that has these lines besides what each must have.
    fn refusal(lines: &str) -> Option<String> {
        let text = format!("[[rule]]\nid = 'a'\ncategory = 'invalid-value'\n{lines}");
        let checked = parse_rules("c", &text)
            .and_then(|rules| RuleBook::new(rules, Vocabulary::default()))
            .and_then(|book| book.check());
        checked.err().map(|error| error.to_string())
    }

    #[test]
    fn values_are_captured_or_known() {
        for lines in [
            "title = '{name} {kind} {?of {similar}?}'\nmatch = ['(?<name>x)', '(?<name2>y)']",
            "title = '{other}'\nprogram = '(?<other>f) <message>'\nneeds = 'exit'",
            "title = '{ no value } of {}'\nprogram_without = '<signal>'",
        ] {
            assert_eq!(refusal(lines), None, "{lines}");
        }
    }

    #[test]
    fn a_name_that_nothing_gives_is_refused() {
        for lines in [
            "title = '{nmae}'\nmatch = '(?<name>x)'",
            "title = 't'\nexplanation = '{?of {nmae}?}'",
            "title = 't'\nsuggestion = ['{message}', '{nmae}']",
            "title = 't'\nidentifier = '{nmae}'",
            "title = 't'\nneeds = ['kind', 'nmae']",
            "title = 't'\nprogram = 'def <nmae>'",
            "title = '{nmae}'\nunless = '(?<nmae>x)'\nprogram_without = '(?<nmae>x)'",
        ] {
            let refusal = refusal(lines).unwrap_or_default();
            assert!(refusal.starts_with("rule `a`: nothing gives `nmae`"), "{lines}: {refusal}");
            assert!(refusal.contains("similar_member"), "{lines}: {refusal}");
        }
        assert_eq!(
            refusal("title = 't'\nprogram = '(<kind>'").unwrap_or_default(),
            "rule `a`: program is no valid pattern"
        );
    }
}
