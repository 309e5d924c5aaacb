//! What does a sandbox add to compiling: `g++ -O2` of a program that includes
//! the whole standard library?

use std::process::Stdio;

use criterion::{Criterion, criterion_group, criterion_main};
use evalx_benches::contender::{Contender, Stage, bare, path, step};
use evalx_benches::workload::HELLO_CPP;
use evalx_core::{FileContents, Limits, SessionSpec};

const COMMAND: [&str; 5] = ["g++", "-O2", "-o", "main", "main.cpp"];

fn compile(criterion: &mut Criterion) {
    let mut stage = Stage::set("compile");
    stage.contenders.retain(|(_, contender)| !matches!(contender, Contender::Run(_)));
    let folder = stage.programs.folder().to_owned();
    std::fs::write(folder.join("main.cpp"), HELLO_CPP).expect("the folder can be written");
    stage.compare(criterion, "compile", "C++ with <bits/stdc++.h>", |contender| {
        let folder = &folder;
        async move {
            match contender {
                Contender::Floor | Contender::Run(_) => drop(bare(folder, &COMMAND, Stdio::null())),
                Contender::Exec(warm) => {
                    let command = ["g++", "-O2", "-o", "/box/main", "/programs/main.cpp"];
                    drop(warm.execute(&command, b"").await.expect("it compiles"));
                }
                Contender::Sandbox(sandbox, origin) => {
                    let spec = SessionSpec::new(Limits::for_compiling()).with_origin(origin);
                    let mut session = sandbox.open(spec).await.expect("it opens");
                    session
                        .write_file(&path("main.cpp"), FileContents::data(HELLO_CPP))
                        .await
                        .expect("it is placed");
                    step(session.as_mut(), &COMMAND, b"").await;
                    session.keep(&path("main")).await.expect("it is kept");
                    session.close().await.expect("it closes");
                }
            }
        }
    });
    stage.end();
}

criterion_group!(benches, compile);
criterion_main!(benches);
