//! What an observed queue and a worker tell the `metrics` facade.
#![cfg(feature = "metrics")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evalx_queue::{
    DynQueue, MemoryQueue, NewJob, Observed, Outcome, Queue, QueueExt, Worker, WorkerConfig, WorkerId,
    handler_fn,
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

type Values = Arc<Mutex<BTreeMap<String, f64>>>;

/// Keeps the value of each metric under its name and labels.
#[derive(Clone, Default)]
struct Recorded(Values);

struct Cell {
    name: String,
    values: Values,
}

impl Cell {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(self.values.lock().expect("no test panics here").entry(self.name.clone()).or_default());
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.change(|count| *count += f64::from(u32::try_from(value).expect("a small number")));
    }
    fn absolute(&self, value: u64) {
        self.change(|count| *count = f64::from(u32::try_from(value).expect("a small number")));
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.change(|gauge| *gauge += value);
    }
    fn decrement(&self, value: f64) {
        self.change(|gauge| *gauge -= value);
    }
    fn set(&self, value: f64) {
        self.change(|gauge| *gauge = value);
    }
}

impl HistogramFn for Cell {
    fn record(&self, _: f64) {
        // How many there were is enough.
        self.change(|count| *count += 1.0);
    }
}

impl Recorded {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        Arc::new(Cell { name, values: Arc::clone(&self.0) })
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.0.lock().expect("no test panics here").get(name).copied()
    }
}

impl Recorder for Recorded {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }
    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

#[test]
fn depth_rises_on_enqueue_and_falls_on_claim() {
    let recorded = Recorded::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = |name: &str| recorded.value(name);
    metrics::with_local_recorder(&recorded, || {
        runtime.block_on(async {
            let queue = Arc::new(Observed::new(MemoryQueue::default()));
            let python = || NewJob::new("x").with_language("python");
            queue.enqueue(vec![python(), python(), NewJob::new("y").with_language("c")]).await.unwrap();
            assert_eq!(told("evalx_queue_depth{language=python}"), Some(2.0));
            assert_eq!(told("evalx_queue_depth{language=c}"), Some(1.0));
            assert_eq!(told("evalx_queue_enqueued_total{result=accepted}"), Some(3.0));
            let claimed = queue.claim(&WorkerId::unique(), 1, Duration::ZERO).await.unwrap();
            assert_eq!(
                (claimed[0].language.as_str(), told("evalx_queue_depth{language=python}")),
                ("python", Some(1.0))
            );
            // What others do is seen at the next refresh; what is empty is told to be so.
            queue.inner().claim(&WorkerId::unique(), 10, Duration::ZERO).await.unwrap();
            assert_eq!(told("evalx_queue_depth{language=c}"), Some(1.0));
            queue.refresh().await.unwrap();
            assert_eq!(told("evalx_queue_depth{language=c}"), Some(0.0));
            assert_eq!(told("evalx_queue_depth{language=python}"), Some(0.0));
            assert_eq!(told("evalx_queue_active{}"), Some(3.0));
        });
    });
}

#[test]
fn a_worker_tells_waits_and_outcomes() {
    let recorded = Recorded::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorded, || {
        runtime.block_on(async {
            let queue: DynQueue = Arc::new(Observed::new(MemoryQueue::default()));
            let handler = handler_fn(|job, _| async move {
                if job.payload == "good" { Outcome::done("") } else { Outcome::rejected("bad") }
            });
            let worker = Worker::start(Arc::clone(&queue), handler, WorkerConfig::default()).unwrap();
            for payload in ["good", "good", "bad"] {
                let id = queue.submit(NewJob::new(payload).with_language("c")).await.unwrap();
                queue.wait(id, Duration::from_secs(30)).await.unwrap();
            }
            worker.shutdown().await;
        });
    });
    assert_eq!(recorded.value("evalx_queue_wait_seconds{language=c}"), Some(3.0));
    assert_eq!(recorded.value("evalx_queue_jobs_total{outcome=done}"), Some(2.0));
    assert_eq!(recorded.value("evalx_queue_jobs_total{outcome=rejected}"), Some(1.0));
    assert_eq!(recorded.value("evalx_queue_depth{language=c}"), Some(0.0));
}
