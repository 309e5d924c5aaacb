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
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::groups::Groups;

/// How often isolate is told again to stop: it may be told at the one moment
/// at which it does not hear.
const AGAIN: Duration = Duration::from_millis(2);

/// How long a look at a program that has hardly begun is put off.
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
}

/// What is to be watched.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) cpu_time: Duration,
    pub(crate) wall_time: Duration,
    /// Where CPU time is read, if anywhere.
    pub(crate) groups: Option<Groups>,
    pub(crate) number: u32,
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
    end: watch::Receiver<Option<Option<ExitStatus>>>,
}

impl Keeper {
    /// Watches over a child that is `isolate --run`.
    pub(crate) fn watch(child: Child, bounds: Bounds, tasks: &TaskTracker) -> Self {
        // Unbounded, but a caller sends an order for each control it was sent,
        // which is bounded, and one more.
        let (orders, receiver) = mpsc::unbounded_channel();
        let (sender, end) = watch::channel(None);
        let stopped = Arc::new(Mutex::new(None));
        let task = Task { run: Run(child), bounds, orders: receiver, stopped: Arc::clone(&stopped) };
        tasks.spawn(async move {
            let status = task.attend().await;
            // Nobody waits for it if the session is gone.
            let _ = sender.send(Some(status.ok()));
        });
        Self { orders, stopped, end }
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

    /// Waits until isolate has ended, and with it the whole tree; `None` if its
    /// status can't be known.
    ///
    /// # Cancel safety
    ///
    /// It may be asked again, as often as one likes.
    pub(crate) async fn ended(&self) -> Option<ExitStatus> {
        let mut end = self.end.clone();
        // It fails only if the runtime ends, and all with it.
        end.wait_for(Option::is_some).await.ok().and_then(|end| (*end)?)
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
}

impl Task {
    async fn attend(mut self) -> io::Result<ExitStatus> {
        let begun = Instant::now();
        let mut next_cpu =
            self.bounds.groups.is_some().then(|| begun + self.per_processor(self.bounds.cpu_time));
        let mut next_wall = begun + self.bounds.wall_time;
        let mut stopping = false;
        loop {
            let next = if stopping {
                Instant::now() + AGAIN
            } else {
                next_cpu.map_or(next_wall, |cpu| cpu.min(next_wall))
            };
            // Cancel safety: `wait` may be asked again, and an order that was
            // not taken stays in its channel.
            tokio::select! {
                biased;
                status = self.run.0.wait() => return status,
                Some(order) = self.orders.recv() => match order {
                    Order::Stop => stopping = true,
                    Order::Signal(number) => self.signal(number),
                },
                () = sleep_until(next) => {
                    if !stopping && next_cpu.is_some_and(|at| at <= Instant::now()) {
                        next_cpu = self.look_at_cpu();
                        stopping |= next_cpu.is_none();
                    }
                    if !stopping && next_wall <= Instant::now() {
                        next_wall = match self.left_of_wall() {
                            Some(left) => Instant::now() + left,
                            None => { stopping = true; next_wall }
                        };
                    }
                }
            }
            if stopping {
                self.run.interrupt();
            }
        }
    }

    /// The soonest that all processors together use up this much.
    fn per_processor(&self, time: Duration) -> Duration {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        (time / u32::try_from(processors).unwrap_or(u32::MAX)).max(SOON)
    }

    /// When to look again; `None` if the time is up.
    fn look_at_cpu(&self) -> Option<Instant> {
        let used = self.bounds.groups.as_ref().and_then(|groups| groups.cpu_time(self.bounds.number));
        match self.bounds.cpu_time.checked_sub(used.unwrap_or_default()) {
            Some(left) if !left.is_zero() => Some(Instant::now() + self.per_processor(left)),
            _ => {
                note(&self.stopped, Stopped::Cpu);
                None
            }
        }
    }

    /// What is left of the wall time; `None` if it is up. It began when the
    /// program did, and not when isolate was started.
    fn left_of_wall(&self) -> Option<Duration> {
        let Some(age) = self.run.main().and_then(age) else { return Some(SOON) };
        match self.bounds.wall_time.checked_sub(age) {
            Some(left) if !left.is_zero() => Some(left),
            _ => {
                note(&self.stopped, Stopped::Wall);
                None
            }
        }
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

/// How long a process has lived, at least: the kernel tells its start in ticks.
fn age(pid: Pid) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the start is the 20th field behind it.
    let started: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let per_second =
        sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok())?;
    let latest = Duration::from_nanos((started + 1).checked_mul(1_000_000_000 / per_second)?);
    let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Some(now.saturating_sub(latest))
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

    #[test]
    fn the_age_of_this_process_is_known() {
        let first = age(Pid::this()).expect("it is told");
        assert!(first < Duration::from_secs(600), "{first:?}");
        assert_eq!(age(Pid::from_raw(i32::MAX)), None);
    }
}
