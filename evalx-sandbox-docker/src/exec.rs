//! [`ExecSession`]: a session without an agent, by the engine's `exec` alone.
//!
//! It asks less of the engine's machine and more of the image, which must have
//! a POSIX shell and what belongs to it. A container is made for each session,
//! with exactly the session's limits; what it keeps alive is another user than
//! the programs', so that all of theirs can be killed at once.

mod step;

use std::ffi::OsStr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bollard::container::AttachContainerResults;
use bytes::{Bytes, BytesMut};
use evalx_core::{
    Artifact, ArtifactFile, ByteSize, Error, ErrorKind, FileContents, Result, SandboxPath, Session,
    SessionSpec, Stdio, Step, StepIo, StepReport,
};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use crate::container::{Recipe, places, signed};
use crate::engine::{Engine, Executed, split};
use crate::error::DockerError;
use crate::pool::Permit;
use crate::registry::Claim;

/// Exit codes by which the scripts below refuse.
const REFUSED: i64 = 20;
/// What a container does while nothing runs: it waits for its host to go.
const IDLE: [&str; 3] = ["/bin/sh", "-c", "cat >/dev/null"];
/// Processes of a container that are none of a step's: init, shell, `cat`, and the shell of the step.
const OWN_PROCESSES: u64 = 4;

/// Goes down a path without following a symlink, making folders if `$3` says so.
const WALK: &str = r#"
set -fu; cd /box || exit 20; at=.; rest=$1
while :; do case $rest in
*/*) part=${rest%%/*}; rest=${rest#*/}; at=$at/$part
  if [ -L "$at" ]; then exit 20; elif [ -d "$at" ]; then :
  elif [ -e "$at" ] || [ -z "${3-}" ]; then exit 20; else mkdir "$at" || exit 20; fi ;;
*) break ;; esac; done
p=$at/$rest
"#;
const WRITE: &str = r#"
[ -d "$p" ] && [ ! -L "$p" ] && exit 20
rm -f -- "$p" && cat >"$p" && chmod "$2" "$p" || { rm -f -- "$p"; exit 20; }
"#;
const SHOW: &str = r#"
show() { if [ -x "$1" ]; then mode=x; else mode=-; fi
  size=$(wc -c <"$1") || exit 20; printf '%s %s %s\0' "$((size))" "$mode" "$2"; cat "$1"; }
[ -L "$p" ] && exit 20
"#;
const READ: &str = r#"[ -f "$p" ] || exit 20; show "$p" """#;
const KEEP: &str = r#"
if [ -f "$p" ]; then show "$p" ""; exit; fi
[ -d "$p" ] && cd "$p" || exit 20
find . -type f -exec sh -c 'for f; do if [ -x "$f" ]; then m=x; else m=-; fi
  printf "%s %s %s\0" "$(($(wc -c <"$f")))" "$m" "${f#./}"; cat "$f"; done' sh {} +
"#;

/// One session in a container of its own.
pub(crate) struct ExecSession {
    engine: Engine,
    id: String,
    /// The user of programs.
    user: String,
    spec: SessionSpec,
    /// Processes that were killed for want of memory so far.
    oom_kills: u64,
    /// The step that was dropped, until all of it is killed.
    dying: Option<JoinHandle<()>>,
    /// Held for as long as the container is to live; nobody looks into it.
    _hold: Mutex<AttachContainerResults>,
    _claim: Claim,
    _permit: Permit,
}

impl std::fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSession").field("container", &self.id).finish_non_exhaustive()
    }
}

/// Kills a step whose future is dropped.
struct Guard<'a> {
    session: &'a mut ExecSession,
    over: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.session.dying = Some(self.session.kill());
        }
    }
}

/// Kills every process of the programs' user; more than once, since some may
/// be born meanwhile.
async fn kill_all(engine: &Engine, id: &str, user: &str) {
    for _ in 0..3 {
        // The shell is one of them, and so never says how it went.
        let command = ["/bin/sh", "-c", "kill -9 -1"].map(str::to_owned);
        if engine.execute(id, user, command.into(), false).await.is_err() {
            return;
        }
        let alone = engine.users_processes(id, user).await;
        if alone.is_ok_and(|count| count == 0) {
            return;
        }
    }
}

