//! [`Resolve`]: from a host name to addresses, and the system's way of doing it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

/// How many look-ups run at once. Each holds a thread, and one whose delivery
/// is over by its time limit holds it still, until the system gives up.
const LOOKUPS: usize = 16;

/// Looks host names up. What it answers is checked afterwards: a resolver need
/// not be trusted.
#[async_trait]
pub trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of a host, in the order in which to try them.
    ///
    /// # Errors
    ///
    /// If the name could not be looked up. No address at all counts as one too.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug)]
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let host = host.to_owned();
        // Not `tokio::net::lookup_host`: the permit has to stay with the
        // thread, and not with who waits for it.
        let lookup = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), 0))?;
            Ok(found.map(|address| address.ip()).collect())
        });
        lookup.await.map_err(io::Error::other)?
    }
}
