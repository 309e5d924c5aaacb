//! [`Link`]: calls that reach the server, and are repeated until they do.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo as _, RedisError, ServerErrorKind, Value,
};

use super::config::RedisConfig;
use super::packed::Packed as _;
use super::record::Terms;
use super::script::{Arguments, Script};
use crate::{Error, ErrorKind, Result};

/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// The least and the most that is waited before a call is repeated.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// The server, and one connection for all calls of this process.
pub(super) struct Link {
    client: Client,
    manager: Mutex<ConnectionManager>,
    prefix: String,
    /// What each script is given first.
    terms: Bytes,
    server: String,
    response_timeout: Duration,
    patience: Duration,
}

/// What is to be done about an error.
enum Remedy {
    /// The answer may be there the next time.
    Repeat,
    /// Another server may be at this address by now.
    Reconnect,
    /// The scripts are gone, as after a restart.
    Load,
    /// No repetition helps.
    None,
}

impl Link {
    pub(super) fn new(config: &RedisConfig) -> Result<Self> {
        // Without delay: a call of several packets would wait for an acknowledgement
        // that the other side holds back.
        let settings = TcpSettings::default().set_nodelay(true);
        let info = config.url.as_str().into_connection_info().map(|info| info.set_tcp_settings(settings));
        let client = info.and_then(Client::open).map_err(|error| {
            Error::invalid("the address of the server makes no sense")
                .with_source(error)
                .with_mend("write it as redis://host:6379/0")
        })?;
        let manager =
            manage(&client, config.response_timeout).map_err(|error| unavailable(&config.server(), error))?;
        Ok(Self {
            client,
            manager: Mutex::new(manager),
            prefix: config.prefix(),
            terms: Terms::from(&config.queue).pack(),
            server: config.server(),
            response_timeout: config.response_timeout,
            patience: config.patience,
        })
    }

    pub(super) fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// What a call of a script begins with.
    pub(super) fn arguments(&self) -> Arguments {
        Arguments::new(&self.terms)
    }

    fn manager(&self) -> ConnectionManager {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Calls a script, repeatedly if need be.
    pub(super) async fn call(&self, script: &Script, mut arguments: Arguments) -> Result<Value> {
        let began = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let error = match self.evaluate(script, &arguments).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match remedy(&error) {
                Remedy::None => return Err(unavailable(&self.server, error)),
                _ if began.elapsed() + pause > self.patience => return Err(unavailable(&self.server, error)),
                Remedy::Reconnect => self.reconnect(),
                Remedy::Load | Remedy::Repeat => {}
            }
            arguments.set_repeated();
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn evaluate(&self, script: &Script, arguments: &Arguments) -> Result<Value, RedisError> {
        let command = evaluation(script, &self.prefix, arguments);
        let mut manager = self.manager();
        let result = command.query_async(&mut manager).await;
        match result {
            Err(error) if matches!(remedy(&error), Remedy::Load) => {
                let mut load = redis::cmd("SCRIPT");
                load.arg("LOAD").arg(script.source.as_bytes());
                load.query_async::<Value>(&mut manager).await?;
                command.query_async(&mut manager).await
            }
            result => result,
        }
    }

    /// Sends one plain command that may be repeated.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Value> {
        let began = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let error = match command.query_async(&mut self.manager()).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let repeats = !matches!(remedy(&error), Remedy::None) && began.elapsed() + pause <= self.patience;
            if !repeats {
                return Err(unavailable(&self.server, error));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Sends one plain command once.
    pub(super) async fn ask(&self, words: &[&str]) -> Result<Value, RedisError> {
        command(words).query_async(&mut self.manager()).await
    }

    /// What is told of an error on a connection of its own.
    pub(super) fn unavailable(&self, error: RedisError) -> Error {
        unavailable(&self.server, error)
    }

    fn reconnect(&self) {
        if let Ok(manager) = manage(&self.client, self.response_timeout) {
            *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = manager;
        }
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

fn manage(client: &Client, response_timeout: Duration) -> Result<ConnectionManager, RedisError> {
    // Repeating is done here, where it is known for how long; the manager only
    // makes a new connection when there is none.
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(10))
        .set_max_delay(Duration::from_millis(50))
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(response_timeout));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
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
        redis::ErrorKind::Server(ServerErrorKind::ReadOnly) => Remedy::Reconnect,
        redis::ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        )
        | redis::ErrorKind::Io => Remedy::Repeat,
        _ if error.code() == Some("BUSY") || error.is_timeout() || error.is_connection_dropped() => {
            Remedy::Repeat
        }
        _ => Remedy::None,
    }
}

/// What is told to the caller.
pub(super) fn unavailable(server: &str, error: RedisError) -> Error {
    let text = error.to_string();
    let has = |word: &str| error.code() == Some(word) || text.contains(word);
    let (kind, what, mend) = if has("OOM") {
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
            Some("write it into the address: redis://user:password@host"),
        )
    } else if has("NOPERM") {
        let mend = "allow the user its keys and `+@scripting +@read +@write +@blocking`";
        (ErrorKind::Unavailable, "does not permit this user to do that", Some(mend))
    } else if matches!(error.kind(), redis::ErrorKind::Extension | redis::ErrorKind::Server(_))
        && matches!(remedy(&error), Remedy::None)
    {
        (ErrorKind::Internal, "refused a script", None)
    } else {
        (ErrorKind::Unavailable, "can't be reached, or does not answer", None)
    };
    let error = Error::new(kind, format!("the server {server} {what}")).with_source(error);
    match mend {
        Some(mend) => error.with_mend(mend),
        None => error,
    }
}
