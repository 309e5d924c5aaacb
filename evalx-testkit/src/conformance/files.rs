//! Files placed in a session, and read back from it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use evalx_core::{ByteSize, DynSandbox, ErrorKind, FileContents};

use crate::Probes;
use crate::rig::{close, open, path, refused, run};

const ALL: ByteSize = ByteSize::mib(8);

/// Files come back as they were placed: empty, binary, and large.
pub async fn placed_and_read_back(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let large: Bytes =
        (0..4_000_000_u32).flat_map(u32::to_le_bytes).take(4 << 20).collect::<Vec<u8>>().into();
    for contents in [Bytes::new(), Bytes::from_static(b"\0\xff\n"), large] {
        session
            .write_file(&path("file"), FileContents::data(contents.clone()))
            .await
            .expect("the file is placed");
        let read = session.read_file(&path("file"), ALL).await.expect("the file is read");
        assert!(read == contents, "{} bytes instead of {}", read.len(), contents.len());
    }
    close(session).await;
}

/// What a program wrote is read back.
pub async fn written_by_the_program(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["make", "file", "out", "by the program"]).await.well();
    assert_eq!(session.read_file(&path("out"), ALL).await.expect("the file is read"), "by the program");
    close(session).await;
}

/// What was placed is read by the program.
pub async fn read_by_the_program(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    session.write_file(&path("in"), FileContents::data("for you")).await.expect("the file is placed");
    assert_eq!(run(session.as_mut(), &["show", "in"]).await.well().text(), "for you");
    close(session).await;
}

/// A file may be executed if it was placed so, and else not.
pub async fn executable_or_not(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    session.write_file(&path("data"), FileContents::data("x")).await.expect("the file is placed");
    session.write_file(&path("run"), FileContents::executable("x")).await.expect("the file is placed");
    let (data, executable) =
        (run(session.as_mut(), &["mode", "data"]).await, run(session.as_mut(), &["mode", "run"]).await);
    assert!(data.well().text().ends_with(" -\n"), "{}", data.story());
    assert!(executable.well().text().ends_with(" x\n"), "{}", executable.story());
    // No set-uid, set-gid or sticky bit comes with it.
    assert!(data.text().len() <= "644 -\n".len() && executable.text().len() <= "755 x\n".len());
    close(session).await;
}

/// Folders above a file are made, also when some are there already.
pub async fn folders_are_made(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for name in ["a/b/c/one", "a/b/two", "a/three", "ä ö/\u{1F980}/four"] {
        session.write_file(&path(name), FileContents::data(name)).await.expect("the file is placed");
        assert_eq!(run(session.as_mut(), &["show", name]).await.well().text(), name);
        assert_eq!(session.read_file(&path(name), ALL).await.expect("the file is read"), name);
    }
    // The program may use a folder that was made for it.
    run(session.as_mut(), &["make", "file", "a/b/c/mine"]).await.well();
    close(session).await;
}

/// A file replaces the one before, whether longer or shorter.
pub async fn files_are_replaced(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for contents in ["long contents", "short", "longer than ever before", ""] {
        session.write_file(&path("file"), FileContents::data(contents)).await.expect("the file is placed");
        assert_eq!(session.read_file(&path("file"), ALL).await.expect("the file is read"), contents);
        assert_eq!(run(session.as_mut(), &["show", "file"]).await.well().text(), contents);
    }
    close(session).await;
}

/// A symlink in the way is replaced, and never followed.
pub async fn symlink_in_the_way_is_replaced(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["make", "file", "target", "untouched"]).await.well();
    for target in ["target", "/tmp/made-by-the-host", "/etc/hostname"] {
        run(session.as_mut(), &["make", "symlink", "file", target]).await.well();
        session.write_file(&path("file"), FileContents::data("new")).await.expect("the symlink is replaced");
        assert_eq!(session.read_file(&path("file"), ALL).await.expect("the file is read"), "new");
        run(session.as_mut(), &["make", "remove", "file"]).await.well();
    }
    assert_eq!(session.read_file(&path("target"), ALL).await.expect("the file is read"), "untouched");
    let made = run(session.as_mut(), &["show", "/tmp/made-by-the-host"]).await;
    assert_eq!(made.report.exit_code(), Some(3), "a symlink was followed: {}", made.story());
    close(session).await;
}

