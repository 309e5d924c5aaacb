//! [`Link`]: calls that reach the server, and are repeated until they do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, RedisError, ServerErrorKind, Value};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::packed::Packed as _;
use super::place::{CONNECT, Place};
use super::record::Terms;
use super::replicas;
use super::script::{Arguments, Attempt, Script};
use crate::{Error, ErrorKind, Result};

/// The least and the most that is waited before a call is repeated.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// How many bytes of a blob a second are there at least.
const LEAST_SPEED: u64 = 1 << 20;

/// The server, and one connection for all calls of this process.
pub(super) struct Link {
    /// Tells the calls of this link from those of any other.
    process: u64,
    place: Place,
    /// `None` before the first call, and where the server is to be looked for
    /// anew; else the connection, and where it leads.
    manager: Mutex<Option<(ConnectionManager, ConnectionAddr)>>,
    /// How often it was looked for.
    found: AtomicU64,
    prefix: String,
    /// What each script is given first.
    terms: Bytes,
    server: String,
    /// How many replicas must have what was written before a call is answered;
    /// and whose turn it is to wait for them.
    replicas: u32,
    turn: Mutex<()>,
    response_timeout: Duration,
    patience: Duration,
}

/// What is to be done about an error.
enum Remedy {
    /// The answer may be there the next time.
    Repeat,
    /// The server may be elsewhere, or another at this address by now.
    Find,
    /// The server is at the address that this one said.
    Move(String),
    /// The scripts are gone, as after a restart.
    Load,
    /// No repetition helps.
    None,
}

impl Link {
    pub(super) fn new(config: &RedisConfig) -> Result<Self> {
        Ok(Self {
            process: fastrand::u64(..),
            place: Place::new(config)?,
            manager: Mutex::default(),
            found: AtomicU64::new(0),
            prefix: config.prefix(),
            terms: Terms::from(&config.queue).pack(),
            server: config.server(),
            replicas: 0,
            turn: Mutex::default(),
            response_timeout: config.response_timeout,
            patience: config.patience,
        })
    }

    /// One whose calls are answered when so many replicas have what they wrote.
    /// That holds up all that come after them, so it is for nothing else.
    pub(super) fn with_replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// One that waits for blobs of up to so many bytes.
    pub(super) fn for_blobs(mut self, most: usize) -> Self {
        self.response_timeout += Duration::from_secs(most as u64 / LEAST_SPEED);
        self
    }

    /// Where the server is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Has the next call look for the server anew if it is elsewhere by now.
    pub(super) async fn look_anew(&self) {
        let Ok(now) = self.place.find().await else { return };
        let mut manager = self.manager.lock().await;
        if manager.as_ref().is_some_and(|(_, address)| address != now.addr()) {
            *manager = None;
        }
    }

    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// What a call of a script begins with.
    pub(super) fn arguments(&self) -> Arguments {
        Arguments::new(&self.terms)
    }

    /// The connection, and which it is.
    async fn manager(&self) -> Result<(ConnectionManager, u64), RedisError> {
        let mut manager = self.manager.lock().await;
        if manager.is_none() {
            self.found.fetch_add(1, Ordering::SeqCst);
        }
        let connected = match &*manager {
            Some((connected, _)) => connected.clone(),
            None => {
                let server = self.place.find().await?;
                let address = server.addr().clone();
                let connected = manage(Client::open(server)?, self.response_timeout)?;
                manager.insert((connected, address)).0.clone()
            }
        };
        Ok((connected, self.found()))
    }

    /// The connection, within this time; where replicas are waited for, when it
    /// is nobody else's turn: the server takes one after the other.
    async fn connected(
        &self,
        left: Duration,
    ) -> Result<(ConnectionManager, u64, Option<MutexGuard<'_, ()>>), RedisError> {
        let connected = timeout(left, async {
            let turn = if self.replicas > 0 { Some(self.turn.lock().await) } else { None };
            self.manager().await.map(|(manager, found)| (manager, found, turn))
        });
        connected.await.unwrap_or_else(|_| {
            Err(RedisError::from((redis::ErrorKind::Io, "the server was not found, or others waited for it")))
        })
    }

    /// Changes with each connection to another server.
    pub(super) fn found(&self) -> u64 {
        self.found.load(Ordering::SeqCst)
    }

