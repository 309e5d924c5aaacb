//! What operators write, of servers and workers alike.

use std::path::Path;

use evalx::Choice;
use evalx_core::Languages;

/// Which backends are wanted: those that are given, or else, also where an
/// empty text is, what the environment says, by [`Choice::from_environment`].
///
/// # Errors
///
/// What means nothing, and what is allowed.
pub fn sandbox_choice(given: Option<&str>) -> Result<Choice, String> {
    let choice = given.filter(|names| !names.is_empty()).map_or_else(Choice::from_environment, str::parse);
    choice.map_err(|error| error.chain())
}

/// The built-in languages, with those of a TOML file.
///
/// # Errors
///
/// What is wrong with the file, with its name.
pub fn languages_with(file: Option<&Path>) -> Result<Languages, String> {
    let languages = Languages::builtin();
    let Some(file) = file else { return Ok(languages) };
    let at = |why: String| format!("{}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
    languages.with_toml(&text).map_err(|error| at(error.chain()))
}
