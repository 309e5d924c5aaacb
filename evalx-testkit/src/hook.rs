//! [`Hook`]: an address that others send requests to, which a test takes one
//! by one and answers when it wants to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long the bytes of one request may take to come.
const READ: Duration = Duration::from_secs(20);
/// How long it takes at most to see that somebody has come.
const LOOK: Duration = Duration::from_millis(10);

/// An address on loopback that requests are sent to: webhooks, spans.
#[derive(Debug)]
pub struct Hook {
    listener: TcpListener,
    address: SocketAddr,
}

impl Hook {
    /// Listens on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The URL of this path, which begins with `/`, or is empty.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request, once one is there; it waits for its answer. `None` if
    /// none comes within this time.
    ///
    /// # Errors
    /// If what comes is no request.
    pub fn next_within(&self, patience: Duration) -> io::Result<Option<Call>> {
        let deadline = Instant::now() + patience;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Call::read(stream).map(Some),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            std::thread::park_timeout(left.min(LOOK));
        }
    }
}

/// A request that waits for its answer. Dropping it closes its connection.
#[derive(Debug)]
pub struct Call {
    /// Its first line and its headers.
    pub head: String,
    /// What follows them.
    pub body: Vec<u8>,
    stream: TcpStream,
}

impl Call {
    fn read(mut stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(READ))?;
        let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend(&buffer[..count]);
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Ok(Self { head, body: bytes.split_off(end + 4), stream });
            }
        }
    }

    /// A header, if it has one of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Answers with a status, as `200 OK`, and nothing else.
    ///
    /// # Errors
    /// If whoever asked is gone.
    pub fn answer(mut self, status: &str) -> io::Result<()> {
        write!(self.stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_waits_for_its_answer() {
        let hook = Hook::listen().unwrap();
        assert!(hook.next_within(Duration::ZERO).unwrap().is_none());
        let mut client = TcpStream::connect(hook.address).unwrap();
        client.write_all(b"POST /there HTTP/1.1\r\nX-Kind: test\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        let call = hook.next_within(READ).unwrap().unwrap();
        assert_eq!(call.head.lines().next(), Some("POST /there HTTP/1.1"));
        assert_eq!((call.header("x-kind"), call.header("x-none")), (Some("test"), None));
        assert_eq!(call.body, b"hi");
        call.answer("204 No Content").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
        assert!(hook.url("/x").ends_with("/x"));
    }
}
