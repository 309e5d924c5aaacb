//! How many runs a second, one after the other and at once?

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use evalx_benches::contender::{Contender, Stage, WARM_UP, patience};
use evalx_core::Origin;

const CONCURRENCY: [u64; 3] = [1, 2, 8];

fn throughput(criterion: &mut Criterion) {
    let stage = Stage::set("throughput");
    let (folder, work) = (stage.programs.folder().to_owned(), stage.programs.hello_c());
    let mut group = criterion.benchmark_group("throughput");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Elements(1));
    group.warm_up_time(WARM_UP).measurement_time(patience().min(Duration::from_secs(3)));
    for (name, contender) in &stage.contenders {
        for concurrency in CONCURRENCY {
            let task = format!("hello C, {concurrency} at once");
            // Each works on a submission of its own, which lasts.
            let workers: Vec<Contender> = (0..concurrency)
                .map(|_| match contender {
                    Contender::Sandbox(sandbox, _) => Contender::Sandbox(Arc::clone(sandbox), Origin::new()),
                    other => other.clone(),
                })
                .collect();
            group.bench_function(BenchmarkId::new(*name, &task), |bencher| {
                bencher.iter_custom(|count| {
                    let left = AtomicU64::new(count);
                    let began = Instant::now();
                    stage.runtime.block_on(async {
                        let worker = |contender: &Contender| {
                            let (left, folder, work) = (&left, &folder, &work);
                            let contender = contender.clone();
                            async move {
                                let take = |left: u64| left.checked_sub(1);
                                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                                    contender.once(folder, work).await;
                                }
                            }
                        };
                        futures_util::future::join_all(workers.iter().map(worker)).await;
                    });
                    let took = began.elapsed();
                    stage.record.lock().expect("no panic").add_batch(name, &task, count, took);
                    took
                });
            });
        }
    }
    group.finish();
    stage.end();
}

criterion_group!(benches, throughput);
criterion_main!(benches);
