//! A [`StepReport`] in one line, for people.

use evalx_core::{Amount, StepReport};

use crate::units::{show_size, show_time};

/// How a step went, in one line.
pub(crate) fn summary(report: &StepReport) -> String {
    let limit = report.limit.map(|hit| match hit.limit {
        Amount::Time(time) => format!(" limit of {time:?}"),
        Amount::Size(size) => format!(" limit of {size}"),
        Amount::Count(count) => format!(" limit of {count}"),
        other => format!(" limit of {other:?}"),
    });
    format!(
        "{}{} · cpu {} · wall {} · memory {}",
        report.outcome,
        limit.unwrap_or_default(),
        show_time(report.cpu_time),
        show_time(report.wall_time),
        show_size(report.memory_peak)
    )
}

#[cfg(test)]
mod tests {
    use evalx_core::{ByteSize, LimitHit, LimitKind, Outcome};

    use super::*;

    #[test]
    fn the_line_for_people_names_the_limit() {
        let mut report = StepReport::new(Outcome::MemoryLimit);
        let size = Amount::Size(ByteSize::mib(64));
        report.limit = Some(LimitHit::new(LimitKind::Memory, size, size));
        assert_eq!(summary(&report), "exceeded its memory limit of 64M · cpu 0 µs · wall 0 µs · memory 0 B");
    }
}
