//! Commands that count when replicas have what they wrote.

use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{Cmd, RedisError, RedisResult, Value, from_redis_value};

use crate::time::millis;

/// Sends a command, and waits until `least` replicas have all that was written.
///
/// All by one pipeline, so that it is one server that is asked. `WAIT` waits for
/// what its own connection has written, and a call that is repeated writes
/// nothing: so something is written in any case, under the key `mark`.
pub(super) async fn send(
    manager: &mut ConnectionManager,
    command: &Cmd,
    mark: &str,
    least: u32,
    wait: Duration,
) -> Result<Value, RedisError> {
    let mut all = redis::pipe();
    all.add_command(command.clone());
    all.cmd("SET").arg(mark).arg(1).arg("PX").arg(1000);
    all.cmd("WAIT").arg(least).arg(millis(wait));
    // Else the errors come in a form that has lost what they say.
    all.ignore_errors();
    let results: Vec<RedisResult<Value>> = all.query_async(manager).await?;
    let [value, marked, replicas] = <[_; 3]>::try_from(results).map_err(|_| fewer(0, least))?;
    let value = value?;
    marked?;
    let replicas: u32 = from_redis_value(replicas?)?;
    if replicas < least { Err(fewer(replicas, least)) } else { Ok(value) }
}

/// What the server itself answers when it has too few replicas.
fn fewer(replicas: u32, least: u32) -> RedisError {
    let detail = format!("{replicas} of {least} replicas have it");
    redis::make_extension_error("NOREPLICAS".to_owned(), Some(detail))
}
