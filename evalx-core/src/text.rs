//! Bytes in JSON: a string where they are text, and `{"base64": "…"}` where
//! they are not, so that most of it can be read and all of it comes back.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserializer, Serializer};

const KEY: &str = "base64";

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(text) = str::from_utf8(bytes) {
        return serializer.serialize_str(text);
    }
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(KEY, &STANDARD.encode(bytes))?;
    map.end()
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    deserializer.deserialize_any(TextOrBase64)
}

struct TextOrBase64;

impl<'de> Visitor<'de> for TextOrBase64 {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or {\"base64\": \"…\"}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Bytes, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bytes, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((key, encoded)) if key == KEY => {
                STANDARD.decode(encoded).map(Bytes::from).map_err(A::Error::custom)
            }
            _ => Err(A::Error::custom("the only key may be `base64`")),
        }
    }
}

/// The same for bytes that may be absent.
pub(crate) mod optional {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Present(#[serde(with = "super")] Bytes);

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.clone().map(Present).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
        Ok(Option::<Present>::deserialize(deserializer)?.map(|present| present.0))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::{Submission, Test};

    #[test]
    fn any_bytes_come_back_from_json_and_text_can_be_read_there() {
        let binary = Bytes::from_static(b"\xff\x00\xfe");
        let submission = Submission::new("python", "print('ü')")
            .with_stdin(binary.clone())
            .with_test(Test::new("1", "two\n").with_expected(binary))
            .with_test(Test::new("2", ""));
        let json = serde_json::to_string(&submission).unwrap();
        assert!(json.contains(r#""contents":"print('ü')""#), "{json}");
        assert!(json.contains(r#""stdin":{"base64":"/wD+"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Submission>(&json).unwrap(), submission);
    }

    #[test]
    fn what_is_neither_is_refused() {
        let json = serde_json::to_string(&Submission::new("c", "x")).unwrap();
        for wrong in [r#"{"base64":"?"}"#, r#"{"hex":"00"}"#, "3", "null"] {
            let broken = json.replace(r#""contents":"x""#, &format!("\"contents\":{wrong}"));
            assert!(serde_json::from_str::<Submission>(&broken).is_err(), "{broken}");
        }
    }
}
