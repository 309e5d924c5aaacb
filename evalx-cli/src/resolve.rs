//! Files and programs of the host that a command names.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use evalx_core::{FileContents, SandboxPath, Stdin};
use tokio::io::AsyncReadExt;

use crate::failure::Failure;

/// A file of the host, and where it goes in the work folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedFile {
    host: PathBuf,
    inside: SandboxPath,
}

/// Reads `HOST[:INSIDE]`. The last colon divides them, unless the whole names
/// a file that there is.
///
/// # Errors
///
/// Says what is wrong with the place inside.
pub(crate) fn parse_placed_file(text: &str) -> Result<PlacedFile, String> {
    let whole = || {
        let name = Path::new(text).file_name().and_then(OsStr::to_str);
        name.ok_or_else(|| format!("`{text}` has no base name: write HOST:INSIDE"))
    };
    let (host, inside) = match text.rsplit_once(':') {
        Some((host, inside)) if !Path::new(text).exists() => (host, inside),
        _ => (text, whole()?),
    };
    let inside = SandboxPath::new(inside).map_err(|error| error.to_string())?;
    Ok(PlacedFile { host: PathBuf::from(host), inside })
}

/// The files of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestFiles {
    /// What the program reads.
    pub(crate) input: PathBuf,
    /// What it should write.
    pub(crate) expected: Option<PathBuf>,
}

/// Reads `INPUT[:EXPECTED]`. The last colon divides them, unless the whole
/// names a file that there is.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn parse_test_files(text: &str) -> Result<TestFiles, String> {
    let (input, expected) = match text.rsplit_once(':') {
        Some((input, expected)) if !Path::new(text).exists() => (input, Some(expected)),
        _ => (text, None),
    };
    if input.is_empty() || expected == Some("") {
        return Err(format!("`{text}` is no test: write INPUT or INPUT:EXPECTED"));
    }
    Ok(TestFiles { input: PathBuf::from(input), expected: expected.map(PathBuf::from) })
}

impl PlacedFile {
    /// Reads the file, with its permission to be executed.
    ///
    /// # Errors
    ///
    /// If it can't be read or is no regular file.
    pub(crate) fn read(&self) -> Result<(SandboxPath, FileContents), Failure> {
        Ok((self.inside.clone(), read_file(&self.host)?))
    }
}

/// Reads a file of the host, with its permission to be executed.
///
/// # Errors
///
/// If it can't be read or is no regular file.
pub(crate) fn read_file(path: &Path) -> Result<FileContents, Failure> {
    let refuse = |why: &dyn std::fmt::Display| Failure::usage(format!("`{}`: {why}", path.display()));
    let metadata = fs::metadata(path).map_err(|error| refuse(&error))?;
    if !metadata.is_file() {
        return Err(refuse(&"not a regular file"));
    }
    let contents = fs::read(path).map_err(|error| refuse(&error))?;
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(if executable { FileContents::executable(contents) } else { FileContents::data(contents) })
}

/// Reads all of a file of the host.
///
/// # Errors
///
/// If it can't be read or is no regular file.
pub(crate) fn read_bytes(path: &Path) -> Result<Bytes, Failure> {
    match read_file(path)? {
        FileContents::Bytes { contents, .. } => Ok(contents),
        _ => Err(Failure::usage(format!("`{}`: not a regular file", path.display()))),
    }
}

/// Reads all of the stdin that the command line asks for.
///
/// # Errors
///
/// If it can't be read.
pub(crate) async fn read_stdin(path: Option<&Path>) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    if let Stdin::Stream(mut stream) = open_stdin(path).await? {
        stream.read_to_end(&mut bytes).await.map_err(|error| Failure::usage(format!("--stdin: {error}")))?;
    }
    Ok(bytes.into())
}

/// The stdin that the command line asks for: a file, `-`, or nothing.
///
/// # Errors
///
/// If the file can't be opened.
pub(crate) async fn open_stdin(path: Option<&Path>) -> Result<Stdin, Failure> {
    match path {
        None => Ok(Stdin::Empty),
        Some(path) if path == Path::new("-") => Ok(Stdin::Stream(Box::new(tokio::io::stdin()))),
        Some(path) => match tokio::fs::File::open(path).await {
            Ok(file) => Ok(Stdin::Stream(Box::new(file))),
            Err(error) => Err(Failure::usage(format!("--stdin `{}`: {error}", path.display()))),
        },
    }
}

/// Where the host finds a program: by its path, or in `PATH`.
///
/// # Errors
///
/// If there is none.
pub(crate) fn find_program(name: &OsStr) -> Result<PathBuf, Failure> {
    let is_program = |path: &Path| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let absent = || Failure::usage(format!("`{}`: no such program", name.display()));
    let found = if Path::new(name).components().count() > 1 || Path::new(name).is_absolute() {
        Some(PathBuf::from(name)).filter(|path| is_program(path))
    } else {
        let folders: OsString = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| is_program(path))
    };
    found.and_then(|path| fs::canonicalize(path).ok()).ok_or_else(absent)
}

/// Whether sandboxes show this path of the host at the same place.
pub(crate) fn is_visible_inside(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin", "/lib", "/lib64"].iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_placed_under_its_base_name_or_another() {
        let placed = |text| parse_placed_file(text).map(|file| (file.host, file.inside.as_str().to_owned()));
        assert_eq!(placed("src/a.out"), Ok(("src/a.out".into(), "a.out".to_owned())));
        assert_eq!(placed("x:y/z"), Ok(("x".into(), "y/z".to_owned())));
        assert_eq!(placed("C:\\x:y"), Ok(("C:\\x".into(), "y".to_owned())));
        assert!(placed("x:../y").is_err());
        assert!(placed("x:/etc/passwd").is_err());
        assert!(placed("..").is_err());
    }

    #[test]
    fn a_test_is_an_input_and_maybe_an_output() {
        let files = |text| parse_test_files(text).map(|files| (files.input, files.expected));
        assert_eq!(files("1.in"), Ok(("1.in".into(), None)));
        assert_eq!(files("1.in:1.out"), Ok(("1.in".into(), Some("1.out".into()))));
        assert!(files(":1.out").is_err());
        assert!(files("1.in:").is_err());
    }

    #[test]
    fn a_file_whose_name_has_a_colon_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a:b");
        fs::write(&path, "x").unwrap();
        let placed = parse_placed_file(path.to_str().unwrap()).unwrap();
        assert_eq!((placed.host.as_path(), placed.inside.as_str()), (path.as_path(), "a:b"));
    }

    #[test]
    fn programs_are_found_as_a_shell_does() {
        assert!(find_program("sh".as_ref()).unwrap().is_absolute());
        assert!(find_program("/bin/sh".as_ref()).unwrap().is_absolute());
        assert!(find_program("no-such-program".as_ref()).is_err());
        assert!(find_program("/etc/passwd".as_ref()).is_err());
        assert!(is_visible_inside(Path::new("/usr/bin/true")));
        assert!(!is_visible_inside(Path::new("/usrlocal/x")));
    }
}
