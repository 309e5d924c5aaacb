//! What names that others choose may look like: tenants, languages, keys.

use crate::{Error, Result};

/// Refuses `text` unless it is one to `longest` bytes without control characters.
///
/// Anything else is allowed: braces, colons, spaces and every script, since no
/// name is ever taken apart again.
pub(crate) fn check(what: &str, text: &str, longest: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!("{what} is empty; it may have 1 to {longest} bytes")));
    }
    if text.len() > longest {
        let length = text.len();
        return Err(Error::invalid(format!("{what} has {length} bytes; it may have 1 to {longest}")));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(format!("{what} holds {control:?}; control characters are not allowed")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_names() {
        for name in ["a", "{a}:b", "C++ (GCC 9.2)", "名前", "*", "a\\b'\"%s", " "] {
            check("a name", name, 64).unwrap();
        }
        for (name, complaint) in [("", "empty"), ("a\0b", "'\\0'"), ("a\n", "'\\n'"), ("aaaaa", "5 bytes")] {
            assert!(check("a name", name, 4).unwrap_err().to_string().contains(complaint));
        }
    }
}
