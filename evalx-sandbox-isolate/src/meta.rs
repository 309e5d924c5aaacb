//! [`Meta`]: what `isolate` writes about a run, taken from any bytes at all.
//!
//! The file is isolate's own and no program can reach it, but it is read as if
//! one could: nothing in it makes the parser fail, and what it does not know
//! or can't make sense of is passed over.

use std::time::Duration;

/// A meta file is a few hundred bytes; of a longer one, the rest is not read.
pub(crate) const LONGEST_META: usize = 64 << 10;

/// How isolate says that a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `RE`: with an exit code that is not zero.
    RuntimeError,
    /// `SG`: by a signal, or isolate was told to stop it.
    Signal,
    /// `TO`: isolate saw a time limit exceeded.
    TimedOut,
    /// `XX`: isolate itself failed.
    Internal,
}

/// What a meta file says. A field that is absent, or is no number, is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    /// `status`; absent if all was well.
    pub status: Option<Status>,
    /// `message`, in isolate's words.
    pub message: Option<String>,
    /// `exitcode`, if it is one: 0 to 255.
    pub exit_code: Option<i32>,
    /// `exitsig`, if it is a signal's number: 1 to 64.
    pub exit_signal: Option<i32>,
    /// `killed`: isolate put an end to the program.
    pub killed: bool,
    /// `time`: CPU time.
    pub cpu_time: Option<Duration>,
    /// `time-wall`.
    pub wall_time: Option<Duration>,
    /// `max-rss`, in bytes.
    pub max_rss: Option<u64>,
    /// `cg-mem`, in bytes.
    pub group_memory: Option<u64>,
    /// `cg-oom-killed`: the kernel killed a process for want of memory.
    pub oom_killed: bool,
    /// `csw-voluntary`.
    pub voluntary_switches: Option<u64>,
    /// `csw-forced`.
    pub forced_switches: Option<u64>,
}

impl Meta {
    /// Takes from `bytes` what can be understood. Of a field that comes twice,
    /// the first counts: isolate writes the cause before its consequences.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut meta = Self::default();
        let bytes = &bytes[..bytes.len().min(LONGEST_META)];
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
            let (key, value) = (&line[..at], &line[at + 1..]);
            let text = || String::from_utf8_lossy(value).into_owned();
            match key {
                b"status" => set(&mut meta.status, status(value)),
                b"message" => set(&mut meta.message, Some(text())),
                b"exitcode" => set(&mut meta.exit_code, within(value, 0, 255)),
                b"exitsig" => set(&mut meta.exit_signal, within(value, 1, 64)),
                b"killed" => meta.killed |= value == b"1",
                b"time" => set(&mut meta.cpu_time, seconds(value)),
                b"time-wall" => set(&mut meta.wall_time, seconds(value)),
                b"max-rss" => set(&mut meta.max_rss, kibibytes(value)),
                b"cg-mem" => set(&mut meta.group_memory, kibibytes(value)),
                b"cg-oom-killed" => meta.oom_killed |= value == b"1",
                b"csw-voluntary" => set(&mut meta.voluntary_switches, number(value)),
                b"csw-forced" => set(&mut meta.forced_switches, number(value)),
                _ => {}
            }
        }
        meta
    }
}

fn set<T>(field: &mut Option<T>, value: Option<T>) {
    if field.is_none() {
        *field = value;
    }
}

fn status(value: &[u8]) -> Option<Status> {
    match value {
        b"RE" => Some(Status::RuntimeError),
        b"SG" => Some(Status::Signal),
        b"TO" => Some(Status::TimedOut),
        b"XX" => Some(Status::Internal),
        _ => None,
    }
}

/// Digits and nothing else, as far as a `u64` goes.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn within(value: &[u8], least: i32, most: i32) -> Option<i32> {
    let number = i32::try_from(number(value)?).ok()?;
    (least..=most).contains(&number).then_some(number)
}

fn kibibytes(value: &[u8]) -> Option<u64> {
    number(value)?.checked_mul(1 << 10)
}

