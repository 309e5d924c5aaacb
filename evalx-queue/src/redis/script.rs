//! The scripts, and what is handed to them.
//!
//! Each call of the queue is one script, so that it happens wholly or not at
//! all. They are put together from parts here: a script carries only what it
//! needs, since it is run anew from its first line each time.

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::packed::Packed as _;
use super::record::{Book, Ending, Job, LAYOUT, Terms};
use crate::Lease;
use crate::memory::{EXPIRED, WORKER_LOST};
use crate::time::millis;

/// How long a call may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// One script, known to the server by its hash.
pub(super) struct Script {
    pub(super) source: String,
    pub(super) hash: String,
}

impl Script {
    /// Each part is a function inside the one before: what a function takes from
    /// one further out costs nothing to find, where it is searched for among all
    /// names of its own. Each call of a script makes its functions anew.
    fn new(parts: &[&str]) -> Self {
        let source = parts.join("return (function()\n") + &"end)()\n".repeat(parts.len() - 1);
        let source = Terms::resolve(Ending::resolve(Book::resolve(Job::resolve(source))))
            .replace("THIS_LAYOUT", &LAYOUT.to_string())
            .replace("WORKER_LOST", WORKER_LOST)
            .replace("'EXPIRED'", &format!("'{EXPIRED}'"));
        let hash = redis::Script::new(&source).get_hash().to_owned();
        Self { source, hash }
    }
}

macro_rules! scripts {
    ($($name:ident: $($part:literal),+;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(&[$(include_str!(concat!("lua/", $part, ".lua"))),+]));)*

        #[cfg(test)]
        static ALL: &[(&str, &LazyLock<Script>)] = &[$((stringify!($name), &$name)),*];
    };
}

scripts! {
    ENQUEUE: "core", "writing", "forget", "enqueue";
    CLAIM: "core", "writing", "forget", "ending", "claiming", "claim";
    FINISH: "core", "writing", "telling", "forget", "ending", "claiming", "finish";
    RELEASE: "core", "writing", "forget", "ending", "release";
    HEARTBEAT: "core", "writing", "heartbeat";
    EMIT: "core", "writing", "telling", "emit";
    CANCEL: "core", "writing", "forget", "ending", "cancel";
    GET: "core", "viewing", "get";
    PAYLOAD: "core", "payload";
    EVENTS: "core", "last_error", "events";
    LIST: "core", "viewing", "list";
    REQUEUE: "core", "last_error", "writing", "requeue";
    REMOVE: "core", "writing", "forget", "remove";
    CONTROL: "core", "writing", "control";
    STATS: "core", "stats";
    SWEEP: "core", "writing", "forget", "ending", "sweep";
    WATCH: "core", "writing", "watch";
}

/// The arguments of one call.
#[derive(Clone)]
pub(super) struct Arguments {
    pub(super) list: Vec<Bytes>,
    /// Which of them is of the attempt, and what it says.
    attempt: Option<(usize, Told)>,
}

/// What a script is told of each attempt at a call.
#[derive(Clone, Copy)]
enum Told {
    Since,
    Connection,
}

/// One attempt at a call.
pub(super) struct Attempt {
    /// How long ago the first was made; `None` if this is it.
    pub(super) since: Option<Duration>,
    /// By which process it is made, and by which of its connections: these are
    /// used one after the other.
    pub(super) connection: (u64, u64),
}

impl Arguments {
    /// Those of a process with these terms, which come first.
    pub(super) fn new(terms: &Bytes) -> Self {
        Self { list: vec![terms.clone()], attempt: None }
    }

    pub(super) fn text(&mut self, text: &(impl fmt::Display + ?Sized)) -> &mut Self {
        self.list.push(Bytes::from(text.to_string()));
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.text(&number)
    }

    pub(super) fn all<T: fmt::Display>(&mut self, items: &[T]) -> &mut Self {
        items.iter().for_each(|item| self.list.push(Bytes::from(item.to_string())));
        self
    }

    pub(super) fn leases(&mut self, leases: &[Lease]) -> &mut Self {
        for lease in leases {
            self.text(&lease.id).number(lease.token);
        }
        self
    }

    pub(super) fn bytes(&mut self, bytes: Bytes) -> &mut Self {
        self.list.push(bytes);
        self
    }

    /// Here it is told how long ago the call was first made, in milliseconds; 0 if
    /// it is not repeated.
    pub(super) fn since(&mut self) -> &mut Self {
        self.attempt = Some((self.list.len(), Told::Since));
        self.bytes(Bytes::new())
    }

    /// Here it is told by which connection the call comes, with a plus behind it if
    /// it is repeated.
    pub(super) fn connection(&mut self) -> &mut Self {
        self.attempt = Some((self.list.len(), Told::Connection));
        self.bytes(Bytes::new())
    }

    pub(super) fn set_attempt(&mut self, attempt: &Attempt) {
        let Some((index, told)) = self.attempt else { return };
        self.list[index] = Bytes::from(match told {
            // A call is on its way for some time, and what it did is not to be older.
            Told::Since => attempt.since.map_or(0, |since| millis(since + ON_ITS_WAY)).to_string(),
            Told::Connection => {
                let ((process, connection), is_repeated) = (attempt.connection, attempt.since.is_some());
                format!("{process:016x}{connection:016x}{}", if is_repeated { "+" } else { "" })
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_of_fields_have_become_places() {
        for (name, script) in ALL {
            let upper =
                |index: usize| script.source.as_bytes().get(index + 1).is_some_and(u8::is_ascii_uppercase);
            let left = script.source.match_indices('[').find(|(index, _)| upper(*index));
            assert!(left.is_none(), "{name}: {:?}", left.map(|(index, _)| &script.source[index..index + 20]));
        }
    }

    #[test]
    fn scripts_touch_no_key_outside_the_prefix() {
        let from_prefix =
            ["P ..", "NONE", "LEASE", "key", "lane", "list", "set", "pins", "unpack(", "job_key("];
        for (name, script) in ALL {
            for line in script.source.lines() {
                for (_, after) in ["call('", "gather('"].iter().flat_map(|call| line.split_once(call)) {
                    let key = after.split_once(", ").map(|(_, key)| key);
                    let good = key.is_none_or(|key| from_prefix.iter().any(|start| key.starts_with(start)));
                    assert!(good, "{name}: {line}");
                }
            }
        }
    }
}
