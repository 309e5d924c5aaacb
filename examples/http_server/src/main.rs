//! A judge over HTTP, complete enough to be put in place of Judge0.
//!
//! Submissions, workers, deliveries and documents are those of `evalx-service`;
//! here is what HTTP adds: two dialects, who may do what, and a page.

mod access;
mod app;
mod connections;
mod docs;
mod health;
mod host;
mod judge0;
mod measure;
mod observe;
mod page;
mod problem;
mod settings;
mod site;
mod v1;

use std::process::ExitCode;

use evalx_service::Log;

use settings::Settings;

fn main() -> ExitCode {
    let settings = match Settings::read() {
        Ok(settings) => settings,
        Err(error) => error.exit(),
    };
    let log = match Log::start("http_server") {
        Ok(log) => log,
        Err(error) => Settings::refuse(error),
    };
    let code = serve(settings);
    log.end();
    code
}

#[tokio::main]
async fn serve(settings: Settings) -> ExitCode {
    match Box::pin(host::run(settings)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the server could not go on");
            ExitCode::FAILURE
        }
    }
}
