//! Writes what was measured last to `docs/benchmarks.md`, with a plot.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use evalx_benches::record::{Record, Series, folder};

/// The files of benchmarks, and the question that each answers.
const BENCHES: [(&str, &str); 5] = [
    ("warm_run", "What does one run cost when all is warm?"),
    ("throughput", "How many runs a second, one after the other and at once?"),
    ("twenty_tests", "How long does a submission with twenty tests take?"),
    ("compile", "What does a sandbox add to compiling?"),
    ("cold_start", "How long until a new sandbox has run its first program?"),
];

/// What is written lies between these lines of the page; the rest is left alone.
const MARKS: [&str; 2] =
    ["<!-- written by evalx-benches: begin -->\n", "<!-- written by evalx-benches: end -->\n"];

const HEAD: &str = "## All backends, compared

`cargo run -p evalx-benches` writes this part from what `cargo bench -p evalx-benches` measured last; \
`examples/images/make.sh base` makes the image. Compare figures of one table only: they are of one \
machine, but what else it did differs from table to table.

`hello C` prints a line and is compiled by `cc -O2 -static -s`; `hello Python` is \
`python3 -c \"print('hello')\"`. A run has a session of its own (opened, the program placed, run, \
closed), unless the table says *step alone*: then the session is open already.

- **floor**: `posix_spawn` and a wait, no sandbox at all.
- **native**: this backend, warm.
- **isolate**: this backend, warm; with control groups only where isolate can use them.
- **docker agent**: a warm container; steps are started by the agent inside.
- **docker exec**: a warm container; steps are started by the engine's API, without evalx.
- **docker create**: as *docker agent*, with a container made for each session.
- **docker run**: a container made for each run by the engine's API, without evalx.

";

