//! Where the agent is on this machine, and what it takes for it to run in any image.
//!
//! One that is statically linked needs nothing. Any other is started by this
//! machine's own loader, which is mounted beside it, with the libraries that it
//! says are needed: a program as cargo builds it runs so in an image without a file.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use bollard::models::{Mount, MountType};
use evalx_agent::{LIBRARIES, LOADER, PROGRAM, SUBCOMMAND, command_line};

use crate::config::Way;
use crate::error::DockerError;

/// Names a program that is an agent.
const VARIABLE: &str = "EVALX_AGENT";
/// What agents are called.
const NAMES: [&str; 2] = ["evalx-agent", "evalx"];
/// What an image may set for its programs, and must not change how the agent is loaded.
const LOADERS_VARIABLES: [&str; 4] = ["LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "GLIBC_TUNABLES"];

/// The agent to mount, and the subcommand that makes it one; none for `exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    path: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// What loads it; none if it is statically linked.
    loaded: Option<Loaded>,
}

/// What a program needs that is dynamically linked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Loaded {
    loader: PathBuf,
    /// By the names that the program has for them.
    libraries: Vec<(String, PathBuf)>,
}

impl Agent {
    pub(crate) fn find(way: &Way) -> Result<Option<Self>, DockerError> {
        match way {
            Way::Exec => Ok(None),
            Way::AgentAt(path) => Self::at(path).map(Some).map_err(DockerError::NoAgent),
            Way::Agent => match env::var_os(VARIABLE) {
                Some(path) => Self::at(Path::new(&path)).map(Some).map_err(DockerError::NoAgent),
                None => Self::look().map(Some),
            },
        }
    }

    /// Of the running program, its neighbours and the `PATH`, the first that is
    /// statically linked, or else the first that is one at all.
    fn look() -> Result<Self, DockerError> {
        let current = env::current_exe().ok();
        let beside = current.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = beside.into_iter().chain(env::split_paths(&path));
        let others = folders.flat_map(|folder| NAMES.map(|name| folder.join(name)));
        let is_named =
            |path: &PathBuf| path.file_name().is_some_and(|name| NAMES.iter().any(|own| name == *own));
        let paths: Vec<PathBuf> =
            current.into_iter().filter(is_named).chain(others).filter(|path| path.is_file()).collect();
        let is_static = |path: &&PathBuf| Elf::read(path).is_some_and(|elf| elf.interpreter.is_none());
        let mut tried = Vec::new();
        for path in paths.iter().filter(is_static).chain(&paths) {
            match Self::at(path) {
                Ok(agent) => return Ok(agent),
                Err(why) => tried.push(why),
            }
        }
        Err(DockerError::NoAgent(match tried.is_empty() {
            true => format!("there is no `{}` beside this program or on the PATH", NAMES.join("` or `")),
            false => tried.join("; "),
        }))
    }

    fn at(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let path = path.canonicalize().map_err(|error| format!("{name}: {error}"))?;
        let elf = Elf::read(&path).ok_or_else(|| format!("{name} is no program for this machine"))?;
        let loaded = elf.interpreter.map(|loader| Loaded::of(&path, &loader)).transpose()?;
        let own = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAMES[0]));
        let arguments = if own { vec!["guard"] } else { vec![SUBCOMMAND, "guard"] };
        let words = command_line(loaded.is_some()).into_iter().skip(1).chain(arguments);
        Ok(Self { path, arguments: words.map(str::to_owned).collect(), loaded })
    }

    /// What a container begins with.
    pub(crate) fn entrypoint(&self) -> Vec<String> {
        command_line(self.loaded.is_some()).into_iter().take(1).map(str::to_owned).collect()
    }

    /// What the agent, and nothing else in the container, has in its environment
    /// beside what the image sets.
    pub(crate) fn environment(&self) -> Vec<String> {
        LOADERS_VARIABLES.iter().filter(|_| self.loaded.is_some()).map(|name| format!("{name}=")).collect()
    }

    /// What is mounted of this machine, read-only.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let bind = |path: &Path, place: &str| Mount {
            source: Some(path.display().to_string()),
            target: Some(place.to_owned()),
            typ: Some(MountType::BIND),
            read_only: Some(true),
            ..Mount::default()
        };
        let mut mounts = vec![bind(&self.path, PROGRAM)];
        if let Some(loaded) = &self.loaded {
            mounts.push(bind(&loaded.loader, LOADER));
            let libraries = loaded.libraries.iter();
            mounts.extend(libraries.map(|(name, path)| bind(path, &format!("{LIBRARIES}/{name}"))));
        }
        mounts
    }
}

