//! The conformance suite on containers.

mod suites;

use std::process::ExitCode;

fn main() -> ExitCode {
    suites::suite(evalx_testkit::conformance::cases()).main()
}