    /// Acts on an error of a call by the connection of this number, if there was
    /// one; whether the call is to be repeated.
    async fn mend(&self, error: &RedisError, found: Option<u64>) -> bool {
        let remedy = remedy(error);
        // A connection that is silent may be dead without a word, as behind a gateway
        // that has forgotten it; one that is closed is made anew by itself.
        let is_lost = matches!(remedy, Remedy::Repeat)
            && is_lost(error)
            && (error.is_timeout() || self.place.can_change());
        if found.is_some() && (is_lost || matches!(remedy, Remedy::Find | Remedy::Move(_))) {
            let mut manager = self.manager.lock().await;
            // Else another call has seen to it.
            if manager.take_if(|_| Some(self.found()) == found).is_some() {
                match &remedy {
                    Remedy::Move(address) => self.place.move_to(address),
                    _ => self.place.try_other(),
                }
            }
        }
        !matches!(remedy, Remedy::None)
    }

    /// Makes a connection of its own, for calls that wait up to `wait` at the server.
    pub(super) async fn waiting_connection(
        &self,
        wait: Duration,
    ) -> Result<MultiplexedConnection, RedisError> {
        // A server that is gone without a word must not be waited for for ever.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(wait + self.response_timeout));
        Client::open(self.place.find().await?)?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Calls a script, repeatedly if need be.
    pub(super) async fn call(&self, script: &Script, mut arguments: Arguments) -> Result<Value> {
        let command = |attempt: &Attempt| {
            arguments.set_attempt(attempt);
            evaluation(script, &self.prefix, &arguments)
        };
        self.send(Some(script), command).await
    }

    /// Sends one plain command that may be repeated.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value> {
        self.send(None, |_| command.clone()).await
    }

    /// Sends a command until it is answered: made anew for each attempt.
    async fn send(&self, script: Option<&Script>, mut make: impl FnMut(&Attempt) -> Cmd) -> Result<Value> {
        let began = Instant::now();
        let (mut pause, mut is_repeated) = (PAUSES.0, false);
        loop {
            let left = self.patience.saturating_sub(began.elapsed()).max(PAUSES.1);
            let (error, found) = match self.connected(left).await {
                Ok((manager, found, _turn)) => {
                    let since = is_repeated.then(|| began.elapsed());
                    let command = make(&Attempt { since, connection: (self.process, found) });
                    match self.send_once(manager, script, command).await {
                        Ok(value) => return Ok(value),
                        Err(error) => (error, Some(found)),
                    }
                }
                Err(error) => (error, None),
            };
            if !self.mend(&error, found).await || began.elapsed() + pause > self.patience {
                return Err(unavailable(&self.server, error));
            }
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(PAUSES.1);
            is_repeated = true;
        }
    }

    /// Sends a command, and the script that it names if the server doesn't know it.
    async fn send_once(
        &self,
        mut manager: ConnectionManager,
        script: Option<&Script>,
        command: Cmd,
    ) -> Result<Value, RedisError> {
        let result = self.send_and_wait(&mut manager, &command).await;
        match (result, script) {
            (Err(error), Some(script)) if matches!(remedy(&error), Remedy::Load) => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(script.source.as_bytes());
                load.query_async::<Value>(&mut manager).await?;
                self.send_and_wait(&mut manager, &command).await
            }
            (result, _) => result,
        }
    }

    async fn send_and_wait(
        &self,
        manager: &mut ConnectionManager,
        command: &Cmd,
    ) -> Result<Value, RedisError> {
        if self.replicas == 0 {
            return command.query_async(manager).await;
        }
        // Half of the time for which the answer is waited for: else it could come too late.
        let (mark, wait) = (self.key(":mark"), self.response_timeout / 2);
        replicas::send(manager, command, &mark, self.replicas, wait).await
    }

    /// What is told of an error on a connection of its own.
    pub(super) fn unavailable(&self, error: RedisError) -> Error {
        unavailable(&self.server, error)
    }
}

/// The command of these words.
pub(super) fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

fn manage(client: Client, response_timeout: Duration) -> Result<ConnectionManager, RedisError> {
    // Repeating is done here, where it is known for how long; the manager only
    // makes a new connection when there is none.
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(10))
        .set_max_delay(Duration::from_millis(50))
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(response_timeout));
    ConnectionManager::new_lazy_with_config(client, config)
}

fn evaluation(script: &Script, prefix: &str, arguments: &Arguments) -> Cmd {
    let bytes: usize = arguments.list.iter().map(Bytes::len).sum();
    let mut command = Cmd::with_capacity(arguments.list.len() + 4, bytes + prefix.len() + 64);
    command.arg("EVALSHA").arg(script.hash.as_bytes()).arg(1).arg(prefix);
    for argument in &arguments.list {
        command.arg(argument.as_ref());
    }
    command
}

