//! [`Place`]: where the server is, which can change.
//!
//! A node of a cluster says which node has a queue's slot by now; sentinels say
//! which server is the primary. Any other address is always the same.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError,
};

use tokio::time::{Instant, timeout_at};

use super::config::RedisConfig;
use crate::{Error, Result};

/// How long making a connection may take.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// How long sentinels have to answer when another has.
const OTHERS: Duration = Duration::from_millis(200);
/// How long the kernel sends what nobody acknowledges, before the connection is broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// Where sentinels listen if nothing else is said.
const SENTINEL_PORT: u16 = 26379;

/// What nodes of a cluster, or sentinels, have said.
#[derive(Default)]
struct Said {
    /// The host and port of the node that has the queue's slot, where another
    /// said so; or of the last primary.
    address: Option<(String, u16)>,
    /// Whether that could not be reached, and the configured node is tried.
    is_doubtful: bool,
}

/// Where the server is.
pub(super) struct Place {
    /// As it was configured: with password and database.
    configured: ConnectionInfo,
    sentinels: Vec<Client>,
    /// What the sentinels call the primary.
    primary: String,
    /// What was said of where it is.
    said: Mutex<Said>,
}

impl Place {
    pub(super) fn new(config: &RedisConfig) -> Result<Self> {
        let parts = Parts::of(&config.url)?;
        // Without delay: a call of several packets would wait for an acknowledgement
        // that the other side holds back.
        let settings = TcpSettings::default().set_nodelay(true);
        #[cfg(target_os = "linux")]
        let settings = settings.set_user_timeout(UNACKNOWLEDGED);
        let configured =
            parts.server.as_str().into_connection_info().map_err(nonsense)?.set_tcp_settings(settings);
        let open = |url: String| Client::open(url).map_err(nonsense);
        let sentinels = parts.sentinels.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { configured, sentinels, primary: parts.primary, said: Mutex::default() })
    }

    /// Whether it can be elsewhere the next time.
    pub(super) fn can_change(&self) -> bool {
        !self.sentinels.is_empty() || self.said().address.is_some()
    }

    /// Takes note of what a node of a cluster said: `host:port`, where no host is
    /// the one that was asked.
    pub(super) fn move_to(&self, address: &str) {
        let Some((host, port)) = address.rsplit_once(':') else { return };
        let Ok(port) = port.parse() else { return };
        let host = if host.is_empty() { self.host() } else { without_brackets(host) };
        *self.said() = Said { address: Some((host, port)), is_doubtful: false };
    }

    /// The node that was named could not be reached: the configured one is tried,
    /// and if that can't be either, the one that was named again.
    pub(super) fn try_other(&self) {
        let mut said = self.said();
        said.is_doubtful = !said.is_doubtful;
    }

    /// Where the server is now.
    pub(super) async fn find(&self) -> Result<ConnectionInfo, RedisError> {
        if !self.sentinels.is_empty() {
            let address = self.ask_sentinels().await;
            let mut said = self.said();
            // While no sentinel answers, the primary is where it was.
            let (host, port) = address.or_else(|error| said.address.clone().ok_or(error))?;
            said.address = Some((host.clone(), port));
            return Ok(self.at(host, port));
        }
        let said = self.said();
        Ok(match &said.address {
            Some((host, port)) if !said.is_doubtful => self.at(host.clone(), *port),
            _ => self.configured.clone(),
        })
    }

    /// Those that know where the primary is, and what they call it.
    pub(super) fn sentinels(&self) -> (&[Client], &str) {
        (&self.sentinels, &self.primary)
    }

    /// Asks all at once, since any may be gone or behind: the one that has seen
    /// the latest change is right.
    async fn ask_sentinels(&self) -> Result<(String, u16), RedisError> {
        let known = self.said().address.is_some();
        let mut deadline = Instant::now() + if known { CONNECT / 2 } else { CONNECT };
        let mut asked: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| ask(sentinel, &self.primary)).collect();
        let (mut latest, mut error) = (None, None);
        // The others have little time once one has answered.
        while let Ok(Some(answer)) = timeout_at(deadline, asked.next()).await {
            match answer {
                Ok(answer) => latest = latest.max(Some(answer)),
                Err(why) => error = Some(why),
            }
            if latest.is_some() {
                deadline = deadline.min(Instant::now() + OTHERS);
            }
        }
        let (_, host, port) = latest.ok_or_else(|| error.unwrap_or_else(no_answer))?;
        Ok((host, port))
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self) -> String {
        match self.configured.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            _ => String::new(),
        }
    }

    /// What was configured, at another address.
    fn at(&self, new_host: String, new_port: u16) -> ConnectionInfo {
        let mut address = self.configured.addr().clone();
        match &mut address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (*host, *port) = (new_host, new_port);
            }
            _ => address = ConnectionAddr::Tcp(new_host, new_port),
        }
        self.configured.clone().set_addr(address)
    }
}

