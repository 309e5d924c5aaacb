//! Places as compilers write them: `main.c:4:5: error: …`.

use crate::diagnostic::Severity;

/// A place at the beginning of a line, and what follows it.
#[derive(Debug, PartialEq)]
pub(super) struct Placed<'a> {
    pub(super) file: &'a str,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) rest: &'a str,
}

/// Reads `file:line: rest` or `file:line:column: rest`.
pub(super) fn read(text: &str) -> Option<Placed<'_>> {
    if text.starts_with([' ', '\t', ':']) {
        return None;
    }
    // A name may have colons itself, but hardly many.
    for (colon, _) in text.match_indices(':').take(4) {
        let Some((line, behind)) = number(&text[colon + 1..]) else { continue };
        let Some(behind) = behind.strip_prefix([':', '-']) else { continue };
        let (column, rest) = match number(behind) {
            Some((column, behind)) => match behind.strip_prefix('-').and_then(number) {
                // GHC's ranges: `2:17-20:`.
                Some((_, behind)) => (column, behind.strip_prefix(':')?),
                None => match behind.strip_prefix(':') {
                    Some(rest) => (column, rest),
                    None => (0, behind),
                },
            },
            None => (0, behind),
        };
        return Some(Placed { file: &text[..colon], line, column, rest: rest.trim_start() });
    }
    None
}

/// A number at the beginning, and what follows.
pub(super) fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// Takes the word for the severity off a message, in the languages that
/// compilers speak.
pub(super) fn severity(text: &str) -> Option<(Severity, &str)> {
    for (words, severity) in
        [(ERRORS, Severity::Error), (WARNINGS, Severity::Warning), (NOTES, Severity::Note)]
    {
        for word in words {
            if let Some(message) = text.strip_prefix(word) {
                let message = message.trim_start_matches(['\u{a0}', ' ']);
                if let Some(message) = message.strip_prefix([':', '：']) {
                    return Some((severity, message.trim_start()));
                }
            }
        }
    }
    None
}

const ERRORS: &[&str] = &[
    "error",
    "fatal error",
    "internal compiler error",
    "sorry, unimplemented",
    "Fehler",
    "schwerwiegender Fehler",
    "erreur",
    "erreur fatale",
    "error fatal",
    "errore",
    "errore fatale",
    "erro",
    "erro fatal",
    "fout",
    "fatale fout",
    "błąd",
    "błąd krytyczny",
    "ошибка",
    "фатальная ошибка",
    "помилка",
    "fatal fel",
    "fel",
    "hata",
    "ölümcül hata",
    "virhe",
    "kritisk fel",
    "fejl",
    "chyba",
    "错误",
    "致命错误",
    "錯誤",
    "嚴重錯誤",
    "エラー",
    "致命的エラー",
    "오류",
    "치명적 오류",
    "lỗi",
    "galat",
];
const WARNINGS: &[&str] = &[
    "warning",
    "Warnung",
    "attention",
    "avertissement",
    "aviso",
    "advertencia",
    "attenzione",
    "waarschuwing",
    "ostrzeżenie",
    "uwaga",
    "предупреждение",
    "попередження",
    "varning",
    "uyarı",
    "varoitus",
    "advarsel",
    "警告",
    "경고",
];
const NOTES: &[&str] = &[
    "note",
    "Anmerkung",
    "nota",
    "noot",
    "uwaga",
    "замечание",
    "примітка",
    "anm",
    "not",
    "huomautus",
    "附注",
    "註",
    "備考",
    "备注",
    "注意",
    "注",
    "remark",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_many_tools_are_read() {
        let read = |text| read(text).map(|p| (p.file.to_owned(), p.line, p.column, p.rest.to_owned()));
        let place =
            |file: &str, line, column, rest: &str| Some((file.to_owned(), line, column, rest.to_owned()));
        assert_eq!(read("main.c:4:5: error: x"), place("main.c", 4, 5, "error: x"));
        assert_eq!(read("Main.java:3: error: x"), place("Main.java", 3, 0, "error: x"));
        assert_eq!(read("a.hs:2:17-20: error: x"), place("a.hs", 2, 17, "error: x"));
        assert_eq!(read("C:\\a.c:1:2: error: x"), place("C:\\a.c", 1, 2, "error: x"));
        assert_eq!(read("  main.c:4:5: x"), None);
        assert_eq!(read("no place: here"), None);
        assert_eq!(read(":1:2: x"), None);
    }

    #[test]
    fn severities_are_read_in_other_languages() {
        assert_eq!(severity("schwerwiegender Fehler: x"), Some((Severity::Error, "x")));
        assert_eq!(severity("erreur\u{a0}: x"), Some((Severity::Error, "x")));
        assert_eq!(severity("warning: x"), Some((Severity::Warning, "x")));
        assert_eq!(severity("errors: x"), None);
    }
}