impl Loaded {
    /// Asks a program's loader for the libraries that it finds, which runs
    /// nothing of the program.
    fn of(program: &Path, loader: &Path) -> Result<Self, String> {
        let failed = |why: &dyn std::fmt::Display| {
            let loader = loader.display();
            format!("{} needs libraries, and {loader} does not tell which: {why}", program.display())
        };
        let output = Command::new(loader)
            .arg("--list")
            .arg(program)
            .env_clear()
            .output()
            .map_err(|error| failed(&error))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let libraries = libraries(&text).map_err(|name| failed(&format!("{name} is not there")))?;
        let open = |path: &Path| path.canonicalize().map_err(|error| failed(&error));
        let libraries = libraries
            .into_iter()
            .map(|(name, path)| Ok((name, open(&path)?)))
            .collect::<Result<_, String>>()?;
        Ok(Self { loader: open(loader)?, libraries })
    }
}

/// The libraries in the words of a loader, `NAME => PATH (ADDRESS)` in each
/// line; what is at fault if one was not found.
fn libraries(text: &str) -> Result<Vec<(String, PathBuf)>, String> {
    let mut libraries = Vec::new();
    // What has no arrow is the kernel's, or the loader itself.
    for (name, found) in text.lines().filter_map(|line| line.trim().split_once(" => ")) {
        let path = found.rsplit_once(" (").map_or(found, |(path, _)| path);
        if !path.starts_with('/') || name.contains('/') {
            return Err(name.to_owned());
        }
        libraries.push((name.to_owned(), PathBuf::from(path)));
    }
    Ok(libraries)
}

/// What matters of a program's file.
#[derive(Debug, PartialEq, Eq)]
struct Elf {
    /// What loads it, if it needs libraries.
    interpreter: Option<PathBuf>,
}

impl Elf {
    /// Reads the start of a file; none if it is no 64-bit program.
    fn read(path: &Path) -> Option<Self> {
        /// The kind of a segment that names an interpreter.
        const INTERPRETER: u32 = 3;
        let mut start = Vec::new();
        File::open(path).ok()?.take(4096).read_to_end(&mut start).ok()?;
        if start.get(..6)? != b"\x7fELF\x02\x01" {
            return None;
        }
        let short = |at: usize| Some(usize::from(u16::from_le_bytes(bytes(&start, at)?)));
        let long = |at: usize| usize::try_from(u64::from_le_bytes(bytes(&start, at)?)).ok();
        let (table, size, count) = (long(32)?, short(54)?, short(56)?);
        let mut interpreter = None;
        for index in 0..count {
            let at = table.checked_add(index.checked_mul(size)?)?;
            if u32::from_le_bytes(bytes(&start, at)?) == INTERPRETER {
                let (from, length) = (long(at + 8)?, long(at + 32)?);
                let name = start.get(from..from.checked_add(length)?)?;
                let name = std::str::from_utf8(name.split(|byte| *byte == 0).next()?).ok()?;
                interpreter = Some(PathBuf::from(name));
            }
        }
        Some(Self { interpreter })
    }
}

fn bytes<const N: usize>(all: &[u8], at: usize) -> Option<[u8; N]> {
    all.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_needs_libraries_comes_with_its_loader() {
        let agent = Agent::at(&env::current_exe().unwrap()).unwrap();
        // Under `-C target-feature=+crt-static` it needs none.
        if cfg!(target_feature = "crt-static") {
            assert_eq!((agent.mounts().len(), agent.loaded), (1, None));
            return;
        }
        let mounts = agent.mounts();
        assert!(mounts.iter().all(|mount| mount.read_only == Some(true)), "{mounts:?}");
        let places: Vec<&str> = mounts.iter().filter_map(|mount| mount.target.as_deref()).collect();
        assert!(places.contains(&LOADER), "{places:?}");
        assert!(places.iter().any(|place| place.starts_with("/.evalx/lib/libc.so")), "{places:?}");
        assert_eq!(agent.entrypoint(), [LOADER]);
        assert_eq!(agent.arguments[..2], ["--library-path", LIBRARIES]);
        assert!(agent.environment().contains(&"LD_PRELOAD=".to_owned()));
    }

    #[test]
    fn loaders_are_understood() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib x/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(libraries(text), Ok(vec![("libc.so.6".to_owned(), "/lib x/libc.so.6".into())]));
        assert_eq!(libraries("libx.so => not found\n"), Err("libx.so".to_owned()));
    }

    #[test]
    fn a_text_is_no_program() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "#!/bin/sh\n").unwrap();
        assert_eq!(Elf::read(file.path()), None);
        let error = Agent::find(&Way::AgentAt(file.path().to_owned())).unwrap_err();
        assert!(error.to_string().contains("no program"), "{error}");
    }

    #[test]
    fn headers_that_lie_are_no_program() {
        for cut in [0, 5, 40, 60] {
            let mut header = vec![0xff; cut.max(6)];
            header[..6].copy_from_slice(b"\x7fELF\x02\x01");
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &header[..cut.min(header.len())]).unwrap();
            assert_eq!(Elf::read(file.path()), None, "{cut} bytes");
        }
    }
}