impl ExecSession {
    pub(crate) async fn open(
        recipe: &Arc<Recipe>,
        image: &str,
        spec: SessionSpec,
        permit: Permit,
    ) -> Result<Self> {
        let name = recipe.name();
        let claim = recipe.registry.claim(&recipe.engine, &name)?;
        let limits = &spec.limits;
        let mut body = recipe.body(image, claim.user());
        body.entrypoint = Some(IDLE[..1].iter().map(|word| (*word).to_owned()).collect());
        body.cmd = Some(IDLE[1..].iter().map(|word| (*word).to_owned()).collect());
        if let Some(host) = &mut body.host_config {
            host.init = Some(true);
            host.memory = Some(signed(limits.memory.as_u64()));
            host.memory_swap = host.memory;
            host.pids_limit = Some(signed(u64::from(limits.processes) + OWN_PROCESSES));
            let user = claim.user() + recipe.config.users;
            // Three file systems that together hold what the session may.
            let part = |share: u64| {
                format!(
                    "rw,exec,nosuid,nodev,size={},nr_inodes={},mode=1777,uid={user},gid={user}",
                    limits.disk.as_u64() * share / 4,
                    u64::from(limits.files) * share / 4 + 1
                )
            };
            let (half, quarter) = (part(2), part(1));
            host.tmpfs = Some(places(&[("/box", &half), ("/tmp", &quarter), ("/dev/shm", &quarter)]));
        }
        let user = claim.user() + recipe.config.users;
        let engine = recipe.engine.clone();
        let id = engine.create(&name, body).await?;
        claim.made();
        let hold = engine.attach(&id).await?;
        engine.start(&id).await?;
        let user = format!("{user}:{user}");
        Ok(Self {
            engine,
            id,
            user,
            spec,
            oom_kills: 0,
            dying: None,
            _hold: Mutex::new(hold),
            _claim: claim,
            _permit: permit,
        })
    }

    /// Kills whatever runs, in the background.
    fn kill(&self) -> JoinHandle<()> {
        let (engine, id, user) = (self.engine.clone(), self.id.clone(), self.user.clone());
        tokio::spawn(async move { kill_all(&engine, &id, &user).await })
    }

    /// Waits until a step that was dropped is dead.
    async fn settle(&mut self) {
        if let Some(dying) = self.dying.take() {
            // It does not panic, and is never aborted.
            let _ = dying.await;
        }
    }

    /// Runs one of the scripts above; its output, or that it has refused.
    async fn script(
        &self,
        script: String,
        arguments: &[&str],
        stdin: &[u8],
        most: u64,
    ) -> Result<Option<Bytes>> {
        let mut command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()];
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let Executed { exec, mut input, mut output } =
            self.engine.execute(&self.id, &self.user, command, true).await?;
        let feed = async {
            let fed = input.write_all(stdin).await;
            let _ = input.shutdown().await;
            fed
        };
        let drain = async {
            let mut printed = BytesMut::new();
            while let Some(piece) = output.next().await {
                if let Ok(piece) = piece.map(split).map_err(|error| DockerError::Lost(error.to_string()))? {
                    printed.extend_from_slice(&piece);
                    if printed.len() as u64 > most {
                        return Err(DockerError::Agent(
                            "a script printed more than it was asked for".to_owned(),
                        ));
                    }
                }
            }
            Ok(printed)
        };
        let (_, printed) = tokio::join!(feed, drain);
        let printed = printed?;
        match self.engine.exit_code(&exec).await? {
            0 => Ok(Some(printed.freeze())),
            REFUSED => Ok(None),
            other => Err(DockerError::Agent(format!("a script exited with {other}")).into()),
        }
    }

    async fn place(&self, path: &SandboxPath, contents: &[u8], executable: bool) -> Result<()> {
        let mode = if executable { "755" } else { "644" };
        let script = format!("{WALK}{WRITE}");
        match self.script(script, &[path.as_str(), mode, "make"], contents, 0).await? {
            Some(_) => Ok(()),
            None => Err(refuse(path, "it does not fit, or what is in the way is no folder")),
        }
    }

    /// The files that a script shows.
    async fn files(&mut self, path: &SandboxPath, script: &str, max: ByteSize) -> Result<Vec<ArtifactFile>> {
        /// What names and sizes may take beside the contents.
        const HEADERS: u64 = 16 << 20;
        self.settle().await;
        let most = max.as_u64().saturating_add(HEADERS);
        let shown = self.script(format!("{WALK}{SHOW}{script}"), &[path.as_str(), ""], b"", most).await?;
        let shown = shown.ok_or_else(|| refuse(path, "there is no such file, or it is no regular one"))?;
        parse(&shown, max)
            .ok_or_else(|| refuse(path, "it is larger than allowed, or has names that are no text"))
    }
}

