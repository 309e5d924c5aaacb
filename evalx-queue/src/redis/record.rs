//! [`Record`]: a job as the scripts keep it.
//!
//! Packed by `struct`, which all servers have in their Lua, and which for so many
//! small fields takes half of the instructions that `MessagePack` does. What is
//! short is quicker: a server's Lua looks at each byte of each string that it is
//! given or makes. What may be large is a `double`, as all numbers of Lua are: those
//! are copied, where others are put together byte by byte.

use crate::Result;

/// What a field can be.
trait Field: Sized {
    /// How `struct` calls it.
    const FORMAT: &'static str;
    /// What of the job's field `at` is packed.
    fn packed(at: usize) -> String;
    /// Takes it off the front.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

impl Field for u64 {
    const FORMAT: &'static str = "d";

    fn packed(at: usize) -> String {
        format!("job[{at}]")
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        /// Above this a `double` skips numbers.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let (number, rest) = from.split_first_chunk::<8>()?;
        *from = rest;
        let number = f64::from_le_bytes(*number);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in their range")]
        (0.0..=EXACT).contains(&number).then_some(number as Self)
    }
}

impl Field for u32 {
    const FORMAT: &'static str = "I";

    fn packed(at: usize) -> String {
        u64::packed(at)
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let (number, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(Self::from_le_bytes(*number))
    }
}

impl Field for u8 {
    const FORMAT: &'static str = "B";

    fn packed(at: usize) -> String {
        u64::packed(at)
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let (number, rest) = from.split_first()?;
        *from = rest;
        Some(*number)
    }
}

impl Field for String {
    const FORMAT: &'static str = "Hc0";

    fn packed(at: usize) -> String {
        format!("#job[{at}], job[{at}]")
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let (length, rest) = from.split_first_chunk::<2>()?;
        let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        *from = rest;
        Self::from_utf8(text.to_vec()).ok()
    }
}

/// The fields, in their places, and the names that scripts have for them.
macro_rules! record {
    ($($(#[$about:meta])* $name:literal $field:ident: $kind:ty,)*) => {
        /// A job as the scripts keep it. What there is not is zero, or empty.
        #[derive(Debug)]
        pub(super) struct Record {
            $($(#[$about])* pub(super) $field: $kind,)*
        }

        const NAMES: &[&str] = &[$($name),*];
        const FORMATS: &[&str] = &[$(<$kind as Field>::FORMAT),*];
        const PACKED: &[fn(usize) -> String] = &[$(<$kind as Field>::packed),*];

        impl Record {
            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: Field::take(from)?,)* })
            }
        }
    };
}

record! {
    "STATE" state: String,
    /// Until when the lease holds, the job is put off, or it is kept: by its state.
    "UNTIL" until: u64,
    "TENANT" tenant: String,
    "LANGUAGE" language: String,
    "LEVEL" level: u8,
    /// Its place in its tenant's lane.
    "ORDINAL" _ordinal: u64,
    "ENQUEUED" enqueued_at: u64,
    "SINCE" ready_since: u64,
    "MAX_RUN" max_run: u64,
    "MAX_ATTEMPTS" _max_attempts: u32,
    "TTL" result_ttl: u64,
    "EXPIRES" expires_at: u64,
    "KEY" _idempotency_key: String,
    "TRACE" trace: String,
    "BLOBS" blobs: String,
    "SIZE" payload_bytes: u32,
    "ATTEMPT" attempt: u32,
    "CRASHES" crashes: u32,
    "TOKEN" token: u32,
    /// The token by which it was last settled, so that a repeat is known.
    "SETTLED" _settled: u32,
    /// The token of the last start that is among its events.
    "NOTED" _noted: u32,
    "STARTED" started_at: u64,
    "FINISHED" finished_at: u64,
    "WORKER" worker: String,
    "CANCEL" cancel: u8,
    "EVENT_BYTES" _event_bytes: u32,
    /// What the last events were told with, so that a repeat is known.
    "EVENT_NONCE" _event_nonce: String,
    "DROPPED" events_dropped: u32,
}

impl Record {
    /// The job that a script has packed.
    ///
    /// # Errors
    /// `Internal` if no script has.
    pub(super) fn unpack(mut bytes: &[u8]) -> Result<Self> {
        Self::take(&mut bytes).filter(|_| bytes.is_empty()).ok_or_else(super::reply::nonsense)
    }

    /// A script with the places of fields for their names, as in `job[STATE]`,
    /// and the words that its `pack` and `unpack` need.
    pub(super) fn resolve(mut source: String) -> String {
        for (name, place) in NAMES.iter().zip(1..) {
            source = source.replace(&format!("[{name}]"), &format!("[{place}]"));
        }
        let packed: Vec<_> = PACKED.iter().zip(1..).map(|(packed, place)| packed(place)).collect();
        source
            .replace("RECORD_FORMAT", &format!("<{}", FORMATS.concat()))
            .replace("RECORD_FIELDS", &packed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_taken_as_they_were_packed() {
        let mut bytes: &[u8] = b"\x02\0ab\0\0\0\0\0\0\xf8\x3frest";
        assert_eq!(String::take(&mut bytes).as_deref(), Some("ab"));
        assert_eq!(u64::take(&mut bytes), Some(1));
        assert_eq!(bytes, b"rest");
        assert_eq!(String::take(&mut bytes), None);
    }

    #[test]
    fn names_become_places() {
        let source = Record::resolve("job[STATE] job[UNTIL] pack('RECORD_FORMAT', RECORD_FIELDS)".to_owned());
        assert!(source.starts_with("job[1] job[2] pack('<Hc0dHc0"), "{source}");
        assert!(source.contains("#job[1], job[1], job[2], #job[3], job[3]"), "{source}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_job_or_none(bytes: Vec<u8>) {
            let _ = Record::unpack(&bytes);
        }
    }
}
