//! [`LoadError`]: why rules that a host gave could not be taken.

use std::fmt;

/// Why rules could not be loaded. Its text names the rule and what is allowed.
///
/// ```
/// use evalx_hints::HintEngine;
///
/// let error = HintEngine::new().with_rules("c", "[[rule]]\nid = 'x'\ncategory = 'oops'\ntitle = 't'").unwrap_err();
/// assert!(error.to_string().contains("`oops` is no category"));
/// ```
#[derive(Debug)]
pub struct LoadError(Box<Problem>);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the rules of `{language}` are no valid TOML of rules")]
    Format { language: String, source: toml::de::Error },
    #[error("rule `{rule}`: {what}")]
    Rule { rule: String, what: String },
    #[error("rule `{rule}`: {field} is no valid pattern")]
    Pattern { rule: String, field: &'static str, source: Box<regex::Error> },
}

impl LoadError {
    pub(crate) fn rule(rule: &str, what: impl Into<String>) -> Self {
        Problem::Rule { rule: rule.to_owned(), what: what.into() }.into()
    }
}

impl From<Problem> for LoadError {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