/// Which change of the primary this sentinel has seen last, and where it led.
async fn ask(sentinel: &Client, primary: &str) -> Result<(u64, String, u16), RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(CONNECT));
    let mut connection = sentinel.get_multiplexed_async_connection_with_config(&config).await?;
    let mut ask = redis::cmd("SENTINEL");
    ask.arg("MASTER").arg(primary);
    let known = ask.query_async(&mut connection).await.map_err(|error| {
        let is_other = error.to_string().contains("unknown command");
        if is_other { (redis::ErrorKind::Io, "it is no sentinel that answers there").into() } else { error }
    });
    let mut known: HashMap<String, String> = known?;
    let number = |name: &str| known.get(name).and_then(|text| text.parse::<u64>().ok());
    let (epoch, port) = (number("config-epoch"), number("port").and_then(|port| u16::try_from(port).ok()));
    let answer = epoch.zip(known.remove("ip")).zip(port);
    answer.map(|((epoch, host), port)| (epoch, host, port)).ok_or_else(no_answer)
}

fn no_answer() -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "no sentinel says where the primary is"))
}

/// What an address says.
struct Parts {
    /// Of the server, as `redis` reads it; of one that sentinels know, all but
    /// where it is.
    server: String,
    /// Of each sentinel, as `redis` reads it.
    sentinels: Vec<String>,
    primary: String,
}

impl Parts {
    fn of(url: &str) -> Result<Self> {
        if let Some(rest) = url.strip_prefix("redis-sentinel://") {
            Self::of_sentinels("redis", rest)
        } else if let Some(rest) = url.strip_prefix("rediss-sentinel://") {
            Self::of_sentinels("rediss", rest)
        } else {
            Ok(Self { server: url.to_owned(), sentinels: Vec::new(), primary: String::new() })
        }
    }

    /// Of `[user:password@]host[:port][,host[:port]…][/database]?master=name`.
    fn of_sentinels(scheme: &str, rest: &str) -> Result<Self> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut primary, mut user, mut password) = ("", "", "");
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("master", name)) => primary = name,
                Some(("sentinel_user", name)) => user = name,
                Some(("sentinel_password", secret)) => password = secret,
                _ => return wrong("says more than `master`, `sentinel_user` and `sentinel_password`"),
            }
        }
        // No other letters can be in a name, by the sentinels' own rule.
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if primary.is_empty() || !primary.bytes().all(good) {
            return wrong("does not say by `master` what they call the primary");
        }
        if password.is_empty() && !user.is_empty() {
            return wrong("has a `sentinel_user` without a `sentinel_password`");
        }
        let (rest, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
        let at = if login.is_empty() { "" } else { "@" };
        let server = format!("{scheme}://{login}{at}host/{database}");
        let login = if password.is_empty() {
            String::new()
        } else {
            format!("{}:{}@", escaped(user), escaped(password))
        };
        let mut sentinels = Vec::new();
        for host in hosts.split(',') {
            // The colons of an address in brackets are its own.
            let port = match host.rsplit_once(':') {
                Some((_, port)) if !port.ends_with(']') => String::new(),
                _ => format!(":{SENTINEL_PORT}"),
            };
            if host.is_empty() || host.starts_with(':') {
                return wrong("has a host without a name");
            }
            sentinels.push(format!("{scheme}://{login}{host}{port}"));
        }
        Ok(Self { server, sentinels, primary: primary.to_owned() })
    }
}

