//! Where the agent is on this machine: a program that runs in any image.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use evalx_agent::SUBCOMMAND;

use crate::config::Way;
use crate::error::DockerError;

/// Names a program that is an agent.
const VARIABLE: &str = "EVALX_AGENT";
/// What agents are called.
const NAMES: [&str; 2] = ["evalx-agent", "evalx"];

/// The agent to mount, and the subcommand that makes it one; none for `exec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
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

    /// The first that is one, of the running program, its neighbours and the `PATH`.
    fn look() -> Result<Self, DockerError> {
        let current = env::current_exe().ok();
        let beside = current.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = beside.into_iter().chain(env::split_paths(&path));
        let others = folders.flat_map(|folder| NAMES.map(|name| folder.join(name)));
        let is_named =
            |path: &PathBuf| path.file_name().is_some_and(|name| NAMES.iter().any(|own| name == *own));
        let mut tried = Vec::new();
        for path in current.into_iter().filter(is_named).chain(others).filter(|path| path.is_file()) {
            match Self::at(&path) {
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
        match linkage(&path) {
            Some(Linkage::Static) => {}
            Some(Linkage::Dynamic) => {
                return Err(format!(
                    "{name} needs libraries that an image may not have: it must be statically linked"
                ));
            }
            None => return Err(format!("{name} is no program for this machine")),
        }
        let own = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAMES[0]));
        let arguments = if own { vec!["guard"] } else { vec![SUBCOMMAND, "guard"] };
        Ok(Self { path, arguments: arguments.into_iter().map(str::to_owned).collect() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linkage {
    Static,
    Dynamic,
}

/// How a 64-bit ELF program is linked: one that names an interpreter needs libraries.
fn linkage(path: &Path) -> Option<Linkage> {
    const INTERPRETER: u32 = 3;
    let mut start = Vec::new();
    File::open(path).ok()?.take(4096).read_to_end(&mut start).ok()?;
    if start.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let number = |at: usize| Some(usize::from(u16::from_le_bytes(start.get(at..at + 2)?.try_into().ok()?)));
    let table = usize::try_from(u64::from_le_bytes(start.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (number(54)?, number(56)?);
    let kind = |index: usize| {
        let at = table.checked_add(index.checked_mul(size)?)?;
        Some(u32::from_le_bytes(start.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    let kinds = (0..count).map(kind).collect::<Option<Vec<_>>>()?;
    Some(if kinds.contains(&INTERPRETER) { Linkage::Dynamic } else { Linkage::Static })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_dynamic_and_a_text_is_no_program() {
        let current = env::current_exe().unwrap();
        // Under `-C target-feature=+crt-static` it is static.
        let expected = if cfg!(target_feature = "crt-static") { Linkage::Static } else { Linkage::Dynamic };
        assert_eq!(linkage(&current), Some(expected));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "#!/bin/sh\n").unwrap();
        assert_eq!(linkage(file.path()), None);
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
            assert_eq!(linkage(file.path()), None, "{cut} bytes");
        }
    }
}
