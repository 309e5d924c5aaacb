//! [`SandboxExt`]: what can be built of the two traits alone.
//!
//! These would be poor default methods of [`Sandbox`]: a wrapper that forgot
//! to forward one would lose what it wraps in silence. They are a blanket
//! implementation instead, and every backend and wrapper has the same.

use std::future::Future;
use std::io;

use bytes::Bytes;

use crate::{
    Collect, Error, ErrorKind, Execution, Program, Result, Sandbox, Session, Stdio, Step, StepReport,
};

/// Which of two connected programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The first that was given.
    First,
    /// The second that was given.
    Second,
}

/// What two [connected](SandboxExt::connect) programs did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Connection {
    /// What the first program did; its stdout went to the second.
    pub first: Execution,
    /// What the second program did; its stdout went to the first.
    pub second: Execution,
    /// Whose end was reported first. The other may have failed only because
    /// nobody was there to talk to any more; then both reports come within a
    /// moment, and their order says little.
    pub ended_first: Side,
}

/// Conveniences that every [`Sandbox`] has.
///
/// It is implemented for all of them, `dyn Sandbox` included. Do not implement
/// it yourself.
pub trait SandboxExt: Sandbox {
    /// Runs one program in a session of its own, and closes the session.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> evalx_core::Result<()> {
    /// use evalx_core::{Limits, Program, SandboxExt, SessionSpec, Step};
    /// use evalx_testkit::{FakeRun, FakeSandbox};
    ///
    /// let sandbox = FakeSandbox::new(|step| FakeRun::exited(0).with_stdout(step.stdin.clone()));
    /// let cat = Program::new(SessionSpec::new(Limits::default()), Step::new("cat"));
    /// let execution = sandbox.execute(cat, "hello").await?;
    /// assert!(execution.report.outcome.is_success());
    /// assert_eq!(execution.stdout, "hello");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Sandbox::open`] and of [`Session`]'s calls. The program's
    /// own failure is not one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the program and drops the session.
    fn execute(
        &self,
        program: Program,
        stdin: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Execution>> + Send {
        let stdin = stdin.into();
        async move {
            let (mut session, step) = place(self, program).await?;
            let mut io = Collect::new(stdin);
            let report = session.run(step, &mut io).await;
            // Closed even after an error, but the error of the run says more.
            let closed = session.close().await;
            let report = report?;
            closed?;
            Ok(execution(report, io))
        }
    }

    /// Runs two programs in two sessions, each reading what the other writes.
    ///
    /// The pipes join them directly; nothing is copied through the host. Both
    /// sessions are open before either program starts, so the sandbox must
    /// have room for two. When one program ends, the other reads end-of-file.
    ///
    /// # Errors
    ///
    /// Those of [`Sandbox::open`] and of [`Session`]'s calls; then the other
    /// program is killed. [`ErrorKind::InvalidRequest`] if a step's stdio was
    /// already chosen, [`ErrorKind::Unavailable`] if the host has no pipes left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills both programs and drops their sessions.
    fn connect(&self, first: Program, second: Program) -> impl Future<Output = Result<Connection>> + Send {
        async move {
            let (first, second) = join(first, second)?;
            // An error on one side drops the other session, which closes it.
            let ((mut left, left_step), (mut right, right_step)) =
                tokio::try_join!(place(self, first), place(self, second))?;
            let (mut left_io, mut right_io) = (Collect::default(), Collect::default());
            let (ended_first, left_report, right_report) = {
                let left_run = left.run(left_step, &mut left_io);
                let right_run = right.run(right_step, &mut right_io);
                tokio::pin!(left_run, right_run);
                // Cancel safety: both futures outlive the `select!` and the one
                // that was not ready is finished in the other's branch.
                tokio::select! {
                    report = &mut left_run => (Side::First, report?, right_run.await?),
                    report = &mut right_run => {
                        let right_report = report?;
                        (Side::Second, left_run.await?, right_report)
                    }
                }
            };
            let (left_closed, right_closed) = tokio::join!(left.close(), right.close());
            left_closed.and(right_closed)?;
            let (first, second) = (execution(left_report, left_io), execution(right_report, right_io));
            Ok(Connection { first, second, ended_first })
        }
    }
}

impl<S: Sandbox + ?Sized> SandboxExt for S {}

/// Opens the program's session and places its files.
async fn place<S: Sandbox + ?Sized>(sandbox: &S, program: Program) -> Result<(Box<dyn Session>, Step)> {
    let mut session = sandbox.open(program.spec).await?;
    for (path, contents) in program.files {
        session.write_file(&path, contents).await?;
    }
    Ok((session, program.step))
}

/// Gives each program what the other writes as its stdin.
fn join(mut first: Program, mut second: Program) -> Result<(Program, Program)> {
    if !matches!((&first.step.stdio, &second.step.stdio), (Stdio::Pipes, Stdio::Pipes)) {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            "a step to be connected already has a stdio of its own",
        ));
    }
    let no_pipe = |error| {
        Error::new(ErrorKind::Unavailable, "could not make a pipe for two programs").with_source(error)
    };
    let (from_second, to_first) = io::pipe().map_err(no_pipe)?;
    let (from_first, to_second) = io::pipe().map_err(no_pipe)?;
    first.step.stdio = Stdio::Joined { stdin: from_second, stdout: to_second };
    second.step.stdio = Stdio::Joined { stdin: from_first, stdout: to_first };
    Ok((first, second))
}

fn execution(report: StepReport, io: Collect) -> Execution {
    let (stdout, stderr) = io.into_output();
    Execution::new(report, stdout, stderr)
}
