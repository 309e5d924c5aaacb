//! How long until a new sandbox has run its first program, from nothing?
//!
//! For containers that is connecting to the engine, the first container and
//! the first step; for `docker exec` a container and the first `exec`.

use std::process::Stdio;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use evalx_benches::contender::{Contender, Stage, bare, docker, image, isolate, native};
use evalx_benches::engine::Warm;
use evalx_core::{DynSandbox, Origin};

fn cold_start(criterion: &mut Criterion) {
    let mut stage = Stage::set("cold_start");
    // To make a container for each session takes no longer than to make the first.
    stage.contenders.retain(|(name, _)| !matches!(*name, "docker create" | "docker run"));
    let (folder, work) = (stage.programs.folder().to_owned(), stage.programs.hello_c());
    stage.compare(criterion, "cold_start", work.name, |contender| {
        let (folder, work) = (&folder, &work);
        async move {
            let fresh: DynSandbox = match contender {
                Contender::Floor | Contender::Run(_) => {
                    return drop(bare(folder, &work.command, Stdio::null()));
                }
                Contender::Exec(_) => {
                    let warm = Warm::start(&image(), folder).await.expect("it starts");
                    warm.execute(&work.command, b"").await.expect("it runs");
                    return warm.remove().await;
                }
                Contender::Sandbox(sandbox, _) => match sandbox.capabilities().backend.as_ref() {
                    "native" => Arc::new(native().await.expect("it starts")),
                    "isolate" => Arc::new(isolate().await.expect("it starts")),
                    _ => Arc::new(docker(false).await.expect("it starts")),
                },
            };
            Contender::Sandbox(Arc::clone(&fresh), Origin::new()).once(folder, work).await;
            fresh.shutdown().await.expect("it shuts down");
        }
    });
    stage.end();
}

criterion_group!(benches, cold_start);
criterion_main!(benches);
