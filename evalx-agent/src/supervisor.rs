//! The supervisor: it speaks with the host, and keeps one session at a time.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::prctl;
use nix::sys::time::TimeSpec;
use nix::unistd::read;

use crate::cell::{Cell, Word};
use crate::disk::Disk;
use crate::files::{self, Trouble, Upload};
use crate::guard::{empty_bounding_set, keep_capabilities};
use crate::meter::Meters;
use crate::outbox::{Outbox, never_wait};
use crate::step::{Source, Step, passes};
use crate::store::Store;
use crate::wire::{CELLS_AHEAD, FromAgent, Inbox, Order, ToAgent, VERSION};
use crate::workspace::Ground;
use crate::{Failure, at};

/// The processes of a container in which nothing runs, besides the cells that wait: the
/// guard and the supervisor.
const OWN_PROCESSES: usize = 2;

/// How often a cell is made again that did not live to its order. Where it shares
/// the container's memory with the steps, it is what dies if one before has left none.
const MOST_ATTEMPTS: u32 = 3;

pub(crate) fn main() -> Result<ExitCode, Failure> {
    at("hide", prctl::set_dumpable(false))?;
    let mut outbox = Outbox::default();
    for fd in [io::stdin().as_fd(), io::stdout().as_fd()] {
        at("speak with the host", never_wait(fd))?;
    }
    match Supervisor::settle() {
        Ok(supervisor) => supervisor.serve(outbox),
        Err(failure) => {
            outbox.push(&FromAgent::Broken(failure.to_string()));
            at("speak with the host", outbox.flush())?;
            Err(failure)
        }
    }
}

/// A session, and what it does now.
#[derive(Debug)]
struct Session {
    disk: Disk,
    step: Option<Step>,
    upload: Option<Upload>,
}

impl Session {
    /// Adds to the file that is being written, if one is.
    fn add(&mut self, piece: &[u8], outbox: &mut Outbox) {
        if let Some(upload) = &mut self.upload {
            upload.add(&self.disk.folder, piece);
            self.finish_upload(outbox);
        }
    }

    fn finish_upload(&mut self, outbox: &mut Outbox) {
        if let Some(upload) = self.upload.take_if(|upload| upload.is_whole()) {
            answer(upload.finish(), outbox);
        }
    }
}

/// A cell that waits for an order.
#[derive(Debug)]
struct Waiting {
    cell: Cell,
    /// The control group it was put in, once the host has said so.
    group: Option<String>,
}

#[derive(Debug)]
struct Supervisor {
    /// The PID namespace to go back to.
    home: File,
    ground: Ground,
    meters: Meters,
    /// What has nothing to read and takes everything, for cells.
    null: File,
    /// The cells of the next steps, whichever sessions those will be of.
    cells: VecDeque<Waiting>,
    /// Whether the host has put a cell in a control group of its own: what is made
    /// while a step runs is no part of the step's figures then.
    apart: bool,
    /// Processors that programs may run on.
    processors: u32,
    store: Store,
    /// The disk of the session before, as new.
    spare: Option<Disk>,
    session: Option<Session>,
}

/// What the supervisor waits for.
#[derive(Clone, Copy, Debug)]
enum Event {
    Host,
    Outbox,
    Step(Source),
}

impl Supervisor {
    fn settle() -> Result<Self, Failure> {
        keep_capabilities()?;
        // Cells are born without it. What this process has, and hands to them, is ambient.
        empty_bounding_set();
        let ground = Ground::settle()?;
        Ok(Self {
            home: at("find its own PID namespace", File::open("self/ns/pid"))?,
            ground,
            meters: Meters::find(),
            null: at("open /dev/null", File::create("/dev/null"))?,
            cells: VecDeque::new(),
            apart: false,
            processors: at("count the processors", count_processors())?,
            store: Store::default(),
            spare: None,
            session: None,
        })
    }