fn refuse(path: &SandboxPath, why: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("{path}: {why}"))
}

/// Takes apart what [`SHOW`] prints: `SIZE MODE NAME`, a NUL, and the contents.
fn parse(mut shown: &[u8], max: ByteSize) -> Option<Vec<ArtifactFile>> {
    let (mut files, mut total) = (Vec::new(), 0_u64);
    while !shown.is_empty() {
        let end = shown.iter().position(|byte| *byte == 0)?;
        let header = std::str::from_utf8(&shown[..end]).ok()?;
        let (size, rest) = header.split_once(' ')?;
        let (mode, name) = rest.split_once(' ')?;
        let size: usize = size.parse().ok()?;
        let contents = shown[end + 1..].get(..size)?;
        total = total.checked_add(size as u64).filter(|total| *total <= max.as_u64())?;
        let path = if name.is_empty() { None } else { Some(SandboxPath::new(name).ok()?) };
        files.push(ArtifactFile::new(path, Bytes::copy_from_slice(contents), mode == "x"));
        shown = &shown[end + 1 + size..];
    }
    Some(files)
}

/// A word for the engine's API, which is JSON.
fn text(word: &OsStr) -> Result<String> {
    word.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("{word:?} is not UTF-8, which the engine's `exec` can't pass on"),
        )
    })
}

#[async_trait]
impl Session for ExecSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        self.settle().await;
        let files = match contents {
            FileContents::Bytes { contents, executable } => {
                return self.place(path, &contents, executable).await;
            }
            FileContents::Artifact(artifact) => artifact,
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{path}: contents of an unknown kind"),
                ));
            }
        };
        for file in files.files() {
            self.place(&file.placed_at(path)?, &file.contents, file.executable).await?;
        }
        Ok(())
    }

    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        step.validate()?;
        if !matches!(step.stdio, Stdio::Pipes) {
            let message =
                "a step by the engine's `exec` has pipes to the host, and no terminal or other step";
            return Err(Error::new(ErrorKind::Unsupported, message).with_help("let an agent start steps"));
        }
        self.settle().await;
        let mut guard = Guard { session: self, over: false };
        let result = guard.session.execute(&step, io).await;
        // After an error it is not known what runs on.
        guard.over = result.is_ok();
        result
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        let mut files = self.files(path, READ, max).await?;
        files.pop().map(|file| file.contents).ok_or_else(|| refuse(path, "there is no such file"))
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        let max = self.spec.limits.disk;
        self.files(path, KEEP, max).await.map(Artifact::new)
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(self.engine.remove(&self.id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scripts_show_is_taken_apart() {
        let shown = b"5 x a/b\x0012345\x30 - c\x00";
        let files = parse(shown, ByteSize::bytes(5)).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!((&files[0].contents[..], files[0].executable), (&b"12345"[..], true));
        assert_eq!(files[1].path, Some(SandboxPath::new("c").unwrap()));
        assert!(parse(shown, ByteSize::bytes(4)).is_none(), "more than allowed");
        for bad in [&b"5 x a\x001234"[..], b"x", b"-1 x a\0", b"1 x ../a\0x", b"99999999999999999999 x a\0"] {
            assert!(parse(bad, ByteSize::MAX).is_none(), "{bad:?}");
        }
        assert_eq!(evalx_core::WORK_FOLDER, "/box", "the scripts name it");
    }
}
