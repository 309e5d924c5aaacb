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
    println!(" slots   ready ms    runs ms   KiB each: share  private  kernel  machine");
    for slots in numbers {
        let free = available();
        let ready = fleet::ready(slots, state.path()).await?;
        let machine = free.saturating_sub(available()) / slots.max(1) as u64;
        let cost = fleet::cost(&traces).unwrap_or_default();
        let runs = fleet::run_at_once(&ready.sandbox, slots).await?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{slots:>6} {:>10.1} {:>10.1} {:>17} {:>8} {:>7} {machine:>8}",
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

/// The memory that is left on this machine, in KiB: what no cgroup is charged
/// for (network namespaces above all) shows there alone, and roughly.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
    value.and_then(|text| text.parse().ok()).unwrap_or(0)
}
