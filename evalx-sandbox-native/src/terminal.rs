//! The size of a terminal that is already open.

use std::os::fd::{AsRawFd, OwnedFd};

use evalx_core::TerminalSize;

use crate::sys;

/// Gives a terminal another size; its foreground program gets SIGWINCH.
pub(crate) fn resize(terminal: &OwnedFd, size: TerminalSize) {
    let size = [size.rows, size.columns, 0, 0];
    // Fails only for what is no terminal, and this is one.
    let _ = sys::set_window_size(terminal.as_raw_fd(), size);
}
