//! [`CourierConfig`]: how deliveries are made.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::{AddressPolicy, Resolve, RetryPolicy, SystemResolver};

/// How deliveries are made. The default is that of Standard Webhooks: `POST`,
/// with the headers `webhook-…`, and only to public addresses.
#[derive(Clone)]
#[non_exhaustive]
pub struct CourierConfig {
    /// Which addresses may be delivered to.
    pub addresses: AddressPolicy,
    /// Whether and when a failed attempt is followed by another.
    pub retries: RetryPolicy,
    /// The form of the request.
    pub form: Form,
    /// How long connecting may take, from the look-up of the name on. Five seconds by default.
    pub connect_time: Duration,
    /// How long an attempt may take until its answer begins. Fifteen seconds by default.
    pub attempt_time: Duration,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) authorities: Vec<u8>,
}

/// The form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// `POST`, with id, time and signatures in headers.
    StandardWebhook,
    /// `PUT`, with none of them, as Judge0 does it.
    Judge0Callback,
}

/// Why a [`Courier`](crate::Courier) could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The additional authorities are not certificates in PEM.
    #[error("the certificates of the additional authorities could not be read; they must be in PEM")]
    Authorities(#[source] io::Error),
    /// The cryptography offers none of the versions of TLS.
    #[error("TLS could not be set up")]
    Tls(#[source] io::Error),
}

impl Default for CourierConfig {
    fn default() -> Self {
        Self {
            addresses: AddressPolicy::default(),
            retries: RetryPolicy::default(),
            form: Form::StandardWebhook,
            connect_time: Duration::from_secs(5),
            attempt_time: Duration::from_secs(15),
            resolver: Arc::new(SystemResolver::default()),
            authorities: Vec::new(),
        }
    }
}

impl CourierConfig {
    /// Callbacks as Judge0 sends them: `PUT` without headers of ours, three
    /// attempts of five seconds each without a pause, and any answer is a success.
    ///
    /// Unlike Judge0, it delivers only to public addresses unless told otherwise.
    #[must_use]
    pub fn judge0() -> Self {
        Self {
            retries: RetryPolicy::judge0(),
            form: Form::Judge0Callback,
            attempt_time: Duration::from_secs(5),
            ..Self::default()
        }
    }

    /// With another answer to which addresses may be delivered to.
    #[must_use]
    pub const fn with_addresses(mut self, policy: AddressPolicy) -> Self {
        self.addresses = policy;
        self
    }

    /// With other retries.
    #[must_use]
    pub const fn with_retries(mut self, policy: RetryPolicy) -> Self {
        self.retries = policy;
        self
    }

    /// With another time for connecting, and for a whole attempt.
    #[must_use]
    pub const fn with_times(mut self, connect: Duration, attempt: Duration) -> Self {
        self.connect_time = connect;
        self.attempt_time = attempt;
        self
    }

    /// With another resolver of host names. Its answers are checked all the same.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Trusts the certificates of these authorities too, beside those that the
    /// operating system trusts: one certificate after another, in PEM.
    #[must_use]
    pub fn with_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = pem.into();
        self
    }

    /// What encrypts: TLS 1.2 and 1.3, with this crate's own choice of
    /// cryptography, so that the host's own is neither needed nor changed.
    pub(crate) fn tls(&self) -> Result<ClientConfig, ConfigError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            tracing::warn!(
                "this system has no trusted authorities: deliveries to https will fail; \
                 install them (on Debian the package ca-certificates)"
            );
        }
        for certificate in CertificateDer::pem_slice_iter(&self.authorities) {
            let certificate =
                certificate.map_err(|error| ConfigError::Authorities(io::Error::other(error.to_string())))?;
            roots.add(certificate).map_err(|error| ConfigError::Authorities(io::Error::other(error)))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::Tls(io::Error::other(error)))?;
        let mut tls = builder.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }
}

impl fmt::Debug for CourierConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CourierConfig")
            .field("addresses", &self.addresses)
            .field("retries", &self.retries)
            .field("form", &self.form)
            .field("connect_time", &self.connect_time)
            .field("attempt_time", &self.attempt_time)
            .field("resolver", &self.resolver)
            .finish_non_exhaustive()
    }
}
