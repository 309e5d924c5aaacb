//! [`DockerConfig`]: which engine, which images, how many containers, and how
//! they are used.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use evalx_core::{ByteSize, Error, ErrorKind, Languages, LimitKind, Result};
use serde::{Deserialize, Serialize};

/// How steps are started in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Way {
    /// By the agent of this program: the container's main process.
    ///
    /// It is the program that the variable `EVALX_AGENT` names; else the running
    /// executable if that is `evalx`; else `evalx` or `evalx-agent` beside it or
    /// on the `PATH`. One that is statically linked is preferred, and starts a
    /// little sooner; any other is mounted with its loader and its libraries.
    #[default]
    Agent,
    /// By the agent of this program, `evalx` or `evalx-agent`.
    AgentAt(PathBuf),
    /// By the engine's `exec`, where no agent can be mounted, such as on an
    /// engine of another machine. Each step so costs a hundred times as much,
    /// every session gets a container that is made for it, and limits are held
    /// for the container and its steps together.
    Exec,
}

/// How long a container is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reuse {
    /// One session.
    Session,
    /// The sessions of one [origin](evalx_core::Origin): compiling a
    /// submission and all of its tests, reset and verified between them.
    #[default]
    Submission,
    /// So many sessions, whosever they are, reset and verified between them:
    /// for programs that trust each other.
    Sessions(u32),
}

/// Who reads what a step used, and holds its limits of memory and processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metering {
    /// The first that works here.
    #[default]
    Auto,
    /// A control group for each step, made by this process below the
    /// container's own: it must be root on the engine's machine, with cgroup v1.
    Step,
    /// The container's own control group, with limits that the engine sets
    /// when a session is opened.
    Container,
}

/// An image, and how many containers of it wait for sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Image {
    /// Its name at the engine. It is never pulled.
    pub name: String,
    /// Containers kept ready.
    pub spares: usize,
}

impl Image {
    /// An image of which so many containers are kept ready.
    pub fn new(name: impl Into<String>, spares: usize) -> Self {
        Self { name: name.into(), spares }
    }
}

/// How a [`DockerSandbox`](crate::DockerSandbox) is set up.
///
/// ```
/// use evalx_sandbox_docker::{DockerConfig, Image};
///
/// let config = DockerConfig::new(Image::new("evalx/base", 2))
///     .with_image("java", Image::new("evalx/java", 1))
///     .with_sessions(4);
/// assert_eq!(config.images["java"].name, "evalx/java");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DockerConfig {
    /// Where the engine listens: `unix:///run/docker.sock`, `tcp://host:port`;
    /// by default what `DOCKER_HOST` says, or Docker's own socket.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The image of sessions whose label has none of its own.
    pub image: Image,
    /// The images of sessions by their labels, which are languages' names.
    #[serde(default)]
    pub images: BTreeMap<String, Image>,
    /// Sessions that can be open at once; more wait. 1 to 1024, by default
    /// four times the number of processors.
    #[serde(default = "default_sessions")]
    pub sessions: usize,
    /// Containers that are made at once; by default the number of processors.
    #[serde(default = "processors")]
    pub creations: usize,
    /// How steps are started.
    #[serde(default)]
    pub way: Way,
    /// How long a container is used.
    #[serde(default)]
    pub reuse: Reuse,
    /// Who measures.
    #[serde(default)]
    pub metering: Metering,
    /// The engine's runtime: `runsc` for gVisor; by default the engine's own.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Memory that a container has at first; a session that needs more has it raised.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// Processes that a container has at first; a session that needs more has it raised.
    #[serde(default = "default_processes")]
    pub processes: u32,
    /// Processors that a container may keep busy, in thousandths; by default two.
    #[serde(default = "default_processors")]
    pub milli_processors: u32,
    /// The users that programs run as, on the engine's machine: a container has
    /// one of its own. They must be nobody else's.
    #[serde(default = "default_users")]
    pub first_user: u32,
    /// How many users there are from the first on; by [`Way::Exec`], as many
    /// behind them.
    #[serde(default = "default_user_count")]
    pub users: u32,
    /// How long the engine may take to answer.
    #[serde(default = "default_patience")]
    pub patience: Duration,
    /// Limits whose weaker form the operator accepts.
    #[serde(default)]
    pub accepted_weak_limits: Vec<LimitKind>,
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn default_sessions() -> usize {
    4 * processors()
}