fn remedy(error: &RedisError) -> Remedy {
    match error.kind() {
        redis::ErrorKind::Server(ServerErrorKind::NoScript) => Remedy::Load,
        redis::ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown,
        ) => Remedy::Find,
        redis::ErrorKind::Server(ServerErrorKind::Moved) => match error.redirect_node() {
            Some((address, _)) => Remedy::Move(address.to_owned()),
            None => Remedy::Repeat,
        },
        // While a slot is moved, `ASK` names the node that has a part of it: only
        // when it has all can a script run there.
        redis::ErrorKind::Server(
            ServerErrorKind::Ask | ServerErrorKind::BusyLoading | ServerErrorKind::TryAgain,
        ) => Remedy::Repeat,
        // A primary that has become a replica, to who waits for its replicas.
        _ if error.code() == Some("UNBLOCKED") || error.to_string().contains("replica instances") => {
            Remedy::Find
        }
        _ if matches!(error.code(), Some("BUSY" | "NOREPLICAS")) || is_lost(error) => Remedy::Repeat,
        // Redis 6 tells what was wrong in a script behind where that was.
        _ if error.to_string().contains("-READONLY") => Remedy::Find,
        _ if error.to_string().contains("-NOREPLICAS") => Remedy::Repeat,
        _ => Remedy::None,
    }
}

/// Whether no answer came, and none will.
fn is_lost(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Io || error.is_timeout() || error.is_connection_dropped()
}

/// What is told to the caller.
pub(super) fn unavailable(server: &str, error: RedisError) -> Error {
    let text = error.to_string();
    let has = |word: &str| error.code() == Some(word) || text.contains(word);
    let (kind, what, help) = if has("OOM") {
        (ErrorKind::Unavailable, "has no memory left for new jobs", Some("raise its maxmemory"))
    } else if has("MISCONF") {
        (
            ErrorKind::Unavailable,
            "can't write to its disk, and refuses writes",
            Some("see to its disk, and its log"),
        )
    } else if has("READONLY") {
        (ErrorKind::Unavailable, "is a replica that refuses writes", Some("give the address of the primary"))
    } else if has("NOREPLICAS") {
        (ErrorKind::Unavailable, "has fewer replicas than it must", Some("see to its replicas"))
    } else if matches!(error.kind(), redis::ErrorKind::AuthenticationFailed)
        || has("NOAUTH")
        || has("WRONGPASS")
    {
        (
            ErrorKind::Unavailable,
            "refuses the password",
            Some(
                "write it into the address: redis://user:password@host; a sentinel's as `sentinel_password`",
            ),
        )
    } else if ["NOPERM", "ACL failure", "can't run this command"].into_iter().any(has) {
        let help = "allow the user its keys and `+@scripting +@read +@write +@blocking +time +wait`";
        (ErrorKind::Unavailable, "does not permit this user to do that", Some(help))
    } else if has("LAYOUT") {
        let help = "empty it by that version, or give the queue of this one another name";
        (
            ErrorKind::Unsupported,
            "has a queue of this name that another version of evalx has written",
            Some(help),
        )
    } else if matches!(error.kind(), redis::ErrorKind::Extension | redis::ErrorKind::Server(_))
        && matches!(remedy(&error), Remedy::None)
    {
        (ErrorKind::Internal, "refused a script", None)
    } else {
        (ErrorKind::Unavailable, "can't be reached, or does not answer", None)
    };
    let error = Error::new(kind, format!("the server {server} {what}")).with_source(error);
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_in_a_script_is_seen_behind_where_that_was() {
        let error = |detail: &str| {
            let detail =
                format!("running script (call to f_c8): @user_script:70: @user_script: 70: {detail}");
            let kind = redis::ErrorKind::Server(ServerErrorKind::ResponseError);
            RedisError::from((kind, "an error was signalled by the server", detail))
        };
        let read_only = error("-READONLY You can't write against a read only replica.");
        assert!(matches!(remedy(&read_only), Remedy::Find));
        let alone = error("-NOREPLICAS Not enough good replicas to write.");
        assert!(matches!(remedy(&alone), Remedy::Repeat));
        assert!(matches!(remedy(&error("attempt to index a nil value")), Remedy::None));
    }
}
