//! Splits options and arguments into words as a shell does, without one.

/// What Judge0 takes out of options and arguments.
const DROPPED: [char; 7] = ['$', '&', ';', '<', '>', '|', '`'];

/// The words of a text: blanks divide, quotes and backslashes hold together.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars().filter(|c| !DROPPED.contains(c) && *c != '\0');
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some('"') | None, '\\') => {
                word.get_or_insert_default().extend(characters.next());
            }
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does_and_nothing_is_run() {
        assert_eq!(split("-O2  -DX='a b' \"c d\"e f\\ g"), ["-O2", "-DX=a b", "c de", "f g"]);
        assert_eq!(split("; rm -rf $HOME | x `y` && z"), ["rm", "-rf", "HOME", "x", "y", "z"]);
        assert_eq!(split("'' \"open"), ["", "open"]);
        assert!(split(" \n ").is_empty());
    }
}