    /// Serves the host until it hangs up.
    fn serve(mut self, mut outbox: Outbox) -> Result<ExitCode, Failure> {
        outbox.push(&FromAgent::Hello(VERSION));
        self.prepare(&mut outbox)?;
        at("speak with the host", outbox.flush())?;
        let mut inbox = Inbox::default();
        let mut buffer = vec![0; 256 << 10];
        loop {
            for event in self.wait(&outbox)? {
                match event {
                    (Event::Outbox, _) => {}
                    (Event::Host, _) => {
                        match read(io::stdin().as_fd(), &mut buffer) {
                            // The host is gone, and so is this container's use.
                            Ok(0) => return Ok(ExitCode::SUCCESS),
                            Ok(count) => inbox.push(&buffer[..count]),
                            Err(error) if passes(error) => {}
                            Err(error) => return at("hear the host", Err(error)),
                        }
                        while let Some(message) = inbox.next(ToAgent::decode).map_err(|_| garbled())? {
                            self.obey(message, &mut outbox)?;
                        }
                    }
                    (Event::Step(source), broken) => {
                        if let Some(step) = self.step() {
                            step.attend(source, broken, &mut outbox)?;
                        }
                    }
                }
            }
            if self.end_step(&mut outbox)? {
                // The host hears of it before anything is done for the next step.
                at("speak with the host", outbox.flush())?;
            }
            self.prepare(&mut outbox)?;
            at("speak with the host", outbox.flush())?;
        }
    }

    /// Waits until something has happened; whether each is broken.
    fn wait(&mut self, outbox: &Outbox) -> Result<Vec<(Event, bool)>, Failure> {
        let timeout = self.step().map(Step::glance);
        let (stdin, stdout) = (io::stdin(), io::stdout());
        let mut events: Vec<(Event, BorrowedFd<'_>, PollFlags)> =
            vec![(Event::Host, stdin.as_fd(), PollFlags::POLLIN)];
        if !outbox.is_empty() {
            events.push((Event::Outbox, stdout.as_fd(), PollFlags::POLLOUT));
        }
        if let Some(step) = self.session.as_ref().and_then(|session| session.step.as_ref()) {
            for (source, fd, reading, writing) in step.sources(outbox.is_full()) {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::POLLIN, reading);
                flags.set(PollFlags::POLLOUT, writing);
                events.push((Event::Step(source), fd, flags));
            }
        }
        let mut fds: Vec<_> = events.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let timeout = timeout.map(|time: Duration| TimeSpec::from(time));
        match ppoll(&mut fds, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return at("wait", Err(error)),
        }
        let happened = events.iter().zip(&fds).filter_map(|((event, ..), fd)| {
            let flags = fd.revents().filter(|flags| !flags.is_empty())?;
            Some((*event, flags.intersects(PollFlags::POLLERR)))
        });
        Ok(happened.collect())
    }

    fn step(&mut self) -> Option<&mut Step> {
        self.session.as_mut()?.step.as_mut()
    }

    fn obey(&mut self, message: ToAgent, outbox: &mut Outbox) -> Result<(), Failure> {
        match message {
            ToAgent::Open { disk, files } => {
                let disk = self.disk(disk, files)?;
                self.session = Some(Session { disk, step: None, upload: None });
                outbox.push(&FromAgent::Opened);
            }
            ToAgent::Attach { group } => {
                self.apart = !group.is_empty();
                // The host hears of cells, and puts them away, in the order of their making.
                if let Some(waiting) = self.cells.iter_mut().find(|waiting| waiting.group.is_none()) {
                    waiting.group = Some(group);
                }
            }
            ToAgent::Store { id, size } => self.store.begin(id, size),
            ToAgent::Forget { id } => self.store.forget(id),
            ToAgent::Piece(piece) => {
                if !self.store.take(&piece) {
                    self.session()?.add(&piece, outbox);
                }
            }
            ToAgent::Place { path, executable, id } => {
                let folder = &self.session.as_ref().ok_or_else(garbled)?.disk.folder;
                let contents = self.store.get(id).ok_or_else(garbled)?;
                answer(files::place(folder, path, executable, contents), outbox);
            }
            ToAgent::Write { path, executable, size } => {
                let session = self.session()?;
                session.upload = Some(Upload::begin(&session.disk.folder, path, executable, size));
                session.finish_upload(outbox);
            }
            ToAgent::Read { path, max } => {
                answer(files::read(&self.session()?.disk.folder, &path, max, outbox), outbox);
            }
            ToAgent::Keep { path, max } => {
                answer(files::keep(&self.session()?.disk.folder, &path, max, outbox), outbox);
            }
            ToAgent::Run(order) => self.run(order)?,
            ToAgent::Step(message) => {
                // What comes too late for a step concerns nobody.
                if let Some(step) = &mut self.session()?.step {
                    step.obey(message, outbox);
                }
            }
            ToAgent::Close => {
                let left = self.close()?;
                outbox.push(&FromAgent::Closed { left });
            }
        }
        Ok(())
    }

