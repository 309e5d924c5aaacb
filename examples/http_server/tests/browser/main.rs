//! The page in a browser: Chromium without a window, driven over its debugging
//! pipe, on a page of the built server.
//!
//! Without Chromium (`EVALX_BROWSER` names another one), or where the server can
//! run no programs, the trials are ignored, or fail if `EVALX_REQUIRE` names
//! `browser`. `EVALX_PAGE_URL` names
//! another server, that runs already. With `EVALX_SCREENSHOTS` each trial leaves a
//! picture in that folder, to be looked at.

mod chromium;
#[path = "../api/client.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the page asks for the rest itself; a test may fail")]
mod client;
mod page;
#[path = "../api/server.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "the page asks for the rest itself; a test may fail")]
mod server;
mod trials;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use chromium::Chromium;
use page::Page;
use server::Server;

/// What all trials share. They take turns: timers of a page that is not in
/// front are slowed down.
#[derive(Default)]
struct Stage {
    server: Option<Result<Server, String>>,
    browser: Option<Result<Chromium, String>>,
}

impl Stage {
    fn run(&mut self, trial: &trials::NamedTrial) -> Result<Completion, Failed> {
        let chromium = match self.browser.get_or_insert_with(Chromium::start) {
            Ok(chromium) => chromium,
            Err(reason) => return missing(reason),
        };
        let url = match std::env::var("EVALX_PAGE_URL") {
            Ok(url) => url,
            Err(_) => match self.server.get_or_insert_with(start) {
                Ok(server) => format!("http://{}/", server.address),
                Err(reason) => return missing(reason),
            },
        };
        let mut page = Page::open(chromium, &url)?;
        let result = (trial.run)(&mut page);
        if let Some(folder) = std::env::var_os("EVALX_SCREENSHOTS") {
            page.screenshot(&std::path::Path::new(&folder).join(format!("{}.png", trial.name)))?;
        }
        let errors = page.close()?;
        result?;
        if errors.is_empty() { Ok(Completion::Completed) } else { Err(errors.join("\n").into()) }
    }
}

/// A server that runs the languages of the trials.
fn start() -> Result<Server, String> {
    Server::start(&[("EVALX_ONLY_LANGUAGES", "python,c,javascript")])?.ready()
}

/// What can't be run here is ignored, or fails where it is required.
fn missing(reason: &str) -> Result<Completion, Failed> {
    if evalx_testkit::required("browser") { Err(reason.into()) } else { Ok(Completion::ignored_with(reason)) }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let stage = Arc::new(Mutex::new(Stage::default()));
    let trials = trials::all().into_iter().map(|trial| {
        let stage = Arc::clone(&stage);
        Trial::ignorable_test(trial.name, move || {
            stage.lock().unwrap_or_else(PoisonError::into_inner).run(&trial)
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // Ends both before the process does.
    *stage.lock().unwrap_or_else(PoisonError::into_inner) = Stage::default();
    conclusion.exit_code()
}
