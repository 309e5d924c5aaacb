//! [`Packed`]: records that a script and this process hand to each other.
//!
//! Packed by `struct`, which all servers have in their Lua, and which for so many
//! small fields takes half of the instructions that `MessagePack` does. What is
//! short is quicker: a server's Lua looks at each byte of each string that it is
//! given or makes. What may be large is a `double`, as all numbers of Lua are: those
//! are copied, where others are put together byte by byte.

use crate::{Error, ErrorKind, Result};

/// A record, and the list of its fields that a script has of it.
pub(super) trait Packed: Sized {
    /// What the list is called in scripts.
    const LIST: &'static str;
    /// What scripts call the fields, in their places.
    const NAMES: &'static [&'static str];
    /// How `struct` calls what they are.
    const FORMATS: &'static [&'static str];

    /// Takes it off the front.
    fn take(from: &mut &[u8]) -> Option<Self>;
    /// Puts it at the end.
    fn put(&self, to: &mut Vec<u8>);

    /// The record that a script has packed.
    ///
    /// # Errors
    /// `Internal` if no script has.
    fn unpack(mut bytes: &[u8]) -> Result<Self> {
        Self::take(&mut bytes).filter(|_| bytes.is_empty()).ok_or_else(nonsense)
    }

    /// The record, for a script.
    fn pack(&self) -> bytes::Bytes {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes.into()
    }

    /// A script with the places of fields for their names, as in `job[STATE]`,
    /// and for `PACK(job)`, `UNPACK(job, text)` and `EMPTY(job)` what they stand for.
    fn resolve(mut source: String) -> String {
        let (list, format) = (Self::LIST, format!("'<{}'", Self::FORMATS.concat()));
        for (name, place) in Self::NAMES.iter().zip(1..) {
            source = source
                .replace(&format!("{list}[{name}]"), &format!("{list}[{place}]"))
                .replace(&format!("{list}[{name} +"), &format!("{list}[{place} +"));
        }
        let (mut fields, mut empty) = (Vec::new(), Vec::new());
        for (is_text, place) in Self::FORMATS.iter().map(|format| *format == String::FORMAT).zip(1..) {
            if is_text {
                fields.push(format!("#{list}[{place}]"));
            }
            fields.push(format!("{list}[{place}]"));
            empty.push(if is_text { "''" } else { "0" });
        }
        source
            .replace(&format!("PACK({list})"), &format!("struct.pack({format}, {})", fields.join(", ")))
            .replace(&format!("UNPACK({list}, "), &format!("struct.unpack({format}, "))
            .replace(&format!("EMPTY({list})"), &empty.join(", "))
    }
}

/// What is told of what no script has written.
pub(super) fn nonsense() -> Error {
    Error::new(
        ErrorKind::Internal,
        "the server's answer makes no sense: somebody else writes to the queue's keys",
    )
}

/// What a field can be.
pub(super) trait Field: Sized {
    /// How `struct` calls it.
    const FORMAT: &'static str;
    /// Takes it off the front.
    fn take(from: &mut &[u8]) -> Option<Self>;
    /// Puts it at the end.
    fn put(&self, to: &mut Vec<u8>);
}

impl Field for u64 {
    const FORMAT: &'static str = "d";

    fn take(from: &mut &[u8]) -> Option<Self> {
        /// Above this a `double` skips numbers.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let number = f64::take(from)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in their range")]
        (0.0..=EXACT).contains(&number).then_some(number as Self)
    }

    fn put(&self, to: &mut Vec<u8>) {
        #[expect(clippy::cast_precision_loss, reason = "so large a number is as good as any other")]
        (*self as f64).put(to);
    }
}

impl Field for String {
    const FORMAT: &'static str = "Hc0";

    fn take(from: &mut &[u8]) -> Option<Self> {
        let (length, rest) = from.split_first_chunk::<2>()?;
        let (text, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
        *from = rest;
        Self::from_utf8(text.to_vec()).ok()
    }

    fn put(&self, to: &mut Vec<u8>) {
        let text = &self.as_bytes()[..self.len().min(u16::MAX.into())];
        #[expect(clippy::cast_possible_truncation, reason = "it was cut")]
        to.extend_from_slice(&(text.len() as u16).to_le_bytes());
        to.extend_from_slice(text);
    }
}

macro_rules! numbers {
    ($($kind:ty: $format:literal),*) => {$(
        impl Field for $kind {
            const FORMAT: &'static str = $format;

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (number, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*number))
            }

            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
numbers! { u8: "B", u32: "I", f64: "d" }

/// A record: what scripts call its list, and for each field what they call it.
macro_rules! packed {
    (
        $(#[$of_all:meta])*
        $list:literal $record:ident {
            $($(#[$about:meta])* $name:literal $field:ident: $kind:ty,)*
        }
    ) => {
        $(#[$of_all])*
        pub(super) struct $record {
            $($(#[$about])* pub(super) $field: $kind,)*
        }

        impl $crate::redis::packed::Packed for $record {
            const LIST: &'static str = $list;
            const NAMES: &'static [&'static str] = &[$($name),*];
            const FORMATS: &'static [&'static str] =
                &[$(<$kind as $crate::redis::packed::Field>::FORMAT),*];

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::redis::packed::Field::take(from)?,)* })
            }

            fn put(&self, to: &mut Vec<u8>) {
                $($crate::redis::packed::Field::put(&self.$field, to);)*
            }
        }
    };
}
pub(super) use packed;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    packed! {
        #[derive(Debug, PartialEq)]
        "pair" Pair {
            "LEFT" left: String,
            "RIGHT" right: u64,
        }
    }

    #[test]
    fn names_become_places() {
        let source = "pair[LEFT] pair[RIGHT + 1] other[LEFT] PACK(pair) {UNPACK(pair, text)} {EMPTY(pair)}";
        assert_eq!(
            Pair::resolve(source.to_owned()),
            "pair[1] pair[2 + 1] other[LEFT] struct.pack('<Hc0d', #pair[1], pair[1], pair[2]) \
             {struct.unpack('<Hc0d', text)} {'', 0}"
        );
    }

    #[test]
    fn fields_are_taken_as_struct_packs_them() {
        let mut bytes: &[u8] = b"\x02\0ab\0\0\0\0\0\0\xf8\x3frest";
        assert_eq!(String::take(&mut bytes).as_deref(), Some("ab"));
        assert_eq!(u64::take(&mut bytes), Some(1));
        assert_eq!(bytes, b"rest");
        assert_eq!(String::take(&mut bytes), None);
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(left in ".{0,40}", right in 0..1_u64 << 53) {
            let pair = Pair { left, right };
            prop_assert_eq!(Pair::unpack(&pair.pack()).ok(), Some(pair));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(bytes: Vec<u8>) {
            let _ = Pair::unpack(&bytes);
        }
    }
}
