//! A judge over HTTP, complete enough to be put in place of Judge0.
//!
//! Submissions, workers, deliveries and documents are those of `evalx-service`;
//! here is what HTTP adds: two dialects, who may do what, and a page.

mod access;
mod app;
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

use tracing_subscriber::EnvFilter;

use settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match Settings::read() {
        Ok(settings) => settings,
        Err(error) => error.exit(),
    };
    let filter = EnvFilter::try_from_env("EVALX_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Box::pin(host::run(settings)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the server could not go on");
            ExitCode::FAILURE
        }
    }
}
