//! Output and disk: cut exactly at the limit, and counted together.

use evalx_core::{Amount, ByteSize, DynSandbox, KilledBy, LimitKind, Outcome};

use crate::Probes;
use crate::rig::{close, once, open, run, size};

const LIMIT: u64 = 100_000;

async fn cut(sandbox: &DynSandbox, probes: &Probes, fd: &str, written: u64) {
    let limit = ByteSize::bytes(LIMIT);
    let ran =
        once(sandbox, probes, probes.limits().with_output(limit), &["write", &written.to_string(), fd]).await;
    let (kept, summary) = match fd {
        "1" => (&ran.stdout, ran.report.stdout),
        _ => (&ran.stderr, ran.report.stderr),
    };
    // A pattern, so that a piece that is missing or doubled shows.
    let block: Vec<u8> = (0..4096_usize).map(|i| b'a' + u8::try_from(i % 26).expect("under 26")).collect();
    let expected: Vec<u8> =
        block.iter().copied().cycle().take(ByteSize::bytes(written.min(LIMIT)).as_usize()).collect();
    assert!(kept[..] == expected[..], "{} bytes were kept: {}", kept.len(), ran.story());
    if written <= LIMIT {
        ran.well();
        assert_eq!((summary.bytes, summary.truncated), (written, false), "{}", ran.story());
    } else {
        ran.ended(&Outcome::OutputLimit).blames(LimitKind::Output, size(limit));
        assert!(summary.truncated && summary.bytes > LIMIT, "{}", ran.story());
        assert_eq!(ran.report.killed_by, Some(KilledBy::Supervisor), "{}", ran.story());
    }
}

/// Exactly as much stdout as allowed is all kept, and no limit is met.
pub async fn stdout_at_the_limit(sandbox: &DynSandbox, probes: &Probes) {
    cut(sandbox, probes, "1", LIMIT).await;
}

/// One byte of stdout too many ends the program; what is kept is the limit, to the byte.
pub async fn stdout_over_the_limit(sandbox: &DynSandbox, probes: &Probes) {
    cut(sandbox, probes, "1", LIMIT + 1).await;
    cut(sandbox, probes, "1", 1 << 40).await;
}

/// Exactly as much stderr as allowed is all kept, and no limit is met.
pub async fn stderr_at_the_limit(sandbox: &DynSandbox, probes: &Probes) {
    cut(sandbox, probes, "2", LIMIT).await;
}

/// One byte of stderr too many ends the program; what is kept is the limit, to the byte.
pub async fn stderr_over_the_limit(sandbox: &DynSandbox, probes: &Probes) {
    cut(sandbox, probes, "2", LIMIT + 1).await;
    cut(sandbox, probes, "2", 1 << 40).await;
}

/// The limit is on each stream by itself.
pub async fn each_stream_has_its_own(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_output(ByteSize::bytes(4));
    let ran = once(sandbox, probes, limits, &["say", "1234", "5678"]).await;
    assert_eq!((&ran.well().stdout[..], &ran.stderr[..]), (&b"1234"[..], &b"5678"[..]), "{}", ran.story());
}

/// With no output allowed, a silent program is well and any other is ended.
pub async fn no_output_allowed(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_output(ByteSize::ZERO);
    let mut session = open(sandbox, probes, limits).await;
    run(session.as_mut(), &["exit", "0"]).await.well();
    let ran = run(session.as_mut(), &["hello"]).await;
    ran.ended(&Outcome::OutputLimit);
    assert!(ran.stdout.is_empty(), "{}", ran.story());
    close(session).await;
}

/// What was written before the end is all there, however the program ended.
pub async fn output_before_a_crash(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["write", "50000", "1", "3"]).await;
    ran.ended(&Outcome::Exited(3));
    assert_eq!(ran.stdout.len(), 50_000, "{}", ran.story());
}

/// The work folder, `/tmp` and `/dev/shm` together hold what the disk limit says.
pub async fn disk_limit_of_all_places(sandbox: &DynSandbox, probes: &Probes) {
    let limit = ByteSize::mib(4);
    let arguments = ["fill", "1", "/box/full", "/tmp/full", "/dev/shm/full"];
    let ran = once(sandbox, probes, probes.limits().with_disk(limit), &arguments).await;
    ran.ended(&Outcome::DiskLimit).blames(LimitKind::Disk, size(limit));
    let written: u64 = ran.text().trim().parse().expect("the probe prints a number");
    assert!(written <= limit.as_u64(), "{written} bytes were written: {}", ran.story());
    assert!(written >= limit.as_u64() / 4, "{written} bytes were written: {}", ran.story());
}

/// A program that fills its disk and exits with 0 has exited with 0.
pub async fn full_disk_and_success(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_disk(ByteSize::mib(4));
    once(sandbox, probes, limits, &["fill", "0", "/box/full"]).await.well();
}

/// Files are counted in all places together, and too many are a disk limit.
pub async fn file_count(sandbox: &DynSandbox, probes: &Probes) {
    let arguments = ["make-files", "1", "file", "100000", "/box", "/tmp", "/dev/shm"];
    let ran = once(sandbox, probes, probes.limits().with_files(64), &arguments).await;
    ran.ended(&Outcome::DiskLimit).blames(LimitKind::Files, Amount::Count(64));
    let made: u64 = ran.text().trim().parse().expect("the probe prints a number");
    assert!((8..=64).contains(&made), "{made} files were made: {}", ran.story());
}

/// What a step left on the disk is reported.
pub async fn disk_use_is_reported(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let before = run(session.as_mut(), &["hello"]).await.report.disk_used.as_u64();
    let ran = run(session.as_mut(), &["page-cache", "four-mib"]).await;
    let grown = ran.well().report.disk_used.as_u64().saturating_sub(before);
    let written = ByteSize::mib(4).as_u64();
    assert!((written..written + written / 4).contains(&grown), "{grown} bytes more: {}", ran.story());
    close(session).await;
}

/// What a disk limit leaves behind can be removed, and the session goes on.
pub async fn session_goes_on_after_a_full_disk(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_disk(ByteSize::mib(4))).await;
    run(session.as_mut(), &["fill", "1", "/box/full"]).await.ended(&Outcome::DiskLimit);
    run(session.as_mut(), &["make", "remove", "full"]).await.well();
    run(session.as_mut(), &["make", "file", "small"]).await.well();
    close(session).await;
}
