//! [`Record`]: the durations of one benchmark, for `docs/benchmarks.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was measured of one contender at one task.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// The contender.
    pub contender: String,
    /// The task.
    pub task: String,
    /// Each run, in nanoseconds; empty where only the rate counts.
    pub runs: Vec<u64>,
    /// Runs and the nanoseconds that they took together.
    pub rate: (u64, u64),
}

impl Series {
    /// The duration that `share` of the runs stayed below.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted = self.runs.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index of a few thousand"
        )]
        let index = (last as f64 * share).round() as usize;
        sorted.get(index).copied().map(Duration::from_nanos)
    }

    /// Runs in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let (runs, ns) = self.rate;
        #[expect(clippy::cast_precision_loss, reason = "printed with three digits")]
        let rate = runs as f64 / Duration::from_nanos(ns).as_secs_f64().max(f64::MIN_POSITIVE);
        rate
    }
}

/// The results of one file of benchmarks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// The file's name, without its ending.
    pub bench: String,
    /// What was measured, in the order of measuring.
    pub series: Vec<Series>,
    /// Who could not take part, and why.
    pub skipped: BTreeMap<String, String>,
    /// Versions of what took part.
    pub versions: BTreeMap<String, String>,
}

/// Where records are kept between measuring and writing down.
#[must_use]
pub fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")), PathBuf::from);
    target.join("evalx-benches")
}

impl Record {
    /// Adds runs to the series of a contender at a task.
    pub fn add(&mut self, contender: &str, task: &str, runs: &[Duration]) {
        let ns = |time: &Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let series = self.series(contender, task);
        series.runs.extend(runs.iter().map(ns));
        series.rate.0 += runs.len() as u64;
        series.rate.1 += runs.iter().map(ns).sum::<u64>();
    }

    /// Adds so many runs that took this long together.
    pub fn add_batch(&mut self, contender: &str, task: &str, runs: u64, time: Duration) {
        let series = self.series(contender, task);
        series.rate.0 += runs;
        series.rate.1 += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    }

    fn series(&mut self, contender: &str, task: &str) -> &mut Series {
        let index = self.series.iter().position(|one| one.contender == contender && one.task == task);
        let index = index.unwrap_or_else(|| {
            self.series.push(Series {
                contender: contender.to_owned(),
                task: task.to_owned(),
                ..Series::default()
            });
            self.series.len() - 1
        });
        &mut self.series[index]
    }

    /// Keeps it for the program that writes the results down.
    ///
    /// # Panics
    ///
    /// If the target folder can't be written.
    pub fn save(&self) {
        let folder = folder();
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        let text = serde_json::to_string(self).expect("a record is JSON");
        std::fs::write(folder.join(format!("{}.json", self.bench)), text).expect("it can be written");
    }

    /// What was kept of a file of benchmarks.
    #[must_use]
    pub fn load(bench: &str) -> Option<Self> {
        let text = std::fs::read_to_string(folder().join(format!("{bench}.json"))).ok()?;
        serde_json::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_rates() {
        let mut record = Record::default();
        let runs: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        record.add("one", "task", &runs);
        let series = &record.series[0];
        assert_eq!(series.quantile(0.5), Some(Duration::from_millis(51)));
        assert_eq!(series.quantile(1.0), Some(Duration::from_millis(101)));
        assert!((series.per_second() - 1000.0 / 51.0).abs() < 0.01);
        assert_eq!(Series::default().quantile(0.5), None);
    }
}
