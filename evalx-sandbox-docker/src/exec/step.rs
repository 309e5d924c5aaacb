//! A step by the engine's `exec`: what goes in, what comes out, what stops it,
//! and the report.

use std::future::pending;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use evalx_agent::wire::{Ended, Stopped};
use evalx_core::{Control, Error, ErrorKind, OutputStream, Result, Signal, Stdin, Step, StepIo, StepReport};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{ExecSession, kill_all, text};
use crate::engine::{Engine, Executed, Used, split};
use crate::error::DockerError;
use crate::report::report;
use crate::session::environment;

/// How often CPU time is asked for while a step runs.
const GLANCE: Duration = Duration::from_millis(100);
/// How long a killed step may take to be gone.
const DYING: Duration = Duration::from_secs(30);
/// How much of stdin is read at once.
const GULP: usize = 64 << 10;

/// Limits of each process, then the program with its own environment alone.
const RUN: &str = r#"
ulimit -c 0; ulimit -s "$1" && ulimit -n "$2" && ulimit -f "$3" || exit 125
shift 3; cd /box && exec env -i "$@"
"#;
/// How often the kernel killed a process of the container for want of memory.
const OOM: &str =
    "cat /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events 2>/dev/null; true";
/// Fails unless a program is there, by this path, and may be executed.
const LOOK: &str =
    r#"cd /box; PATH=$1; command -v -- "$2" >/dev/null && { case $2 in */*) [ -x "$2" ] ;; esac; }"#;

/// Ends once the container has used so much CPU time.
struct Watch(JoinHandle<()>);

