//! Ctrl-C and its kin: end the step, not the command, so that it can report.

use std::future::Future;

use evalx_core::{Control, ControlReceiver, ControlSender, controls};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// Sends a step [`Control::Cancel`] at an interrupt; owns the task that waits for it.
#[derive(Debug)]
pub(crate) struct Interrupt {
    sender: ControlSender,
    task: JoinHandle<()>,
}

impl Interrupt {
    /// Listens from now on, also before the step starts: the control waits for it.
    pub(crate) fn listen() -> (Self, ControlReceiver) {
        let (sender, receiver) = controls();
        let to_step = sender.clone();
        let interrupted = interrupted();
        let task = tokio::spawn(async move {
            interrupted.await;
            to_step.send(Control::Cancel).await;
        });
        (Self { sender, task }, receiver)
    }

    /// Another way to cancel the same step.
    pub(crate) fn sender(&self) -> ControlSender {
        self.sender.clone()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ready at the first SIGINT, SIGTERM or SIGHUP from now on.
pub(crate) fn interrupted() -> impl Future<Output = ()> + Send {
    let listen = |kind| signal(kind).ok();
    let mut interrupt = listen(SignalKind::interrupt());
    let mut terminate = listen(SignalKind::terminate());
    let mut hangup = listen(SignalKind::hangup());
    async move {
        // Each branch only waits, and loses nothing when another is first.
        tokio::select! {
            () = next(&mut interrupt) => {}
            () = next(&mut terminate) => {}
            () = next(&mut hangup) => {}
        }
    }
}

/// The next of these signals; never, if they can't be listened for.
async fn next(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => {
            signals.recv().await;
        }
        None => std::future::pending().await,
    }
}
