//! Signatures by the rules of [Standard Webhooks](https://www.standardwebhooks.com/):
//! what a sender puts into the headers, and how a receiver checks them.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Secret, Secrets};

/// The header with the id of the delivery, the same at every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with a signature for each secret, separated by blanks.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// What a signature by HMAC-SHA256 begins with.
const VERSION: &str = "v1,";

/// The value of [`SIGNATURE_HEADER`]: `v1,` and the base64 of the HMAC-SHA256
/// of id, timestamp and body, once for each secret.
///
/// ```
/// use evalx_webhook::{Secrets, sign};
///
/// let secrets: Secrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let signature = sign(&secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, br#"{"test": 2432232314}"#);
/// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// # Ok::<(), evalx_webhook::SecretError>(())
/// ```
#[must_use]
pub fn sign(secrets: &Secrets, id: &str, timestamp: u64, body: &[u8]) -> String {
    let signatures = secrets.iter().map(|secret| {
        let code = code(secret, id, &timestamp.to_string(), body).finalize();
        format!("{VERSION}{}", STANDARD.encode(code.into_bytes()))
    });
    signatures.collect::<Vec<_>>().join(" ")
}

/// The three headers of a delivery that came in, as they were sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SignedHeaders<'a> {
    /// The value of [`ID_HEADER`].
    pub id: &'a str,
    /// The value of [`TIMESTAMP_HEADER`].
    pub timestamp: &'a str,
    /// The value of [`SIGNATURE_HEADER`].
    pub signature: &'a str,
}

impl<'a> SignedHeaders<'a> {
    /// The values of the three.
    #[must_use]
    pub const fn new(id: &'a str, timestamp: &'a str, signature: &'a str) -> Self {
        Self { id, timestamp, signature }
    }
}

/// Why a delivery that came in is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The timestamp is no number of seconds.
    #[error("the timestamp of the delivery is not a number of seconds")]
    Timestamp,
    /// The delivery was signed too long ago: it may be an old one, sent again.
    #[error("the delivery was signed too long ago")]
    TooOld,
    /// The delivery was signed in the future.
    #[error("the delivery was signed in the future")]
    TooNew,
    /// No signature is by any of the secrets over this id, time and body.
    #[error("no signature of the delivery matches")]
    Signature,
}

/// Checks a delivery that came in: that it was signed with one of the secrets,
/// and at most `tolerance` (five minutes are usual) away from `now`.
///
/// `body` must be the very bytes that came, before any parsing. Whoever acts
/// on a delivery also remembers its id, since one may come more than once.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use evalx_webhook::{Secrets, SignedHeaders, verify};
///
/// let secrets: Secrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let headers = SignedHeaders::new(
///     "msg_p5jXN8AQM9LWM0D4loKWxJek",
///     "1614265330",
///     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
/// );
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1614265400);
/// verify(&secrets, headers, br#"{"test": 2432232314}"#, now, Duration::from_secs(300))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`VerifyError`] says which check failed.
pub fn verify(
    secrets: &Secrets,
    headers: SignedHeaders<'_>,
    body: &[u8],
    now: SystemTime,
    tolerance: Duration,
) -> Result<(), VerifyError> {
    let digits = !headers.timestamp.is_empty() && headers.timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: u64 = headers.timestamp.parse().ok().filter(|_| digits).ok_or(VerifyError::Timestamp)?;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if seconds < now.saturating_sub(tolerance.as_secs()) {
        return Err(VerifyError::TooOld);
    }
    if seconds > now.saturating_add(tolerance.as_secs()) {
        return Err(VerifyError::TooNew);
    }
    // Signatures of other versions are other schemes, and not ours to judge.
    let signatures = headers.signature.split(' ').filter_map(|signature| signature.strip_prefix(VERSION));
    let genuine = signatures.filter_map(|signature| STANDARD.decode(signature).ok()).any(|signature| {
        // `verify_slice` takes the same time whatever differs.
        secrets
            .iter()
            .any(|secret| code(secret, headers.id, headers.timestamp, body).verify_slice(&signature).is_ok())
    });
    if genuine { Ok(()) } else { Err(VerifyError::Signature) }
}

