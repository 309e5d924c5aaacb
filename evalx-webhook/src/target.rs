//! [`Target`]: a URL that may be delivered to, as far as its text tells.
//!
//! What its host name leads to is known only when connecting, and is checked
//! then, in `connect.rs`.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Position, Url};

use crate::{AddressPolicy, Refusal};

/// The longest URL, in bytes.
const LONGEST: usize = 2048;

/// Ports above 1023 of other protocols, some of which can be spoken by chance
/// in an HTTP request; browsers refuse them too.
const OTHER_PROTOCOLS: &[u16] = &[
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
];

/// Why a URL can't be delivered to, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The URL is too long.
    #[error("the URL has {0} bytes; at most 2048 are allowed")]
    TooLong(usize),
    /// The URL has characters that parsers disagree about.
    #[error("the URL has blanks, control characters or backslashes; write them with percent signs")]
    Characters,
    /// It is no URL.
    #[error("this is no absolute URL: {0}")]
    Malformed(String),
    /// The URL is not one of HTTP.
    #[error("the scheme of the URL must be http or https")]
    Scheme,
    /// The URL has a user name or a password in it.
    #[error("the URL must not have a user name or a password in it")]
    Credentials,
    /// The port belongs to other protocols.
    #[error("port {0} is not allowed; 80, 443 and those from 1024 are, but for some of other protocols")]
    Port(u16),
    /// The address that is written in the URL may not be delivered to.
    #[error("{0}")]
    Address(Refusal),
}

/// A URL that was checked as far as its text tells.
///
/// An address is found in every form in which it can be written: decimal,
/// octal, hexadecimal, shortened, mapped to IPv6, or with percent signs.
///
/// ```
/// use evalx_webhook::{AddressPolicy, Target};
///
/// let check = |url| Target::parse(url, AddressPolicy::PublicOnly).map(|target| target.to_string());
/// assert_eq!(check("https://Example.org/done?job=1#x"), Ok("https://example.org/done?job=1".to_owned()));
/// assert!(check("http://2130706433/").is_err()); // 127.0.0.1
/// assert!(check("http://0x7f.1/").is_err()); // 127.0.0.1
/// assert!(check("https://user@example.org/").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: TargetHost,
    port: u16,
}

/// What is to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetHost {
    Address(IpAddr),
    Name(String),
}

