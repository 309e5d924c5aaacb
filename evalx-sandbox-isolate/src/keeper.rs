//! [`Keeper`]: one `isolate --run` that is under way, and its end.
//!
//! isolate looks at the clock ten times a second, and ends a program that is
//! over its limits then. This is the sharper clock in front of it: it looks at
//! the CPU time when the limit can first be reached, and asks isolate to stop
//! the program. A task of its own does so, whether or not anybody takes the
//! program's output; if the whole host is stuck, isolate's own clock remains.
//!
//! ```text
//!  Keeper ── orders ──> task ── owns ──> isolate (as root, outside)
//!         <── end ────       ── SIGTERM ─┘  └─> PID 1 of the box ──> program
//! ```

use std::fs;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::boxes::Boxes;
use crate::gate::{self, GateEnd};
use crate::groups::Groups;

/// How often isolate is told again to stop: it may be told at the one moment
/// at which it does not hear.
const AGAIN: Duration = Duration::from_millis(2);

/// How long isolate may take to be ready to be stopped.
const UNREADY: Duration = Duration::from_secs(10);

/// How long it takes at least until it pays to look again.
const SOON: Duration = Duration::from_millis(1);

/// Why a program was stopped by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stopped {
    /// Its CPU time was up.
    Cpu,
    /// Its wall time was up.
    Wall,
    /// It wrote too much.
    Output,
    /// The caller cancelled it.
    Cancelled,
    /// The caller is gone.
    Abandoned,
    /// It could not be let go.
    Gate,
}

/// What is to be watched.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) cpu_time: Duration,
    pub(crate) wall_time: Duration,
    /// Where CPU time is read, if anywhere.
    pub(crate) groups: Option<Groups>,
    pub(crate) number: u32,
    /// What holds the program back.
    pub(crate) gate: GateEnd,
}

/// How a run went, as its task saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// isolate's own end; `None` if it can't be known.
    pub(crate) status: Option<ExitStatus>,
    /// From the opening of the gate to isolate's end.
    pub(crate) wall_time: Duration,
    /// CPU time that the box's groups had counted before.
    pub(crate) setting_up: Duration,
}

enum Order {
    Stop,
    Signal(i32),
}

/// One run under way.
#[derive(Clone, Debug)]
pub(crate) struct Keeper {
    orders: mpsc::UnboundedSender<Order>,
    stopped: Arc<Mutex<Option<Stopped>>>,
    end: watch::Receiver<Option<End>>,
}

impl Keeper {
    /// Watches over a child that is `isolate --run`. The program's stderr comes
    /// with the opening of the gate, if isolate gets that far.
    pub(crate) fn watch(child: Child, bounds: Bounds, boxes: &Boxes) -> (Self, oneshot::Receiver<OwnedFd>) {
        // Unbounded, but a caller sends an order for each control it was sent,
        // which is bounded, and one more.
        let (orders, receiver) = mpsc::unbounded_channel();
        let (sender, end) = watch::channel(None);
        let (stderr, opened) = oneshot::channel();
        let stopped = Arc::new(Mutex::new(None));
        let task = Task {
            run: Run(child),
            bounds,
            orders: receiver,
            stopped: Arc::clone(&stopped),
            stderr: Some(stderr),
            stopping: false,
            stopping_since: None,
            next: Instant::now(),
            opened: None,
            setting_up: Duration::ZERO,
        };
        boxes.spawn(async move {
            let end = task.attend().await;
            // Nobody waits for it if the session is gone.
            let _ = sender.send(Some(end));
        });
        (Self { orders, stopped, end }, opened)
    }

    /// Stops the program, for this reason if it is the first or the weightiest.
    pub(crate) fn stop(&self, why: Stopped) {
        note(&self.stopped, why);
        let _ = self.orders.send(Order::Stop);
    }

    /// Sends the main process a signal.
    pub(crate) fn signal(&self, number: i32) {
        let _ = self.orders.send(Order::Signal(number));
    }

    /// Why it was stopped by us, if it was.
    pub(crate) fn stopped(&self) -> Option<Stopped> {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until isolate has ended, and with it the whole tree.
    ///
    /// # Cancel safety
    ///
    /// It may be asked again, as often as one likes.
    pub(crate) async fn ended(&self) -> End {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        // There is none only if the runtime ends, and all with it.
        ended.unwrap_or(End { status: None, wall_time: Duration::ZERO, setting_up: Duration::ZERO })
    }
}

fn note(stopped: &Mutex<Option<Stopped>>, why: Stopped) {
    let mut stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    *stopped = (*stopped).max(Some(why));
}

/// A child that is asked to stop if it is dropped: killed outright, isolate
/// would leave the program behind.
struct Run(Child);

impl Run {
    /// Its pid, while it was not waited for.
    fn pid(&self) -> Option<Pid> {
        self.0.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
    }

    fn interrupt(&self) {
        if let Some(pid) = self.pid() {
            // Not waited for yet, so that the pid is still its own.
            let _ = kill(pid, Signal::SIGTERM);
        }
    }

