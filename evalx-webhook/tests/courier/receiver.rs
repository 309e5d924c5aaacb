//! [`Receiver`]: a server on loopback that answers what its script says, byte
//! for byte, and keeps what it was sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What the receiver does with one connection.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Reads the request, and writes this.
    Bytes(Vec<u8>),
    /// Reads the request, writes this, and writes `x` until it can't any more.
    Endless(&'static str),
    /// Reads the request, and says nothing.
    Silence,
    /// Writes this without reading anything.
    AtOnce(&'static str),
    /// Closes at once.
    HangUp,
}

impl Reply {
    /// An answer of this status, with further lines of its head.
    pub(crate) fn status(status: u16, lines: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 {status} Said so\r\n{lines}content-length: 2\r\n\r\nok").into_bytes())
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State {
    replies: VecDeque<Reply>,
    connections: usize,
    received: Vec<Received>,
}

/// The server. It ends when it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    /// A server that gives one of these replies to each connection, in turn.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::listen(replies, None).await
    }

    /// The same, over TLS.
    pub(crate) async fn start_tls(replies: impl IntoIterator<Item = Reply>, acceptor: TlsAcceptor) -> Self {
        Self::listen(replies, Some(acceptor)).await
    }

    async fn listen(replies: impl IntoIterator<Item = Reply>, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            Arc::new(Mutex::new(State { replies: replies.into_iter().collect(), ..State::default() }));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let reply = {
                    let mut state = shared.lock().unwrap();
                    state.connections += 1;
                    state.replies.pop_front().unwrap_or(Reply::HangUp)
                };
                let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                serving.spawn(async move {
                    match acceptor {
                        None => serve(stream, reply, &shared).await,
                        Some(acceptor) => {
                            // A client that does not trust us leaves here.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, reply, &shared).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, state, accepting }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: Reply, state: &Mutex<State>) {
    match reply {
        Reply::HangUp => return,
        Reply::AtOnce(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
            return;
        }
        _ => {}
    }
    let Some(received) = read_request(&mut stream).await else { return };
    state.lock().unwrap().received.push(received);
    // The client may have gone meanwhile; whether it should is for the test to say.
    match reply {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Endless(head) => {
            let mut going = stream.write_all(head.as_bytes()).await;
            while going.is_ok() {
                going = stream.write_all(&[b'x'; 4096]).await;
            }
        }
        Reply::Silence => {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Reply::AtOnce(_) | Reply::HangUp => {}
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(key, _)| key == "content-length").unwrap().1.parse().unwrap();
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Received { line, headers, body })
}
