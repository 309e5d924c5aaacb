//! [`Access`]: who may do what. A tenant is whoever holds an auth token.

use std::collections::HashMap;
use std::fmt::Write;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::problem::Problem;

type Fingerprint = [u8; 32];

/// The tenant where no token is needed.
const PUBLIC: &str = "public";

/// The tokens that are known, by their fingerprints: comparing those tells
/// nothing of a token by the time it takes.
#[derive(Debug, Default)]
pub(crate) struct Access {
    tenants: HashMap<Fingerprint, String>,
    operators: HashMap<Fingerprint, String>,
}

impl Access {
    /// These tokens are known; empty ones are none.
    pub(crate) fn new(tokens: &[String], admin_tokens: &[String]) -> Self {
        let known = |tokens: &[String]| {
            let tokens = tokens.iter().map(|token| token.trim()).filter(|token| !token.is_empty());
            tokens.map(|token| (fingerprint(token), tenant_name(token))).collect()
        };
        Self { tenants: known(tokens), operators: known(admin_tokens) }
    }

    /// Whether no token is needed.
    pub(crate) fn is_open(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Whose token this is.
    pub(crate) fn tenant(&self, token: Option<&str>) -> Option<Tenant> {
        if self.is_open() {
            return Some(Tenant(PUBLIC.to_owned()));
        }
        self.tenants.get(&fingerprint(token?)).cloned().map(Tenant)
    }

    /// Whether anybody is an operator.
    pub(crate) fn has_operators(&self) -> bool {
        !self.operators.is_empty()
    }

    /// Whether this is an operator's token.
    pub(crate) fn is_operator(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| self.operators.contains_key(&fingerprint(token)))
    }
}

fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token.as_bytes()).into()
}

/// A name that tells tenants apart, in logs too, and does not give the token away.
fn tenant_name(token: &str) -> String {
    let mut name = "t-".to_owned();
    for byte in &fingerprint(token)[..8] {
        // Writing to a `String` can't fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// On whose behalf a request is.
#[derive(Clone, Debug)]
pub(crate) struct Tenant(pub(crate) String);

/// The token in `Authorization: Bearer`, or in a header of this name.
pub(crate) fn token_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    bearer.or_else(|| headers.get(name)?.to_str().ok())
}

impl FromRequestParts<App> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        app.access.tenant(token_of(&parts.headers, "x-auth-token")).ok_or_else(|| {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "a token is needed, as `Authorization: Bearer` or `X-Auth-Token`",
            )
        })
    }
}

/// That whoever asks is an operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operator;

impl FromRequestParts<App> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if app.access.is_operator(token_of(&parts.headers, "x-auth-user")) {
            return Ok(Self);
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "an operator's token is needed, as `Authorization: Bearer` or `X-Auth-User`",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_and_not_told() {
        let access =
            Access::new(&["alpha".to_owned(), " beta ".to_owned(), String::new()], &["root".to_owned()]);
        let name = |token| access.tenant(Some(token)).map(|tenant| tenant.0);
        assert!(name("alpha").is_some() && name("alpha") != name("beta"));
        assert!(!name("alpha").unwrap().contains("alpha"));
        for token in ["", "alph", "alphaa", "root", " "] {
            assert_eq!(name(token), None, "{token:?}");
        }
        assert!(access.tenant(None).is_none());
        assert!(access.is_operator(Some("root")));
        assert!(!access.is_operator(Some("alpha")) && !access.is_operator(None));
    }

    #[test]
    fn without_tokens_everybody_is_one_tenant_and_nobody_an_operator() {
        let access = Access::new(&[], &[]);
        assert_eq!(access.tenant(None).unwrap().0, "public");
        assert!(!access.is_operator(Some("")) && !access.is_operator(None));
    }
}
