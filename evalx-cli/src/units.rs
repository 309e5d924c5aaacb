//! Times and variables as they are written on the command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use evalx_core::ByteSize;

/// Reads a plain count.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn parse_count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is not a count: write a whole number from 1 up"))
}

/// A time as a person reads it, with three digits that matter.
pub(crate) fn show_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 120.0 {
        format!("{:.1} min", seconds / 60.0)
    } else if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.001 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.0} µs", seconds * 1e6)
    }
}

/// A size as a person reads it.
pub(crate) fn show_size(size: ByteSize) -> String {
    let bytes = size.as_u64();
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >> shift > 0 {
            let amount = bytes as f64 / (1_u64 << shift) as f64;
            let decimals = usize::from(amount < 100.0);
            return format!("{amount:.decimals$} {unit}");
        }
    }
    format!("{bytes} B")
}

/// Reads `NAME=VALUE`.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn parse_variable(text: &OsStr) -> Result<(OsString, OsString), String> {
    let bytes = text.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) if at > 0 => {
            Ok((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
        }
        _ => Err(format!("`{}` is not a variable: write NAME=VALUE", text.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_shown_for_people() {
        assert_eq!(show_time(Duration::from_micros(870)), "870 µs");
        assert_eq!(show_time(Duration::from_micros(1234)), "1.2 ms");
        assert_eq!(show_time(Duration::from_millis(2340)), "2.34 s");
        assert_eq!(show_size(ByteSize::bytes(17)), "17 B");
        assert_eq!(show_size(ByteSize::kib(1536)), "1.5 MiB");
        assert_eq!(show_size(ByteSize::mib(256)), "256 MiB");
        assert_eq!(show_size(ByteSize::MAX), "17179869184 GiB");
    }

    #[test]
    fn a_variable_has_a_name() {
        assert_eq!(parse_variable("A=b=c".as_ref()), Ok(("A".into(), "b=c".into())));
        assert_eq!(parse_variable("A=".as_ref()), Ok(("A".into(), "".into())));
        assert!(parse_variable("A".as_ref()).is_err());
        assert!(parse_variable("=b".as_ref()).is_err());
    }
}
