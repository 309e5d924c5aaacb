//! Runs untrusted programs on Linux by namespaces, cgroups and seccomp, with
//! no daemon and no helper binary.
#![doc = "\n"]

mod backend;
mod cell;
mod cgroup;
mod config;
mod error;
mod files;
mod fleet;
mod identity;
mod instance;
mod landlock;
mod launch;
mod launcher;
mod program;
mod report;
mod rootfs;
mod seccomp;
mod session;
mod slot;
mod stdio;
mod store;
mod sys;
mod terminal;
mod wire;
mod zygote;

pub use backend::NativeSandbox;
pub use config::{Cgroup, Launcher, NativeConfig};
