//! [`Connector`]: connects to what may be delivered to, and to nothing else.
//!
//! A name is looked up once, every address of it is checked, and exactly those
//! are connected to. So there is no moment at which a name could come to mean
//! another address, and no client library that would connect by itself: no
//! proxy from the environment, no pool, no redirect.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::failure::Waiting;
use crate::target::{TargetHost, Transport};
use crate::{AddressPolicy, Failure, Resolve, Target};

/// How many addresses of one name are tried.
const MOST_ADDRESSES: usize = 4;
/// How much is kept of what is wrong with an encrypted connection, in characters.
const LONGEST_REASON: usize = 200;

/// A connection whose other end was checked.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) policy: AddressPolicy,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) tls: TlsConnector,
}

impl Connector {
    /// Connects within `time`, its look-up and its encryption included.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        time: Duration,
    ) -> Result<Box<dyn Connection>, Failure> {
        let late = Failure::TimedOut { waiting_for: Waiting::Connection };
        let deadline = Instant::now() + time;
        timeout_at(deadline, self.connect_until(target, deadline)).await.unwrap_or(Err(late))
    }

    async fn connect_until(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Box<dyn Connection>, Failure> {
        let addresses = self.addresses(target).await?;
        let stream = self.dial(&addresses, target.port(), deadline).await?;
        match target.transport() {
            Transport::Plain => Ok(Box::new(stream)),
            Transport::Tls => Ok(Box::new(self.encrypt(stream, target.host()).await?)),
        }
    }

    /// The addresses to connect to. If one of them is not allowed, none is: a
    /// name that leads to both sides of a border is up to no good.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, Failure> {
        let addresses = match target.host() {
            TargetHost::Address(address) => vec![*address],
            TargetHost::Name(name) => self.resolver.resolve(name).await.map_err(|_| Failure::Unresolved)?,
        };
        for address in &addresses {
            let refused = |refusal: crate::Refusal| Failure::Refused { reason: refusal.to_string() };
            self.policy.check(*address).map_err(refused)?;
        }
        if addresses.is_empty() { Err(Failure::Unresolved) } else { Ok(addresses) }
    }

    /// Connects to the first address that lets us; each has its share of the time.
    async fn dial(&self, addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<TcpStream, Failure> {
        let mut failure = Failure::TimedOut { waiting_for: Waiting::Connection };
        let tried = &addresses[..addresses.len().min(MOST_ADDRESSES)];
        for (index, address) in tried.iter().enumerate() {
            let left = u32::try_from(tried.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            let socket = SocketAddr::new(*address, port);
            match timeout_at(Instant::now() + share, TcpStream::connect(socket)).await {
                Ok(Ok(stream)) => return self.checked(stream),
                Ok(Err(error)) => failure = unreachable(&error),
                Err(_) => failure = Failure::TimedOut { waiting_for: Waiting::Connection },
            }
        }
        Err(failure)
    }

    /// Looks once more at who is at the other end, before a byte is sent.
    fn checked(&self, stream: TcpStream) -> Result<TcpStream, Failure> {
        let peer = stream.peer_addr().map_err(|error| unreachable(&error))?;
        match self.policy.check(peer.ip()) {
            Ok(()) => Ok(stream),
            Err(refusal) => Err(Failure::Refused { reason: refusal.to_string() }),
        }
    }

    async fn encrypt(&self, stream: TcpStream, host: &TargetHost) -> Result<TlsStream<TcpStream>, Failure> {
        let name = match host {
            TargetHost::Address(address) => ServerName::IpAddress((*address).into()),
            // A name with the root's full stop is the same name to a certificate.
            TargetHost::Name(name) => ServerName::try_from(name.strip_suffix('.').unwrap_or(name).to_owned())
                .map_err(|_| Failure::Tls {
                    reason: "the host name can't be one of a certificate".to_owned(),
                })?,
        };
        // What is wrong with a certificate; it may list names that are in one.
        let reason = |error: io::Error| error.to_string().chars().take(LONGEST_REASON).collect();
        self.tls.connect(name, stream).await.map_err(|error| Failure::Tls { reason: reason(error) })
    }
}

/// The kind of the error alone: its text may name the address.
fn unreachable(error: &io::Error) -> Failure {
    Failure::Unreachable { reason: error.kind().to_string() }
}
