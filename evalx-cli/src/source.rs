//! Source files of the host, and the language that their names tell.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use evalx_core::{EntryPoint, Language, Languages, SandboxPath, SourceCode, SourceFile};

use crate::failure::Failure;
use crate::resolve::read_bytes;

/// The language that a file's name implies.
///
/// # Errors
///
/// If it implies none; says how to name one.
pub(crate) fn language_of(languages: &Languages, path: &Path) -> Result<Arc<Language>, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    languages.by_file_name(&name).cloned().ok_or_else(|| {
        let message = format!("`{name}` tells no language: give --language, one of `evalx languages`");
        Failure::usage(message)
    })
}

/// Reads a program's files, the main source file first.
///
/// # Errors
///
/// If one can't be read.
pub(crate) fn read_sources(language: &Language, paths: &[PathBuf]) -> Result<SourceCode, Failure> {
    let mut files = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let contents = read_bytes(path)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let place = SandboxPath::new(name);
        files.push(match place {
            Ok(place) if index > 0 || keeps_its_name(language, &place) => SourceFile::new(place, contents),
            Err(error) if index > 0 => return Err(error.into()),
            _ => SourceFile::main(contents),
        });
    }
    Ok(SourceCode::from_files(language.id.clone(), files))
}

/// Whether the main source file is called inside what it is called outside, so
/// that messages name what their reader knows. Java's is named by its class,
/// and a name that looks like an option is none for a file.
fn keeps_its_name(language: &Language, name: &SandboxPath) -> bool {
    language.entry_point == EntryPoint::Fixed
        && language.folder.is_none()
        && language.is_source(name)
        && !name.as_str().starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_follows_from_the_name() {
        let languages = Languages::builtin();
        let language = |name: &str| language_of(&languages, Path::new(name)).map(|found| found.id.clone());
        assert_eq!(language("x/hello.py").unwrap(), "python");
        assert_eq!(language("main.cpp").unwrap(), "cpp");
        assert!(language("Makefile").unwrap_err().to_string().contains("--language"));
    }

    #[test]
    fn files_keep_their_names_where_that_is_sound() {
        let languages = Languages::builtin();
        let folder = tempfile::tempdir().unwrap();
        let names = |language: &str, names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|name| folder.path().join(name)).collect();
            paths.iter().for_each(|path| std::fs::write(path, "x").unwrap());
            let code = read_sources(languages.get(language).unwrap(), &paths).unwrap();
            let name = |file: SourceFile| file.path.map(|path| path.as_str().to_owned());
            code.files.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(
            names("python", &["hello.py", "data.txt"]),
            [Some("hello.py".to_owned()), Some("data.txt".to_owned())]
        );
        assert_eq!(names("java", &["Hello.java"]), [None]);
        assert_eq!(names("python", &["-c.py"]), [None]);
        assert_eq!(names("python", &["program"]), [None]);
    }
}
