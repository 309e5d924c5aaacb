//! The worker as its operators use it: the built program, on a Redis of the
//! test's own, started wrongly, stopped kindly, and killed.
//!
//! What runs programs needs the native sandbox and Redis: where one can't be,
//! those trials are ignored, or fail if `EVALX_REQUIRE` names `native` or `redis`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod dying;
mod process;
mod starting;
mod submissions;

use std::process::ExitCode;

use evalx_testkit::{RedisOptions, RedisServer};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What can't be run here is ignored, or fails where it is required.
fn missing(what: &str, reason: String) -> Result<Completion, Failed> {
    if evalx_testkit::required(what) { Err(reason.into()) } else { Ok(Completion::ignored_with(reason)) }
}

/// A trial with a Redis of its own. Its error says why no worker could start.
fn with_redis(name: &str, run: fn(&mut RedisServer) -> Result<(), String>) -> Trial {
    Trial::ignorable_test(name, move || {
        let mut redis = match RedisServer::start(RedisOptions::every_second()) {
            Ok(redis) => redis,
            Err(reason) => return missing("redis", reason),
        };
        match run(&mut redis) {
            Ok(()) => Ok(Completion::Completed),
            Err(reason) => missing("native", reason),
        }
    })
}

fn plain(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}

fn main() -> ExitCode {
    let trials = vec![
        plain("help_names_every_setting", starting::help_names_every_setting),
        plain("what_is_wrong_is_named", starting::what_is_wrong_is_named),
        plain("an_absent_redis_is_named", starting::an_absent_redis_is_named),
        with_redis("a_redis_that_promises_less_is_refused", starting::a_redis_that_promises_less_is_refused),
        with_redis("nothing_secret_is_logged", starting::nothing_secret_is_logged),
        with_redis("a_stopped_worker_hands_back", dying::a_stopped_worker_hands_back),
        with_redis("workers_outlive_redis", dying::workers_outlive_redis),
        with_redis("a_delivery_outlives_its_worker", dying::a_delivery_outlives_its_worker),
        with_redis("workers_killed_at_random_lose_nothing", dying::workers_killed_at_random_lose_nothing),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