/// The authentication code of what is signed: id, timestamp and body, joined by full stops.
fn code(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut code = Hmac::<Sha256>::new_from_slice(secret.key()).expect("HMAC takes a key of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        code.update(part);
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    /// A signature of the right form, and by nobody.
    const STRANGER: &str = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";
    const TOLERANCE: Duration = Duration::from_secs(300);

    fn secrets(text: &str) -> Secrets {
        text.parse().unwrap()
    }

    fn another() -> String {
        format!("whsec_{}", STANDARD.encode([9; 32]))
    }

    fn check(signature: &str, timestamp: &str, now: u64) -> Result<(), VerifyError> {
        let headers = SignedHeaders { id: ID, timestamp, signature };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        verify(&secrets(SECRET), headers, BODY, now, TOLERANCE)
    }

    #[test]
    fn the_vector_of_the_specification_is_met() {
        assert_eq!(sign(&secrets(SECRET), ID, AT, BODY), SIGNATURE);
        assert_eq!(check(SIGNATURE, "1614265330", AT), Ok(()));
    }

    #[test]
    fn the_right_signature_counts_among_others() {
        let many = format!("{STRANGER} v2,{} {SIGNATURE} {STRANGER}", &STRANGER[3..]);
        assert_eq!(check(&many, "1614265330", AT), Ok(()));
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let other_version = SIGNATURE.replace("v1,", "v2,");
        for signature in [
            "",
            " ",
            "v1,",
            "v1",
            &SIGNATURE[..8],
            &SIGNATURE[3..],
            STRANGER,
            "v1,dawfeoifkpqwoekfpqoekf",
            &other_version,
        ] {
            assert_eq!(check(signature, "1614265330", AT), Err(VerifyError::Signature), "{signature}");
        }
    }

    #[test]
    fn the_time_of_signing_is_held_to_the_tolerance() {
        assert_eq!(check(SIGNATURE, "1614265330", AT + 300), Ok(()));
        assert_eq!(check(SIGNATURE, "1614265330", AT + 301), Err(VerifyError::TooOld));
        assert_eq!(check(SIGNATURE, "1614265330", AT - 300), Ok(()));
        assert_eq!(check(SIGNATURE, "1614265330", AT - 301), Err(VerifyError::TooNew));
        for timestamp in ["", "hello", "-1", "+1614265330", "1614265330.0", "99999999999999999999999"] {
            assert_eq!(check(SIGNATURE, timestamp, AT), Err(VerifyError::Timestamp), "{timestamp}");
        }
    }

    #[test]
    fn id_time_and_body_are_all_signed() {
        let headers = |id, timestamp| SignedHeaders { id, timestamp, signature: SIGNATURE };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(AT);
        let verify = |headers, body| verify(&secrets(SECRET), headers, body, now, TOLERANCE);
        assert_eq!(verify(headers("msg_other", "1614265330"), BODY), Err(VerifyError::Signature));
        assert_eq!(verify(headers(ID, "1614265331"), BODY), Err(VerifyError::Signature));
        assert_eq!(verify(headers(ID, "01614265330"), BODY), Err(VerifyError::Signature));
        assert_eq!(verify(headers(ID, "1614265330"), b"{}"), Err(VerifyError::Signature));
    }

    #[test]
    fn while_secrets_rotate_the_new_and_the_old_verify() {
        let both = secrets(&format!("{},{SECRET}", another()));
        let signature = sign(&both, ID, AT, BODY);
        assert_eq!(signature.split(' ').count(), 2);
        let headers = SignedHeaders { id: ID, timestamp: "1614265330", signature: &signature };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(AT);
        for receiver in [SECRET.to_owned(), another()] {
            assert_eq!(verify(&secrets(&receiver), headers, BODY, now, TOLERANCE), Ok(()));
        }
        assert_eq!(verify(&Secrets::default(), headers, BODY, now, TOLERANCE), Err(VerifyError::Signature));
    }
}
