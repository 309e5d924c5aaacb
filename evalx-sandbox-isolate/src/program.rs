//! [`find`]: which program a step means, and whether the kernel can execute it.
//!
//! isolate hands a path to the kernel and, if that fails, ends as a program
//! would that exits with 127. So it is looked at before: what is not there or
//! can't be executed is a wrong request. What can't be known from outside, a
//! symlink of the program's own for one, is left to the kernel.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use evalx_core::{Error, ErrorKind, Result, WORK_FOLDER};
use evalx_host::WorkFolder;
use nix::errno::Errno;

/// What is known of a program from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It can be executed, or that is for the kernel to say.
    Fit,
    Absent,
    Forbidden,
    NoProgram,
    LostInterpreter,
}

/// What a session shows: its work folder, and folders of the host.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) files: &'a WorkFolder,
    /// Host folders that are shown at the same path.
    pub(crate) shown: &'a [PathBuf],
}

/// The path to execute for `program`, looked up in `path` if it has no slash.
pub(crate) fn find(view: &View<'_>, program: &OsStr, path: &OsStr) -> Result<OsString> {
    let candidates: Vec<OsString> = if program.as_bytes().contains(&b'/') {
        vec![program.to_owned()]
    } else {
        // An empty folder in `PATH` is the current one, as for the shell.
        let folders = path.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
        folders.map(|folder| Path::new(".").join(folder).join(program).into_os_string()).collect()
    };
    let mut worst = Look::Absent;
    for candidate in candidates {
        match view.look(Path::new(&candidate), 1) {
            Look::Fit => return Ok(candidate),
            Look::Absent => {}
            look if worst == Look::Absent => worst = look,
            _ => {}
        }
    }
    let why = match worst {
        Look::Forbidden => "it may not be executed",
        Look::NoProgram => "it is neither a program for this machine nor a script that names its interpreter",
        Look::LostInterpreter => "its interpreter is not there",
        _ => "no such program inside the sandbox",
    };
    Err(Error::new(ErrorKind::InvalidRequest, format!("{} can't be run: {why}", program.display())))
}

impl View<'_> {
    /// Looks at what is at `path`, and at `depth` interpreters behind it.
    fn look(&self, path: &Path, depth: u32) -> Look {
        let whole = Path::new(WORK_FOLDER).join(path);
        let Some(whole) = normal(&whole) else { return Look::Absent };
        if let Ok(below) = whole.strip_prefix(WORK_FOLDER) {
            return match self.files.open_program(below.as_os_str()) {
                Ok(file) => self.examine(file, depth),
                Err(Errno::ENOENT | Errno::ENOTDIR) => Look::Absent,
                Err(Errno::EACCES | Errno::EISDIR | Errno::ENXIO) => Look::Forbidden,
                // A symlink, for one.
                Err(_) => Look::Fit,
            };
        }
        if ["/tmp", "/dev", "/proc"].iter().any(|place| whole.starts_with(place)) {
            return Look::Fit;
        }
        if !self.shown.iter().any(|folder| whole.starts_with(folder)) {
            return Look::Absent;
        }
        match fs::metadata(&whole) {
            Ok(data) if !data.is_file() || data.permissions().mode() & 0o111 == 0 => Look::Forbidden,
            Ok(_) => File::open(&whole).map_or(Look::Fit, |file| self.examine(file, depth)),
            Err(_) => Look::Absent,
        }
    }

    /// Whether its first bytes are those of a program, or of a script.
    fn examine(&self, file: File, depth: u32) -> Look {
        let mut head = Vec::new();
        if file.take(256).read_to_end(&mut head).is_err() {
            return Look::Fit;
        }
        if head.starts_with(b"\x7fELF") {
            return Look::Fit;
        }
        let Some(rest) = head.strip_prefix(b"#!") else {
            // Other formats are a matter of what the host has registered.
            return if has_other_formats() { Look::Fit } else { Look::NoProgram };
        };
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        let interpreter = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        if interpreter.is_empty() {
            return Look::NoProgram;
        }
        if depth == 0 {
            return Look::Fit;
        }
        match self.look(Path::new(OsStr::from_bytes(interpreter)), depth - 1) {
            Look::Fit => Look::Fit,
            Look::Absent => Look::LostInterpreter,
            other => other,
        }
    }
}

/// Whether the host has the kernel execute other formats (`binfmt_misc`).
fn has_other_formats() -> bool {
    fs::read_dir("/proc/sys/fs/binfmt_misc").is_ok_and(|entries| {
        entries.flatten().any(|entry| !matches!(entry.file_name().to_str(), Some("register" | "status")))
    })
}

/// The path without `.` and `..`, as it is where no symlink is on the way.
fn normal(path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    (normal.components().count() > 1).then_some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_normal() {
        let normal = |path: &str| normal(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(normal("/box/./deep/../a").as_deref(), Some("/box/a"));
        assert_eq!(normal("/box/../../etc//x").as_deref(), Some("/etc/x"));
        assert_eq!(normal("/"), None);
        assert_eq!(normal("/box/.."), None);
    }
}
