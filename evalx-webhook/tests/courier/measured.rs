//! What a courier tells the `metrics` facade.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use evalx_webhook::{AddressPolicy, Courier, CourierConfig, Delivery, Secrets};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::receiver::{Receiver, Reply};

/// How often each metric was told of, by name and outcome.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, u64>>>);

struct Metric(Recorded, String);

impl Metric {
    fn add(&self, count: u64) {
        *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += count;
    }
}

impl CounterFn for Metric {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _: u64) {}
}

impl HistogramFn for Metric {
    fn record(&self, _: f64) {
        self.add(1);
    }
}

impl Recorded {
    fn metric(&self, key: &Key) -> Arc<Metric> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Metric(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.metric(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.metric(key))
    }
}

#[test]
fn attempts_are_counted_by_what_came_of_them() {
    let recorded = Recorded::default();
    // A recorder of this thread alone; so the runtime must have no other.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorded, || {
        runtime.block_on(async {
            let replies = [200, 500, 200].map(|status| Reply::status(status, ""));
            let receiver = Receiver::start(replies).await;
            let config = CourierConfig::default().with_addresses(AddressPolicy::AllowPrivate);
            let courier = Courier::new(config).unwrap();
            let here = receiver.url("/");
            for url in [here.as_str(), &here, &here, "http://169.254.169.254/"] {
                let delivery = Delivery::new("msg_1".parse().unwrap(), url, "{}");
                courier.attempt(&delivery, &Secrets::default()).await;
            }
        });
    });
    let expected = [("delivered", 2), ("given_up", 1), ("retry", 1)];
    let expected =
        ["evalx_webhook_attempt_seconds", "evalx_webhook_attempts_total"].iter().flat_map(|name| {
            expected.iter().map(move |(outcome, count)| (format!("{name}{{outcome={outcome}}}"), *count))
        });
    assert_eq!(*recorded.0.lock().unwrap(), expected.collect());
}