impl Watch {
    fn start(engine: &Engine, id: &str, most: u64) -> Self {
        let (engine, id) = (engine.clone(), id.to_owned());
        Self(tokio::spawn(async move {
            loop {
                tokio::time::sleep(GLANCE).await;
                // An engine that does not answer now may do so next time.
                if engine.used(&id).await.is_ok_and(|used| used.cpu_ns >= most) {
                    return;
                }
            }
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A step on its way: where it began, what has come out of it, and whether it
/// is being killed.
struct Course {
    exec: String,
    began: Instant,
    /// What the container had used before.
    before: Used,
    stdout: u64,
    stderr: u64,
    killing: Option<Killing>,
}

/// The end of a step that was stopped.
struct Killing {
    why: Stopped,
    task: JoinHandle<()>,
    /// When the step should long be gone.
    deadline: tokio::time::Instant,
}

/// What there is to do next for a step that runs.
enum Next {
    /// A piece of its output; none once that has ended.
    Output(Option<Result<LogOutput, EngineError>>),
    /// It takes no more stdin, or there is none.
    Fed,
    Control(Option<Control>),
    /// Its time is up.
    Late,
    /// It was killed, and lives on.
    Undead,
}

impl Course {
    fn is_stopped(&self) -> bool {
        self.killing.is_some()
    }

    /// Counts a piece of output: how much of it is within the limit, and
    /// whether all of it is.
    fn count(&mut self, stream: OutputStream, length: usize, most: u64) -> (usize, bool) {
        let count = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        let room = usize::try_from(most.saturating_sub(*count)).unwrap_or(usize::MAX);
        *count += length as u64;
        (length.min(room), length <= room)
    }

    /// Ends when a step that is killed should long be gone; never before.
    async fn overdue(&self) {
        match &self.killing {
            Some(killing) => tokio::time::sleep_until(killing.deadline).await,
            None => pending().await,
        }
    }

    /// How it ended, by its exit code and what the container has used by now.
    fn ended(&self, code: i64, wall: Duration, after: &Used) -> Ended {
        let code = i32::try_from(code).unwrap_or(255);
        Ended {
            stopped: self.killing.as_ref().map_or(Stopped::No, |killing| killing.why),
            // `exec` tells a signal as a shell does: 128 and its number.
            status: Some(if (129..=192).contains(&code) { code - 128 } else { code << 8 }),
            cpu_ns: after.cpu_ns.saturating_sub(self.before.cpu_ns),
            user_ns: after.user_ns.saturating_sub(self.before.user_ns),
            system_ns: after.system_ns.saturating_sub(self.before.system_ns),
            wall_ns: nanos(wall),
            memory_peak: after.memory_peak,
            stdout: self.stdout,
            stderr: self.stderr,
            ..Ended::default()
        }
    }
}

impl ExecSession {
    /// Runs a step to its end.
    pub(super) async fn execute(&mut self, step: &Step, io: &mut dyn StepIo) -> Result<StepReport> {
        let command = self.command(step)?;
        let limits = &self.spec.limits;
        let most = limits.output.as_u64();
        let before = self.engine.used(&self.id).await?;
        let Executed { exec, input, mut output } =
            self.engine.execute(&self.id, &self.user, command, true).await?;
        let began = Instant::now();
        let mut course = Course { exec, began, before, stdout: 0, stderr: 0, killing: None };
        let mut controls = io.controls();
        let stdin_over = Notify::new();
        let mut feed = pin!(feed(io.stdin(), input, &stdin_over));
        let mut fed = false;
        // The engine takes its time to answer; nothing else waits for that.
        let cpu_time = before.cpu_ns.saturating_add(nanos(limits.cpu_time));
        let mut watch = Watch::start(&self.engine, &self.id, cpu_time);
        let mut wall = pin!(tokio::time::sleep(limits.wall_time));
        loop {
            // Cancel safe: streams and channels lose nothing, and what else is asked
            // again goes on where it was.
            let next = tokio::select! {
                piece = output.next() => Next::Output(piece),
                () = &mut feed, if !fed => Next::Fed,
                control = async { controls.as_mut()?.recv().await }, if controls.is_some() => Next::Control(control),
                () = &mut wall, if !course.is_stopped() => Next::Late,
                _ = &mut watch.0, if !course.is_stopped() => Next::Late,
                () = course.overdue() => Next::Undead,
            };
            match next {
                Next::Output(None) => break,
                Next::Output(Some(piece)) => {
                    let piece = piece.map_err(|error| DockerError::Lost(error.to_string()))?;
                    let (stream, bytes) = match split(piece) {
                        Ok(bytes) => (OutputStream::Stdout, bytes),
                        Err(bytes) => (OutputStream::Stderr, bytes),
                    };
                    let (kept, fits) = course.count(stream, bytes.len(), most);
                    if kept > 0 {
                        io.output(stream, &bytes[..kept]).await;
                    }
                    if !fits {
                        self.stop(&mut course, Stopped::Limit);
                    }
                }
                Next::Fed => fed = true,
                Next::Control(None) => controls = None,
                Next::Control(Some(Control::Cancel)) => self.stop(&mut course, Stopped::Cancelled),
                Next::Control(Some(Control::CloseStdin)) => stdin_over.notify_one(),
                Next::Control(Some(Control::Signal(signal))) => self.signal(signal).await?,
                Next::Control(Some(_)) => {}
                Next::Late => self.stop(&mut course, Stopped::Limit),
                Next::Undead => {
                    return Err(DockerError::Lost("a step that was killed lives on".to_owned()).into());
                }
            }
        }
        self.conclude(step, course).await
    }

    /// Reports a step whose output has ended, once nothing of it is left.
    async fn conclude(&mut self, step: &Step, mut course: Course) -> Result<StepReport> {
        let wall = course.began.elapsed();
        if let Some(killing) = &mut course.killing {
            // It does not panic, and is never aborted.
            let _ = (&mut killing.task).await;
        }
        let code = self.engine.exit_code(&course.exec).await?;
        let after = self.engine.used(&self.id).await?;
        // What the program has left behind it ends with the step.
        kill_all(&self.engine, &self.id, &self.user).await;
        if matches!(code, 126 | 127) && !self.is_there(step).await? {
            let program = step.program.display();
            let message =
                format!("{program} can't be run: it is not in the container, or may not be executed");
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        let mut ended = course.ended(code, wall, &after);
        if code != 0 {
            ended.oom_kills = self.new_oom_kills().await?;
        }
        Ok(report(&ended, &self.spec.limits))
    }

    fn command(&self, step: &Step) -> Result<Vec<String>> {
        let limits = &self.spec.limits;
        let numbers =
            [limits.stack.as_u64() / 1024, u64::from(limits.open_files), limits.disk.as_u64().div_ceil(512)];
        let mut command = vec!["/bin/sh".to_owned(), "-c".to_owned(), RUN.to_owned(), "sh".to_owned()];
        command.extend(numbers.map(|number| number.to_string()));
        for (name, value) in environment(&step.environment) {
            command.push(format!("{}={}", text(&name)?, text(&value)?));
        }
        // A shell between, or a program's name could look like a variable.
        command.extend(["/bin/sh", "-c", "exec \"$@\"", "sh"].map(str::to_owned));
        command.push(text(&step.program)?);
        for argument in &step.arguments {
            command.push(text(argument)?);
        }
        Ok(command)
    }

    /// Begins to kill a step, unless that has begun.
    fn stop(&self, course: &mut Course, why: Stopped) {
        if !course.is_stopped() {
            let deadline = tokio::time::Instant::now() + DYING;
            // In a task: its output must be read on, or the engine would not get to it.
            course.killing = Some(Killing { why, task: self.kill(), deadline });
        }
    }

    /// Sends a signal to the whole tree: which of them is the program is not known here.
    async fn signal(&self, signal: Signal) -> Result<()> {
        let script = format!("trap '' {0}; kill -{0} -1", signal.number());
        let command = ["/bin/sh".to_owned(), "-c".to_owned(), script];
        self.engine.execute(&self.id, &self.user, command.into(), false).await?;
        Ok(())
    }

    /// Whether a program that could not be started is there at all.
    async fn is_there(&self, step: &Step) -> Result<bool> {
        let variables = environment(&step.environment);
        let path =
            variables.iter().find(|(name, _)| name == "PATH").map(|(_, value)| text(value)).transpose()?;
        let script = format!("{{ {LOOK}; }} || exit 20");
        let arguments = [path.unwrap_or_default(), text(&step.program)?];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(self.script(script, &arguments, b"", 0).await?.is_some())
    }

    /// Processes killed for want of memory since this was asked last.
    async fn new_oom_kills(&mut self) -> Result<u64> {
        let text = self.script(OOM.to_owned(), &[], b"", 64 << 10).await?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        let now = count.unwrap_or(self.oom_kills);
        Ok(now.saturating_sub(std::mem::replace(&mut self.oom_kills, now)))
    }
}

/// Hands stdin to a program until it ends or is `over`, or nobody takes it.
///
/// A program may write before it reads on: who awaits this must read its
/// output meanwhile.
async fn feed(stdin: Stdin, mut input: Pin<Box<dyn AsyncWrite + Send>>, over: &Notify) {
    let mut stdin: Box<dyn AsyncRead + Send + Unpin> = match stdin {
        Stdin::Bytes(bytes) => Box::new(std::io::Cursor::new(bytes)),
        Stdin::Stream(stream) => stream,
        _ => Box::new(tokio::io::empty()),
    };
    let mut buffer = vec![0; GULP];
    loop {
        // Cancel safe: what was read is written, also if it is over by then.
        let count = tokio::select! {
            read = stdin.read(&mut buffer) => read.unwrap_or(0),
            () = over.notified() => 0,
        };
        if count == 0 || input.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    let _ = input.shutdown().await;
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