/// Whether the bytes are encrypted on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl Target {
    /// Reads and checks a URL.
    ///
    /// # Errors
    ///
    /// The [`TargetError`] says what is wrong with it, and what is allowed.
    pub fn parse(text: &str, policy: AddressPolicy) -> Result<Self, TargetError> {
        if text.len() > LONGEST {
            return Err(TargetError::TooLong(text.len()));
        }
        // Parsers drop or mend these silently, each in its own way.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(TargetError::Characters);
        }
        let mut url = Url::parse(text).map_err(|error| TargetError::Malformed(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        url.set_fragment(None);
        let host = match url.host() {
            Some(Host::Ipv4(address)) => TargetHost::Address(address.into()),
            Some(Host::Ipv6(address)) => TargetHost::Address(address.into()),
            Some(Host::Domain(name)) => TargetHost::Name(name.to_owned()),
            None => return Err(TargetError::Malformed("it has no host".to_owned())),
        };
        let port = url.port_or_known_default().unwrap_or_default();
        if !matches!(port, 80 | 443 | 1024..) || OTHER_PROTOCOLS.contains(&port) {
            return Err(TargetError::Port(port));
        }
        match &host {
            TargetHost::Address(address) => policy.check(*address).map_err(TargetError::Address)?,
            TargetHost::Name(name) if names_this_machine(name) => {
                policy.check(std::net::Ipv4Addr::LOCALHOST.into()).map_err(TargetError::Address)?;
            }
            TargetHost::Name(_) => {}
        }
        Ok(Self { url, host, port })
    }

    pub(crate) const fn host(&self) -> &TargetHost {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn transport(&self) -> Transport {
        if self.url.scheme() == "https" { Transport::Tls } else { Transport::Plain }
    }

    /// Host and port as the `Host` header has them.
    pub(crate) fn authority(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// Path and query as the request line has them.
    pub(crate) fn path_and_query(&self) -> &str {
        &self.url[Position::BeforePath..Position::AfterQuery]
    }
}

/// Names that mean loopback by RFC 6761, whatever a resolver says.
fn names_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

/// Without path and query, which often hold a token.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}://{}/…)", self.url.scheme(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressPolicy::{AllowPrivate, PublicOnly};

    fn refused(text: &str) -> TargetError {
        match Target::parse(text, PublicOnly) {
            Err(error) => error,
            Ok(target) => panic!("{text} was taken for {target}"),
        }
    }

    #[test]
    fn addresses_are_found_in_every_disguise() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://127.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0x7F.0X0.0x0.0x1/",
            "http://0177.0.0.1/",
            "http://017700000001/",
            "http://00000177.0.0.01/",
            "http://127.0.0.1./",
            "http://%31%32%37.0.0.1/",
            "http://127。0。0。1/",
            "http://１２７.０.０.１/",
            "http://①②⑦.0.0.1/",
            "http://[::1]/",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://10.0.0.1/",
            "http://167772161/",
            "http://0x0a.0x00.0x00.0x01/",
            "http://192.168.1.1:8080/",
            "http://172.16.0.1/",
            "http://[fd00::1]/",
            "http://100.64.0.1/",
            "http:127.0.0.1",
            "http:///127.0.0.1/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://api.localhost:8080/",
            "http://loc%61lhost/",
        ] {
            assert_eq!(refused(url), TargetError::Address(Refusal::Private), "{url}");
            assert!(Target::parse(url, AllowPrivate).is_ok(), "{url}");
        }
        for url in [
            "http://169.254.169.254/latest/meta-data/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://0/",
            "http://0.0.0.0:3000/",
            "http://[::]/",
            "http://0x0/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://4294967295/",
            "http://[2002:7f00:1::]/",
        ] {
            assert_eq!(refused(url), TargetError::Address(Refusal::Special), "{url}");
            assert!(Target::parse(url, AllowPrivate).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_no_plain_url_of_http_is_refused() {
        for url in [
            "ftp://example.org/",
            "file:///etc/passwd",
            "gopher://example.org/",
            "javascript:alert(1)",
            "data:,x",
        ] {
            assert_eq!(refused(url), TargetError::Scheme, "{url}");
        }
        for url in ["http://user@example.org/", "http://user:pw@example.org/", "http://:pw@example.org/"] {
            assert_eq!(refused(url), TargetError::Credentials, "{url}");
        }
        for url in [
            " http://example.org/",
            "http://example.org/\n",
            "http://exa\tmple.org/",
            "http://example.org/a b",
            "http://example.org\\@127.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "http://example.org/\u{0}",
            "http://example.org/\u{2028}",
        ] {
            assert_eq!(refused(url), TargetError::Characters, "{url:?}");
        }
        for url in [
            "",
            "example.org",
            "/done",
            "http://",
            "http://256.0.0.1/",
            "http://1.2.3.4.5/",
            "http://[::1/",
            "http://a:b/",
            "http://a:99999/",
        ] {
            assert!(matches!(refused(url), TargetError::Malformed(_)), "{url}");
        }
        assert_eq!(refused(&format!("http://example.org/{}", "x".repeat(2048))), TargetError::TooLong(2067));
    }

    #[test]
    fn ports_of_other_protocols_are_refused() {
        for port in [0, 1, 22, 25, 110, 143, 445, 587, 1023, 2049, 6000, 6379, 6667, 10080] {
            assert_eq!(refused(&format!("http://example.org:{port}/")), TargetError::Port(port));
        }
        for port in [80, 443, 1024, 3000, 8080, 8443, 65535] {
            let target = Target::parse(&format!("http://example.org:{port}/"), PublicOnly).unwrap();
            assert_eq!(target.port(), port);
        }
    }

    #[test]
    fn the_parts_of_a_request_come_from_the_parsed_url() {
        let target = Target::parse("https://Exämple.org:8443/a/../b?c=d%20e#f", PublicOnly).unwrap();
        assert_eq!(target.host(), &TargetHost::Name("xn--exmple-cua.org".to_owned()));
        assert_eq!(target.authority(), "xn--exmple-cua.org:8443");
        assert_eq!(target.path_and_query(), "/b?c=d%20e");
        assert_eq!(target.transport(), Transport::Tls);
        let bare = Target::parse("http://[2606:4700::1111]", PublicOnly).unwrap();
        assert_eq!((bare.authority(), bare.path_and_query(), bare.port()), ("[2606:4700::1111]", "/", 80));
    }

    #[test]
    fn a_token_in_the_path_is_not_printed() {
        let target = Target::parse("https://example.org/hooks/s3cret?key=s3cret", PublicOnly).unwrap();
        assert_eq!(format!("{target:?}"), "Target(https://example.org/…)");
    }
}
