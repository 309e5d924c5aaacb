//! [`RuleBook`]: the rules and words of one language, checked and compiled.

use std::sync::OnceLock;

use regex::{Captures, Regex, RegexBuilder};

use crate::category::Category;
use crate::error::{LoadError, Problem};
use crate::needle::Needles;
use crate::rule::{Rule, RuleFile};
use crate::template::Template;
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
