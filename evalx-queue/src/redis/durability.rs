//! What the server makes of a job that it has accepted: read, not believed.

use std::collections::HashMap;

use redis::{FromRedisValue, Value};

use super::config::RedisConfig;
use super::link::{Link, command, unavailable};
use crate::{Durability, Error, ErrorKind, Result};

/// What the server says of itself, as far as it matters.
#[derive(Debug, Default)]
struct Settings {
    append_only: bool,
    /// `always`, `everysec` or `no`; `None` if it can't be known.
    fsync: Option<String>,
    evicts: bool,
    replicas_awaited: u64,
}

impl Settings {
    fn level(&self) -> Durability {
        match self.fsync.as_deref() {
            _ if self.evicts || !self.append_only => Durability::None,
            Some("always") if self.replicas_awaited > 0 => Durability::Replicated,
            Some("always") => Durability::Fsync,
            // With `no` it is the kernel that writes, at its leisure.
            Some("no") => Durability::None,
            _ => Durability::EverySecond,
        }
    }

    fn help(&self) -> &'static str {
        if self.evicts {
            "set `maxmemory-policy noeviction`, or the server throws jobs away when it is full"
        } else {
            "set `appendonly yes` and `appendfsync always`; for replicas also `min-replicas-to-write 1`"
        }
    }
}

/// Reads what accepted jobs survive on this server, and refuses less than is required.
pub(super) async fn check(link: &Link, config: &RedisConfig) -> Result<Durability> {
    let settings = read(link, config).await?;
    let level = settings.level();
    match config.require_durability {
        Some(least) if level < least => {
            let server = config.server();
            let message = format!("the server {server} has the durability `{level}`; `{least}` is required");
            Err(Error::new(ErrorKind::Unsupported, message).with_help(settings.help()))
        }
        _ => Ok(level),
    }
}

async fn read(link: &Link, config: &RedisConfig) -> Result<Settings> {
    // Of a cluster the node is to be asked that has the queue: a command on one of
    // its keys leads there. It is the first, too: an error is one of the connection.
    link.command(&command(&["EXISTS", &link.key(":book")])).await?;
    let persistence = info(link, config, "persistence").await?;
    let mut settings = Settings {
        append_only: persistence.get("aof_enabled").is_some_and(|enabled| enabled == "1"),
        fsync: setting(link, config, "appendfsync").await?,
        ..Settings::default()
    };
    let memory = info(link, config, "memory").await?;
    let says = |name: &str, what: &str| memory.get(name).is_some_and(|value| value == what);
    settings.evicts = !says("maxmemory", "0") && !says("maxmemory_policy", "noeviction");
    let awaited = setting(link, config, "min-replicas-to-write").await?.unwrap_or_default();
    settings.replicas_awaited = awaited.parse().unwrap_or_default();
    Ok(settings)
}

/// Asks patiently; nil if the user may not ask that, or the server knows no such
/// command: hosted ones often have no CONFIG. Then the least of what may be is assumed.
async fn ask(link: &Link, config: &RedisConfig, words: &[&str]) -> Result<Value> {
    let says_nothing = |error: &Error| {
        let text = error.chain();
        ["NOPERM", "ACL failure", "unknown command"].iter().any(|part| text.contains(part))
    };
    match link.command(&command(words)).await {
        Ok(Value::ServerError(error)) => Err(unavailable(&config.server(), error.into())),
        result => result,
    }
    .or_else(|error| if says_nothing(&error) { Ok(Value::Nil) } else { Err(error) })
}

/// What the server says of itself in a section.
async fn info(link: &Link, config: &RedisConfig, section: &str) -> Result<HashMap<String, String>> {
    let text = String::from_redis_value(ask(link, config, &["INFO", section]).await?).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
}

async fn setting(link: &Link, config: &RedisConfig, name: &str) -> Result<Option<String>> {
    let answer = ask(link, config, &["CONFIG", "GET", name]).await?;
    Ok(HashMap::<String, String>::from_redis_value(answer).ok().and_then(|mut all| all.remove(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_what_is_left_of_the_weakest_link() {
        let always = || Settings { append_only: true, fsync: Some("always".into()), ..Settings::default() };
        assert_eq!(always().level(), Durability::Fsync);
        assert_eq!(Settings { replicas_awaited: 1, ..always() }.level(), Durability::Replicated);
        assert_eq!(Settings { evicts: true, ..always() }.level(), Durability::None);
        assert_eq!(Settings { append_only: false, ..always() }.level(), Durability::None);
        assert_eq!(Settings { fsync: Some("everysec".into()), ..always() }.level(), Durability::EverySecond);
        assert_eq!(Settings { fsync: None, ..always() }.level(), Durability::EverySecond);
        assert_eq!(Settings { fsync: Some("no".into()), ..always() }.level(), Durability::None);
    }
}
