//! Deliveries over TLS: only to a receiver whose certificate is good.

use std::sync::Arc;

use crate::receiver::{Receiver, Reply};
use evalx_webhook::{
    AddressPolicy, Attempt, ConfigError, Courier, CourierConfig, Delivery, Failure, Outcome, Secrets,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A receiver whose certificate is for `name`, and that certificate in PEM.
async fn receiver_of(name: &str) -> (Receiver, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    (Receiver::start_tls([Reply::status(200, "")], acceptor).await, cert.pem())
}

async fn attempt(authorities: &str, url: String) -> Attempt {
    let config = CourierConfig::default()
        .with_addresses(AddressPolicy::AllowPrivate)
        .with_authorities(authorities.as_bytes());
    let delivery = Delivery::new("msg_1".parse().unwrap(), url, "{}");
    Courier::new(config).unwrap().attempt(&delivery, &Secrets::default()).await
}

#[tokio::test]
async fn a_good_certificate_is_delivered_to() {
    for name in ["localhost", "127.0.0.1"] {
        let (receiver, certificate) = receiver_of(name).await;
        let url = format!("https://{name}:{}/done", receiver.address.port());
        let attempt = attempt(&certificate, url).await;
        assert_eq!((attempt.status, attempt.outcome), (Some(200), Outcome::Delivered), "{attempt:?}");
        assert_eq!(receiver.received()[0].line, "POST /done HTTP/1.1");
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_or_of_another_is_not() {
    let (stranger, _) = receiver_of("localhost").await;
    let (other, others_certificate) = receiver_of("other.example").await;
    for (receiver, trusted) in [(&stranger, ""), (&other, others_certificate.as_str())] {
        let attempt = attempt(trusted, format!("https://localhost:{}/", receiver.address.port())).await;
        assert!(matches!(attempt.failure, Some(Failure::Tls { .. })), "{attempt:?}");
        assert!(matches!(attempt.outcome, Outcome::Retry { .. }));
        assert!(receiver.received().is_empty(), "something was sent");
    }
}

#[tokio::test]
async fn a_receiver_without_tls_is_no_receiver_of_https() {
    let plain = Receiver::start([Reply::AtOnce("HTTP/1.1 400 Bad Request\r\n\r\n")]).await;
    let attempt = attempt("", format!("https://{}/", plain.address)).await;
    assert!(matches!(attempt.failure, Some(Failure::Tls { .. })), "{attempt:?}");
    assert_eq!(attempt.status, None);
}

#[test]
fn authorities_that_are_none_are_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n";
    let error = Courier::new(CourierConfig::default().with_authorities(broken)).unwrap_err();
    assert!(matches!(error, ConfigError::Authorities(_)), "{error:?}");
    assert!(error.to_string().contains("PEM"), "{error}");
}
