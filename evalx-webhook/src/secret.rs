//! [`Secret`] and [`Secrets`]: what deliveries are signed with. Neither is ever printed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What every secret begins with, so that one is known for what it is.
const PREFIX: &str = "whsec_";
/// Sizes of the bytes behind the base64, as Standard Webhooks has them.
const SHORTEST: usize = 24;
const LONGEST: usize = 64;

/// A text that is no [`Secret`]. It is not repeated in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// There is no secret at all.
    #[error("the secret is empty: give `whsec_` and 24 to 64 random bytes in base64")]
    Empty,
    /// The text does not begin with `whsec_`.
    #[error("the secret does not begin with `whsec_`")]
    Prefix,
    /// What follows `whsec_` is not base64.
    #[error("what follows `whsec_` is not base64 with its padding")]
    Base64,
    /// The key is too short to be safe, or longer than the rules allow.
    #[error("the secret has {0} bytes; it must have 24 to 64")]
    Length(usize),
}

/// A key shared with the receiver of deliveries: `whsec_` and 24 to 64 bytes
/// in base64.
///
/// ```
/// use evalx_webhook::Secret;
///
/// let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// assert_eq!(format!("{secret:?}"), "Secret(24 bytes)");
/// # Ok::<(), evalx_webhook::SecretError>(())
/// ```
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    pub(crate) fn key(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
        match key.len() {
            SHORTEST..=LONGEST => Ok(Self(key.into())),
            length => Err(SecretError::Length(length)),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// All secrets that are in force, for rotation without a gap: a delivery is
/// signed with each, so that receivers may hold the new one or still the old.
///
/// Read from a text, they are separated by commas or blanks. Without any,
/// which is the default, deliveries carry no signature.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// These secrets.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// Whether there is none, and deliveries are not signed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Self(vec![secret])
    }
}

impl FromStr for Secrets {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let parts = text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|part| !part.is_empty());
        let secrets = parts.map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if secrets.is_empty() { Err(SecretError::Empty) } else { Ok(Self(secrets)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(length: usize) -> String {
        format!("{PREFIX}{}", STANDARD.encode(vec![7; length]))
    }

    #[test]
    fn a_secret_is_prefixed_base64_of_the_right_size() {
        assert_eq!(encoded(24).parse::<Secret>().map(|secret| secret.key().len()), Ok(24));
        assert_eq!(encoded(64).parse::<Secret>().map(|secret| secret.key().len()), Ok(64));
        let refused = |text: &str| text.parse::<Secret>().map(|_| ()).unwrap_err();
        assert_eq!(refused(""), SecretError::Empty);
        assert_eq!(refused("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SecretError::Prefix);
        assert_eq!(refused("whsec_not base64!"), SecretError::Base64);
        assert_eq!(refused("whsec_"), SecretError::Length(0));
        assert_eq!(refused(&encoded(23)), SecretError::Length(23));
        assert_eq!(refused(&encoded(65)), SecretError::Length(65));
    }

    #[test]
    fn several_secrets_are_read_from_one_text() {
        let text = format!("{}, {} {}", encoded(24), encoded(32), encoded(64));
        let secrets: Secrets = text.parse().unwrap();
        let sizes: Vec<_> = secrets.iter().map(|secret| secret.key().len()).collect();
        assert_eq!(sizes, [24, 32, 64]);
        assert_eq!(" , ".parse::<Secrets>().map(|_| ()), Err(SecretError::Empty));
        assert_eq!(format!("{},x", encoded(24)).parse::<Secrets>().map(|_| ()), Err(SecretError::Prefix));
    }

    #[test]
    fn nothing_of_a_secret_is_printed() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let printed = format!("{:?}", secret.parse::<Secrets>().unwrap());
        assert_eq!(printed, "Secrets([Secret(24 bytes)])");
        let mangled = secret.replace("La", "!!");
        let error = mangled.parse::<Secret>().map(|_| ()).unwrap_err();
        assert!(!error.to_string().contains("MfKQ"), "{error}");
    }
}
