//! [`Template`]: the text of a hint, with places for what the failure named.
//!
//! `{name}` is replaced by a value; `{?for instance {name}?}` is left out where
//! a value in it is unknown. A text whose other values are not all known can't
//! be rendered.

use crate::text::clip;

/// How much of a value is shown.
const VALUE: usize = 60;
/// How much of a whole message is.
const MESSAGE: usize = 140;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Value(String),
    Optional(Template),
}

impl Template {
    /// Reads a template, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let mut parts = Vec::new();
        while let Some(at) = rest.find('{') {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let inside = &rest[at + 1..];
            if let Some(optional) = inside.strip_prefix('?') {
                let end = optional.find("?}").ok_or_else(|| format!("`{{?` is not closed in `{text}`"))?;
                parts.push(Part::Optional(Self::parse(&optional[..end])?));
                rest = &optional[end + 2..];
                continue;
            }
            let end = inside.find('}');
            match end.map(|end| &inside[..end]) {
                Some(name)
                    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') =>
                {
                    parts.push(Part::Value(name.to_owned()));
                    rest = &inside[name.len() + 1..];
                }
                // A brace of the language that the text talks about.
                _ => {
                    parts.push(Part::Text("{".to_owned()));
                    rest = inside;
                }
            }
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The text with these values, or nothing if one is unknown.
    pub(crate) fn render(&self, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Value(name) => {
                    push_value(&mut text, name, &value(name).filter(|value| !value.is_empty())?);
                }
                Part::Optional(template) => {
                    if let Some(optional) = template.render(value) {
                        text.push_str(&optional);
                    }
                }
            }
        }
        Some(text)
    }

    /// The names of its values.
    pub(crate) fn values(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(_) => {}
                Part::Value(name) => names.push(name.as_str()),
                Part::Optional(template) => names.extend(template.values()),
            }
        }
        names
    }
}

/// Adds a value that came from untrusted output: on one line, without the
/// marks that would end its quotation, and short.
fn push_value(text: &mut String, name: &str, value: &str) {
    let most = if name == "message" { MESSAGE } else { VALUE };
    let clipped = clip(value, most);
    text.extend(clipped.chars().map(|c| match c {
        '`' => '\'',
        c if c.is_control() || is_invisible(c) => ' ',
        c => c,
    }));
    if clipped.len() < value.len() {
        text.push('…');
    }
}

/// Characters that change how a reader sees the text around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> Option<String> {
        let value = |name: &str| match name {
            "name" => Some("to`tal\n".to_owned()),
            "long" => Some("y".repeat(1000)),
            _ => None,
        };
        Template::parse(template).unwrap().render(&value)
    }

    #[test]
    fn values_are_filled_in() {
        assert_eq!(
            render("`{name}` {?in {function}?}is {?not {name}?}{ x }"),
            Some("`to'tal ` is not to'tal { x }".into())
        );
        assert_eq!(render("{function}"), None);
        assert!(render("{long}").unwrap().len() < 70);
        assert!(Template::parse("{?x").is_err());
    }
}
