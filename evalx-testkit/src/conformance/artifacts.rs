//! What is kept of a session and placed in another.

use bytes::Bytes;
use evalx_core::{Artifact, ArtifactFile, ByteSize, DynSandbox, ErrorKind, FileContents, Step};

use crate::Probes;
use crate::rig::{close, open, path, refused, run, run_with};

const ALL: ByteSize = ByteSize::mib(8);

/// The names and contents of an artifact's files, in order.
fn listing(artifact: &Artifact) -> Vec<(String, Bytes, bool)> {
    let name = |file: &ArtifactFile| file.path.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut files: Vec<_> =
        artifact.files().iter().map(|file| (name(file), file.contents.clone(), file.executable)).collect();
    files.sort();
    files
}

/// A file is kept with its contents and mode, and outlives its session.
pub async fn file_is_kept(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    session.write_file(&path("data"), FileContents::data("kept")).await.expect("the file is placed");
    let data = session.keep(&path("data")).await.expect("the file is kept");
    let program = session.keep(&path("probe")).await.expect("the file is kept");
    // What happens to the file afterwards does not touch what was kept.
    run(session.as_mut(), &["make", "remove", "data"]).await.well();
    close(session).await;
    assert_eq!(listing(&data), [(String::new(), Bytes::from_static(b"kept"), false)]);
    assert_eq!(listing(&program), [(String::new(), probes.program(), true)]);
}

/// A program of more than 1 MiB that was kept runs in another session, under another name.
pub async fn kept_program_runs_elsewhere(sandbox: &DynSandbox, probes: &Probes) {
    let mut padded = probes.program().to_vec();
    padded.resize(padded.len().max(1 << 20) + 4096, 0);
    let mut first = open(sandbox, probes, probes.limits()).await;
    first.write_file(&path("built"), FileContents::executable(padded)).await.expect("the file is placed");
    let artifact = first.keep(&path("built")).await.expect("the program is kept");
    close(first).await;
    for _ in 0..3 {
        let mut second = open(sandbox, probes, probes.limits()).await;
        second.write_file(&path("bin/main"), artifact.clone().into()).await.expect("the artifact is placed");
        let step = Step::new("bin/main").with_argument("hello");
        assert_eq!(run_with(second.as_mut(), step, Bytes::new()).await.well().text(), "hello\n");
        close(second).await;
    }
}

/// A tree is kept with what is below it, and placed elsewhere as it was.
pub async fn tree_is_kept(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for name in ["out/Main.class", "out/inner/Deep.class", "out/inner/deeper/x"] {
        session.write_file(&path(name), FileContents::data(name)).await.expect("the file is placed");
    }
    session
        .write_file(&path("out/tool"), FileContents::executable(probes.program()))
        .await
        .expect("the file is placed");
    let artifact = session.keep(&path("out")).await.expect("the tree is kept");
    close(session).await;
    let names: Vec<String> = listing(&artifact).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["Main.class", "inner/Deep.class", "inner/deeper/x", "tool"]);

    let mut session = open(sandbox, probes, probes.limits()).await;
    session.write_file(&path("classes"), artifact.into()).await.expect("the tree is placed");
    assert_eq!(
        session.read_file(&path("classes/inner/Deep.class"), ALL).await.expect("it is read"),
        "out/inner/Deep.class"
    );
    assert_eq!(run(session.as_mut(), &["show", "classes/Main.class"]).await.well().text(), "out/Main.class");
    run_with(session.as_mut(), Step::new("classes/tool").with_argument("hello"), Bytes::new()).await.well();
    close(session).await;
}

/// Symlinks, FIFOs and the like are left out of a tree.
pub async fn only_files_are_kept_of_a_tree(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let made: [&[&str]; 6] = [
        &["make", "folder", "out"],
        &["make", "file", "out/file", "x"],
        &["make", "symlink", "out/link", "file"],
        &["make", "symlink", "out/host", "/etc/passwd"],
        &["make", "symlink", "out/folder", "/etc"],
        &["make", "fifo", "out/fifo"],
    ];
    for arguments in made {
        run(session.as_mut(), arguments).await.well();
    }
    let artifact = session.keep(&path("out")).await.expect("the tree is kept");
    assert_eq!(listing(&artifact), [("file".to_owned(), Bytes::from_static(b"x"), false)]);
    close(session).await;
}

/// A symlink, a FIFO, and what is not there can't be kept.
pub async fn only_files_and_folders_are_kept(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["make", "symlink", "link", "/etc/passwd"]).await.well();
    run(session.as_mut(), &["make", "symlink", "folder", "/etc"]).await.well();
    run(session.as_mut(), &["make", "fifo", "fifo"]).await.well();
    for name in ["link", "folder", "folder/passwd", "fifo", "absent", "absent/too"] {
        refused(session.keep(&path(name)).await, ErrorKind::InvalidRequest, name);
    }
    close(session).await;
}

/// An artifact that the host made is placed like one that was kept.
pub async fn artifact_of_the_host(sandbox: &DynSandbox, probes: &Probes) {
    let file = |name, text| ArtifactFile::new(Some(path(name)), Bytes::from_static(text), false);
    let artifact = Artifact::new([file("a/one", b"1"), file("two", b"2")]);
    let mut session = open(sandbox, probes, probes.limits()).await;
    session.write_file(&path("tree"), artifact.into()).await.expect("the tree is placed");
    assert_eq!(run(session.as_mut(), &["show", "tree/a/one"]).await.well().text(), "1");
    assert_eq!(run(session.as_mut(), &["show", "tree/two"]).await.well().text(), "2");
    let program = Artifact::executable(probes.program());
    session.write_file(&path("program"), program.into()).await.expect("the program is placed");
    run_with(session.as_mut(), Step::new("./program").with_argument("hello"), Bytes::new()).await.well();
    close(session).await;
}

/// An artifact is the same in every session, whatever a program tries to do to it.
pub async fn artifact_cannot_be_changed(sandbox: &DynSandbox, probes: &Probes) {
    let mut first = open(sandbox, probes, probes.limits()).await;
    first.write_file(&path("data"), FileContents::data("original")).await.expect("the file is placed");
    let artifact = first.keep(&path("data")).await.expect("the file is kept");
    close(first).await;
    let mut second = open(sandbox, probes, probes.limits()).await;
    second.write_file(&path("data"), artifact.clone().into()).await.expect("the artifact is placed");
    // Refused or not, it concerns this session alone.
    run(second.as_mut(), &["make", "mode", "data", "666"]).await;
    run(second.as_mut(), &["make", "file", "data", "CHANGED!"]).await;
    close(second).await;
    let mut third = open(sandbox, probes, probes.limits()).await;
    third.write_file(&path("data"), artifact.clone().into()).await.expect("the artifact is placed");
    assert_eq!(run(third.as_mut(), &["show", "data"]).await.well().text(), "original");
    close(third).await;
    assert_eq!(artifact.files()[0].contents, "original");
}
