//! What a server does with connections that say nothing, or half of what they
//! should: it ends them, and answers others meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::refusing::without_workers;
use crate::server::Server;

/// Half a head.
const HALF: &[u8] = b"GET / HTTP/1.1\r\n";

/// A request that leaves its connection open.
const WHOLE: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: judge.example\r\n\r\n";

/// How long until a silent connection is closed, at the longest.
const CLOSED: Duration = Duration::from_secs(20);

/// A connection on which this is said, and nothing more.
fn say(server: &Server, text: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(CLOSED)).unwrap();
    stream.write_all(text).unwrap();
    stream
}

/// What comes until the server closes the connection; it must.
fn heard(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it is still open: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn who_says_nothing_is_left() {
    let server = without_workers(&[]);
    let begun = Instant::now();
    let mut half: Vec<_> = (0..150).map(|_| say(&server, HALF)).collect();
    let mut silent: Vec<_> = (0..50).map(|_| say(&server, b"")).collect();
    let mut idle = say(&server, WHOLE);
    server.get("/healthz").expect(200);
    assert!(begun.elapsed() < Duration::from_secs(8), "it answered after others were closed");
    for stream in half.iter_mut().chain(&mut silent) {
        assert!(!heard(stream).contains("200 OK"));
    }
    assert!(heard(&mut idle).starts_with("HTTP/1.1 200 OK"));
    assert!(begun.elapsed() < CLOSED, "{:?}", begun.elapsed());
}

pub(crate) fn a_connection_is_used_again() {
    let server = without_workers(&[]);
    let mut stream = say(&server, WHOLE);
    for _ in 0..3 {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).unwrap();
        assert!(bytes[..read].starts_with(b"HTTP/1.1 200 OK"));
        std::thread::park_timeout(Duration::from_secs(4));
        stream.write_all(WHOLE).unwrap();
    }
}

pub(crate) fn few_descriptors_are_enough() {
    // The first is below what is needed for as many connections as there may be.
    for (descriptors, crowd) in [(64, 90), (256, 200)] {
        let settings = [("EVALX_WORKERS", "0")];
        let server = Server::start_within(descriptors, &settings).unwrap().ready().unwrap();
        let crowd: Vec<_> = (0..crowd).map(|_| say(&server, HALF)).collect();
        let asked = Instant::now();
        server.get("/healthz").expect(200);
        assert!(asked.elapsed() < 2 * CLOSED, "{:?}", asked.elapsed());
        drop(crowd);
    }
}