    /// The program's main process: the first child of isolate's first child.
    fn main(&self) -> Option<Pid> {
        first_child(first_child(self.pid()?)?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.interrupt();
    }
}

struct Task {
    run: Run,
    bounds: Bounds,
    orders: mpsc::UnboundedReceiver<Order>,
    stopped: Arc<Mutex<Option<Stopped>>>,
    /// Who waits for the program's stderr.
    stderr: Option<oneshot::Sender<OwnedFd>>,
    stopping: bool,
    stopping_since: Option<Instant>,
    /// When to look again.
    next: Instant,
    /// When the program was let go.
    opened: Option<Instant>,
    /// CPU time that was counted before.
    setting_up: Duration,
}

impl Task {
    async fn attend(mut self) -> End {
        loop {
            // Cancel safety: `wait` may be asked again, and an order that was
            // not taken stays in its channel.
            tokio::select! {
                biased;
                status = self.run.0.wait() => {
                    let wall_time = self.opened.map_or(Duration::ZERO, |opened| opened.elapsed());
                    return End { status: status.ok(), wall_time, setting_up: self.setting_up };
                }
                Some(order) = self.orders.recv() => match order {
                    Order::Stop => self.stopping = true,
                    Order::Signal(number) => self.signal(number),
                },
                () = sleep_until(self.next) => {
                    if !self.stopping {
                        self.look();
                    }
                }
            }
            if self.stopping {
                self.interrupt();
            }
        }
    }

    /// Asks isolate to stop, once it is ready for that: before it keeps time, it
    /// takes a signal as a failure of its own.
    fn interrupt(&mut self) {
        let since = *self.stopping_since.get_or_insert_with(Instant::now);
        let is_ready = self.opened.is_some() || self.run.pid().is_some_and(gate::keeps_time);
        if is_ready || since.elapsed() >= UNREADY {
            self.run.interrupt();
        }
        self.next = Instant::now() + AGAIN;
    }

    /// Does what is due, and says when to look again.
    fn look(&mut self) {
        let Some(opened) = self.opened else { return self.open() };
        let wall = (opened + self.bounds.wall_time).saturating_duration_since(Instant::now());
        let cpu = self.left_of_cpu();
        if wall.is_zero() {
            self.stop(Stopped::Wall);
        } else if cpu.is_some_and(|cpu| cpu.is_zero()) {
            self.stop(Stopped::Cpu);
        } else {
            let soonest = cpu.map(|cpu| self.per_processor(cpu));
            self.next = Instant::now() + soonest.map_or(wall, |cpu| cpu.min(wall));
        }
    }

    /// Lets the program go, once isolate is ready for it.
    fn open(&mut self) {
        let Some(pid) = self.run.pid() else { return };
        // Mounts and the like, which isolate makes as a member of the group:
        // the program has not begun to run.
        self.setting_up = self.cpu_time().unwrap_or_default();
        match self.bounds.gate.open_for(pid) {
            Ok(None) => self.next = Instant::now() + SOON,
            Ok(Some(stderr)) => {
                self.opened = Some(Instant::now());
                if let Some(waiting) = self.stderr.take() {
                    // The caller may be gone.
                    let _ = waiting.send(stderr);
                }
                self.look();
            }
            // Not to be opened, it would hold the program for ever.
            Err(error) => {
                tracing::warn!(number = self.bounds.number, %error, "the gate of a box can't be opened");
                self.stop(Stopped::Gate);
            }
        }
    }

    fn stop(&mut self, why: Stopped) {
        note(&self.stopped, why);
        self.stopping = true;
    }

    /// The soonest that all processors together use up this much.
    fn per_processor(&self, time: Duration) -> Duration {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        (time / u32::try_from(processors).unwrap_or(u32::MAX)).max(SOON)
    }

    /// What is left of the CPU time, if that can be known.
    fn left_of_cpu(&self) -> Option<Duration> {
        let used = self.cpu_time()?.saturating_sub(self.setting_up);
        Some(self.bounds.cpu_time.saturating_sub(used))
    }

    /// What the box's groups have counted, if there are any.
    fn cpu_time(&self) -> Option<Duration> {
        self.bounds.groups.as_ref()?.cpu_time(self.bounds.number)
    }

    fn signal(&self, number: i32) {
        let Ok(signal) = Signal::try_from(number) else { return };
        if let Some(main) = self.run.main() {
            // It may end at any time. Its pid is not given out again as long as
            // its parent has not waited for it, which then ends itself.
            let _ = kill(main, signal);
        }
    }
}

fn first_child(parent: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split(' ').next()?.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weightiest_reason_counts() {
        let stopped = Mutex::new(None);
        for (why, counts) in [
            (Stopped::Output, Stopped::Output),
            (Stopped::Cpu, Stopped::Output),
            (Stopped::Cancelled, Stopped::Cancelled),
        ] {
            note(&stopped, why);
            assert_eq!(*stopped.lock().unwrap(), Some(counts));
        }
    }
}
