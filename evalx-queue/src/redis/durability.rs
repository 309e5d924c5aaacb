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

    fn mend(&self) -> &'static str {
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
            Err(Error::new(ErrorKind::Unsupported, message).with_mend(settings.mend()))
        }
        _ => Ok(level),
    }
}

async fn read(link: &Link, config: &RedisConfig) -> Result<Settings> {
    // The first words to the server: an error here is one of the connection.
    let info = ask_patiently(link, config, &["INFO", "persistence"]).await?;
    let info = String::from_redis_value(info).unwrap_or_default();
    let mut settings = Settings { append_only: info.contains("aof_enabled:1"), ..Settings::default() };
    // Hosted servers often have no CONFIG: then the least of what may be is assumed.
    if let Some(fsync) = setting(link, "appendfsync").await {
        settings.fsync = Some(fsync);
    }
    let memory = setting(link, "maxmemory").await.unwrap_or_default();
    let policy = setting(link, "maxmemory-policy").await.unwrap_or_default();
    settings.evicts = !matches!(memory.as_str(), "" | "0") && policy != "noeviction";
    let awaited = setting(link, "min-replicas-to-write").await.unwrap_or_default();
    settings.replicas_awaited = awaited.parse().unwrap_or_default();
    Ok(settings)
}

async fn ask_patiently(link: &Link, config: &RedisConfig, words: &[&str]) -> Result<Value> {
    match link.command(&command(words)).await {
        // A user who may not ask is not one who may not work.
        Err(error) if error.chain().contains("NOPERM") => Ok(Value::Nil),
        Err(error) => Err(error),
        Ok(Value::ServerError(error)) => Err(unavailable(&config.server(), error.into())),
        Ok(value) => Ok(value),
    }
}

async fn setting(link: &Link, name: &str) -> Option<String> {
    let answer = link.ask(&["CONFIG", "GET", name]).await.ok()?;
    let mut settings = HashMap::<String, String>::from_redis_value(answer).ok()?;
    settings.remove(name)
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
