//! A step in flight: its streams, its clocks, and how it ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::pty::{Winsize, openpty};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize as Size, tcsetwinsize};

use crate::cell::{Cell, EXECUTE, End, Word};
use crate::disk::Disk;
use crate::meter::Meter;
use crate::outbox::{Outbox, never_wait};
use crate::wire::{Ended, FromAgent, OUTPUT_WINDOW, Order, Stopped, Streams, ToStep};
use crate::{Failure, at};

/// The longest that nobody looks at memory and CPU time while a step runs.
const GLANCE: Duration = Duration::from_millis(50);
/// How long nobody looks at the output of a step that has just begun: what a
/// short one prints is told in one message with its end. Its pipe holds it so long.
const QUIET: Duration = Duration::from_millis(2);
/// The shortest pause between two looks at CPU time.
const BLINK: Duration = Duration::from_micros(500);
/// How much is read from a stream at once.
const GULP: usize = 64 << 10;
/// What a terminal takes as the end of its input.
const END_OF_INPUT: u8 = 4;

/// An output stream of the program.
#[derive(Debug)]
struct Output {
    /// Gone once nobody can write to it any more.
    file: Option<File>,
    read: u64,
    stream: fn(Vec<u8>) -> FromAgent,
}

/// What waits to go into the program.
#[derive(Debug)]
struct Input {
    /// Gone once it was closed, from either side.
    file: Option<File>,
    waiting: Vec<u8>,
    over: bool,
}

/// A step that runs.
#[derive(Debug)]
pub(crate) struct Step {
    cell: Option<Cell>,
    meter: Meter,
    processors: u32,
    order: Order,
    stdin: Input,
    outputs: [Output; 2],
    /// Output that the host has not taken yet.
    untaken: usize,
    began: Instant,
    wall: Option<Duration>,
    stopped: Stopped,
    failed: Option<(i32, String)>,
    end: Option<End>,
    most_memory: u64,
}

/// What of a step the supervisor waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Cell,
    Stdin,
    /// The output of this index.
    Output(usize),
}

impl Step {
    /// Hands the order to the cell.
    pub(crate) fn begin(
        mut cell: Cell,
        order: Order,
        meter: Meter,
        processors: u32,
    ) -> Result<Self, Failure> {
        let (theirs, stdin, outputs) = match order.streams {
            Streams::Pipes => pipes()?,
            Streams::Terminal(rows, columns) => terminal(rows, columns)?,
        };
        for file in [&stdin].into_iter().chain(outputs.iter().flatten()) {
            at("prepare a stream", never_wait(file))?;
        }
        let began = Instant::now();
        cell.order(&order, [theirs[0].as_fd(), theirs[1].as_fd(), theirs[2].as_fd()])?;
        let [stdout, stderr] = outputs;
        Ok(Self {
            cell: Some(cell),
            meter,
            processors,
            order,
            stdin: Input { file: Some(stdin), waiting: Vec::new(), over: false },
            outputs: [
                Output { file: stdout, read: 0, stream: FromAgent::Stdout },
                Output { file: stderr, read: 0, stream: FromAgent::Stderr },
            ],
            untaken: 0,
            began,
            wall: None,
            stopped: Stopped::No,
            failed: None,
            end: None,
            most_memory: 0,
        })
    }

