//! [`RedisConfig`]: which server, which queue on it, and how patiently.

use std::fmt;
use std::time::Duration;

use crate::config::check_duration;
use crate::{Durability, Error, QueueConfig, Result};

/// Which server a queue is on, and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS
    /// (feature `tls`), or `unix:///path`. Of a cluster any node will do: it says
    /// which one has the queue.
    ///
    /// `redis-sentinel://[user:password@]host[:port][,host[:port]…][/database]?master=name`,
    /// or `rediss-sentinel://…`, is the server that sentinels call the primary of
    /// this name. The password is the server's; `&sentinel_password=…` and
    /// `&sentinel_user=…` are for the sentinels.
    pub url: String,
    /// The queue's name: queues of different names on one server are apart.
    pub name: String,
    /// What holds for every job.
    pub queue: QueueConfig,
    /// What an accepted job must survive; a server that promises less is
    /// refused. By default nothing is required, and what there is, is told by
    /// [`Queue::durability`](crate::Queue::durability).
    pub require_durability: Option<Durability>,
    /// How many replicas must have what was enqueued before it counts as
    /// accepted; 0. While there are fewer, enqueueing is repeated for as long as
    /// `patience` says, and fails then: the job may be there all the same, and
    /// is to be submitted again with the same id. It takes a connection of its
    /// own, on which one call after the other waits for the replicas.
    pub replicas: u32,
    /// How long one answer may take; 3 s.
    pub response_timeout: Duration,
    /// How long a call is repeated while the server can't be reached, before
    /// it fails; 5 s. Calls change nothing when they are repeated.
    pub patience: Duration,
}

impl RedisConfig {
    /// The queue `default` of the server at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            name: "default".to_owned(),
            queue: QueueConfig::default(),
            require_durability: None,
            replicas: 0,
            response_timeout: Duration::from_secs(3),
            patience: Duration::from_secs(5),
        }
    }

    /// Sets the queue's name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets what holds for every job.
    #[must_use]
    pub fn with_queue(mut self, queue: QueueConfig) -> Self {
        self.queue = queue;
        self
    }

    /// Sets what an accepted job must survive.
    #[must_use]
    pub fn with_require_durability(mut self, least: Durability) -> Self {
        self.require_durability = Some(least);
        self
    }

    /// Sets how many replicas must have what was enqueued.
    #[must_use]
    pub fn with_replicas(mut self, least: u32) -> Self {
        self.replicas = least;
        self
    }

    /// Sets how long one answer may take.
    #[must_use]
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Sets how long a call is repeated.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(good) {
            let name: String = self.name.chars().take(80).collect();
            let message = format!("a queue's name has 1 to 64 of A-Z a-z 0-9 . _ and -, unlike {name:?}");
            return Err(Error::invalid(message));
        }
        check_duration("response_timeout", self.response_timeout, Duration::from_millis(10))?;
        check_duration("patience", self.patience, Duration::ZERO)?;
        self.queue.check()
    }

    /// What all keys of this queue begin with. The braces make a cluster keep
    /// them together.
    pub(super) fn prefix(&self) -> String {
        format!("{{evalx:{}}}", self.name)
    }

    /// The server, without what is secret.
    pub(super) fn server(&self) -> String {
        let (address, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        match (address.split_once("://"), address.rsplit_once('@')) {
            // The at sign may be the password's, and so what is before it.
            (Some((scheme, _)), _) if query.contains('@') => format!("{scheme}://…"),
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            _ => address.to_owned(),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("server", &self.server())
            .field("name", &self.name)
            .field("queue", &self.queue)
            .field("require_durability", &self.require_durability)
            .field("replicas", &self.replicas)
            .field("response_timeout", &self.response_timeout)
            .field("patience", &self.patience)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        for (url, shown) in [
            ("redis://ada:pass@word@host:6379/1", "redis://host:6379/1"),
            ("redis://ada:pass?word@host:6379/1", "redis://…"),
            ("unix:///run/redis?user=ada&pass=word", "unix:///run/redis"),
            ("redis-sentinel://ada:pass@a,b?master=m&sentinel_password=word", "redis-sentinel://a,b"),
            ("redis-sentinel://a,b?master=m&sentinel_password=pass@word", "redis-sentinel://…"),
        ] {
            let config = RedisConfig::new(url);
            assert_eq!(config.server(), shown);
            let printed = format!("{config:?}");
            assert!(!printed.contains("pass") && !printed.contains("word"), "{printed}");
        }
    }

    #[test]
    fn names_that_would_break_out_of_the_hash_tag_are_refused() {
        for name in ["", "a}b", "{x}", "a:b", "ü", "a b", &"x".repeat(65)] {
            assert!(RedisConfig::new("redis://h").with_name(name).check().is_err(), "{name}");
        }
        RedisConfig::new("redis://h").with_name("evalx-2.test_1").check().unwrap();
    }
}
