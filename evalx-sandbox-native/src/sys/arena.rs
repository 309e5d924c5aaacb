//! [`Arena`]: where a cell receives its orders and lays out argument tables.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use super::calls;
use super::messages::{self, MAX_FDS};

/// Memory that one cell at a time fills and reads.
///
/// Pages are taken from the machine only when touched, and a usual order
/// touches two.
#[derive(Debug)]
pub(crate) struct Arena {
    base: *mut u8,
    /// How many bytes from the start hold the received message.
    filled: AtomicUsize,
}

// SAFETY: only the one cell that lives at a time writes it, and the zygote
// does not read it; see `Zygote`, which makes a cell only when the last is reaped.
unsafe impl Sync for Arena {}
// SAFETY: as above.
unsafe impl Send for Arena {}

impl Arena {
    /// Room for the longest message and its tables of pointers: a message has
    /// at most 1 MiB of arguments by `Step::validate`, each at least a byte
    /// with its NUL, and each takes a pointer of 8 bytes.
    const SIZE: usize = 16 << 20;

    /// An arena that lives as long as the process.
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at no fixed address touches no other memory.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), Self::SIZE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self { base: base.cast(), filled: AtomicUsize::new(0) })
    }

    /// What was received.
    pub(crate) fn message(&self) -> &[u8] {
        // SAFETY: `filled` bytes were written by `receive`, and are not
        // written again while this cell looks at them.
        unsafe { std::slice::from_raw_parts(self.base, self.filled.load(Ordering::Relaxed)) }
    }

    /// Receives into the first quarter, from an offset on.
    fn receive_at(&self, from: usize, socket: RawFd, fds: &mut [RawFd; MAX_FDS]) -> Result<usize, Errno> {
        let room = (Self::SIZE / 4).saturating_sub(from);
        let begin = self.base.wrapping_add(Self::SIZE / 4 - room);
        // SAFETY: within the mapping. Only the one cell calls this (see `Sync`
        // above), and it has no slice of the arena while it does.
        let room = unsafe { std::slice::from_raw_parts_mut(begin, room) };
        messages::receive(socket, room, fds)
    }

    /// Receives a message whose first eight bytes are its length.
    ///
    /// Returns false if the other end is gone.
    pub(crate) fn receive(&self, socket: RawFd, fds: &mut [RawFd; MAX_FDS]) -> Result<bool, Errno> {
        let mut have = self.receive_at(0, socket, fds)?;
        let mut none = [-1; MAX_FDS];
        loop {
            if have >= 8 {
                self.filled.store(8, Ordering::Relaxed);
                let length = self.word(0);
                if length > (Self::SIZE / 4) as u64 || length < 8 {
                    return Err(Errno::EMSGSIZE);
                }
                if have as u64 >= length {
                    self.filled.store(have, Ordering::Relaxed);
                    return Ok(true);
                }
            }
            match self.receive_at(have, socket, &mut none)? {
                0 => return Ok(false),
                more => have += more,
            }
        }
    }

    /// The word at an offset of the message; 0 beyond its end.
    pub(crate) fn word(&self, index: usize) -> u64 {
        let mut word = [0; 8];
        if let Some(bytes) = self.message().get(8 * index..8 * index + 8) {
            word.copy_from_slice(bytes);
        }
        u64::from_ne_bytes(word)
    }

    /// Calls `visit` with each of `pairs` pairs of texts from `offset` on.
    pub(crate) fn for_each_pair(
        &self,
        offset: usize,
        pairs: u64,
        mut visit: impl FnMut(&CStr, &CStr) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut at = offset;
        for _ in 0..pairs {
            let first = self.text(at).ok_or(Errno::EINVAL)?;
            at += first.to_bytes_with_nul().len();
            let second = self.text(at).ok_or(Errno::EINVAL)?;
            at += second.to_bytes_with_nul().len();
            visit(first, second)?;
        }
        Ok(())
    }

    /// Runs the first of `programs` that can be run, with the argument and
    /// environment tables made of the NUL-ended texts that begin at `offset`:
    /// behind `skipped` others, the candidates for the program's path, then arguments, then the
    /// environment. Returns the error of the last candidate, or of the first
    /// that is worse than "not there".
    pub(crate) fn execute(
        &self,
        offset: usize,
        skipped: usize,
        programs: usize,
        arguments: usize,
        environment: usize,
    ) -> Errno {
        let mut at = offset;
        for _ in 0..skipped {
            let Some(text) = self.text(at) else { return Errno::EINVAL };
            at += text.to_bytes_with_nul().len();
        }
        let first_program = at;
        for _ in 0..programs {
            let Some(text) = self.text(at) else { return Errno::EINVAL };
            at += text.to_bytes_with_nul().len();
        }
        // The tables lie in the last three quarters, aligned as the mapping is.
        let table = self.base.wrapping_add(Self::SIZE / 4).cast::<usize>();
        if arguments.saturating_add(environment).saturating_add(2) > Self::SIZE / 4 * 3 / size_of::<usize>() {
            return Errno::E2BIG;
        }
        let mut slot = 0;
        for count in [arguments, environment] {
            for _ in 0..count {
                let Some(text) = self.text(at) else { return Errno::EINVAL };
                // SAFETY: `slot` is below the bound checked above.
                unsafe { table.wrapping_add(slot).write(text.as_ptr().expose_provenance()) };
                slot += 1;
                at += text.to_bytes_with_nul().len();
            }
            // SAFETY: as above: two more than the texts.
            unsafe { table.wrapping_add(slot).write(0) };
            slot += 1;
        }
        let environment = table.wrapping_add(arguments + 1);
        let mut worst = Errno::ENOENT;
        at = first_program;
        for _ in 0..programs {
            let Some(program) = self.text(at) else { return Errno::EINVAL };
            match calls::execute(program, table, environment) {
                Errno::ENOENT | Errno::ENOTDIR => {}
                error @ Errno::EACCES => worst = error,
                error => return error,
            }
            at += program.to_bytes_with_nul().len();
        }
        worst
    }

    fn text(&self, at: usize) -> Option<&CStr> {
        CStr::from_bytes_until_nul(self.message().get(at..)?).ok()
    }
}
