//! A server that is spoken to by TLS, itself and by sentinels, and one whose
//! certificate nobody vouches for.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use evalx_queue::{ErrorKind, Queue as _, QueueConfig, RedisConfig, RedisQueue};
use evalx_testkit::{RedisOptions, RedisServer};

use super::child::{Part, Process};
use super::stage::{PATIENCE, Stage, queue, until};

pub(crate) async fn speaks(_: Stage) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=evalx"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Err("there is no openssl to make a certificate: apt-get install openssl".to_owned());
    }
    let port = free_port();
    let (key, trusted) = (key.to_str().unwrap(), certificate.to_str().unwrap());
    let options = RedisOptions::volatile()
        .with_arguments(["--tls-port", &port, "--tls-auth-clients", "no", "--tls-key-file", key])
        .with_arguments(["--tls-cert-file", trusted, "--tls-ca-cert-file", trusted]);
    let server = RedisServer::start(options)
        .map_err(|error| format!("the server does not start with TLS, as if built without: {error}"))?;
    let url = format!("rediss://127.0.0.1:{port}/");
    let config = QueueConfig::default();
    let (plain, name) = queue(&server, config.clone()).await;
    let sentinel_port = free_port();
    let sentinel = RedisOptions::sentinel("judge", port.parse().unwrap())
        .with_arguments([
            "--tls-port",
            &sentinel_port,
            "--tls-replication",
            "yes",
            "--tls-auth-clients",
            "no",
        ])
        .with_arguments(["--tls-key-file", key, "--tls-cert-file", trusted, "--tls-ca-cert-file", trusted]);
    let sentinel = RedisServer::start(sentinel).expect("it starts as the server does");
    until("the sentinel sees the server", PATIENCE, async || {
        let seen = sentinel.ask(&["SENTINEL", "MASTER", "judge"]).unwrap();
        seen.contains(&port) && !seen.contains("disconnected")
    })
    .await;
    let by_sentinel = format!("rediss-sentinel://127.0.0.1:{sentinel_port}/?master=judge");
    for (number, url) in [(1, &url), (2, &by_sentinel)] {
        // What the system vouches for is read once by a process, so a child is told.
        let part = Part { role: "greeter", url, name: &name, config: &config, number, log: None };
        let mut greeter = Process::start_with(&part, &[("SSL_CERT_FILE", &certificate)]);
        greeter.ended().await;
        assert_eq!(plain.stats().await.unwrap().ready, 50 * number, "the jobs have come by TLS");
    }
    let stranger = RedisConfig::new(&url).with_patience(Duration::from_millis(200));
    let error = RedisQueue::connect(stranger).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    Ok(())
}

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}
