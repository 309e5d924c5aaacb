//! [`Log`]: where what a process has to say goes: to its stderr, and with the
//! feature `otel` as spans to a collector too.
//!
//! An application calls it; a library never does.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[cfg(feature = "otel")]
mod spans;

/// The variable that says how much is logged: `error`, `info`, `evalx_queue=debug`, …
const FILTER: &str = "EVALX_LOG";

/// The log of this process, which is on.
#[derive(Debug)]
#[must_use = "its end sends what is not sent yet"]
pub struct Log {
    #[cfg(feature = "otel")]
    spans: Option<spans::Spans>,
}

/// Why there can be no log.
#[derive(Debug)]
pub struct LogError(String);

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}

impl Log {
    /// From now on this process logs to its stderr, as much as `EVALX_LOG`
    /// says; `info` if it says nothing. With the feature `otel`, its spans go
    /// to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, if it names
    /// one, under the name of `process` or of `OTEL_SERVICE_NAME`.
    ///
    /// # Errors
    ///
    /// If `EVALX_LOG` or the collector's address is wrong, or if this process
    /// logs already.
    pub fn start(process: &'static str) -> Result<Self, LogError> {
        let wrong = |why: &dyn fmt::Display| LogError(why.to_string());
        let filter = match std::env::var(FILTER) {
            Ok(text) if !text.trim().is_empty() => EnvFilter::try_new(&text)
                .map_err(|error| wrong(&format_args!("{FILTER} says nothing that is understood: {error}")))?,
            _ => EnvFilter::new("info"),
        };
        // A file, or whatever collects logs, wants none.
        let colours = std::io::stderr().is_terminal();
        let registry = tracing_subscriber::registry()
            .with(filter)
            .with(tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr));
        #[cfg(feature = "otel")]
        {
            let spans = spans::Spans::from_environment(process)?;
            registry
                .with(spans.as_ref().map(spans::Spans::layer))
                .try_init()
                .map_err(|error| wrong(&error))?;
            Ok(Self { spans })
        }
        #[cfg(not(feature = "otel"))]
        {
            let _ = process;
            registry.try_init().map_err(|error| wrong(&error))?;
            Ok(Self {})
        }
    }

    /// Sends what is not sent yet. Blocks for a few seconds at most: call it
    /// when the runtime has ended.
    pub fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(spans) = self.spans {
            spans.end();
        }
    }
}