/// A FIFO in the way is replaced, without waiting for a reader.
pub async fn fifo_in_the_way_is_replaced(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["make", "fifo", "file"]).await.well();
    session.write_file(&path("file"), FileContents::data("new")).await.expect("the FIFO is replaced");
    assert_eq!(session.read_file(&path("file"), ALL).await.expect("the file is read"), "new");
    close(session).await;
}

/// A symlink or a file where a folder is needed is a wrong request.
pub async fn no_folder_above(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["make", "symlink", "link", "/tmp"]).await.well();
    run(session.as_mut(), &["make", "file", "file"]).await.well();
    run(session.as_mut(), &["make", "folder", "real"]).await.well();
    run(session.as_mut(), &["make", "symlink", "inner", "real"]).await.well();
    for name in ["link/x", "file/x", "inner/x", "link/deeper/x"] {
        let result = session.write_file(&path(name), FileContents::data("x")).await;
        refused(result, ErrorKind::InvalidRequest, name);
    }
    close(session).await;
}

/// A file that does not fit on the session's disk is a wrong request, and the session goes on.
pub async fn file_beyond_the_disk(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_disk(ByteSize::mib(4))).await;
    let large = Bytes::from(vec![7; 6 << 20]);
    let result = session.write_file(&path("large"), FileContents::data(large)).await;
    refused(result, ErrorKind::InvalidRequest, "a file beyond the disk");
    session.write_file(&path("small"), FileContents::data("x")).await.expect("a small file still fits");
    run(session.as_mut(), &["show", "small"]).await.well();
    close(session).await;
}

/// A file of exactly the size asked for is read, and a larger one refused.
pub async fn read_has_a_limit(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    session.write_file(&path("file"), FileContents::data("12345")).await.expect("the file is placed");
    assert_eq!(
        session.read_file(&path("file"), ByteSize::bytes(5)).await.expect("it is not larger"),
        "12345"
    );
    let result = session.read_file(&path("file"), ByteSize::bytes(4)).await;
    refused(result, ErrorKind::InvalidRequest, "a file larger than asked for");
    session.write_file(&path("empty"), FileContents::data("")).await.expect("the file is placed");
    assert_eq!(session.read_file(&path("empty"), ByteSize::ZERO).await.expect("nothing is read"), "");
    close(session).await;
}

/// Only a regular file is read: anything else is refused at once.
pub async fn only_regular_files_are_read(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let made: [&[&str]; 8] = [
        &["make", "file", "real", "x"],
        &["make", "symlink", "to-file", "real"],
        &["make", "symlink", "to-host", "/etc/passwd"],
        &["make", "symlink", "to-zero", "/dev/zero"],
        &["make", "symlink", "to-itself", "to-itself"],
        &["make", "symlink", "to-folder", "/etc"],
        &["make", "fifo", "fifo"],
        &["make", "folder", "folder"],
    ];
    for arguments in made {
        run(session.as_mut(), arguments).await.well();
    }
    let names = [
        "to-file",
        "to-host",
        "to-zero",
        "to-itself",
        "fifo",
        "folder",
        "to-folder/passwd",
        "absent",
        "real/x",
    ];
    for name in names {
        let started = Instant::now();
        let result = session.read_file(&path(name), ALL).await;
        refused(result, ErrorKind::InvalidRequest, name);
        assert!(
            started.elapsed() < probes.stretch(Duration::from_secs(2)),
            "{name}: it took {:?}",
            started.elapsed()
        );
    }
    close(session).await;
}
