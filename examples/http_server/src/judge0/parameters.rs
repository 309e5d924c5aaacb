//! [`Parameters`]: what a request says, in its body and its query together,
//! read as leniently as Judge0 reads it.

use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::answer::Refusal;

/// What a request says, by name.
#[derive(Debug, Default)]
pub(super) struct Parameters(Map<String, Value>);

impl Parameters {
    /// Those of a query.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decoded(name), Value::String(decoded(value)))
                })
                .collect(),
        )
    }

    /// Those of the body, JSON or a form, with those of the query behind them.
    ///
    /// # Errors
    ///
    /// If the body can't be read.
    pub(super) fn of_request(
        query: Option<&str>,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Self, Refusal> {
        let body = body.map_err(|error| Refusal::Unreadable(error.status(), error.body_text()))?;
        let mut parameters = Self::of_query(query);
        let kind =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.starts_with("application/x-www-form-urlencoded") {
            let form = str::from_utf8(&body).map_err(|_| malformed())?;
            parameters.0.extend(Self::of_query(Some(form)).0);
        } else if !body.is_empty() {
            match serde_json::from_slice(&body).map_err(|_| malformed())? {
                Value::Object(map) => parameters.0.extend(map),
                _ => return Err(malformed()),
            }
        }
        Ok(parameters)
    }

    /// Those of one submission of a batch.
    pub(super) fn of_value(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            _ => Self::default(),
        }
    }

    /// One of them as it is; what is no scalar counts as absent, but for `submissions`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text; numbers and booleans as they are written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    /// Whether something is so, by Rails' rules.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let text = self.text(name)?;
        if text.is_empty() {
            return None;
        }
        Some(!matches!(text.as_str(), "0" | "f" | "F" | "false" | "FALSE" | "off" | "OFF"))
    }
}

fn malformed() -> Refusal {
    Refusal::Unreadable(StatusCode::BAD_REQUEST, "Bad Request".to_owned())
}

/// A part of a query without its percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let hex = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
        match byte {
            b'+' => bytes.push(b' '),
            b'%' if rest.len() >= 2 && hex(&rest[..2]).is_some() => {
                bytes.push(hex(&rest[..2]).unwrap_or_default());
                rest = &rest[2..];
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_forms_are() {
        let parameters = Parameters::of_query(Some("a=1&b=x%20y+z&c&d=%zz&wait=off"));
        assert_eq!(parameters.text("b").as_deref(), Some("x y z"));
        assert_eq!(
            (parameters.text("c").as_deref(), parameters.text("d").as_deref()),
            (Some(""), Some("%zz"))
        );
        assert_eq!(
            (parameters.flag("wait"), parameters.flag("a"), parameters.flag("c")),
            (Some(false), Some(true), None)
        );
    }
}
