//! The conformance suite on containers.

mod rig;

use std::process::ExitCode;

fn main() -> ExitCode {
    rig::suite(evalx_testkit::conformance::cases()).main()
}