/// The text as it can be a part of another address: what would end it is escaped.
fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter {
        '/' | '?' | '#' | '@' | ':' | '[' | ']' => format!("%{:02X}", u32::from(letter)),
        _ => letter.to_string(),
    };
    text.chars().map(escape).collect()
}

fn wrong<T>(what: &str) -> Result<T> {
    Err(Error::invalid(format!("the address of the sentinels {what}"))
        .with_help("write it as redis-sentinel://host1:26379,host2:26379/0?master=name"))
}

/// The host of an address of IPv6, which stands in brackets; any other as it is.
fn without_brackets(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn nonsense(error: RedisError) -> Error {
    Error::invalid("the address of the server makes no sense")
        .with_source(error)
        .with_help("write it as redis://host:6379/0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place> {
        Place::new(&RedisConfig::new(url))
    }

    #[test]
    fn an_address_names_sentinels_and_what_they_know() {
        let place = place("redis-sentinel://ada:pass@a:1,b,[::1],[::2]:5/3?master=judge").unwrap();
        let at = |client: &Client| client.get_connection_info().addr().to_string();
        assert_eq!(
            place.sentinels.iter().map(at).collect::<Vec<_>>(),
            ["a:1", "b:26379", "::1:26379", "::2:5"]
        );
        assert_eq!(place.primary, "judge");
        assert_eq!(place.configured.redis_settings().username(), Some("ada"));
        assert_eq!(place.configured.redis_settings().db(), 3);
        assert_eq!(place.at("c".to_owned(), 7).addr().to_string(), "c:7");
    }

    #[test]
    fn sentinels_have_passwords_of_their_own() {
        let place =
            place("redis-sentinel://:server@a?sentinel_password=p%40ss&master=judge&sentinel_user=eve")
                .unwrap();
        let sentinel = place.sentinels[0].get_connection_info().redis_settings();
        assert_eq!((sentinel.username(), sentinel.password()), (Some("eve"), Some("p@ss")));
        let server = place.configured.redis_settings();
        assert_eq!((server.username(), server.password()), (None, Some("server")));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn sentinels_and_the_server_are_asked_by_tls() {
        let place = place("rediss-sentinel://a,b/?master=judge").unwrap();
        let is_secret = |address: &ConnectionAddr| matches!(address, ConnectionAddr::TcpTls { .. });
        assert!(place.sentinels.iter().all(|client| is_secret(client.get_connection_info().addr())));
        assert!(is_secret(place.at("c".to_owned(), 7).addr()));
    }

    #[test]
    fn an_address_that_makes_no_sense_is_refused() {
        for url in [
            "http://a",
            "redis-sentinel://a:1",
            "redis-sentinel://a:1?master=",
            "redis-sentinel://?master=m",
            "redis-sentinel://a:x?master=m",
            "redis-sentinel://a,,b?master=m",
            "redis-sentinel://a/x?master=m",
            "redis-sentinel://a?master=m&db=1",
            "redis-sentinel://a?master=m&sentinel_user=eve",
            "redis-sentinel://a?master=m%20n",
            "redis-sentinel://:1?master=m",
        ] {
            assert!(place(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn a_node_that_names_another_is_followed_and_doubted() {
        let place = place("redis://a:1/").unwrap();
        assert!(!place.can_change());
        let found = async || place.find().await.unwrap().addr().to_string();
        for (said, address) in [("b:2", "b:2"), (":3", "a:3"), ("[::1]:4", "::1:4")] {
            place.move_to(said);
            assert_eq!(found().await, address, "{said}");
        }
        place.move_to("nonsense");
        assert!(place.can_change());
        for address in ["a:1", "::1:4", "a:1"] {
            place.try_other();
            assert_eq!(found().await, address);
        }
        place.move_to("c:5");
        assert_eq!(found().await, "c:5");
    }
}
