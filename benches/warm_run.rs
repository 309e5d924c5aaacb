//! What does one run cost when all is warm: a session opened, the program
//! placed and run, its output collected, the session closed?
//!
//! `hello C, step alone` leaves out the session: it is opened once.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use evalx_benches::contender::{Contender, Stage, bare, path, step};
use evalx_core::SessionSpec;
use tokio::sync::Mutex;

fn warm_run(criterion: &mut Criterion) {
    let mut stage = Stage::set("warm_run");
    let folder = stage.programs.folder().to_owned();
    for work in [stage.programs.hello_c(), stage.programs.hello_python()] {
        stage.compare(criterion, "warm_run", work.name, |contender| {
            let (folder, work) = (&folder, &work);
            async move { contender.once(folder, work).await }
        });
    }
    step_alone(criterion, &mut stage);
    stage.end();
}

/// A session that runs one step after the other.
type Shared = Arc<Mutex<Box<dyn evalx_core::Session>>>;

fn step_alone(criterion: &mut Criterion, stage: &mut Stage) {
    // These have no session to leave out.
    stage.contenders.retain(|(name, _)| !matches!(*name, "docker create" | "docker run"));
    let stage = &*stage;
    let (folder, work) = (stage.programs.folder(), stage.programs.hello_c());
    let mut open: Option<(String, Shared)> = None;
    stage.compare(criterion, "step", "hello C, step alone", |contender| {
        // One session for each contender, opened before its first run.
        let session = match &contender {
            Contender::Sandbox(sandbox, _) => {
                if open.as_ref().is_none_or(|(name, _)| *name != sandbox.to_string()) {
                    let session = stage.runtime.block_on(async {
                        let mut session = sandbox.open(SessionSpec::default()).await.expect("it opens");
                        let program = work.program.as_ref().expect("it has a file").1.clone();
                        session.write_file(&path("program"), program.into()).await.expect("it is placed");
                        session
                    });
                    open = Some((sandbox.to_string(), Arc::new(Mutex::new(session))));
                }
                open.as_ref().map(|(_, session)| Arc::clone(session))
            }
            _ => None,
        };
        let command = &work.command;
        async move {
            match (contender, session) {
                (Contender::Exec(warm), _) => drop(warm.execute(command, b"").await.expect("it runs")),
                (_, Some(session)) => drop(step(session.lock().await.as_mut(), command, b"").await),
                (_, None) => drop(bare(folder, command, std::process::Stdio::null())),
            }
        }
    });
}

criterion_group!(benches, warm_run);
criterion_main!(benches);
