//! [`AddressPolicy`]: which addresses a delivery may go to, as a table.
//!
//! The ranges are those of the IANA registries of special-purpose addresses,
//! and the addresses at which clouds hand out their machines' credentials.
//! `IpAddr::is_global` of the standard library is not stable yet, and knows
//! nothing of the latter.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Which addresses a delivery may go to.
///
/// ```
/// use evalx_webhook::AddressPolicy;
///
/// let metadata = "169.254.169.254".parse()?;
/// let loopback = "::1".parse()?;
/// assert!(AddressPolicy::PublicOnly.check(loopback).is_err());
/// assert!(AddressPolicy::AllowPrivate.check(loopback).is_ok());
/// assert!(AddressPolicy::AllowPrivate.check(metadata).is_err());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AddressPolicy {
    /// Only addresses that are reachable from everywhere: whoever names a URL
    /// gets nowhere with it that they could not get by themselves.
    #[default]
    PublicOnly,
    /// Loopback and private networks too, for a receiver that runs beside the
    /// host. Link-local addresses, and with them the credentials of cloud
    /// machines, stay out of reach.
    AllowPrivate,
}

/// Why an address may not be delivered to.
///
/// The address itself is not named: one that a host name led to may be a
/// secret of the network that this runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// The machine itself, or a private network.
    Private,
    /// Special purposes: link-local, multicast, reserved, or a cloud's services.
    Special,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "the address is private; only public ones are delivered to here",
            Self::Special => "the address is for special purposes; those are never delivered to",
        })
    }
}

impl std::error::Error for Refusal {}

impl AddressPolicy {
    /// Whether this address may be delivered to.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] says why not.
    pub fn check(self, address: IpAddr) -> Result<(), Refusal> {
        match (class(address), self) {
            (Public, _) | (Private, Self::AllowPrivate) => Ok(()),
            (Private, Self::PublicOnly) => Err(Refusal::Private),
            (Special, _) => Err(Refusal::Special),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Public,
    Private,
    Special,
}

use Class::{Private, Public, Special};

type Range<A> = (A, u8, Class);

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// The first range that an address is in decides; one that is in none is public.
const V4: &[Range<Ipv4Addr>] = &[
    (v4(100, 100, 100, 200), 32, Special), // metadata of Alibaba Cloud, inside of 100.64.0.0/10
    (v4(168, 63, 129, 16), 32, Special),   // host services of Azure, in the midst of public addresses
    (v4(0, 0, 0, 0), 8, Special),          // "this network"; Linux takes 0.0.0.0 for loopback
    (v4(10, 0, 0, 0), 8, Private),
    (v4(100, 64, 0, 0), 10, Private), // behind a carrier's address translation
    (v4(127, 0, 0, 0), 8, Private),   // loopback
    (v4(169, 254, 0, 0), 16, Special), // link-local, with the metadata of most clouds
    (v4(172, 16, 0, 0), 12, Private),
    (v4(192, 0, 0, 0), 24, Special), // protocol assignments, with the metadata of Oracle Cloud
    (v4(192, 0, 2, 0), 24, Special), // documentation
    (v4(192, 88, 99, 0), 24, Special), // relays of 6to4, withdrawn
    (v4(192, 168, 0, 0), 16, Private),
    (v4(198, 18, 0, 0), 15, Special),   // benchmarks
    (v4(198, 51, 100, 0), 24, Special), // documentation
    (v4(203, 0, 113, 0), 24, Special),  // documentation
    (v4(224, 0, 0, 0), 4, Special),     // multicast
    (v4(240, 0, 0, 0), 4, Special),     // reserved, and broadcast
];

const fn v6(high: [u16; 4], low: [u16; 4]) -> Ipv6Addr {
    Ipv6Addr::new(high[0], high[1], high[2], high[3], low[0], low[1], low[2], low[3])
}

const fn v6_prefix(first: u16, second: u16) -> Ipv6Addr {
    v6([first, second, 0, 0], [0; 4])
}

/// As [`V4`], but whatever is in no range here is special: of IPv6 only 2000::/3 is in use.
const V6: &[Range<Ipv6Addr>] = &[
    (v6([0; 4], [0, 0, 0, 1]), 128, Private), // loopback
    (v6([0xfd00, 0xec2, 0, 0], [0, 0, 0, 0x254]), 128, Special), // metadata of AWS
    (v6([0xfd20, 0xce, 0, 0], [0, 0, 0, 0x254]), 128, Special), // metadata of Google Cloud
    (v6_prefix(0xfc00, 0), 7, Private),       // unique local
    (v6_prefix(0x2001, 0), 23, Special),      // protocol assignments, with Teredo
    (v6_prefix(0x2001, 0xdb8), 32, Special),  // documentation
    (v6_prefix(0x2002, 0), 16, Special),      // 6to4, which holds an IPv4 address
    (v6_prefix(0x3fff, 0), 20, Special),      // documentation
    (v6_prefix(0x2000, 0), 3, Public),
];

/// Where IPv4 addresses are written as IPv6 ones: the last 32 bits below these 96.
const EMBEDDINGS: &[Ipv6Addr] = &[
    v6([0; 4], [0, 0xffff, 0, 0]), // IPv4-mapped: connecting to one is connecting by IPv4
    v6([0x64, 0xff9b, 0, 0], [0; 4]), // NAT64: a gateway connects to it by IPv4
];

fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => {
            let of = V4.iter().find(|(network, length, _)| {
                prefix(address.to_bits().into(), 32, *length) == prefix(network.to_bits().into(), 32, *length)
            });
            of.map_or(Public, |(_, _, class)| *class)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            if EMBEDDINGS
                .iter()
                .any(|embedding| prefix(bits, 128, 96) == prefix(embedding.to_bits(), 128, 96))
            {
                let [.., a, b, c, d] = address.octets();
                return class(v4(a, b, c, d).into());
            }
            let of = V6.iter().find(|(network, length, _)| {
                prefix(bits, 128, *length) == prefix(network.to_bits(), 128, *length)
            });
            of.map_or(Special, |(_, _, class)| *class)
        }
    }
}

