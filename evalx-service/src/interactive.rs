//! [`Interactive`]: a program that somebody talks to while it runs.
//!
//! ```text
//! Typist ── stdin, at most so much unread ──► program ──► Said ──► who reads
//!   └────── controls ────────────────────────►   ▲
//!                     silence, end of the process ┘ end it
//! ```
//!
//! There is no queue in between: whoever talks waits already. What the host
//! drops, ends: the program is killed with the future that runs it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    CompileReport, Control, ControlReceiver, ControlSender, Hint, OutputStream, Phase, Result, Session,
    Stdin, Stdio, Step, StepIo, StepReport, Submission, TerminalSize, controls,
};
use futures_util::FutureExt;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::seats::Seat;

/// How many pieces of output wait for who reads them; then the program waits.
const PIECES: usize = 8;
/// Controls that may wait for the program.
const CONTROLS: usize = 16;
/// How long a program that is ended may take to report.
const LAST_REPORT: Duration = Duration::from_secs(5);
/// The end of its output that explains a failure.
const REMEMBERED: usize = 16 << 10;

/// What is run, and whether it has a terminal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Interactive {
    /// The program with its arguments and limits; tests and stdin are not looked at.
    pub submission: Submission,
    /// The size of its terminal; without one it has three pipes.
    pub terminal: Option<TerminalSize>,
}

/// What is told of a session as it happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Said {
    /// What the compiler did. If it failed, nothing but the end follows.
    Compiled(Box<CompileReport>),
    /// The program runs.
    Started,
    /// The program has written this.
    Output(OutputStream, Bytes),
}

/// Hears what is said of a session.
#[derive(Debug)]
pub struct Listener(mpsc::Receiver<Said>);

impl Listener {
    /// What is said next; `None` once nothing more comes.
    ///
    /// # Cancel safety
    ///
    /// No word is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Said> {
        self.0.recv().await
    }
}

/// How a session ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct SessionEnd {
    /// What the program did; none if it was not compiled.
    pub report: Option<StepReport>,
    /// Why it was ended, if it did not end by itself.
    pub reason: Option<EndReason>,
    /// What explains a failure, the best first.
    pub hints: Vec<Hint>,
    /// The backend that it ran in.
    pub backend: String,
}

/// Why a session was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// Who talked to it asked for that.
    Cancelled,
    /// It was silent for too long.
    Idle,
    /// The server ends.
    ShuttingDown,
}

impl EndReason {
    /// The name in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Idle => "idle",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// That more was sent than the program takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun;

/// When somebody last typed, or took output.
#[derive(Clone, Debug)]
struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Ends after so long a silence.
    async fn silence(&self, idle: Duration) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + idle;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Who types: stdin and controls, to a program that runs or is yet compiled.
///
/// Nothing here waits, so that whoever types can always say that it should end.
#[derive(Debug)]
pub struct Typist {
    stdin: Option<DuplexStream>,
    controls: mpsc::Sender<Control>,
    activity: Activity,
}

impl Typist {
    /// Types these bytes. After [`close_stdin`](Self::close_stdin) they go nowhere.
    ///
    /// # Errors
    ///
    /// [`Overrun`] if more waits than [`SessionRules::unread`](crate::SessionRules::unread).
    pub fn type_in(&mut self, bytes: &[u8]) -> Result<(), Overrun> {
        self.activity.note();
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        match stdin.write_all(bytes).now_or_never() {
            Some(Ok(())) => Ok(()),
            // The program has closed its stdin, or has ended.
            Some(Err(_)) => {
                self.stdin = None;
                Ok(())
            }
            None => Err(Overrun),
        }
    }

    /// No more stdin comes.
    pub fn close_stdin(&mut self) {
        self.activity.note();
        self.stdin = None;
    }

    /// Sends a control.
    ///
    /// # Errors
    ///
    /// [`Overrun`] if too many wait.
    pub fn control(&self, control: Control) -> Result<(), Overrun> {
        self.activity.note();
        match self.controls.try_send(control) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overrun),
            // One that has ended needs none.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

/// A session that waits to be driven.
#[derive(Debug)]
pub struct Sitting {
    seat: Seat,
    interactive: Interactive,
    stdin: DuplexStream,
    controls: mpsc::Receiver<Control>,
    activity: Activity,
    said: mpsc::Sender<Said>,
}

impl Interactive {
    /// This program, without a terminal.
    #[must_use]
    pub const fn new(submission: Submission) -> Self {
        Self { submission, terminal: None }
    }

    /// Gives it a terminal of this size.
    #[must_use]
    pub const fn with_terminal(mut self, terminal: Option<TerminalSize>) -> Self {
        self.terminal = terminal;
        self
    }

