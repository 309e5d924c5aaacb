//! What can go wrong below the sandbox, and how it reads as an [`evalx_core::Error`].

use std::io;

use evalx_core::{Error, ErrorKind};
use nix::errno::Errno;

use crate::wire::Stage;

/// Why a slot or a launcher could not do its part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NativeError {
    #[error("the launcher could not be started")]
    Start(#[source] io::Error),
    #[error("the launcher did not answer: {0}")]
    Silent(&'static str),
    #[error("the launcher refused: {text}")]
    Refused { stage: u64, text: String },
    #[error("the launcher ended unexpectedly, and no slot can be made")]
    LauncherDied(#[source] io::Error),
    #[error("all numbers of slots are in use")]
    TooMany,
    #[error("a slot could not be made: {text}")]
    Slot { stage: u64, text: String },
    #[error("a slot ended unexpectedly")]
    SlotDied,
    #[error("talking to a slot failed")]
    Talk(#[source] io::Error),
    #[error("{what}", what = Stage::describe(*.0))]
    Stage(u64, #[source] Errno),
    #[error("an artifact could not be stored")]
    Store(#[source] io::Error),
    #[error("the sandbox is shut down")]
    ShutDown,
    #[error("{what}: the state folder {folder} can't be used", folder = .folder.display())]
    State { what: &'static str, folder: std::path::PathBuf, source: io::Error },
}

impl NativeError {
    fn help(&self) -> Option<&'static str> {
        let stage = self.stage();
        if stage == Some(Stage::UserNamespace as u64) {
            return Some(
                "allow user namespaces: sysctl -w user.max_user_namespaces=65536, on Debian and Ubuntu also \
                 kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0; \
                 in a container, run with the privileges that docs/threat-model.md names",
            );
        }
        if stage == Some(Stage::Proc as u64) {
            return Some("a container masks /proc: start it with `--security-opt systempaths=unconfined`");
        }
        if self.wants_descriptors() {
            return Some(
                "let this process have more descriptors (RLIMIT_NOFILE, `ulimit -n`, `LimitNOFILE=`): a slot \
                 takes three, and each step that runs up to six more",
            );
        }
        match self {
            Self::State { .. } => {
                Some("name a state folder that only this user can write, or remove this one")
            }
            _ => None,
        }
    }
}

impl NativeError {
    /// A launcher that can't even be asked.
    pub(crate) fn refused(text: &str) -> Self {
        Self::Refused { stage: Stage::Setup as u64, text: text.to_owned() }
    }

    /// At what it failed, if that is known.
    const fn stage(&self) -> Option<u64> {
        match self {
            Self::Refused { stage, .. } | Self::Slot { stage, .. } | Self::Stage(stage, _) => Some(*stage),
            _ => None,
        }
    }

    /// Whether this process or the launcher has run out of descriptors.
    fn wants_descriptors(&self) -> bool {
        match self {
            Self::Start(error)
            | Self::Talk(error)
            | Self::Store(error)
            | Self::State { source: error, .. } => {
                matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
            }
            Self::Stage(_, error) => matches!(error, Errno::EMFILE | Errno::ENFILE),
            Self::Refused { text, .. } | Self::Slot { text, .. } => text.contains(Errno::EMFILE.desc()),
            _ => false,
        }
    }
}

impl From<NativeError> for Error {
    fn from(error: NativeError) -> Self {
        let help = error.help();
        let error = Self::new(ErrorKind::Unavailable, "native sandbox").with_source(error);
        match help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

/// What a step's failure to start means: mostly that the program is not there.
pub(crate) fn not_started(program: &std::ffi::OsStr, stage: u64, errno: i32) -> Error {
    let errno = Errno::from_raw(errno);
    if stage != Stage::Execute as u64 {
        return NativeError::Stage(stage, errno).into();
    }
    let why = match errno {
        Errno::ENOENT => "no such program inside the sandbox (or its interpreter is not there)",
        Errno::EACCES => "it may not be executed",
        Errno::ENOEXEC => "it is neither a program for this machine nor a script that names its interpreter",
        Errno::E2BIG => "its arguments and environment are too large",
        other => other.desc(),
    };
    Error::new(ErrorKind::InvalidRequest, format!("{} can't be run: {why}", program.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_decides_what_mends_and_not_the_words() {
        let refused = |stage: Stage, text: &str| {
            NativeError::Refused { stage: stage as u64, text: text.to_owned() }.help().unwrap_or_default()
        };
        assert!(
            refused(Stage::UserNamespace, "operation not permitted").contains("user.max_user_namespaces")
        );
        assert!(refused(Stage::Proc, "operation not permitted").contains("systempaths"));
        assert_eq!(refused(Stage::Setup, "/proc of a user namespace"), "");
        let slot = NativeError::Slot { stage: Stage::UserNamespace as u64, text: "no space left".to_owned() };
        assert!(slot.help().is_some_and(|help| help.contains("user namespaces")));
    }
}
