//! Any bytes are a meta file: the parser takes them all, and what it makes of
//! them is within its bounds.

#![no_main]

use evalx_sandbox_isolate::Meta;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let meta = Meta::parse(bytes);
    assert!(meta.exit_code.is_none_or(|code| (0..=255).contains(&code)));
    assert!(meta.exit_signal.is_none_or(|signal| (1..=64).contains(&signal)));
    // Nothing is remembered from one to the next.
    assert_eq!(meta, Meta::parse(bytes));
});
