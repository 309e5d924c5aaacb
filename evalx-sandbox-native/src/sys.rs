//! The one module with `unsafe`: system calls that no safe crate has, in a form
//! that is safe where it can be.
//!
//! Two kinds of code call it. The zygote and its launcher are ordinary
//! single-threaded processes. A **cell** shares the zygote's memory and thread
//! pointer without being a thread of it, so code that runs in a cell must not
//! touch thread-local state (`errno` is one), allocate, or panic: it uses what
//! is in this module, which calls the kernel directly, and nothing else.
#![expect(unsafe_code, reason = "the only module that talks to the kernel below nix")]

mod arena;
mod calls;
mod clone;
mod entry;
mod messages;

pub(crate) use arena::Arena;
pub(crate) use calls::*;
pub(crate) use clone::{CloneFlags, Stack, fork_into, spawn_sharing_memory};
pub(crate) use entry::{arm, keep_entry};
pub(crate) use messages::{MAX_FDS, drain, receive, send};
