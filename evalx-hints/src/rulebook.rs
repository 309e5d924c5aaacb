//! [`RuleBook`]: the rules and words of one language, checked and compiled.

use std::sync::OnceLock;

use regex::bytes::{RegexSet, RegexSetBuilder};
use regex::{Regex, RegexBuilder};

use crate::category::Category;
use crate::error::{LoadError, Problem};
use crate::rule::{Rule, RuleFile};
use crate::template::Template;
use crate::vocabulary::Vocabulary;

/// How large a compiled pattern may become, in bytes.
const PATTERN: usize = 8 << 20;
/// How large all of a language's may become.
const PATTERNS: usize = 256 << 20;

/// The rules and words of one language.
#[derive(Debug)]
pub(crate) struct RuleBook {
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) vocabulary: Vocabulary,
    /// All patterns of messages, so that one pass finds who may match: on bytes,
    /// since the tables of Unicode would make it a hundred times as large.
    messages: RegexSet,
    /// For each pattern, its rule.
    owners: Vec<usize>,
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
    compiled: OnceLock<Option<Regex>>,
}

impl LazyPattern {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), compiled: OnceLock::new() }
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

/// A pattern on bytes that matches at least what this one matches: wherever it
/// may take a character beyond ASCII, this takes any bytes beyond ASCII.
fn bytewise(pattern: &str) -> String {
    const BEYOND: &str = r"|[\x80-\xFF]+)";
    let mut bytewise = String::with_capacity(2 * pattern.len());
    let mut in_class = false;
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(escaped @ ('w' | 'W' | 'D' | 'S')) if !in_class => {
                    bytewise.extend(["(?:\\", escaped.encode_utf8(&mut [0; 4]), BEYOND]);
                }
                // Where a word ends beyond ASCII, bytes can't tell.
                Some('b') if !in_class => {}
                Some(escaped) => bytewise.extend(['\\', escaped]),
                None => bytewise.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                bytewise.push_str("(?:[");
                for first in ['^', ']'] {
                    bytewise.extend(characters.next_if_eq(&first));
                }
            }
            ']' if in_class => {
                in_class = false;
                bytewise.push(']');
                bytewise.push_str(BEYOND);
            }
            '.' if !in_class => bytewise.extend(["(?:.", BEYOND]),
            // The alternative behind the class takes it.
            c if in_class && !c.is_ascii() => bytewise.push_str(r"\xFF"),
            c => bytewise.push(c),
        }
    }
    bytewise
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
        let mut owners = Vec::new();
        let mut patterns = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for pattern in &rule.messages {
                owners.push(index);
                patterns.push(pattern.text.as_str());
            }
        }
        let build = |patterns: Vec<String>, unicode: bool| {
            RegexSetBuilder::new(patterns).multi_line(true).unicode(unicode).size_limit(PATTERNS).build()
        };
        // A host's pattern may have what bytes can't say, such as `\p{L}`.
        let messages = build(patterns.iter().map(|pattern| bytewise(pattern)).collect(), false)
            .or_else(|_| build(patterns.iter().map(|pattern| (*pattern).to_owned()).collect(), true))
            .map_err(|source| Problem::Pattern {
                rule: "all of a language".to_owned(),
                field: "match",
                source: Box::new(source),
            })?;
        Ok(Self { rules, vocabulary, messages, owners })
    }

    /// The rules whose message patterns allow this message, in order.
    pub(crate) fn candidates(&self, message: &str) -> impl Iterator<Item = &CompiledRule> {
        let mut matched = vec![false; self.rules.len()];
        for pattern in self.messages.matches(message.as_bytes()) {
            matched[self.owners[pattern]] = true;
        }
        self.rules
            .iter()
            .zip(matched)
            .filter(|(rule, matched)| *matched || rule.messages.is_empty())
            .map(|(rule, _)| rule)
    }

    /// Compiles every pattern, so that an invalid one is found now.
    pub(crate) fn check_patterns(&self) -> Result<(), LoadError> {
        for rule in &self.rules {
            rule.check_patterns()?;
        }
        Ok(())
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

    fn check_patterns(&self) -> Result<(), LoadError> {
        let message = self.messages.iter().map(|pattern| ("match", pattern.text.as_str()));
        let single = [
            ("detail", &self.rule.detail),
            ("line", &self.rule.line),
            ("before", &self.rule.before),
            ("unless", &self.rule.unless),
        ];
        let single = single.into_iter().filter_map(|(field, text)| Some((field, text.as_deref()?)));
        // Those of the program are patterns once their values are filled in.
        for (field, pattern) in message.chain(single) {
            compile(pattern).map_err(|source| Problem::Pattern {
                rule: self.rule.id.clone(),
                field,
                source: Box::new(source),
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(pattern: &str) -> RuleBook {
        let rule = Rule {
            id: "x/y".to_owned(),
            category: "undefined-name".to_owned(),
            message: crate::rule::OneOrMany(vec![pattern.to_owned()]),
            ..Rule::default()
        };
        RuleBook::new(vec![rule], Vocabulary::default()).unwrap()
    }

    #[test]
    fn names_beyond_ascii_are_found() {
        for pattern in [
            r"^name '(?<name>\w+)' is",
            r"name '[\w.]+'",
            r"\bname '[^']+'",
            r"'\p{L}+'",
            "'grö[äß]e'",
            "gr.ße",
            "gr[^x]ße",
        ] {
            assert_eq!(book(pattern).candidates("name 'größe' is not defined").count(), 1, "{pattern}");
            assert_eq!(book(pattern).candidates("nothing").count(), 0, "{pattern}");
        }
    }
}
