//! [`Choice`]: which backends an operator wants, in which order, and where
//! that was said.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use evalx_core::{Error, ErrorKind, Result};

/// The variable that names backends.
pub(crate) const VARIABLE: &str = "EVALX_SANDBOX";
/// The older variable that knows two of them.
pub(crate) const ISOLATE_VARIABLE: &str = "USE_ISOLATE";

/// The longest name of a backend.
const LONGEST_NAME: usize = 64;

/// Which backends are wanted, in this order.
///
/// It is written `auto`, or as names with commas between them. One name alone
/// means that backend and no other; of several, each is what the one before it
/// falls back on.
///
/// ```
/// use evalx::Choice;
///
/// let choice: Choice = "isolate,docker".parse()?;
/// assert_eq!(choice, Choice::Named(vec!["isolate".to_owned(), "docker".to_owned()]));
/// assert_eq!("auto".parse::<Choice>()?, Choice::Auto);
/// assert!("isolate, /bin/sh".parse::<Choice>().is_err());
/// # Ok::<(), evalx::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// Every backend that there is, the best first.
    #[default]
    Auto,
    /// These and no others.
    Named(Vec<String>),
}

impl Choice {
    /// One backend and no other.
    pub fn only(name: impl Into<String>) -> Self {
        Self::Named(vec![name.into()])
    }

    /// What the environment says: `EVALX_SANDBOX`, else `USE_ISOLATE`, which
    /// is `true` for isolate with Docker to fall back on, and `false` for
    /// Docker; else `auto`. A variable that is empty says nothing.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a value that means nothing; it names the variable
    /// and what is allowed.
    pub fn from_environment() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let value = |name| match variable(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => value.into_string().map(Some).map_err(|value| {
                Error::new(ErrorKind::InvalidRequest, format!("{name} is {value:?}, which is no text"))
            }),
        };
        let (sandbox, use_isolate) = (value(VARIABLE)?, value(ISOLATE_VARIABLE)?);
        if let Some(text) = sandbox {
            let choice = text.parse::<Self>().map_err(|error| {
                Error::new(ErrorKind::InvalidRequest, format!("{VARIABLE} is of no use")).with_source(error)
            })?;
            let also = if use_isolate.is_some() { ", which goes before USE_ISOLATE" } else { "" };
            tracing::info!(%choice, "backends are chosen by {VARIABLE}{also}");
            return Ok(choice);
        }
        let Some(text) = use_isolate else { return Ok(Self::Auto) };
        let names: &[&str] = match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => &["isolate", "docker"],
            "false" | "0" | "no" => &["docker"],
            _ => {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!("{ISOLATE_VARIABLE} is `{}`: write true or false", text.escape_default()),
                ));
            }
        };
        let choice = Self::Named(names.iter().map(|name| (*name).to_owned()).collect());
        tracing::info!(%choice, "backends are chosen by {ISOLATE_VARIABLE}");
        Ok(choice)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Named(names) => f.write_str(&names.join(",")),
        }
    }
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let is_name = |name: &str| {
            (1..=LONGEST_NAME).contains(&name.len())
                && name != "auto"
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
        };
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').map(str::trim) {
            if !is_name(name) {
                let shown: String = text.chars().take(LONGEST_NAME).flat_map(char::escape_default).collect();
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    format!(
                        "`{shown}` is no choice of a backend: write auto, or names with commas between them"
                    ),
                ));
            }
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Ok(Self::Named(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sandbox: Option<&str>, use_isolate: Option<&str>) -> Result<String> {
        let value = |name: &str| match name {
            VARIABLE => sandbox.map(OsString::from),
            _ => use_isolate.map(OsString::from),
        };
        Choice::from_variables(value).map(|choice| choice.to_string())
    }

    #[test]
    fn the_newer_variable_goes_first() {
        assert_eq!(chosen(None, None).unwrap(), "auto");
        assert_eq!(chosen(Some(""), Some("")).unwrap(), "auto");
        assert_eq!(chosen(None, Some("true")).unwrap(), "isolate,docker");
        assert_eq!(chosen(None, Some("FALSE")).unwrap(), "docker");
        assert_eq!(chosen(Some("native"), Some("true")).unwrap(), "native");
        assert_eq!(chosen(Some("docker, native,docker"), None).unwrap(), "docker,native");
    }

    #[test]
    fn nonsense_is_refused_by_the_name_of_its_variable() {
        for (sandbox, use_isolate, name) in [
            (Some("auto,native"), None, VARIABLE),
            (Some("../x"), None, VARIABLE),
            (Some(","), None, VARIABLE),
            (Some("Native"), None, VARIABLE),
            (None, Some("maybe"), ISOLATE_VARIABLE),
        ] {
            let error = chosen(sandbox, use_isolate).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.chain().contains(name), "{}", error.chain());
        }
        use std::os::unix::ffi::OsStringExt;
        let bytes = Choice::from_variables(|_| Some(OsString::from_vec(vec![0xff])));
        assert!(bytes.unwrap_err().to_string().contains(VARIABLE));
    }
}