/// The first `length` of the `width` bits of an address. No length is 0.
const fn prefix(bits: u128, width: u8, length: u8) -> u128 {
    bits >> (width - length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Class {
        class(text.parse().unwrap())
    }

    /// The first and the last address of each range, and its neighbours outside.
    #[test]
    fn ranges_begin_and_end_where_they_should() {
        for (first, last, expected) in [
            ("0.0.0.0", "0.255.255.255", Special),
            ("10.0.0.0", "10.255.255.255", Private),
            ("100.64.0.0", "100.127.255.255", Private),
            ("127.0.0.0", "127.255.255.255", Private),
            ("169.254.0.0", "169.254.255.255", Special),
            ("172.16.0.0", "172.31.255.255", Private),
            ("192.0.0.0", "192.0.0.255", Special),
            ("192.0.2.0", "192.0.2.255", Special),
            ("192.88.99.0", "192.88.99.255", Special),
            ("192.168.0.0", "192.168.255.255", Private),
            ("198.18.0.0", "198.19.255.255", Special),
            ("198.51.100.0", "198.51.100.255", Special),
            ("203.0.113.0", "203.0.113.255", Special),
            ("224.0.0.0", "239.255.255.255", Special),
            ("240.0.0.0", "255.255.255.255", Special),
        ] {
            assert_eq!((of(first), of(last)), (expected, expected), "{first} to {last}");
            let [first, last]: [Ipv4Addr; 2] = [first, last].map(|text| text.parse().unwrap());
            let outside = [first.to_bits().checked_sub(1), last.to_bits().checked_add(1)];
            for neighbour in outside.into_iter().flatten().map(Ipv4Addr::from_bits) {
                let special_too = neighbour.octets()[0] >= 224;
                assert_eq!(class(neighbour.into()) == Public, !special_too, "{neighbour}");
            }
        }
        for (first, last, expected) in [
            ("::1", "::1", Private),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Special),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Special),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Special),
        ] {
            assert_eq!((of(first), of(last)), (expected, expected), "{first} to {last}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::",
            "2001:200::",
            "2606:4700:4700::1111",
            "2a00:1450:4001:80b::200e",
            "2003::",
            "3ffe::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(of(address), Public, "{address}");
        }
    }

    #[test]
    fn an_address_in_an_address_is_what_it_leads_to() {
        for (address, expected) in [
            ("::ffff:127.0.0.1", Private),
            ("::ffff:7f00:1", Private),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:169.254.169.254", Special),
            ("::ffff:0.0.0.0", Special),
            ("64:ff9b::127.0.0.1", Private),
            ("64:ff9b::a9fe:a9fe", Special),
            ("64:ff9b:1::10.0.0.1", Special), // a local prefix of NAT64
            ("::127.0.0.1", Special),         // "compatible", withdrawn
            ("2002:7f00:1::", Special),
            ("2001:0:7f00:1::", Special), // Teredo
        ] {
            assert_eq!(of(address), expected, "{address}");
        }
    }

    #[test]
    fn whatever_is_not_in_use_is_special() {
        for address in [
            "::",
            "::2",
            "100::1",
            "4000::1",
            "5f00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ffff::",
            "fd00:ec2::254",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
        ] {
            assert_eq!(of(address), Special, "{address}");
        }
    }

    #[test]
    fn policies_differ_in_private_addresses_alone() {
        use AddressPolicy::{AllowPrivate, PublicOnly};
        let check = |policy: AddressPolicy, text: &str| policy.check(text.parse().unwrap());
        for policy in [PublicOnly, AllowPrivate] {
            assert_eq!(check(policy, "8.8.8.8"), Ok(()));
            assert_eq!(check(policy, "169.254.169.254"), Err(Refusal::Special));
            assert_eq!(check(policy, "0.0.0.0"), Err(Refusal::Special));
        }
        for private in ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "::ffff:192.168.0.1"] {
            assert_eq!(check(PublicOnly, private), Err(Refusal::Private), "{private}");
            assert_eq!(check(AllowPrivate, private), Ok(()), "{private}");
        }
    }
}
