//! The escape suite on isolate.

mod backend;

use std::process::ExitCode;

fn main() -> ExitCode {
    backend::suite(evalx_testkit::escape::cases()).main()
}