    /// What to wait for, whether for reading, and whether for writing.
    pub(crate) fn sources(&self, host_is_slow: bool) -> Vec<(Source, BorrowedFd<'_>, bool, bool)> {
        let mut sources = Vec::with_capacity(4);
        if let Some(cell) = &self.cell {
            sources.push((Source::Cell, cell.control(), true, false));
        }
        if let Some(file) = &self.stdin.file {
            sources.push((Source::Stdin, file.as_fd(), false, !self.stdin.waiting.is_empty()));
        }
        // What a dead program has left in a pipe is read whatever the host does.
        let running = self.cell.is_some() && self.stopped == Stopped::No;
        let wait = host_is_slow || (running && (self.is_quiet() || self.untaken >= OUTPUT_WINDOW));
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(file) = output.file.as_ref().filter(|_| !wait) {
                sources.push((Source::Output(index), file.as_fd(), true, false));
            }
        }
        sources
    }

    /// Attends to one source that has something.
    pub(crate) fn attend(
        &mut self,
        source: Source,
        broken: bool,
        outbox: &mut Outbox,
    ) -> Result<(), Failure> {
        match source {
            Source::Cell => self.listen(outbox),
            Source::Stdin => {
                self.feed(broken, outbox);
                Ok(())
            }
            Source::Output(index) => {
                self.drink(index, outbox);
                Ok(())
            }
        }
    }

    fn listen(&mut self, outbox: &mut Outbox) -> Result<(), Failure> {
        let Some(cell) = &mut self.cell else { return Ok(()) };
        let (words, over) = cell.hear();
        for word in words {
            match word {
                Word::Failed(errno, what) => self.failed = Some((errno, what)),
                Word::Ended(end) => self.end = Some(end),
                Word::Ready => {}
            }
        }
        // One that has reported has nothing left to do.
        if (over || self.end.is_some())
            && let Some(cell) = self.cell.take()
        {
            cell.bury()?;
            self.wall = Some(self.began.elapsed());
            // Nobody writes any more: what is in the pipes is all there is.
            for index in 0..self.outputs.len() {
                while self.drink(index, outbox) {}
            }
        }
        Ok(())
    }

    /// Reads from a stream what there is; whether there may be more.
    fn drink(&mut self, index: usize, outbox: &mut Outbox) -> bool {
        let output = &mut self.outputs[index];
        let Some(file) = &mut output.file else { return false };
        let mut piece = vec![0; GULP];
        match file.read(&mut piece) {
            Ok(count) if count > 0 => {
                let most = self.order.output[index];
                let room = most.saturating_sub(output.read);
                output.read += count as u64;
                piece.truncate(count.min(usize::try_from(room).unwrap_or(usize::MAX)));
                if !piece.is_empty() {
                    self.untaken += piece.len();
                    outbox.push(&(output.stream)(piece));
                }
                if output.read > most {
                    self.stop(Stopped::Limit);
                }
                true
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                false
            }
            // A terminal that nobody has open any more answers with an error.
            Ok(_) | Err(_) => {
                output.file = None;
                // An empty piece is the end of the stream.
                outbox.push(&(output.stream)(Vec::new()));
                false
            }
        }
    }

    /// Does what the host says.
    pub(crate) fn obey(&mut self, message: ToStep, outbox: &mut Outbox) {
        match message {
            ToStep::Stdin(bytes) => self.stdin(&bytes, outbox),
            ToStep::StdinEnd => self.stdin_ends(outbox),
            ToStep::Signal(number) => self.signal(number),
            ToStep::Resize(rows, columns) => self.resize(rows, columns),
            ToStep::Cancel => self.stop(Stopped::Cancelled),
            // Whoever writes to stdout learns that nobody reads it.
            ToStep::StdoutUnwanted => self.outputs[0].file = None,
            ToStep::Took(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                self.untaken = self.untaken.saturating_sub(count);
            }
        }
    }

    /// More stdin from the host.
    fn stdin(&mut self, bytes: &[u8], outbox: &mut Outbox) {
        if self.stdin.file.is_some() {
            self.stdin.waiting.extend_from_slice(bytes);
            self.feed(false, outbox);
        } else {
            outbox.push(&FromAgent::Taken(bytes.len() as u64));
        }
    }

    /// No more stdin comes.
    fn stdin_ends(&mut self, outbox: &mut Outbox) {
        if !self.stdin.over && matches!(self.order.streams, Streams::Terminal(..)) {
            self.stdin.waiting.push(END_OF_INPUT);
        }
        self.stdin.over = true;
        self.feed(false, outbox);
    }

    fn feed(&mut self, broken: bool, outbox: &mut Outbox) {
        let terminal = matches!(self.order.streams, Streams::Terminal(..));
        let Some(file) = &mut self.stdin.file else { return };
        let mut taken = 0;
        let mut gone = broken;
        while taken < self.stdin.waiting.len() && !gone {
            match file.write(&self.stdin.waiting[taken..]) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => gone = true,
            }
        }
        if gone {
            taken = self.stdin.waiting.len();
        }
        self.stdin.waiting.drain(..taken);
        if taken > 0 {
            outbox.push(&FromAgent::Taken(taken as u64));
        }
        // A terminal goes on after the end of its input.
        if gone || (self.stdin.over && self.stdin.waiting.is_empty() && !terminal) {
            self.stdin.file = None;
            outbox.push(&FromAgent::StdinClosed);
        }
    }

    fn signal(&mut self, number: i32) {
        if let Some(cell) = &mut self.cell {
            cell.signal(number);
        }
    }

    fn resize(&self, rows: u16, columns: u16) {
        if let (Streams::Terminal(..), Some(file)) = (self.order.streams, &self.outputs[0].file) {
            // Nobody is left to look at it if this fails.
            let _ = tcsetwinsize(file, Size { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
        }
    }

    /// Kills the tree, for this reason unless there was one before.
    fn stop(&mut self, why: Stopped) {
        if self.stopped == Stopped::No && self.end.is_none() {
            self.stopped = why;
        }
        if let Some(cell) = &mut self.cell {
            cell.kill();
        }
    }

    /// Looks at the clocks, and says when to look again.
    pub(crate) fn glance(&mut self) -> Duration {
        if self.cell.is_none() || self.stopped != Stopped::No {
            return GLANCE;
        }
        let elapsed = self.began.elapsed();
        let wall = Duration::from_nanos(self.order.wall_ns).saturating_sub(elapsed);
        let limit = Duration::from_nanos(self.order.cpu_ns);
        // As long as all processors together had no time for it, nobody need look.
        let at_most = elapsed.saturating_mul(self.processors);
        let used = if at_most < limit { at_most } else { Duration::from_nanos(self.meter.cpu_ns()) };
        let cpu = limit.saturating_sub(used);
        if !self.meter.has_own_group() {
            self.most_memory = self.most_memory.max(self.meter.usage().memory);
        }
        let is_short_of_memory = !self.is_quiet() && self.meter.oom_kills() > 0;
        if wall.is_zero() || cpu.is_zero() || is_short_of_memory {
            self.stop(Stopped::Limit);
            return GLANCE;
        }
        // No earlier can the limit be met than with every processor busy.
        let cpu = cpu / self.processors;
        let glance = wall.min(cpu.max(BLINK)).min(GLANCE);
        if self.is_quiet() { glance.min(QUIET) } else { glance }
    }

    /// Whether it has just begun.
    fn is_quiet(&self) -> bool {
        matches!(self.order.streams, Streams::Pipes) && self.began.elapsed() < QUIET
    }

    /// Whether all of it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.cell.is_none() && self.outputs.iter().all(|output| output.file.is_none())
    }

    /// What there is to tell of it.
    pub(crate) fn finish(self, disk: &Disk) -> Result<FromAgent, Failure> {
        if let Some((errno, what)) = self.failed {
            let what = if what == EXECUTE { String::new() } else { what };
            return Ok(FromAgent::NotStarted { errno, what });
        }
        let used = self.meter.usage();
        let fill = disk.fill()?;
        let end = self.end.unwrap_or_default();
        let (user_ns, system_ns) =
            shares(used.cpu_ns, (end.user_us, end.system_us), (used.user, used.system));
        let by_rss = !self.meter.has_own_group();
        Ok(FromAgent::Ended(Ended {
            stopped: self.stopped,
            status: self.end.map(|end| end.status),
            cpu_ns: used.cpu_ns,
            user_ns,
            system_ns,
            wall_ns: u64::try_from(self.wall.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX),
            memory_peak: if by_rss { end.peak_rss.max(self.most_memory) } else { used.memory_peak },
            memory_by_rss: by_rss,
            oom_kills: used.oom_kills,
            processes_peak: used.processes_peak,
            forks_refused: used.forks_refused,
            voluntary: end.voluntary,
            involuntary: end.involuntary,
            disk_used: fill.bytes_used,
            disk_full: fill.bytes_free == 0,
            files_used: fill.files_used,
            files_full: fill.files_free == 0,
            stdout: self.outputs[0].read,
            stderr: self.outputs[1].read,
        }))
    }
}