    /// The session, in which alone most of what the host says makes sense.
    fn session(&mut self) -> Result<&mut Session, Failure> {
        self.session.as_mut().ok_or_else(garbled)
    }

    /// Starts the cells that are missing, ahead of their orders.
    fn prepare(&mut self, outbox: &mut Outbox) -> Result<(), Failure> {
        let (most, may) = if self.apart { (CELLS_AHEAD, true) } else { (1, self.step().is_none()) };
        while may && (self.cells.len() as u64) < most {
            let cell = Cell::start(self.home.as_fd(), &self.null)?;
            outbox.push(&FromAgent::Cell { pid: cell.pid().into() });
            self.cells.push_back(Waiting { cell, group: None });
        }
        Ok(())
    }

    /// A disk that has nothing on it.
    fn disk(&mut self, bytes: u64, files: u64) -> Result<Disk, Failure> {
        match self.spare.take() {
            Some(spare) if spare.is_of(bytes, files) => return Ok(spare),
            Some(spare) => spare.unmount()?,
            None => {}
        }
        Disk::mount(&self.ground, bytes, files)
    }

    fn run(&mut self, order: Order) -> Result<(), Failure> {
        let Some(session) = &mut self.session else { return Err(garbled()) };
        let Some(mut waiting) = self.cells.pop_front() else { return Err(garbled()) };
        let group = waiting.group.take().ok_or_else(garbled)?;
        let mut attempts = 0;
        while let Some((errno, what)) = await_ready(&mut waiting.cell)? {
            attempts += 1;
            if self.apart || attempts > MOST_ATTEMPTS {
                return Err(Failure { what, error: io::Error::from_raw_os_error(errno) });
            }
            let dead = std::mem::replace(&mut waiting.cell, Cell::start(self.home.as_fd(), &self.null)?);
            dead.bury()?;
        }
        let meter = self.meters.start(&group);
        session.step = Some(Step::begin(waiting.cell, order, meter, self.processors)?);
        Ok(())
    }

    /// Tells of a step that is over; whether one was.
    fn end_step(&mut self, outbox: &mut Outbox) -> Result<bool, Failure> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let Some(step) = session.step.take_if(|step| step.is_over()) else { return Ok(false) };
        let told = step.finish(&session.disk)?;
        outbox.push(&told);
        Ok(true)
    }

    /// Ends the session; what is left of it all the same.
    fn close(&mut self) -> Result<String, Failure> {
        let Some(session) = self.session.take() else { return Err(garbled()) };
        // The host never closes while a step runs; its cell would be left.
        if session.step.is_some() {
            return Ok("a step that runs".to_owned());
        }
        let Session { disk, upload, .. } = session;
        drop(upload);
        if disk.is_empty_again() {
            self.spare = Some(disk);
        } else {
            disk.unmount()?;
        }
        let own = OWN_PROCESSES + self.cells.len();
        Ok(self.ground.remains(own, self.spare.as_ref())?.unwrap_or_default())
    }
}

/// Waits until a cell is ready; why it will never be.
fn await_ready(cell: &mut Cell) -> Result<Option<(i32, String)>, Failure> {
    loop {
        let (words, over) = cell.hear();
        for word in words {
            match word {
                Word::Ready => return Ok(None),
                Word::Failed(errno, what) => return Ok(Some((errno, what))),
                Word::Ended(_) => {}
            }
        }
        if over {
            return Ok(Some((libc::EIO, "hear a cell".to_owned())));
        }
        match ppoll(&mut [PollFd::new(cell.control(), PollFlags::POLLIN)], None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return at("wait for a cell", Err(error)),
        }
    }
}

fn answer(result: Result<(), Trouble>, outbox: &mut Outbox) {
    match result {
        Ok(()) => outbox.push(&FromAgent::Done),
        Err(Trouble::Refused(why)) => outbox.push(&FromAgent::Refused(why)),
        // The next read from the host will say so too.
        Err(Trouble::Gone) => {}
    }
}

fn garbled() -> Failure {
    Failure { what: "understand the host".to_owned(), error: Errno::EPROTO.into() }
}

/// The processors of the container, whatever its share of their time.
fn count_processors() -> io::Result<u32> {
    Ok(rustix::thread::sched_getaffinity(None)?.count().max(1))
}