/// Seconds with up to nine decimals, as isolate writes them with three.
fn seconds(value: &[u8]) -> Option<Duration> {
    let (whole, fraction) = match value.iter().position(|byte| *byte == b'.') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &b"0"[..]),
    };
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?;
    let nanoseconds = number(fraction)? * 10_u64.pow(9 - digits);
    Some(Duration::new(number(whole)?, u32::try_from(nanoseconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_isolate_writes_is_understood() {
        let text = b"time:0.041\ntime-wall:1.070\nmax-rss:1400\ncsw-voluntary:4\ncsw-forced:6\ncg-mem:256\n\
            exitcode:3\nstatus:RE\nmessage:Exited with error status 3\n";
        let meta = Meta::parse(text);
        assert_eq!(meta.cpu_time, Some(Duration::from_millis(41)));
        assert_eq!(meta.wall_time, Some(Duration::from_millis(1070)));
        assert_eq!((meta.max_rss, meta.group_memory), (Some(1400 << 10), Some(256 << 10)));
        assert_eq!((meta.voluntary_switches, meta.forced_switches), (Some(4), Some(6)));
        assert_eq!((meta.exit_code, meta.status), (Some(3), Some(Status::RuntimeError)));
        assert_eq!(meta.message.as_deref(), Some("Exited with error status 3"));
        assert!(!meta.killed && !meta.oom_killed);
    }

    #[test]
    fn the_first_of_two_counts() {
        let meta =
            Meta::parse(b"exitsig:15\nstatus:SG\nmessage:Interrupted\nkilled:1\nexitsig:9\nstatus:XX\n");
        assert_eq!((meta.exit_signal, meta.status), (Some(15), Some(Status::Signal)));
        assert!(meta.killed);
    }

    #[test]
    fn what_is_no_figure_is_none() {
        for text in
            ["time:", "time:.", "time:-1.0", "time:1e9", "time:1.0000000000", "time:99999999999999999999.0"]
        {
            assert_eq!(Meta::parse(text.as_bytes()), Meta::default(), "{text}");
        }
        for text in [
            "exitcode:256",
            "exitcode:-1",
            "exitsig:0",
            "exitsig:65",
            "cg-mem:99999999999999999",
            "max-rss:1x",
        ] {
            assert_eq!(Meta::parse(text.as_bytes()), Meta::default(), "{text}");
        }
        assert_eq!(Meta::parse(b"time\nexitcode\n:\n::\nstatus:OK\nkilled:2\n"), Meta::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            let meta = Meta::parse(&bytes);
            prop_assert!(meta.exit_code.is_none_or(|code| (0..=255).contains(&code)));
            prop_assert!(meta.exit_signal.is_none_or(|signal| (1..=64).contains(&signal)));
        }

        #[test]
        fn any_lines_of_known_keys_are_taken(lines: Vec<(u8, Vec<u8>)>) {
            const KEYS: [&str; 13] = ["status", "message", "exitcode", "exitsig", "killed", "time", "time-wall",
                "max-rss", "cg-mem", "cg-oom-killed", "csw-voluntary", "csw-forced", "other"];
            let mut bytes = Vec::new();
            for (key, value) in lines {
                bytes.extend_from_slice(KEYS[usize::from(key) % KEYS.len()].as_bytes());
                bytes.push(b':');
                bytes.extend_from_slice(&value);
                bytes.push(b'\n');
            }
            let _ = Meta::parse(&bytes);
        }

        #[test]
        fn figures_come_through(ms in 0..u64::MAX / 1000, code in 0..=255_i32, kib in 0..u64::MAX >> 10) {
            let text = format!("time:{}.{:03}\nexitcode:{code}\ncg-mem:{kib}\n", ms / 1000, ms % 1000);
            let meta = Meta::parse(text.as_bytes());
            prop_assert_eq!(meta.cpu_time, Some(Duration::from_millis(ms)));
            prop_assert_eq!(meta.exit_code, Some(code));
            prop_assert_eq!(meta.group_memory, Some(kib << 10));
        }
    }
}
