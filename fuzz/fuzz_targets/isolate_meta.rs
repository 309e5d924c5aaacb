//! Any bytes as the meta file of isolate: what is taken from them is possible.
#![no_main]

use evalx_sandbox_isolate::Meta;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let meta = Meta::parse(bytes);
    assert!(meta.exit_code.is_none_or(|code| (0..=255).contains(&code)));
    assert!(meta.exit_signal.is_none_or(|signal| (1..=64).contains(&signal)));
    // The first of a field counts, whatever comes behind.
    if bytes.len() < 1024 {
        let behind = b"\nexitcode:7\nexitsig:9\nstatus:XX\ntime:1.000\nunknown:1\n";
        let longer = Meta::parse(&[bytes, behind].concat());
        assert_eq!(longer.exit_code, meta.exit_code.or(Some(7)));
        assert_eq!(longer.exit_signal, meta.exit_signal.or(Some(9)));
        assert_eq!((longer.killed, longer.max_rss), (meta.killed, meta.max_rss));
        assert!(meta.status.is_none() || longer.status == meta.status);
        assert!(meta.cpu_time.is_none() || longer.cpu_time == meta.cpu_time);
    }
});
