//! [`Fields`]: reads an object of JSON field by field, and notes everything
//! that is wrong, and not only the first.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::problem::FieldError;

/// The most errors that are told: hostile bodies have millions.
const MOST_ERRORS: usize = 50;

/// What is wrong with a body.
#[derive(Debug, Default)]
pub(crate) struct Wrong(Vec<FieldError>);

impl Wrong {
    /// Notes that a field is wrong.
    pub(crate) fn note(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.0.len() < MOST_ERRORS {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Everything that is wrong; nothing, if that is so.
    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An object of JSON whose fields are taken one after the other.
#[derive(Debug)]
pub(crate) struct Fields {
    pointer: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The fields of this value, which is at this pointer.
    pub(crate) fn of(pointer: impl Into<String>, value: Value, wrong: &mut Wrong) -> Option<Self> {
        let pointer = pointer.into();
        match value {
            Value::Object(map) => Some(Self { pointer, map, known: Vec::new() }),
            other => {
                wrong.note(pointer, format!("{}, where an object is expected", shown(&other)));
                None
            }
        }
    }

    /// Where a field of this name is.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"))
    }

    /// A field; `null` is as good as none.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &'static str, wrong: &mut Wrong) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                wrong.note(self.at(name), format!("{}, where a string is expected", shown(&other)));
                None
            }
        }
    }

    /// A text without which nothing goes.
    pub(crate) fn required(&mut self, name: &'static str, wrong: &mut Wrong) -> Option<String> {
        if !self.map.contains_key(name) || self.map[name].is_null() {
            self.known.push(name);
            wrong.note(self.at(name), "it is missing: a string is expected");
            return None;
        }
        self.text(name, wrong)
    }

    /// Whether something is so.
    pub(crate) fn flag(&mut self, name: &'static str, wrong: &mut Wrong) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            other => {
                wrong.note(self.at(name), format!("{}, where true or false is expected", shown(&other)));
                None
            }
        }
    }

    /// A number within a range.
    pub(crate) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
        wrong: &mut Wrong,
    ) -> Option<f64> {
        let value = self.take(name)?;
        match value.as_f64().filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                let (least, most) = range.into_inner();
                let detail = format!("{} is not allowed: a number from {least} to {most} is", shown(&value));
                wrong.note(self.at(name), detail);
                None
            }
        }
    }

    /// A whole number within a range.
    pub(crate) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
        wrong: &mut Wrong,
    ) -> Option<u64> {
        let value = self.take(name)?;
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                let (least, most) = range.into_inner();
                let detail =
                    format!("{} is not allowed: a whole number from {least} to {most} is", shown(&value));
                wrong.note(self.at(name), detail);
                None
            }
        }
    }

    /// A list of at most so many elements, each with where it is.
    pub(crate) fn list(
        &mut self,
        name: &'static str,
        most: usize,
        wrong: &mut Wrong,
    ) -> Option<Vec<(String, Value)>> {
        let at = self.at(name);
        match self.take(name)? {
            Value::Array(list) if list.len() <= most => Some(
                list.into_iter().enumerate().map(|(index, value)| (format!("{at}/{index}"), value)).collect(),
            ),
            Value::Array(list) => {
                wrong.note(at, format!("it has {} elements; at most {most} are allowed", list.len()));
                None
            }
            other => {
                wrong.note(at, format!("{}, where a list is expected", shown(&other)));
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &'static str, most: usize, wrong: &mut Wrong) -> Vec<String> {
        let mut texts = Vec::new();
        for (at, value) in self.list(name, most, wrong).unwrap_or_default() {
            match value {
                // An argument of a program can't hold one.
                Value::String(text) if !text.contains('\0') => texts.push(text),
                other => wrong.note(at, format!("{}, where a string without NUL is expected", shown(&other))),
            }
        }
        texts
    }

    /// Notes the fields that nobody knows. No field must be taken after it.
    pub(crate) fn finish(self, wrong: &mut Wrong) {
        for name in self.map.keys() {
            wrong.note(
                self.at(&name.chars().take(64).collect::<String>()),
                format!("there is no such field: {} are allowed", self.known.join(", ")),
            );
        }
    }
}

/// A value as an error shows it: short, and no text of a user's.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_wrong_is_noted() {
        let mut wrong = Wrong::default();
        let body = json!({
            "language": 3, "cpu": 1e9, "count": 1.5, "flag": "yes", "list": [1, "a", "b\u{0}"],
            "long": [1, 2, 3], "null": null, "a/b~c": 1,
        });
        let mut fields = Fields::of("", body, &mut wrong).unwrap();
        assert_eq!(fields.required("language", &mut wrong), None);
        assert_eq!(fields.number("cpu", 0.5..=15.0, &mut wrong), None);
        assert_eq!(fields.integer("count", 1..=9, &mut wrong), None);
        assert_eq!(fields.flag("flag", &mut wrong), None);
        assert_eq!(fields.texts("list", 9, &mut wrong), ["a"]);
        assert!(fields.list("long", 2, &mut wrong).is_none());
        assert_eq!(fields.text("null", &mut wrong), None);
        assert_eq!(fields.required("source", &mut wrong), None);
        fields.finish(&mut wrong);
        let errors = wrong.into_errors();
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/language", "/cpu", "/count", "/flag", "/list/0", "/list/2", "/long", "/source", "/a~1b~0c"]
        );
        assert_eq!(errors[1].detail, "1000000000.0 is not allowed: a number from 0.5 to 15 is");
    }

    #[test]
    fn hostile_bodies_have_short_answers() {
        let mut wrong = Wrong::default();
        let many: Map<String, Value> = (0..10_000).map(|number| (number.to_string(), Value::Null)).collect();
        Fields::of("", Value::Object(many), &mut wrong).unwrap().finish(&mut wrong);
        assert_eq!(wrong.into_errors().len(), MOST_ERRORS);
    }
}