fn default_memory() -> ByteSize {
    ByteSize::gib(2)
}

fn default_processes() -> u32 {
    512
}

fn default_processors() -> u32 {
    2000
}

fn default_users() -> u32 {
    20_000
}

fn default_user_count() -> u32 {
    40_000
}

fn default_patience() -> Duration {
    Duration::from_secs(60)
}

impl DockerConfig {
    /// Containers of this image for all sessions, and defaults for all else.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self {
            endpoint: None,
            image,
            images: BTreeMap::new(),
            sessions: default_sessions(),
            creations: processors(),
            way: Way::default(),
            reuse: Reuse::default(),
            metering: Metering::default(),
            runtime: None,
            memory: default_memory(),
            processes: default_processes(),
            milli_processors: default_processors(),
            first_user: default_users(),
            users: default_user_count(),
            patience: default_patience(),
            accepted_weak_limits: Vec::new(),
        }
    }

    /// Sets the [`endpoint`](Self::endpoint).
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets the image of sessions with this label.
    #[must_use]
    pub fn with_image(mut self, label: impl Into<String>, image: Image) -> Self {
        self.images.insert(label.into(), image);
        self
    }

    /// Gives each language that names [an image](evalx_core::Language::image) that
    /// image, with so many spares; one that was [set](Self::with_image) before
    /// stays. Sessions of a language are labelled with its id.
    ///
    /// The images have to be there: none is pulled, and a start without one of
    /// them is an error. What has no image here is best left out of `languages`.
    ///
    /// ```
    /// use evalx_core::Languages;
    /// use evalx_sandbox_docker::{DockerConfig, Image};
    ///
    /// let languages = Languages::builtin().without("octave");
    /// let config = DockerConfig::new(Image::new("evalx/base", 1)).with_language_images(&languages, 0);
    /// assert_eq!(config.images["bash"].name, "bash:5");
    /// ```
    #[must_use]
    pub fn with_language_images(mut self, languages: &Languages, spares: usize) -> Self {
        for language in languages.iter() {
            if let Some(image) = &language.image {
                self.images.entry(language.id.clone()).or_insert_with(|| Image::new(image, spares));
            }
        }
        self
    }

    /// Sets the number of [`sessions`](Self::sessions).
    #[must_use]
    pub fn with_sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets the number of [`creations`](Self::creations).
    #[must_use]
    pub fn with_creations(mut self, creations: usize) -> Self {
        self.creations = creations;
        self
    }

    /// Sets the [`way`](Self::way).
    #[must_use]
    pub fn with_way(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    /// Sets the [`reuse`](Self::reuse).
    #[must_use]
    pub fn with_reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    /// Sets the [`metering`](Self::metering).
    #[must_use]
    pub fn with_metering(mut self, metering: Metering) -> Self {
        self.metering = metering;
        self
    }

    /// Sets the [`runtime`](Self::runtime).
    #[must_use]
    pub fn with_runtime(mut self, runtime: impl Into<String>) -> Self {
        self.runtime = Some(runtime.into());
        self
    }

    /// Sets the [`memory`](Self::memory) that a container has at first.
    #[must_use]
    pub fn with_memory(mut self, memory: ByteSize) -> Self {
        self.memory = memory;
        self
    }

    /// Sets how many [`processes`](Self::processes) a container has at first.
    #[must_use]
    pub fn with_processes(mut self, processes: u32) -> Self {
        self.processes = processes;
        self
    }

    /// Sets the [`milli_processors`](Self::milli_processors).
    #[must_use]
    pub fn with_milli_processors(mut self, milli_processors: u32) -> Self {
        self.milli_processors = milli_processors;
        self
    }

    /// Sets which users programs run as: so many, [from the first](Self::first_user) on.
    #[must_use]
    pub fn with_users(mut self, first: u32, users: u32) -> Self {
        self.first_user = first;
        self.users = users;
        self
    }

    /// Sets the [`patience`](Self::patience).
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Accepts the weaker form of a limit.
    #[must_use]
    pub fn with_accepted_weak_limit(mut self, limit: LimitKind) -> Self {
        self.accepted_weak_limits.push(limit);
        self
    }

    /// The image of sessions with this label.
    pub(crate) fn image_of(&self, label: &str) -> &Image {
        self.images.get(label).unwrap_or(&self.image)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::new(ErrorKind::InvalidRequest, what));
        let within = |what: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            refuse(format!("{value} {what} are not allowed: from 1 to {most}"))
        };
        within("sessions", self.sessions, 1024)?;
        within("creations at once", self.creations, 64)?;
        within("thousandths of a processor", self.milli_processors as usize, 1_000_000)?;
        let spares: usize = self.images.values().chain([&self.image]).map(|image| image.spares).sum();
        if spares > 1024 {
            return refuse(format!("{spares} spare containers are not allowed: at most 1024"));
        }
        let needed = self.sessions + spares;
        if self.first_user == 0 || (self.users as usize) < 2 * needed {
            return refuse(format!(
                "{} users from {} are too few, or root is among them: at least {} are needed",
                self.users,
                self.first_user,
                2 * needed
            ));
        }
        if let Some(image) =
            self.images.values().chain([&self.image]).find(|image| image.name.trim().is_empty())
        {
            return refuse(format!("`{}` is not the name of an image", image.name));
        }
        if let Reuse::Sessions(0) = self.reuse {
            return refuse("a container must serve a session at least".to_owned());
        }
        if self.memory < ByteSize::mib(64) {
            return refuse(format!("{} of memory are too little for a container: at least 64M", self.memory));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_settings_are_refused() {
        let good = || DockerConfig::new(Image::new("image", 1));
        good().validate().unwrap();
        let bad = [
            good().with_sessions(0),
            good().with_sessions(2000),
            good().with_creations(0),
            good().with_reuse(Reuse::Sessions(0)),
            DockerConfig::new(Image::new(" ", 1)),
            DockerConfig::new(Image::new("image", 5000)),
            good().with_users(0, 40_000),
            good().with_users(20_000, 3),
            good().with_memory(ByteSize::mib(1)),
            good().with_milli_processors(0),
        ];
        for config in bad {
            assert_eq!(config.validate().unwrap_err().kind(), ErrorKind::InvalidRequest, "{config:?}");
        }
    }

    #[test]
    fn images_of_languages_are_taken_unless_one_was_set() {
        let languages = Languages::builtin();
        let with = languages.iter().filter(|language| language.image.is_some()).count();
        let config = DockerConfig::new(Image::new("base", 1))
            .with_image("python", Image::new("evalx/python", 1))
            .with_language_images(&languages, 0);
        assert_eq!(config.images.len(), with);
        assert_eq!(config.image_of("python").name, "evalx/python");
        assert_eq!(config.image_of("go"), &Image::new("golang:1", 0));
        assert_eq!(config.image_of("executable").name, "base");
        config.validate().unwrap();
    }

    #[test]
    fn a_label_chooses_its_image() {
        let config =
            DockerConfig::new(Image::new("base", 1)).with_image("python", Image::new("evalx/python", 1));
        assert_eq!(config.image_of("python").name, "evalx/python");
        assert_eq!(config.image_of("../../etc").name, "base");
    }
}
