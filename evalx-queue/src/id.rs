//! The names of jobs, blobs and workers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{Error, Result};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, unlike all others; those made later sort later, to the millisecond.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "two defaults would not be equal")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The one of this number, for tests that need to repeat.
            #[must_use]
            pub const fn from_u128(number: u128) -> Self {
                Self(Uuid::from_u128(number))
            }

            /// Its number.
            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            /// Takes the 36 characters that `Display` prints, and nothing else.
            fn from_str(text: &str) -> Result<Self> {
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err(Error::invalid(format!(
                        concat!($what, " looks like 01890a5d-ac96-774b-bcce-b302099a8057, not like {:?}"),
                        text.chars().take(64).collect::<String>()
                    ))),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

identifier! {
    /// The name of a job. Whoever enqueues makes it, so that a call whose answer
    /// was lost can be repeated without a second job.
    JobId, "a job id"
}

identifier! {
    /// The name of a blob.
    BlobId, "a blob id"
}

/// Who claims jobs: unique to a worker process, and readable by operators.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// The longest name, in bytes.
    pub const LONGEST: usize = 128;

    /// A worker of this name.
    ///
    /// # Errors
    /// `InvalidRequest` if the name is empty, longer than
    /// [`LONGEST`](Self::LONGEST), or holds control characters.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        crate::label::check("a worker's name", &name, Self::LONGEST)?;
        Ok(Self(name.into()))
    }

    /// A name that no other worker has: that of the process, and a random part.
    #[must_use]
    pub fn unique() -> Self {
        Self(format!("worker-{}-{:08x}", std::process::id(), fastrand::u32(..)).into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints_and_nothing_else() {
        let id = JobId::new();
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        assert_eq!(serde_json::from_str::<JobId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        for odd in
            ["", "x", "{01890a5d-ac96-774b-bcce-b302099a8057}", "01890a5dac96774bbcceb302099a8057", "*"]
        {
            let error = odd.parse::<JobId>().unwrap_err();
            assert!(error.to_string().contains("looks like"), "{error}");
        }
    }

    #[test]
    fn workers_have_names_of_their_own() {
        assert_ne!(WorkerId::unique(), WorkerId::unique());
        assert!(WorkerId::new("line\nbreak").is_err());
    }
}