/// Divides CPU time as the program's own clocks do, or else the group's, which
/// counts ticks.
fn shares(cpu_ns: u64, own: (u64, u64), group: (u64, u64)) -> (u64, u64) {
    let (user, system) = if own.0 + own.1 > 0 { own } else { group };
    let whole = u128::from(user) + u128::from(system);
    if whole == 0 {
        return (cpu_ns, 0);
    }
    let user = u64::try_from(u128::from(cpu_ns) * u128::from(user) / whole).unwrap_or(cpu_ns);
    (user, cpu_ns - user)
}

/// The program's ends, and this side's stdin and outputs.
type Ends = ([OwnedFd; 3], File, [Option<File>; 2]);

fn pipes() -> Result<Ends, Failure> {
    let pipe = || at("make a pipe", pipe_with(PipeFlags::CLOEXEC));
    let ((stdin, feed), (drain, stdout), (drain_errors, stderr)) = (pipe()?, pipe()?, pipe()?);
    let outputs = [Some(File::from(drain)), Some(File::from(drain_errors))];
    Ok(([stdin, stdout, stderr], File::from(feed), outputs))
}

fn terminal(rows: u16, columns: u16) -> Result<Ends, Failure> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = at("make a terminal", openpty(Some(&size), None))?;
    for fd in [&pty.master, &pty.slave] {
        at("make a terminal", rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC))?;
    }
    let copy = |fd: &OwnedFd| at("make a terminal", fd.try_clone());
    let theirs = [copy(&pty.slave)?, copy(&pty.slave)?, pty.slave];
    let feed = File::from(copy(&pty.master)?);
    Ok((theirs, feed, [Some(File::from(pty.master)), None]))
}

/// Whether an error means that there is just nothing now.
pub(crate) fn passes(error: Errno) -> bool {
    matches!(error, Errno::EAGAIN | Errno::EINTR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_divided_as_its_parts_are() {
        assert_eq!(shares(100, (3, 1), (0, 9)), (75, 25));
        assert_eq!(shares(100, (0, 0), (1, 3)), (25, 75));
        assert_eq!(shares(100, (0, 0), (0, 0)), (100, 0));
        assert_eq!(shares(u64::MAX, (u64::from(u32::MAX), 0), (0, 0)), (u64::MAX, 0));
    }
}
