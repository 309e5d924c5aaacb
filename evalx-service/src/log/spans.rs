//! [`Spans`]: the spans of a process, on their way to a collector.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::LogError;

/// The variables of OpenTelemetry that name a collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Exports spans in batches, from a thread of its own.
#[derive(Debug)]
pub(super) struct Spans(SdkTracerProvider);

impl Spans {
    /// To the collector that the environment names; `None` if it names none.
    pub(super) fn from_environment(process: &'static str) -> Result<Option<Self>, LogError> {
        if !ENDPOINTS.iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty())) {
            return Ok(None);
        }
        // Where to, how long and with which headers is read from the environment.
        let exporter = SpanExporter::builder()
            .with_http()
            .build()
            .map_err(|error| LogError(format!("no collector of spans can be reached: {error}")))?;
        // `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` win over this.
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(process);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Self(provider)))
    }

    /// What collects them: our own alone, for those of the exporter's own
    /// requests would never end.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let own = filter_fn(|metadata| {
            let target = metadata.target();
            ["evalx", "http_server", "worker"].iter().any(|own| target.starts_with(own))
        });
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("evalx")).with_filter(own)
    }

    /// Sends what is not sent yet.
    pub(super) fn end(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "some spans were not sent");
        }
    }
}