/// A median: of which bench, of which task, and by what.
type Median = (&'static str, &'static str, &'static str);

/// What the warm pool and the agent are for, as ratios of two medians: the
/// percentage stands between the two texts.
const RATIOS: [(&str, &str, [Median; 2]); 2] = [
    (
        "A run of hello C through the agent, with a session of its own, takes",
        "of the time of a `docker exec`.",
        [("warm_run", "hello C", "docker agent"), ("warm_run", "hello C", "docker exec")],
    ),
    (
        "The 20 tests of a compiled C++ program, run through the agent, together take",
        "of the time of one `docker run` of hello C.",
        [
            ("twenty_tests", "20 tests of a compiled C++ program", "docker agent"),
            ("warm_run", "hello C", "docker run"),
        ],
    ),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let records: Vec<(Record, &str)> =
        BENCHES.iter().filter_map(|(bench, question)| Some((Record::load(bench)?, *question))).collect();
    let Some((first, _)) = records.first() else {
        return Err(format!(
            "nothing was measured: {} is empty; run `cargo bench -p evalx-benches`",
            folder().display()
        )
        .into());
    };
    let mut page = HEAD.to_owned();
    for (name, version) in &first.versions {
        writeln!(page, "- {name}: {version}")?;
    }
    page.push('\n');
    for (what, of, [one, other]) in RATIOS {
        if let (Some(one), Some(other)) = (median(&records, one), median(&records, other)) {
            writeln!(page, "- {what} {:.1} % {of}", 100.0 * one.as_secs_f64() / other.as_secs_f64())?;
        }
    }
    page.push_str("\n![Median of one warm run](benchmarks.svg)\n");
    for (record, question) in &records {
        write!(page, "\n### {question}\n\n`benches/{}.rs`", record.bench)?;
        for (contender, why) in &record.skipped {
            write!(page, "; {contender} is skipped: {why}")?;
        }
        page.push('\n');
        tables(&mut page, record)?;
    }
    let file = docs.join("benchmarks.md");
    let before = fs::read_to_string(&file)?;
    let [begin, end] = MARKS;
    let (head, rest) = before.split_once(begin).unwrap_or((&before, ""));
    let tail = rest.split_once(end).map_or("", |(_, tail)| tail);
    fs::write(&file, format!("{}\n\n{begin}{page}{end}{tail}", head.trim_end()))?;
    let warm = records.iter().find(|(record, _)| record.bench == "warm_run");
    if let Some((record, _)) = warm {
        fs::write(docs.join("benchmarks.svg"), plot(record)?)?;
    }
    Ok(())
}

/// The median of a contender at a task of a benchmark, if it was measured.
fn median(records: &[(Record, &str)], (bench, task, contender): (&str, &str, &str)) -> Option<Duration> {
    let (record, _) = records.iter().find(|(record, _)| record.bench == bench)?;
    let is = |series: &&Series| series.task == task && series.contender == contender;
    record.series.iter().find(is)?.quantile(0.5)
}

/// One table for each task.
fn tables(page: &mut String, record: &Record) -> std::fmt::Result {
    let mut tasks: Vec<&str> = Vec::new();
    for series in &record.series {
        if !tasks.contains(&series.task.as_str()) {
            tasks.push(&series.task);
        }
    }
    for task in tasks {
        let of = |series: &&Series| series.task == task;
        let floor = record.series.iter().find(|series| of(series) && series.contender == "floor");
        let Some(floor) = floor else { continue };
        if floor.runs.is_empty() {
            writeln!(page, "\n| {task} | runs a second | share of the floor |\n|---|---|---|")?;
        } else {
            writeln!(page, "\n| {task} | median | p95 | p99 | x floor | runs |\n|---|---|---|---|---|---|")?;
        }
        for series in record.series.iter().filter(of) {
            let name = &series.contender;
            match (series.quantile(0.5), floor.quantile(0.5)) {
                (Some(median), Some(bare)) => {
                    let (p95, p99) =
                        (series.quantile(0.95).unwrap_or(median), series.quantile(0.99).unwrap_or(median));
                    let times = median.as_secs_f64() / bare.as_secs_f64();
                    let runs = series.runs.len();
                    writeln!(
                        page,
                        "| {name} | {} | {} | {} | {times:.1} | {runs} |",
                        show(median),
                        show(p95),
                        show(p99)
                    )?;
                }
                _ => {
                    let (rate, bare) = (series.per_second(), floor.per_second());
                    writeln!(page, "| {name} | {rate:.0} | {:.1} % |", 100.0 * rate / bare)?;
                }
            }
        }
    }
    Ok(())
}

fn show(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        ..10.0 => format!("{ms:.2} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1e3),
    }
}

/// Medians of the warm runs as bars on a logarithmic scale.
fn plot(record: &Record) -> Result<String, std::fmt::Error> {
    /// Pixels from the left to where bars begin, and of one power of ten.
    const LEFT: f64 = 250.0;
    const DECADE: f64 = 130.0;
    const ROW: f64 = 22.0;
    /// Bars begin at a tenth of a millisecond.
    const LEAST: f64 = 0.1;
    let bars: Vec<(String, f64)> = record
        .series
        .iter()
        .filter_map(|series| {
            let label = format!("{}: {}", series.task, series.contender);
            Some((label, series.quantile(0.5)?.as_secs_f64() * 1e3))
        })
        .collect();
    let mut height = 40.0;
    let mut body = String::new();
    for power in 0..=4 {
        let (x, ms) = (LEFT + DECADE * f64::from(power), LEAST * 10_f64.powi(power));
        writeln!(body, "<text x='{x:.0}' y='20' text-anchor='middle'>{ms} ms</text>")?;
    }
    for (label, ms) in &bars {
        let width = DECADE * (ms / LEAST).log10().max(0.01);
        let (text, end) = (height + 14.0, LEFT + width + 6.0);
        writeln!(body, "<text x='{:.0}' y='{text:.0}' text-anchor='end'>{label}</text>", LEFT - 6.0)?;
        writeln!(body, "<rect x='{LEFT:.0}' y='{:.0}' width='{width:.0}' height='16'/>", height + 1.0)?;
        writeln!(body, "<text x='{end:.0}' y='{text:.0}'>{ms:.2} ms</text>")?;
        height += ROW;
    }
    Ok(format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='900' height='{:.0}' font-family='sans-serif' \
         font-size='12'>\n<title>Median of one warm run, logarithmic</title>\n<rect width='100%' height='100%' \
         fill='white'/>\n<g fill='#333'>\n{}</g>\n</svg>\n",
        height + 10.0,
        body.replace("<rect ", "<rect fill='#4878a8' ")
    ))
}
