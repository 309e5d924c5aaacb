//! The conformance suite on isolate.

mod backend;

use std::process::ExitCode;

fn main() -> ExitCode {
    backend::suite(evalx_testkit::conformance::cases()).main()
}