    /// Takes its seat: who types, what is to be driven, and what it says. A
    /// reader that is slow slows the program.
    #[must_use]
    pub fn sit(self, seat: Seat) -> (Typist, Sitting, Listener) {
        let unread = usize::try_from(seat.rules().unread.as_u64()).unwrap_or(usize::MAX);
        let (writer, reader) = duplex(unread);
        let (control, controls) = mpsc::channel(CONTROLS);
        let (said, words) = mpsc::channel(PIECES);
        let activity = Activity(Arc::new(Mutex::new(Instant::now())));
        let typist = Typist { stdin: Some(writer), controls: control, activity: activity.clone() };
        (
            typist,
            Sitting { seat, interactive: self, stdin: reader, controls, activity, said },
            Listener(words),
        )
    }
}

impl Sitting {
    /// Compiles the program if need be, and runs it to its end.
    ///
    /// # Errors
    ///
    /// Those of [`Evaluator::prepare`](evalx_core::Evaluator::prepare) and of the sandbox.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills what runs.
    pub async fn drive(self, engine: &Engine) -> Result<SessionEnd> {
        let Self { seat, interactive, stdin, controls: told, activity, said } = self;
        let backend = || engine.sandbox().capabilities().backend;
        let over = |reason| SessionEnd { report: None, reason, hints: Vec::new(), backend: backend() };
        let prepared = tokio::select! {
            prepared = engine.evaluator().prepare(&interactive.submission) => prepared?,
            () = seat.closing() => return Ok(over(Some(EndReason::ShuttingDown))),
        };
        activity.note();
        if let Some(compile) = prepared.compile() {
            // Who reads is gone if this fails, and drops this future.
            let _ = said.send(Said::Compiled(Box::new(compile.clone()))).await;
        }
        let Some(program) = prepared.program() else {
            let hints = prepared.compile().map(|compile| {
                let CompileReport { report, stdout, stderr, .. } = compile;
                prepared.hints(engine.evaluator(), Phase::Compile, report, stdout, stderr)
            });
            return Ok(SessionEnd { hints: hints.unwrap_or_default(), ..over(None) });
        };
        let mut session = tokio::select! {
            session = engine.sandbox().open(program.spec) => session?,
            () = seat.closing() => return Ok(over(Some(EndReason::ShuttingDown))),
        };
        for (path, contents) in program.files {
            session.write_file(&path, contents).await?;
        }
        let stdio = interactive.terminal.map_or(Stdio::Pipes, Stdio::Terminal);
        let _ = said.send(Said::Started).await;
        activity.note();
        let (control, receiver) = controls();
        let mut line = Line {
            stdin: Some(Stdin::Stream(Box::new(stdin))),
            controls: Some(receiver),
            said,
            activity: activity.clone(),
            stdout: Tail::default(),
            stderr: Tail::default(),
        };
        let watch = Watch { seat: &seat, told, control, activity };
        // Who reads is not to wait until a buffer is full.
        let step = program.step.with_stdio(stdio).with_variable("PYTHONUNBUFFERED", "1");
        let ran = watch.over(session.as_mut(), step, &mut line).await;
        let closed = session.close().await;
        let (report, reason) = ran?;
        closed?;
        let hints = match &report {
            Some(report) if !report.outcome.is_success() && reason.is_none() => {
                prepared.hints(engine.evaluator(), Phase::Run, report, &line.stdout.0, &line.stderr.0)
            }
            _ => Vec::new(),
        };
        Ok(SessionEnd { report, hints, ..over(reason) })
    }
}

/// What watches over a running program.
struct Watch<'a> {
    seat: &'a Seat,
    told: mpsc::Receiver<Control>,
    control: ControlSender,
    activity: Activity,
}

impl Watch<'_> {
    /// Runs the step to its end, or ends it. There is no report if even that took too long.
    async fn over(
        mut self,
        session: &mut dyn Session,
        step: Step,
        line: &mut Line,
    ) -> Result<(Option<StepReport>, Option<EndReason>)> {
        let mut run = session.run(step, line);
        let reason = tokio::select! {
            report = &mut run => return Ok((Some(report?), None)),
            reason = self.reason() => reason,
        };
        let ended = async {
            self.control.send(Control::Cancel).await;
            run.await
        };
        // Who reads may have stopped: then the last piece of output waits for ever.
        match tokio::time::timeout(LAST_REPORT, ended).await {
            Ok(report) => Ok((Some(report?), Some(reason))),
            Err(_) => Ok((None, Some(reason))),
        }
    }

    /// Passes controls on, until there is a reason to end the program.
    async fn reason(&mut self) -> EndReason {
        let idle = self.seat.rules().idle;
        loop {
            tokio::select! {
                told = self.told.recv() => match told {
                    Some(Control::Cancel) => return EndReason::Cancelled,
                    Some(control) => { self.control.send(control).await; }
                    // Who typed is gone; whether the session goes on is the host's to say.
                    None => break,
                },
                () = self.activity.silence(idle) => return EndReason::Idle,
                () = self.seat.closing() => return EndReason::ShuttingDown,
            }
        }
        tokio::select! {
            () = self.activity.silence(idle) => EndReason::Idle,
            () = self.seat.closing() => EndReason::ShuttingDown,
        }
    }
}

/// The program's side of the line.
struct Line {
    stdin: Option<Stdin>,
    controls: Option<ControlReceiver>,
    said: mpsc::Sender<Said>,
    activity: Activity,
    stdout: Tail,
    stderr: Tail,
}

#[async_trait]
impl StepIo for Line {
    fn stdin(&mut self) -> Stdin {
        self.stdin.take().unwrap_or(Stdin::Empty)
    }

    fn controls(&mut self) -> Option<ControlReceiver> {
        self.controls.take()
    }

    async fn output(&mut self, stream: OutputStream, piece: &[u8]) {
        match stream {
            OutputStream::Stdout => self.stdout.add(piece),
            OutputStream::Stderr => self.stderr.add(piece),
        }
        if self.said.send(Said::Output(stream, Bytes::copy_from_slice(piece))).await.is_ok() {
            self.activity.note();
        }
    }
}

/// The end of an output.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn add(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(&piece[piece.len().saturating_sub(REMEMBERED)..]);
        // Seldom, so that a program that writes byte by byte costs little.
        if self.0.len() > 2 * REMEMBERED {
            self.0.drain(..self.0.len() - REMEMBERED);
        }
    }
}
