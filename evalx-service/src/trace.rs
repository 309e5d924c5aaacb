//! Which trace a job belongs to: that of whoever put it into the queue, as a
//! `traceparent` that lies in the queue with it.
//!
//! Without the feature `otel`, or where no spans are collected, there is none.

use tracing::Span;

/// The `traceparent` of the span that this is called in.
#[cfg(feature = "otel")]
pub(crate) fn current() -> Option<String> {
    use opentelemetry::propagation::TextMapPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let mut carrier = std::collections::HashMap::new();
    propagator().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

#[cfg(not(feature = "otel"))]
pub(crate) const fn current() -> Option<String> {
    None
}

/// Makes `span`, which nobody has entered yet, a child of the one that this
/// `traceparent` names.
#[cfg(feature = "otel")]
pub(crate) fn join(span: &Span, traceparent: Option<&str>) {
    use opentelemetry::propagation::TextMapPropagator;
    use opentelemetry::trace::TraceContextExt;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let Some(traceparent) = traceparent else { return };
    let carrier = std::collections::HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    // Of nothing: what names no span joins it to none.
    let context = propagator().extract_with_context(&opentelemetry::Context::new(), &carrier);
    if context.span().span_context().is_valid() {
        // It fails where no spans are collected, and then there is nothing to join.
        let _ = span.set_parent(context);
    }
}

#[cfg(not(feature = "otel"))]
pub(crate) const fn join(_span: &Span, _traceparent: Option<&str>) {}

#[cfg(feature = "otel")]
const TRACEPARENT: &str = "traceparent";

#[cfg(feature = "otel")]
fn propagator() -> opentelemetry_sdk::propagation::TraceContextPropagator {
    opentelemetry_sdk::propagation::TraceContextPropagator::new()
}

#[cfg(test)]
#[cfg(feature = "otel")]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use evalx_core::{Evaluator, Submission};
    use evalx_queue::{Worker, WorkerConfig};
    use evalx_testkit::{FakeRun, FakeSandbox};
    use opentelemetry::trace::{SpanId, TracerProvider};
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::{
        Couriers, DeliveryHandler, EvaluationHandler, Job, Notices, Notify, NotifyForm, Order, Queues,
        QueuesConfig, Service,
    };

    const MINUTE: Duration = Duration::from_secs(60);

    /// Hands in a program whose result is delivered to where nobody may be told.
    async fn judge_one(queues: &Queues) {
        let evaluator = Evaluator::new(FakeSandbox::new(|_| FakeRun::exited(0)));
        let evaluate = EvaluationHandler::new(evaluator, Notices::new(Arc::clone(&queues.deliveries)));
        let couriers = Couriers::new(Default::default(), Default::default()).unwrap();
        let deliver = DeliveryHandler::new(Arc::clone(&queues.submissions), couriers);
        let evaluations =
            Worker::start(Arc::clone(&queues.submissions), evaluate, WorkerConfig::default()).unwrap();
        let deliveries =
            Worker::start(Arc::clone(&queues.deliveries), deliver, WorkerConfig::default()).unwrap();
        let service = Service::new(queues.clone());
        let notify = Notify { url: "http://127.0.0.1:1/".to_owned(), form: NotifyForm::Webhook };
        let job = Job::new(Submission::new("python", "print(1)")).with_notify(notify);
        let order = Order::new(job, "tests", MINUTE);
        let accept = service.accept(vec![order]).instrument(tracing::info_span!("request"));
        let id = accept.await.unwrap().remove(0).into_id().unwrap();
        assert!(service.wait(id, MINUTE).await.unwrap().state.is_terminal());
        let deadline = tokio::time::Instant::now() + MINUTE;
        while service.deliveries(id).await.unwrap().is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "no delivery was tried");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        evaluations.shutdown().await;
        deliveries.shutdown().await;
    }

    #[test]
    fn a_job_and_its_delivery_belong_to_the_trace_of_the_request() {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let collect = tracing_opentelemetry::layer().with_tracer(provider.tracer("tests"));
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(collect));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let queues = Queues::open("memory", QueuesConfig::default()).await.unwrap();
            judge_one(&queues).await;
        });
        let spans = exporter.get_finished_spans().unwrap();
        // The queue's own span of a job is a `debug` one around ours.
        let of = |name: &str, parent: Option<SpanId>| -> SpanData {
            let is_it = |span: &&SpanData| {
                span.name == name && parent.is_none_or(|parent| span.parent_span_id == parent)
            };
            spans.iter().find(is_it).unwrap_or_else(|| panic!("no {name} of {parent:?}: {spans:?}")).clone()
        };
        let request = of("request", None);
        let job = of("job", Some(request.span_context.span_id()));
        let delivery = of("delivery", Some(job.span_context.span_id()));
        for span in [job, delivery] {
            assert_eq!(span.span_context.trace_id(), request.span_context.trace_id());
        }
    }

    #[test]
    fn what_is_no_traceparent_joins_nothing() {
        assert_eq!(current(), None, "no spans are collected here");
        for text in ["", "00", "00-0-0-0", "00-00000000000000000000000000000000-0000000000000000-01"] {
            join(&tracing::info_span!("job"), Some(text));
        }
    }
}
