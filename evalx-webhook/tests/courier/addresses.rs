//! Attempts at addresses that are out of bounds: refused before a connection
//! is made, however they are written and whatever a resolver says.
//!
//! Nothing here connects to anything but loopback: where an address would be
//! another, the test is that nobody connects at all.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::receiver::{Receiver, Reply};
use async_trait::async_trait;
use evalx_webhook::{
    AddressPolicy, Attempt, Courier, CourierConfig, Delivery, Failure, Outcome, Resolve, Secrets,
    SystemResolver, Waiting,
};

/// Answers each look-up with the next of its answers, and the last for ever.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        let answers = answers.iter().rev().map(parse).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Resolve for Scripted {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { Ok(answers.pop().unwrap()) } else { Ok(answers[0].clone()) }
    }
}

#[derive(Debug)]
struct NeverAnswers;

#[async_trait]
impl Resolve for NeverAnswers {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        std::future::pending().await
    }
}

async fn attempt(config: CourierConfig, url: &str) -> Attempt {
    let delivery = Delivery::new("msg_1".parse().unwrap(), url, "{}");
    Courier::new(config).unwrap().attempt(&delivery, &Secrets::default()).await
}

fn assert_refused(attempt: &Attempt) {
    assert!(matches!(attempt.failure, Some(Failure::Refused { .. })), "{attempt:?}");
    assert_eq!((attempt.outcome, attempt.status), (Outcome::GivenUp, None));
}

#[tokio::test]
async fn loopback_is_refused_in_every_disguise() {
    let receiver = Receiver::start([]).await;
    let port = receiver.address.port();
    let couriers =
        [CourierConfig::default(), CourierConfig::judge0()].map(|config| Courier::new(config).unwrap());
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "localhost.",
        "x.localhost",
        "0",
        "0.0.0.0",
        "[::]",
        "127。0。0。1",
        "%31%32%37.1",
    ] {
        let delivery = Delivery::new("msg_1".parse().unwrap(), format!("http://{host}:{port}/"), "{}");
        for courier in &couriers {
            assert_refused(&courier.attempt(&delivery, &Secrets::default()).await);
        }
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn what_a_name_leads_to_is_checked() {
    let receiver = Receiver::start([]).await;
    let url = format!("http://hooks.example:{}/", receiver.address.port());
    for answer in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["fd00::1"],
        &["0.0.0.0"],
        &["::"],
        // Any address out of bounds spoils the others.
        &["93.184.216.34", "127.0.0.1"],
        &["127.0.0.1", "93.184.216.34"],
    ] {
        let resolver = Scripted::new(&[answer]);
        let config = CourierConfig::default().with_resolver(Arc::clone(&resolver) as Arc<dyn Resolve>);
        let attempt = attempt(config, &url).await;
        assert_refused(&attempt);
        let shown = serde_json::to_string(&attempt).unwrap();
        assert!(
            !answer.iter().any(|address| shown.contains(address)),
            "says what the name leads to: {shown}"
        );
    }
    assert_eq!(receiver.connections(), 0);
}

/// Rebinding: a name that is harmless when it is checked and another address
/// when it is connected to. There is one look-up for both.
#[tokio::test]
async fn a_name_is_looked_up_once() {
    let receiver = Receiver::start([Reply::status(200, "")]).await;
    let url = format!("http://hooks.example:{}/", receiver.address.port());
    let resolver = Scripted::new(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let config = CourierConfig::default()
        .with_addresses(AddressPolicy::AllowPrivate)
        .with_resolver(Arc::clone(&resolver) as Arc<dyn Resolve>);
    let first = attempt(config.clone(), &url).await;
    assert_eq!((first.outcome, resolver.asked.load(Ordering::Relaxed)), (Outcome::Delivered, 1));
    assert_eq!(receiver.received()[0].header("host"), Some(&url["http://".len()..url.len() - 1]));
    assert_refused(&attempt(config, &url).await);
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn private_addresses_are_delivered_to_where_the_operator_says_so() {
    let receiver = Receiver::start((0..4).map(|_| Reply::status(200, ""))).await;
    let port = receiver.address.port();
    for host in ["127.0.0.1", "127.1", "[::ffff:127.0.0.1]", "2130706433"] {
        let config = CourierConfig::default().with_addresses(AddressPolicy::AllowPrivate);
        let attempt = attempt(config, &format!("http://{host}:{port}/")).await;
        assert_eq!(attempt.outcome, Outcome::Delivered, "{host}: {attempt:?}");
    }
    for url in ["http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://0.0.0.0:3000/"] {
        assert_refused(
            &attempt(CourierConfig::default().with_addresses(AddressPolicy::AllowPrivate), url).await,
        );
    }
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_followed_by_the_next() {
    let receiver = Receiver::start([Reply::status(200, "")]).await;
    let url = format!("http://hooks.example:{}/", receiver.address.port());
    // The receiver listens on 127.0.0.1 alone.
    let config = CourierConfig::default()
        .with_addresses(AddressPolicy::AllowPrivate)
        .with_resolver(Scripted::new(&[&["127.0.0.2", "127.0.0.1"]]));
    assert_eq!(attempt(config, &url).await.outcome, Outcome::Delivered);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_tried_again() {
    let config = CourierConfig::default().with_resolver(Scripted::new(&[&[]]));
    let nowhere = attempt(config, "http://hooks.example/").await;
    assert_eq!(nowhere.failure, Some(Failure::Unresolved));
    assert!(matches!(nowhere.outcome, Outcome::Retry { .. }));

    let config = CourierConfig::default()
        .with_resolver(Arc::new(NeverAnswers))
        .with_times(Duration::from_millis(50), Duration::from_secs(60));
    let never = attempt(config, "http://hooks.example/").await;
    assert_eq!(never.failure, Some(Failure::TimedOut { waiting_for: Waiting::Connection }));
    assert!(never.took < Duration::from_secs(30));
}

#[tokio::test]
async fn the_resolver_of_the_system_knows_this_machine() {
    let found = SystemResolver::default().resolve("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
    // Too long for any name: no server is asked.
    assert!(SystemResolver::default().resolve(&"x".repeat(300)).await.is_err());
}
