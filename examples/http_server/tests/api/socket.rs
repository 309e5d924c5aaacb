//! A client of interactive sessions: a WebSocket, and what is said over it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::{Error, Message, WebSocket};

/// How long a message may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open session.
pub(crate) struct Talk(WebSocket<TcpStream>);

/// Why a session was refused: the status, and the time to wait if one was named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) Option<u64>);

impl Talk {
    /// Opens a session with these headers.
    pub(crate) fn open(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, Refusal> {
        let mut request = format!("ws://{address}/v1/sessions").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(Error::Http(response))) => {
                let again = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
                Err(Refusal(response.status().as_u16(), again.map(|seconds| seconds.parse().unwrap())))
            }
            Err(error) => panic!("no WebSocket: {error}"),
        }
    }

    /// Opens one, and starts this program there.
    pub(crate) fn start(address: SocketAddr, headers: &[(&str, &str)], mut program: Value) -> Self {
        let mut talk = Self::open(address, headers).unwrap();
        program["type"] = json!("start");
        talk.say(&program);
        talk
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.send(Message::text(message.to_string())).unwrap();
    }

    pub(crate) fn send(&mut self, message: Message) -> Result<(), Error> {
        self.0.send(message)
    }

    pub(crate) fn stdin(&mut self, text: &str) {
        self.say(&json!({ "type": "stdin", "text": text }));
    }

    /// The next message; `None` once the session is over, with what it was closed with.
    pub(crate) fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came in {PATIENCE:?}")
                }
                Err(_) => return Err(None),
            }
        }
    }

    /// What comes until a message of this type.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        let mut before = Vec::new();
        loop {
            match self.next() {
                Ok(message) if message["type"] == kind => return message,
                Ok(message) => before.push(message),
                Err(code) => panic!("the session was closed with {code:?} before `{kind}`: {before:?}"),
            }
        }
    }

    /// Reads output until it has this text; gives all of it.
    pub(crate) fn until_output(&mut self, text: &str) -> String {
        let mut output = String::new();
        let deadline = Instant::now() + PATIENCE;
        while !output.contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in {output:?}");
            output.push_str(self.until("output")["text"].as_str().unwrap());
        }
        output
    }

    /// What it is closed with, whatever comes before.
    pub(crate) fn closed(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.next() {
                return code;
            }
        }
    }

    /// The connection below, for what no client would send.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }
}
