//! What is said of a series of measured times.

use std::time::Duration;

use serde::Serialize;

/// A series in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Series {
    /// Half of the runs took at most this, in microseconds.
    pub(crate) median_us: f64,
    /// 95 of 100 runs took at most this, in microseconds.
    pub(crate) p95_us: f64,
    /// Runs that ended in a second, all batches together.
    pub(crate) per_second: f64,
}

/// Times of single runs, and how long their batches took together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    times: Vec<Duration>,
    elapsed: Duration,
}

impl Samples {
    /// Adds a batch: its runs, and its time from the first start to the last end.
    pub(crate) fn add(&mut self, times: &[Duration], elapsed: Duration) {
        self.times.extend_from_slice(times);
        self.elapsed += elapsed;
    }

    /// The three numbers; all zero if nothing was measured.
    pub(crate) fn series(mut self) -> Series {
        self.times.sort_unstable();
        let per_second = match self.elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => f64::from(u32::try_from(self.times.len()).unwrap_or(u32::MAX)) / seconds,
        };
        Series {
            median_us: microseconds(self.rank(50)),
            p95_us: microseconds(self.rank(95)),
            per_second: tenths(per_second),
        }
    }

    /// The nearest rank: the least time that `percent` of all do not exceed.
    fn rank(&self, percent: usize) -> Duration {
        let at = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        self.times.get(at).copied().unwrap_or_default()
    }
}

fn microseconds(time: Duration) -> f64 {
    tenths(time.as_secs_f64() * 1e6)
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_of_what_was_measured() {
        let mut samples = Samples::default();
        let times: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        samples.add(&times[..50], Duration::from_millis(250));
        samples.add(&times[50..], Duration::from_millis(250));
        assert_eq!(samples.series(), Series { median_us: 50.0, p95_us: 95.0, per_second: 200.0 });
    }

    #[test]
    fn nothing_measured_is_nothing() {
        let series = Samples::default().series();
        assert_eq!(series, Series { median_us: 0.0, p95_us: 0.0, per_second: 0.0 });
    }
}
