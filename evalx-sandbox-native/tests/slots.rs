//! Sixty-four slots: ready soon, all of them at work at once, and cheap.

mod fleet;
mod traces;

use std::time::Duration;

use evalx_core::{ErrorKind, Sandbox};
use traces::{Holdings, Traces, eventually, stretched};

const SLOTS: usize = 64;
/// How soon they are ready at best, on a machine that does other things too.
const READY: Duration = Duration::from_millis(500);
/// The most that a slot may cost, in KiB.
const COST: u64 = 4 << 10;

#[test]
fn sixty_four_slots() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // The first one opens what the process then keeps for good.
    drop(runtime());
    let before = Holdings::now();
    let state = tempfile::tempdir().unwrap();
    let traces = Traces::of(state.path(), std::process::id());
    let runtime = runtime();
    let mut best = Duration::MAX;
    for _ in 0..3 {
        runtime.block_on(async {
            let ready = match fleet::ready(SLOTS, state.path()).await {
                Ok(ready) => ready,
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    println!("ignored: {error:?}");
                    best = Duration::ZERO;
                    return;
                }
                Err(error) => panic!("{error:?}"),
            };
            best = best.min(ready.took);
            assert_eq!(traces.zygotes().len(), SLOTS);
            let cost = fleet::cost(&traces);
            let runs = fleet::run_at_once(&ready.sandbox, SLOTS).await.unwrap();
            println!(
                "ready after {:?}, {SLOTS} runs at once took {runs:?}; a slot costs {cost:?}",
                ready.took
            );
            if let Some(cost) = cost {
                assert!(cost.private <= cost.share, "{cost:?}");
                assert!(cost.share + cost.kernel < COST, "a slot costs more than {COST} KiB: {cost:?}");
            }
            ready.sandbox.shutdown().await.unwrap();
            traces.gone().unwrap();
        });
    }
    assert!(best < stretched(READY), "{SLOTS} slots were ready after {best:?} at best");
    drop(runtime);
    eventually(Duration::from_secs(5), || before.restored()).unwrap();
}
