//! [`IsolateConfig`]: which `isolate`, which box numbers, what programs may read.

use std::path::PathBuf;

use evalx_core::{Isolation, LimitKind};
use serde::{Deserialize, Serialize};

/// Whether runs are put in control groups (`--cg`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlGroups {
    /// If isolate can here, which is tried at the start.
    #[default]
    Auto,
    /// Always: a start without them is an error.
    Required,
    /// Never. Memory and CPU time are then held for each process by itself,
    /// and a session is refused unless the operator has
    /// [accepted](IsolateConfig::with_accepted_weak_limit) that.
    Off,
}

/// How an [`IsolateSandbox`](crate::IsolateSandbox) is set up.
///
/// ```
/// use evalx_sandbox_isolate::IsolateConfig;
///
/// let config = IsolateConfig::default().with_program("/opt/isolate/bin/isolate").with_boxes(100, 50);
/// assert_eq!((config.first_box, config.boxes), (100, 50));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct IsolateConfig {
    /// The program: a bare name is looked up in `PATH`.
    pub program: PathBuf,
    /// The first box number that may be used.
    pub first_box: u32,
    /// How many numbers from there on may be used. They are shared with every
    /// other process that uses the same [state folder](Self::state_folder), and
    /// nobody else may use them. isolate's own configuration must allow them.
    pub boxes: u32,
    /// Sessions that can be open at once; more wait. 1 to 1024, by default
    /// twice the number of processors.
    pub sessions: usize,
    /// Boxes that are kept initialised for the sessions to come, at most
    /// [`sessions`](Self::sessions). By default the number of processors.
    pub spares: usize,
    /// Whether runs are put in control groups.
    pub control_groups: ControlGroups,
    /// Host folders that programs see read-only at the same path, besides
    /// `/usr` and what belongs to it.
    pub readable: Vec<PathBuf>,
    /// Toolchain folders: readable, and their `bin` is added to `PATH`.
    pub toolchains: Vec<PathBuf>,
    /// Limits whose weaker form the operator accepts.
    pub accepted_weak_limits: Vec<LimitKind>,
    /// Separations whose absence the operator accepts. Without
    /// [`Syscalls`](Isolation::Syscalls) here, every session is refused: isolate
    /// 1 filters no system calls, isolate 2 a few.
    pub accepted_weak_isolation: Vec<Isolation>,
    /// Where the leases of box numbers are, and what belongs to each box; by
    /// default `/run/evalx/isolate`.
    pub state_folder: Option<PathBuf>,
}

impl Default for IsolateConfig {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            program: PathBuf::from("isolate"),
            first_box: 0,
            boxes: 1000,
            sessions: 2 * processors,
            spares: processors,
            control_groups: ControlGroups::default(),
            readable: Vec::new(),
            toolchains: Vec::new(),
            accepted_weak_limits: Vec::new(),
            accepted_weak_isolation: Vec::new(),
            state_folder: None,
        }
    }
}

impl IsolateConfig {
    /// Sets the [`program`](Self::program).
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets which box numbers may be used: `boxes` of them, from `first` on.
    #[must_use]
    pub fn with_boxes(mut self, first: u32, boxes: u32) -> Self {
        self.first_box = first;
        self.boxes = boxes;
        self
    }

    /// Sets the number of [`sessions`](Self::sessions).
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets the number of [`spares`](Self::spares).
    #[must_use]
    pub fn with_spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// Sets the [`control_groups`](Self::control_groups).
    #[must_use]
    pub fn with_control_groups(mut self, control_groups: ControlGroups) -> Self {
        self.control_groups = control_groups;
        self
    }

    /// Adds a [`readable`](Self::readable) folder.
    #[must_use]
    pub fn with_readable(mut self, folder: impl Into<PathBuf>) -> Self {
        self.readable.push(folder.into());
        self
    }

    /// Adds a folder of [`toolchains`](Self::toolchains).
    #[must_use]
    pub fn with_toolchain(mut self, folder: impl Into<PathBuf>) -> Self {
        self.toolchains.push(folder.into());
        self
    }

    /// Accepts the weaker form of a limit: without control groups, that a tree
    /// of processes can exceed what each may use.
    #[must_use]
    pub fn with_accepted_weak_limit(mut self, limit: LimitKind) -> Self {
        self.accepted_weak_limits.push(limit);
        self
    }

    /// Accepts that a separation is not held, or not wholly: with
    /// [`Isolation::Syscalls`], that programs can make every system call that
    /// isolate does not filter. What that means is in the threat model.
    #[must_use]
    pub fn with_accepted_weak_isolation(mut self, isolation: Isolation) -> Self {
        self.accepted_weak_isolation.push(isolation);
        self
    }

    /// Sets the [`state_folder`](Self::state_folder).
    #[must_use]
    pub fn with_state_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state_folder = Some(folder.into());
        self
    }
}
