//! Properties of what reads other people's text: secrets, headers, URLs, and
//! what a queue gives back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evalx_webhook::{
    AddressPolicy, Answer, Delivery, Ending, Outcome, RetryPolicy, Secret, Secrets, SignedHeaders, Target,
    parse_retry_after, sign, verify,
};
use proptest::prelude::*;

/// Forms in which an IPv4 address can be written in a URL.
fn disguises(address: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = address.octets();
    let bits = address.to_bits();
    let low24 = bits & 0x00ff_ffff;
    let low16 = bits & 0xffff;
    vec![
        address.to_string(),
        format!("{bits}"),
        format!("{bits:#x}"),
        format!("0{bits:o}"),
        format!("{a}.{low24}"),
        format!("{a:#x}.{b}.{low16}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("{a:#X}.{b:#x}.0{c:o}.{d}"),
        format!("{a}.{b}.{c}.{d}."),
        format!("[::ffff:{a}.{b}.{c}.{d}]"),
        format!("[64:ff9b::{:x}:{:x}]", bits >> 16, low16),
    ]
}

fn private() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[b, c, d]| Ipv4Addr::new(127, b, c, d)),
        any::<[u8; 3]>().prop_map(|[b, c, d]| Ipv4Addr::new(10, b, c, d)),
        any::<[u8; 2]>().prop_map(|[c, d]| Ipv4Addr::new(192, 168, c, d)),
        (16_u8..32, any::<[u8; 2]>()).prop_map(|(b, [c, d])| Ipv4Addr::new(172, b, c, d)),
        any::<[u8; 2]>().prop_map(|[c, d]| Ipv4Addr::new(169, 254, c, d)),
    ]
}

proptest! {
    #[test]
    fn no_disguise_of_a_private_address_is_taken(address in private(), port in 1024_u16..) {
        for host in disguises(address) {
            let url = format!("http://{host}/x");
            prop_assert!(Target::parse(&url, AddressPolicy::PublicOnly).is_err(), "{url}");
            let url = format!("https://{host}:{port}/");
            prop_assert!(Target::parse(&url, AddressPolicy::PublicOnly).is_err(), "{url}");
        }
    }

    #[test]
    fn policies_agree_about_an_address_and_its_embeddings(bits in any::<u32>()) {
        let address = Ipv4Addr::from_bits(bits);
        let mapped = IpAddr::V6(address.to_ipv6_mapped());
        let nat64 = IpAddr::V6(Ipv6Addr::from_bits((0x0064_ff9b_u128 << 96) | u128::from(bits)));
        for policy in [AddressPolicy::PublicOnly, AddressPolicy::AllowPrivate] {
            prop_assert_eq!(policy.check(address.into()), policy.check(mapped));
            prop_assert_eq!(policy.check(address.into()), policy.check(nat64));
        }
        if AddressPolicy::PublicOnly.check(address.into()).is_ok() {
            prop_assert!(!address.is_private() && !address.is_loopback() && !address.is_link_local());
            prop_assert!(!address.is_multicast() && !address.is_broadcast() && !address.is_unspecified());
            prop_assert!(!address.is_documentation());
        }
    }

    #[test]
    fn public_ipv6_is_none_of_the_special_ones(bits in any::<u128>()) {
        let address = Ipv6Addr::from_bits(bits);
        if AddressPolicy::PublicOnly.check(address.into()).is_ok() {
            prop_assert_eq!(bits >> 125, 1);
            prop_assert!(!address.is_loopback() && !address.is_multicast() && !address.is_unspecified());
        }
    }

    /// Whatever is taken is what a request can be made of, and is taken again.
    #[test]
    fn any_text_is_a_target_or_an_error(text in "(http|https|ftp|HTTP)?:?/{0,3}.{0,40}") {
        if let Ok(target) = Target::parse(&text, AddressPolicy::PublicOnly) {
            let url = target.to_string();
            prop_assert!(url.starts_with("http://") || url.starts_with("https://"));
            prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{}", url);
            prop_assert_eq!(Target::parse(&url, AddressPolicy::PublicOnly), Ok(target));
        }
    }

    #[test]
    fn any_text_is_a_secret_or_an_error(text in "(whsec_)?.{0,100}") {
        if let Ok(secret) = text.parse::<Secret>() {
            prop_assert!(text.starts_with("whsec_"));
            let printed = format!("{secret:?}");
            prop_assert!(!printed.contains(&text[6..]), "{}", printed);
        }
        let _ = text.parse::<Secrets>();
    }

    #[test]
    fn any_text_is_a_wait_or_none(text in ".{0,40}", seconds in any::<u64>()) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let _ = parse_retry_after(&text, now);
        prop_assert_eq!(parse_retry_after(&seconds.to_string(), now), Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_wait_is_within_its_bounds(
        attempt in 1_u32..100, asked in proptest::option::of(any::<u64>()), chance in 0.0_f64..=1.0,
        first in 0_u64..100_000, longest in 0_u64..100_000, cap in 0_u64..100_000,
    ) {
        let [first, longest, cap] = [first, longest, cap].map(Duration::from_millis);
        let policy =
            RetryPolicy::default().with_retries(50).with_waits(first, longest).with_longest_retry_after(cap);
        let answer = Answer::new(503);
        let answer = asked.map_or(answer, |asked| answer.with_retry_after(Duration::from_secs(asked)));
        match policy.decide(attempt, &Ending::Answered(answer), chance) {
            Outcome::Retry { after } => {
                prop_assert!(attempt <= 50);
                prop_assert!(after <= longest.max(cap));
                let asked = Duration::from_secs(asked.unwrap_or_default()).min(cap);
                prop_assert!(after >= asked);
            }
            outcome => {
                prop_assert!(attempt > 50);
                prop_assert_eq!(outcome, Outcome::GivenUp);
            }
        }
    }

    #[test]
    fn what_is_signed_verifies_and_what_was_changed_does_not(
        key in proptest::collection::vec(any::<u8>(), 24..=64), id in "[a-z0-9_]{1,20}",
        body in proptest::collection::vec(any::<u8>(), 1..200), at in 0_u64..=4_000_000_000, flip in any::<usize>(),
    ) {
        let secrets: Secrets = format!("whsec_{}", STANDARD.encode(key)).parse().unwrap();
        let signature = sign(&secrets, &id, at, &body);
        let timestamp = at.to_string();
        let headers = SignedHeaders::new(&id, &timestamp, &signature);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        prop_assert_eq!(verify(&secrets, headers, &body, now, Duration::ZERO), Ok(()));
        let mut changed = body;
        let place = flip % changed.len();
        changed[place] ^= 1;
        prop_assert!(verify(&secrets, headers, &changed, now, Duration::ZERO).is_err());
    }

    #[test]
    fn any_header_verifies_or_is_an_error(id in ".{0,20}", timestamp in ".{0,20}", signature in "(v1,)?.{0,80}") {
        let secrets: Secrets = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let headers = SignedHeaders::new(&id, &timestamp, &signature);
        let verified = verify(&secrets, headers, b"body", SystemTime::now(), Duration::from_secs(300));
        prop_assert!(verified.is_err());
    }

    #[test]
    fn what_a_queue_gives_back_is_a_delivery_or_an_error(text in ".{0,100}") {
        let _ = serde_json::from_str::<Delivery>(&text);
    }
}
