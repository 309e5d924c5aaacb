//! Connections: how many there may be, and how long one may say or read nothing.
//!
//! ```text
//! serve ─► a place is free ─► accept ─┬─► connection ─► requests ─► its place is free
//!                                     └─► connection ─► upgrade ──► its socket ends ─► its place is free
//! ```
//!
//! [`serve`] owns all tasks of connections: they end with it. A connection that
//! became a WebSocket is no longer its own; who holds the socket ends it.

use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::map_request;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

/// How long the head of a request may take, from when the one before is answered.
const HEAD: Duration = Duration::from_secs(10);

/// How long the body of a request may take as a whole.
const BODY: Duration = Duration::from_secs(120);

/// How long an answer may wait for a client that reads none of it.
const UNREAD: Duration = Duration::from_secs(60);

/// How long to wait for a descriptor if there is none for a new connection.
const SHORTAGE: Duration = Duration::from_millis(500);

/// As many connections there may be in any case.
const FEWEST: usize = 64;

/// More connections there may not be, however many descriptors there are.
const MOST: usize = 10_000;

/// Lets this process have as many descriptors as it may, and says how many
/// connections may have one: half of them are for what runs programs.
pub(crate) fn most() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return FEWEST };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let descriptors = if raised.is_ok() { hard } else { soft };
    usize::try_from(descriptors / 2).unwrap_or(MOST).clamp(FEWEST, MOST)
}

/// Serves at most so many connections at a time, until it is told to end them;
/// then until all have ended. Those that are beyond wait to be accepted.
pub(crate) async fn serve(listener: TcpListener, router: Router, most: usize, ending: CancellationToken) {
    let router = router.layer(map_request(in_time));
    let places = Arc::new(Semaphore::new(most));
    let mut open = JoinSet::new();
    loop {
        // Nothing is lost with a branch that is dropped: a connection that is
        // not accepted yet is the kernel's.
        tokio::select! {
            () = ending.cancelled() => break,
            Some(_) = open.join_next() => {}
            connected = accept(&listener, &places) => {
                open.spawn(connection(connected, router.clone(), ending.clone()));
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Connected {
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Connected { stream, unread: None, _place: place },
            Err(error) if is_of_the_client(&error) => {}
            // Most likely there is no descriptor left; one will be.
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(SHORTAGE).await;
            }
        }
    }
}

/// Whether a connection was at an end before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

/// Answers the requests of a connection, one after the other.
async fn connection(connected: Connected, router: Router, ending: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(router);
    let mut served = pin!(builder.serve_connection(TokioIo::new(connected), service).with_upgrades());
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = ending.cancelled() => {
            // After the answer that it waits for, if there is one.
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection was cut off");
    }
}

/// A connection with its place, which is free when it is closed: not before a
/// WebSocket ends that it became.
#[derive(Debug)]
struct Connected {
    stream: TcpStream,
    /// Ends when what is written has waited for too long to be read.
    unread: Option<Pin<Box<Sleep>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Connected {
    /// What came of writing; an error if nothing was read for too long.
    fn in_time(
        &mut self,
        wrote: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_ready() {
            self.unread = None;
            return wrote;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep(UNREAD)));
        ready!(unread.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connected {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(wrote, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.in_time(wrote, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The request, whose body fails if it does not come in time.
async fn in_time(request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::new(Timed { body, end: Box::pin(tokio::time::sleep(BODY)) }))
}

/// A body that fails where its time ends.
#[derive(Debug)]
struct Timed {
    body: Body,
    end: Pin<Box<Sleep>>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Some(Err("the body did not come in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_fails() {
        let drops = stream::unfold((), |()| async {
            tokio::time::sleep(HEAD).await;
            Some((Ok::<_, io::Error>(Bytes::from_static(b"x")), ()))
        });
        let request = in_time(Request::new(Body::from_stream(drops))).await;
        let mut frames = request.into_body().into_data_stream();
        let mut came = 0;
        let error = loop {
            match frames.next().await.unwrap() {
                Ok(bytes) => came += bytes.len(),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("in time"), "{error}");
        assert!((10..=12).contains(&came), "{came}");
    }

    #[tokio::test]
    async fn a_body_that_comes_is_whole() {
        let request = in_time(Request::new(Body::from("all of it"))).await;
        let bytes = axum::body::to_bytes(request.into_body(), 100).await.unwrap();
        assert_eq!(bytes, "all of it");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut connected = accept(&listener, &Arc::new(Semaphore::new(1))).await;
        let error = loop {
            if let Err(error) = connected.write_all(&[0; 1 << 16]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn as_many_as_descriptors_allow() {
        let most = most();
        assert!((FEWEST..=MOST).contains(&most));
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
