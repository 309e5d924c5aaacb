//! Attempts against a receiver on loopback: what is sent, and what each kind of
//! answer comes to.

use std::time::{Duration, Instant, SystemTime};

use crate::receiver::{Receiver, Reply};
use evalx_webhook::{
    AddressPolicy, Attempt, Courier, CourierConfig, Delivery, Failure, Outcome, RetryPolicy, Secrets,
    SignedHeaders, Waiting, verify,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const BODY: &str = r#"{"verdict":"accepted","stdout":"ü"}"#;

fn secrets(text: &str) -> Secrets {
    text.parse().unwrap()
}

fn local() -> CourierConfig {
    CourierConfig::default().with_addresses(AddressPolicy::AllowPrivate)
}

fn courier(config: CourierConfig) -> Courier {
    Courier::new(config).unwrap()
}

fn delivery(url: String) -> Delivery {
    Delivery::new("msg_1".parse().unwrap(), url, BODY)
}

/// One attempt at a receiver that answers so.
async fn attempt(reply: Reply) -> Attempt {
    let receiver = Receiver::start([reply]).await;
    courier(local()).attempt(&delivery(receiver.url("/")), &Secrets::default()).await
}

#[tokio::test]
async fn a_delivery_is_a_signed_post() {
    let receiver = Receiver::start([Reply::status(200, "")]).await;
    let attempt = courier(local())
        .attempt(&delivery(receiver.url("/done?job=1#part")), &secrets(&format!("{SECRET},{OLD_SECRET}")))
        .await;
    assert_eq!((attempt.status, &attempt.failure, attempt.outcome), (Some(200), &None, Outcome::Delivered));

    let received = receiver.received();
    let [request] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(request.line, "POST /done?job=1 HTTP/1.1");
    assert_eq!(request.header("host"), Some(receiver.address.to_string().as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body, BODY.as_bytes());
    let headers = SignedHeaders::new(
        request.header("webhook-id").unwrap(),
        request.header("webhook-timestamp").unwrap(),
        request.header("webhook-signature").unwrap(),
    );
    assert_eq!(headers.id, "msg_1");
    for secret in [SECRET, OLD_SECRET] {
        let tolerance = Duration::from_secs(300);
        assert_eq!(verify(&secrets(secret), headers, &request.body, SystemTime::now(), tolerance), Ok(()));
    }
}

#[tokio::test]
async fn without_a_secret_there_is_no_signature() {
    let receiver = Receiver::start([Reply::status(204, "")]).await;
    courier(local()).attempt(&delivery(receiver.url("/")), &Secrets::default()).await;
    let request = &receiver.received()[0];
    assert_eq!(request.header("webhook-id"), Some("msg_1"));
    assert_eq!(request.header("webhook-signature"), None);
}

#[tokio::test]
async fn a_callback_of_judge0_is_a_bare_put_and_any_answer_will_do() {
    let receiver = Receiver::start([Reply::status(500, ""), Reply::HangUp]).await;
    let courier = courier(CourierConfig::judge0().with_addresses(AddressPolicy::AllowPrivate));
    let first = courier.attempt(&delivery(receiver.url("/cb")), &secrets(SECRET)).await;
    assert_eq!((first.status, first.failure, first.outcome), (Some(500), None, Outcome::Delivered));
    let second = courier.attempt(&delivery(receiver.url("/cb")), &secrets(SECRET)).await;
    assert_eq!(second.outcome, Outcome::Retry { after: Duration::ZERO });
    let request = &receiver.received()[0];
    assert_eq!(request.line, "PUT /cb HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.headers.iter().all(|(name, _)| !name.starts_with("webhook-")));
}

/// As a host's queue does it: an attempt is a job, and its retry another.
#[tokio::test]
async fn two_bad_answers_and_a_good_one_are_one_delivery() {
    let receiver = Receiver::start([
        Reply::status(500, ""),
        Reply::status(503, "retry-after: 1\r\n"),
        Reply::status(200, ""),
    ])
    .await;
    let courier = courier(local());
    let mut delivery = delivery(receiver.url("/"));
    let mut log = Vec::new();
    loop {
        let attempt = courier.attempt(&delivery, &secrets(SECRET)).await;
        log.push(attempt.clone());
        match attempt.outcome {
            // The wait would be the queue's.
            Outcome::Retry { .. } => delivery = delivery.next(),
            _ => break,
        }
    }
    let told: Vec<_> = log.iter().map(|attempt| (attempt.attempt, attempt.status)).collect();
    assert_eq!(told, [(1, Some(500)), (2, Some(503)), (3, Some(200))]);
    assert_eq!(log[2].outcome, Outcome::Delivered);
    let Outcome::Retry { after } = log[1].outcome else { panic!("{log:?}") };
    assert!(after >= Duration::from_secs(1), "{after:?}");
    let ids: Vec<_> =
        receiver.received().iter().map(|one| one.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids, ["msg_1"; 3]);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Receiver::start([Reply::status(200, "")]).await;
    for status in [301, 302, 303, 307, 308] {
        let attempt = attempt(Reply::status(status, &format!("location: {}\r\n", elsewhere.url("/")))).await;
        assert_eq!((attempt.status, attempt.outcome), (Some(status), Outcome::GivenUp));
        assert_eq!(attempt.failure, Some(Failure::Redirected));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn what_is_no_answer_is_tried_again() {
    for reply in [
        Reply::HangUp,
        Reply::Bytes(Vec::new()),
        Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        Reply::Bytes(b"HTTP/1.1 2".to_vec()),
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_vec()),
        Reply::Bytes(vec![0; 100_000]),
    ] {
        let attempt = attempt(reply.clone()).await;
        assert_eq!((attempt.status, attempt.failure), (None, Some(Failure::Broken)), "{reply:?}");
        assert!(matches!(attempt.outcome, Outcome::Retry { .. }), "{reply:?}");
    }
    let closed = Receiver::start([]).await.url("/");
    let attempt = courier(local()).attempt(&delivery(closed), &Secrets::default()).await;
    assert!(attempt.failure.clone().is_some_and(|failure| failure.is_of_the_network()), "{attempt:?}");
    assert!(matches!(attempt.outcome, Outcome::Retry { .. }));
}

#[tokio::test]
async fn an_endless_answer_is_cut_short() {
    // A head without an end is no answer.
    let head = attempt(Reply::Endless("HTTP/1.1 200 OK\r\nx: ")).await;
    assert_eq!((head.status, head.failure), (None, Some(Failure::Broken)));
    // A body without an end is not waited for; its status stands.
    for start in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"] {
        let began = Instant::now();
        let body = attempt(Reply::Endless(start)).await;
        assert_eq!((body.status, body.outcome), (Some(200), Outcome::Delivered));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_left() {
    let receiver = Receiver::start([Reply::Silence]).await;
    let config = local().with_times(Duration::from_millis(200), Duration::from_millis(200));
    let attempt = courier(config).attempt(&delivery(receiver.url("/")), &Secrets::default()).await;
    // On a machine under load even connecting may take so long.
    assert!(matches!(attempt.failure, Some(Failure::TimedOut { .. })), "{attempt:?}");
    assert!(matches!(attempt.outcome, Outcome::Retry { .. }));
    assert!(attempt.took >= Duration::from_millis(200));
    assert_eq!(
        Failure::TimedOut { waiting_for: Waiting::Answer }.to_string(),
        "no answer within the time allowed"
    );
}

#[tokio::test]
async fn the_log_holds_no_body_no_url_and_no_secret() {
    let receiver = Receiver::start([Reply::status(500, "x-note: s3cret\r\n")]).await;
    let delivery = Delivery::new("msg_1".parse().unwrap(), receiver.url("/s3cret"), r#"{"source":"s3cret"}"#);
    let config = local().with_retries(RetryPolicy::default().with_retries(0));
    let attempt = courier(config).attempt(&delivery, &secrets(SECRET)).await;
    assert_eq!((attempt.outcome, &attempt.failure), (Outcome::GivenUp, &Some(Failure::Answered)));
    let logged = format!("{} {attempt:?} {delivery:?}", serde_json::to_string(&attempt).unwrap());
    assert!(!logged.contains("s3cret") && !logged.contains(&SECRET[6..]), "{logged}");
}
