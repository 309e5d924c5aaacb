//! Runs untrusted programs with [isolate](https://github.com/ioi/isolate), the sandbox of
//! programming contests, 1.x or 2.x.

mod backend;
mod boxes;
mod command;
mod config;
mod error;
mod files;
mod gate;
mod groups;
mod installation;
mod keeper;
mod kit;
mod lease;
mod meta;
mod program;
mod remains;
mod report;
mod session;
mod starter;
mod streams;
mod work;

pub use backend::IsolateSandbox;
pub use config::{ControlGroups, IsolateConfig};
pub use meta::{Meta, Status};
