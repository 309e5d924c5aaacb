//! What slots cost: how soon they are ready, how long as many runs at once
//! take, and how much memory each holds while it waits.
//!
//! ```text
//! cargo run --release -p evalx-sandbox-native --example slots -- 1 16 64 256
//! ```

#[path = "../tests/fleet/mod.rs"]
mod fleet;
#[path = "../tests/traces/mod.rs"]
mod traces;

use std::error::Error;
use std::time::Duration;

use evalx_core::Sandbox;
use traces::{Holdings, Traces, eventually};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "figures are what it is for")]
async fn main() -> Result<(), Box<dyn Error>> {
    let before = Holdings::now();
    let state = tempfile::tempdir()?;
    let traces = Traces::of(state.path(), std::process::id());
    let mut numbers = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<Vec<usize>, _>>()?;
    if numbers.is_empty() {
        numbers = vec![1, 4, 16, 64];
    }
    println!("{:>6} {:>10} {:>10} {:>30}", "slots", "ready ms", "runs ms", "KiB each: share private kernel");
    for slots in numbers {
        let ready = fleet::ready(slots, state.path()).await?;
        let cost = fleet::cost(&traces).unwrap_or_default();
        let runs = fleet::run_at_once(&ready.sandbox, slots).await?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{slots:>6} {:>10.1} {:>10.1} {:>16} {:>7} {:>5}",
            ms(ready.took),
            ms(runs),
            cost.share,
            cost.private,
            cost.kernel
        );
        ready.sandbox.shutdown().await?;
        traces.gone()?;
    }
    eventually(Duration::from_secs(5), || before.restored())?;
    Ok(())
}
