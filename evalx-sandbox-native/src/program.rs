//! The last steps before the untrusted program: it gives up everything, then
//! executes.
//!
//! This runs in a child of the cell that shares its memory until `execve`, and
//! keeps to what [`sys`] says of cells.

use std::sync::atomic::Ordering::SeqCst;

use nix::errno::Errno;

use crate::cell::{BOX_ID, Cell, Failure};
use crate::cgroup::meter::Meter;
use crate::sys;
use crate::wire::{FLAG_TERMINAL, ORDER_WORDS, Order, Shape, Stage};

pub(crate) fn main(cell: &'static Cell) -> ! {
    let (stage, errno) = become_program(cell, Order::decode(|index| cell.arena.word(index)));
    cell.failure[1].store(u64::from((errno as i32).unsigned_abs()), SeqCst);
    cell.failure[0].store(stage as u64, SeqCst);
    sys::exit(127)
}

/// Returns only if something failed.
fn become_program(cell: &Cell, order: Order) -> Failure {
    match prepare(cell, order) {
        Ok(()) => {}
        Err(failure) => return failure,
    }
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let mut tries = 0u32;
    loop {
        let error = cell.arena.execute(
            8 * ORDER_WORDS,
            count(order.places.saturating_mul(2)),
            count(order.programs),
            count(order.arguments),
            count(order.environment),
        );
        // The host may have forked while it had the file open for writing;
        // the copy of that descriptor is gone as soon as the other process executes.
        if error != Errno::ETXTBSY || tries > 200 {
            return (Stage::Execute, error);
        }
        tries = tries.wrapping_add(1);
        sys::sleep_ns(500_000);
    }
}

fn prepare(cell: &Cell, order: Order) -> Result<(), Failure> {
    let strict = cell.shape().strict;
    if order.flags & FLAG_TERMINAL != 0 {
        sys::new_session();
    } else {
        // The session is the cell's own already; the group must be as well,
        // or a signal to it would reach the cell.
        sys::own_group();
    }
    let descriptors = || {
        let mut first = None;
        for (target, place) in (0..).zip(&cell.stdio) {
            // A terminal comes once, and is all three.
            let given = place.load(SeqCst);
            let source = if given >= 0 { given } else { first.unwrap_or(-1) };
            first = first.or(Some(given));
            sys::dup_onto(source, target)?;
        }
        if order.flags & FLAG_TERMINAL != 0 {
            sys::set_controlling_terminal(0)?;
        }
        Ok(())
    };
    descriptors().map_err(|error| (Stage::Descriptors, error))?;
    if matches!(cell.meter, Meter::V1(_)) {
        offer_to_oom_killer(cell);
    }
    let rules = cell.rules.load(SeqCst);
    if rules >= 0 {
        sys::landlock_enter(rules).map_err(|error| (Stage::Landlock, error))?;
    }
    if !strict {
        // In strict mode the table is the zygote's; execve closes all there is.
        sys::close_from(3).map_err(|error| (Stage::Descriptors, error))?;
    }
    limits(cell, order).map_err(|error| (Stage::Limits, error))?;
    sys::set_ids(BOX_ID, BOX_ID).map_err(|error| (Stage::Identity, error))?;
    sys::drop_capabilities().map_err(|error| (Stage::Identity, error))?;
    let filter = match cell.shape() {
        Shape { strict: true, .. } => &cell.filters.strict,
        Shape { loopback: true, .. } => &cell.filters.last_with_loopback,
        Shape { .. } => &cell.filters.last,
    };
    let listener = sys::install_filter(filter, strict).map_err(|error| (Stage::Filter, error))?;
    if strict {
        cell.listener.store(listener, SeqCst);
        // Wakes the zygote, which then listens.
        sys::set_timer(cell.timer, 1);
    }
    Ok(())
}

/// On v1 the zygote is in the same memory cgroup; the kernel is to choose the
/// program first. If it does not, the launcher sees the zygote die and says so.
fn offer_to_oom_killer(cell: &Cell) {
    // The file belongs to root of the zygote's first user namespace unless
    // this process may be dumped.
    let _ = sys::prctl(libc::PR_SET_DUMPABLE, 1);
    if let Ok(file) = sys::open(cell.zygote_proc, c"self/oom_score_adj", libc::O_WRONLY) {
        let _ = sys::write(file, b"1000");
        sys::close(file);
    }
    // An ordinary user keeps its uid, so that nothing below undoes it.
    let _ = sys::prctl(libc::PR_SET_DUMPABLE, 0);
}

/// Limits that the kernel holds for each process; those of the whole tree are
/// the cgroup's.
fn limits(cell: &Cell, order: Order) -> Result<(), Errno> {
    const SECOND: u64 = 1_000_000_000;
    sys::set_limit(libc::RLIMIT_FSIZE, order.disk, order.disk)?;
    sys::set_limit(libc::RLIMIT_NOFILE, order.open_files, order.open_files)?;
    sys::set_limit(libc::RLIMIT_STACK, order.stack, order.stack)?;
    // Behind the zygote's timer, and with what it needs to be exact.
    let seconds = order.cpu_ns.div_ceil(SECOND).saturating_add(1);
    sys::set_limit(libc::RLIMIT_CPU, seconds, seconds.saturating_add(1))?;
    if matches!(cell.meter, Meter::None) {
        sys::set_limit(libc::RLIMIT_AS, order.memory, order.memory)?;
        // An ordinary user has no other uid for its zygote and cell.
        let own = if nix::unistd::geteuid().as_raw() == BOX_ID { 2 } else { 0 };
        let processes = order.processes.saturating_add(own);
        sys::set_limit(libc::RLIMIT_NPROC, processes, processes)?;
    }
    Ok(())
}
