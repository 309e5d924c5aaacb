//! Messages that bring descriptors along, over Unix sockets.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::calls::{Argument, Result, call};

/// The most descriptors that one message brings.
pub(crate) const MAX_FDS: usize = 4;

/// Receives bytes and descriptors; 0 bytes means that the other end is gone.
pub(crate) fn receive(socket: RawFd, buffer: &mut [u8], fds: &mut [RawFd; MAX_FDS]) -> Result<usize> {
    *fds = [-1; MAX_FDS];
    // A control message: length, level, type, then the descriptors.
    let mut control = [0u64; 2 + MAX_FDS / 2];
    let part = [buffer.as_mut_ptr() as usize, buffer.len()];
    let mut message =
        [0, 0, part.as_ptr() as usize, 1, control.as_mut_ptr() as usize, size_of_val(&control), 0];
    let length = loop {
        match call!(libc::SYS_recvmsg, socket, message.as_mut_ptr(), libc::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    // SAFETY: every bit pattern of a u64 array is a valid byte array of its size.
    let bytes: [u8; 8 * (2 + MAX_FDS / 2)] = unsafe { std::mem::transmute(control) };
    let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if message[5] >= 16 && word(8) == libc::SOL_SOCKET && word(12) == libc::SCM_RIGHTS {
        let count = usize::try_from(control[0]).unwrap_or(0).saturating_sub(16) / 4;
        for (index, slot) in fds.iter_mut().enumerate().take(count.min(MAX_FDS)) {
            *slot = word(16 + 4 * index);
        }
    }
    Ok(length)
}

/// Throws away what waits in a socket, with the descriptors that come with it.
pub(crate) fn drain(socket: RawFd) {
    let mut buffer = [0u8; 4096];
    // Without room for them, the kernel closes the descriptors.
    while let Ok(1..) | Err(Errno::EINTR) =
        call!(libc::SYS_recvfrom, socket, buffer.as_mut_ptr(), buffer.len(), libc::MSG_DONTWAIT, 0, 0)
    {}
}

/// Sends bytes, and a descriptor with them if `descriptor` is not negative.
pub(crate) fn send(socket: RawFd, bytes: &[u8], descriptor: RawFd) -> Result<()> {
    let part = [bytes.as_ptr() as usize, bytes.len()];
    let mut control = [0u64; 3];
    control[0] = 20;
    let level_and_type = (libc::SOL_SOCKET as u64) | ((libc::SCM_RIGHTS as u64) << 32);
    control[1] = if cfg!(target_endian = "little") { level_and_type } else { level_and_type.rotate_left(32) };
    control[2] = u64::from_ne_bytes({
        let number = descriptor.to_ne_bytes();
        [number[0], number[1], number[2], number[3], 0, 0, 0, 0]
    });
    let (control, length) =
        if descriptor < 0 { (0, 0) } else { (control.as_ptr() as usize, size_of_val(&control)) };
    let message = [0, 0, part.as_ptr() as usize, 1, control, length, 0];
    loop {
        match call!(libc::SYS_sendmsg, socket, message.as_ptr(), libc::MSG_NOSIGNAL) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}
