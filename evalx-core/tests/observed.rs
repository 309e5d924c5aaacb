//! What `Observed` tells the `metrics` facade.
#![cfg(feature = "metrics")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use evalx_core::{Error, ErrorKind, Observed, Outcome, Program, Sandbox, SandboxExt, SessionSpec, Step};
use evalx_testkit::{FakeRun, FakeSandbox};
use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// The sum and the number of what was recorded, by name and labels.
#[derive(Clone, Default)]
struct Recorded(Arc<Mutex<BTreeMap<String, (f64, usize)>>>);

struct Metric(Recorded, String);

impl Metric {
    fn add(&self, value: f64) {
        let mut recorded = self.0.0.lock().unwrap();
        let entry = recorded.entry(self.1.clone()).or_default();
        *entry = (entry.0 + value, entry.1 + 1);
    }
}

impl GaugeFn for Metric {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _value: f64) {}
}

impl HistogramFn for Metric {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Recorded {
    fn metric(&self, key: &Key) -> Arc<Metric> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Metric(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn get(&self, name: &str) -> (f64, usize) {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.metric(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.metric(key))
    }
}

#[test]
fn sessions_and_steps_are_measured() {
    let recorded = Recorded::default();
    // A recorder of this thread alone; so the runtime must have no other.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    metrics::with_local_recorder(&recorded, || {
        runtime.block_on(async {
            let fake = FakeSandbox::new(|step| match step.program.as_str() {
                "slow" => FakeRun::new(Outcome::CpuTimeLimit),
                _ => FakeRun::exited(0),
            });
            let sandbox = Observed::new(fake.clone());
            let spec = SessionSpec::default().with_label("python");
            let session = sandbox.open(spec.clone()).await.unwrap();
            assert_eq!(recorded.get("evalx_active_sandboxes{language=python,backend=fake}").0, 1.0);
            session.close().await.unwrap();
            for name in ["slow", "fast"] {
                sandbox.execute(Program::new(spec.clone(), Step::new(name)), "").await.unwrap();
            }
            fake.fail_run(Error::new(ErrorKind::Busy, "no"));
            sandbox.execute(Program::new(spec, Step::new("x")), "").await.unwrap_err();
        });
    });
    assert_eq!(recorded.get("evalx_active_sandboxes{language=python,backend=fake}"), (0.0, 8));
    for outcome in ["cpu_time_limit", "exited", "error"] {
        assert_eq!(recorded.get(&format!("evalx_step_seconds{{outcome={outcome}}}")).1, 1, "{outcome}");
    }
    assert_eq!(recorded.get("evalx_step_memory_peak_bytes{language=python,backend=fake}").1, 2);
}
