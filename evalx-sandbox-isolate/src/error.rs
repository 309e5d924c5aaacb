//! What can go wrong below the sandbox, and how it reads as an [`evalx_core::Error`].

use std::io;
use std::path::PathBuf;

use evalx_core::{Error, ErrorKind};

/// Why isolate, or what is built around it, could not do its part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IsolateError {
    #[error("{program} can't be started", program = .program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("{program} is not isolate 1 or 2: `--version` printed {found:?}", program = .program.display())]
    Stranger { program: PathBuf, found: String },
    #[error("`isolate {command}` failed: {message}")]
    Command { command: &'static str, message: String },
    #[error("`isolate {0}` does not end")]
    Stuck(&'static str),
    #[error("isolate can't use control groups here: {0}")]
    NoGroups(String),
    #[error("only root can give each box a disk of its own")]
    NotRoot,
    #[error("{what}: the state folder {folder} can't be used", folder = .folder.display())]
    State { what: &'static str, folder: PathBuf, source: io::Error },
    #[error("{what} {path}", path = .path.display())]
    Host { what: &'static str, path: PathBuf, source: io::Error },
    #[error("a step's streams could not be made")]
    Streams(#[source] io::Error),
    #[error("a session's files are out of reach")]
    Files(#[source] io::Error),
    #[error("box numbers {first} to {last} are all in use by other processes")]
    NoBox { first: u32, last: u32 },
    #[error("box {number} is left: {why}")]
    Left { number: u32, why: String },
    #[error("the sandbox is shut down")]
    ShutDown,
}

impl IsolateError {
    /// Every number of a range, the first and how many, is in use.
    pub(crate) const fn no_box((first, count): (u32, u32)) -> Self {
        Self::NoBox { first, last: first + (count - 1) }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoBox { .. } => ErrorKind::Busy,
            Self::NotRoot | Self::NoGroups(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Unavailable,
        }
    }

    fn help(&self) -> Option<&'static str> {
        match self {
            Self::Start { .. } | Self::Stranger { .. } => Some(
                "install isolate (https://github.com/ioi/isolate), or name the program in \
                 `IsolateConfig::program`, or by EVALX_ISOLATE for the command",
            ),
            Self::NoGroups(_) => Some(
                "isolate 2 needs cgroup v2 and its keeper service (`systemctl start isolate`), isolate 1 needs \
                 cgroup v1; or accept weaker limits by name and let `control_groups` be off",
            ),
            Self::NotRoot => Some("run as root, or use another backend"),
            Self::Left { .. } => {
                Some("the next sandbox with this state folder tries again when it leases the box")
            }
            Self::NoBox { .. } => Some("allow more numbers in `IsolateConfig::boxes`"),
            Self::State { .. } => {
                Some("name a state folder that only this user can write, or remove this one")
            }
            Self::Command { message, .. } if message.contains("out of range") => {
                Some("let isolate's configuration have more boxes (`num_boxes`), or use fewer")
            }
            _ if self.wants_descriptors() => Some(
                "let this process have more descriptors (RLIMIT_NOFILE, `ulimit -n`, `LimitNOFILE=`): a step that \
                 runs takes up to eight",
            ),
            _ => None,
        }
    }

    /// Whether this process has run out of descriptors.
    fn wants_descriptors(&self) -> bool {
        use nix::errno::Errno;
        match self {
            Self::Start { source, .. }
            | Self::Host { source, .. }
            | Self::Streams(source)
            | Self::Files(source) => {
                matches!(source.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
            }
            _ => false,
        }
    }
}

impl From<IsolateError> for Error {
    fn from(error: IsolateError) -> Self {
        let (kind, help) = (error.kind(), error.help());
        let error = Self::new(kind, "isolate sandbox").with_source(error);
        match help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}
