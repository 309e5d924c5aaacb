//! The server as a whole: the built program, asked over HTTP.
//!
//! What runs programs needs the native sandbox: where it can't be, those trials
//! are ignored, or fail if `EVALX_REQUIRE` names `native`; likewise `redis`.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod client;
mod ending;
mod evaluating;
mod lingering;
mod refusing;
mod server;
mod sessions;
mod sharing;
mod socket;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evalx_testkit::RedisServer;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use server::Server;

/// What deliveries are signed with.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A server that several trials share; none if it can't start.
struct Shared {
    start: fn() -> Result<Server, String>,
    slot: Mutex<Option<Result<Arc<Server>, String>>>,
}

impl Shared {
    fn new(start: fn() -> Result<Server, String>) -> Arc<Self> {
        Arc::new(Self { start, slot: Mutex::default() })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Result<Arc<Server>, String>>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

macro_rules! trials {
    ($($module:ident::$name:ident $($argument:ident)?),* $(,)?) => {
        vec![$(trials!(@one $module $name $($argument)?)),*]
    };
    (@one $module:ident $name:ident) => {
        Trial::test(stringify!($name), || {
            $module::$name();
            Ok(())
        })
    };
    (@one $module:ident $name:ident $shared:ident) => {{
        let shared = Arc::clone(&$shared);
        Trial::ignorable_test(stringify!($name), move || with(&shared, $module::$name))
    }};
}

fn with(shared: &Shared, run: fn(&Server)) -> Result<Completion, Failed> {
    let server = shared.slot().get_or_insert_with(|| (shared.start)().map(Arc::new)).clone();
    match server {
        Ok(server) => {
            run(&server);
            Ok(Completion::Completed)
        }
        Err(reason) => missing("native", reason),
    }
}

/// What can't be run here is ignored, or fails where it is required.
fn missing(what: &str, reason: String) -> Result<Completion, Failed> {
    if evalx_testkit::required(what) { Err(reason.into()) } else { Ok(Completion::ignored_with(reason)) }
}

/// A trial that starts its own servers over one Redis.
type OverRedis = fn(&RedisServer) -> Result<(), String>;

fn over_redis(run: OverRedis) -> Result<Completion, Failed> {
    let redis = match sharing::redis() {
        Ok(redis) => redis,
        Err(reason) => return missing("redis", reason),
    };
    native(run(&redis))
}

/// A trial that starts its own servers.
type OwnServers = fn() -> Result<(), String>;

/// What came of one; an error says why they can run no programs.
fn native(result: Result<(), String>) -> Result<Completion, Failed> {
    match result {
        Ok(()) => Ok(Completion::Completed),
        Err(reason) => missing("native", reason),
    }
}

/// One that has all that programs need.
fn start() -> Result<Server, String> {
    Server::start(&[
        ("EVALX_SANDBOX", "native"),
        ("EVALX_ONLY_LANGUAGES", "python,c"),
        ("EVALX_WEBHOOK_SECRET", SECRET),
        ("EVALX_WEBHOOK_ALLOW_PRIVATE", "true"),
    ])?
    .ready()
}

/// One that allows little, to those who have a token.
fn start_strict() -> Result<Server, String> {
    Server::start(&[
        ("EVALX_SANDBOX", "native"),
        ("EVALX_ONLY_LANGUAGES", "python"),
        ("EVALX_AUTH_TOKENS", "ann,bob,eve"),
        ("EVALX_SESSIONS", "3"),
        ("EVALX_TENANT_SESSIONS", "2"),
        ("EVALX_SESSION_IDLE", "4s"),
        ("EVALX_MAX_BODY", "2M"),
        ("EVALX_MAX_OUTPUT", "64M"),
        ("EVALX_ORIGINS", "https://school.example"),
    ])?
    .ready()
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let (shared, strict) = (Shared::new(start), Shared::new(start_strict));
    let mut trials = trials![
        evaluating::a_program_is_run_on_its_tests shared,
        evaluating::a_failure_is_explained_at_its_line shared,
        evaluating::events_come_in_order_and_resume shared,
        evaluating::what_runs_is_cancelled shared,
        evaluating::a_webhook_is_told_once_and_signed shared,
        evaluating::judge0_is_spoken_at_the_root shared,
        evaluating::the_promised_metrics_are_there shared,
        sessions::a_program_is_talked_to shared,
        sessions::a_terminal_is_a_terminal shared,
        sessions::what_does_not_compile_is_explained shared,
        sessions::what_is_said_wrong_ends_it_by_name shared,
        sessions::who_leaves_leaves_no_process shared,
        sessions::nobody_comes_who_may_not strict,
        sessions::no_more_sit_than_may strict,
        sessions::what_is_too_much_is_not_taken strict,
        sessions::who_does_not_read_is_left strict,
        refusing::every_wrong_field_is_named,
        refusing::tenants_are_kept_apart,
        refusing::what_is_too_much_is_refused_with_a_time,
        refusing::the_page_and_the_document_are_served,
        refusing::pages_of_others_may_ask,
        refusing::who_waits_at_the_end_is_told_so,
        lingering::who_says_nothing_is_left,
        lingering::a_connection_is_used_again,
        lingering::few_descriptors_are_enough,
    ];
    let shared_queue: &[(&str, OverRedis)] = &[
        ("a_killed_worker_loses_nothing", sharing::a_killed_worker_loses_nothing),
        ("a_killed_server_loses_no_delivery", sharing::a_killed_server_loses_no_delivery),
    ];
    for (name, run) in shared_queue {
        trials.push(Trial::ignorable_test(*name, || over_redis(*run)));
    }
    let own: &[(&str, OwnServers)] = &[
        ("who_sits_at_the_end_is_told_so", sessions::who_sits_at_the_end_is_told_so),
        ("nothing_secret_is_logged", ending::nothing_secret_is_logged),
        ("a_server_ends_in_time_under_load", ending::a_server_ends_in_time_under_load),
        #[cfg(feature = "otel")]
        ("a_collector_gets_spans", ending::a_collector_gets_spans),
    ];
    for (name, run) in own {
        trials.push(Trial::ignorable_test(*name, || native(run())));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Ends the server before the process does.
    for shared in [shared, strict] {
        *shared.slot() = None;
    }
    conclusion.exit_code()
}
