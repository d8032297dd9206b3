//! A loop over the pages of one API: the executor beside the hand-written baseline.

use std::time::Duration;

use serde_json::{Value, json};

use crate::baseline::BaselinePoller;
use crate::harness::BenchHarness;
use crate::machine;
use crate::report::{ReportSection, median, micros, spread};
use crate::size::{BenchSize, SHARE};
use crate::upstream::RequestStats;

const KIB: usize = 1024;

/// The load at one page size.
struct PageLoad {
    name: &'static str,
    bytes: usize,
    /// The number of concurrent loops, enough to keep the core busy.
    loops: usize,
    /// The number of pages of each loop.
    pages: u64,
}

/// Returns a plan with a loop condition, two more conditions, and a context value.
fn plan(load: &PageLoad) -> Value {
    let (bytes, pages) = (load.bytes, load.pages);
    json!({
        "step": {
            "id": "pages",
            "url": format!(
                "{{{{ config.base_url }}}}/pages?size={bytes}&pages={pages}&cursor={{{{ response.body.next || '0' }}}}"
            ),
            "while": "response.body.next",
            "retry_when": "response.body.busy",
            "break_when": "response.body.last",
            "set_context": {"cursor": "response.body.next"},
        },
        "max_loops": pages + 1,
        "max_execution_seconds": 3600,
    })
}

/// One measurement of the executor or the baseline.
struct PageMeasurement {
    cpu_us: f64,
    per_second: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn measurement(cpu: Duration, stats: RequestStats, load: &PageLoad) -> PageMeasurement {
    assert_eq!(stats.requests, load.pages * load.loops as u64, "every page is requested once");
    let requests = stats.requests as f64;
    PageMeasurement { cpu_us: micros(cpu) / requests, per_second: requests / stats.span.as_secs_f64() }
}

async fn measure_orchid(harness: &BenchHarness, load: &PageLoad) -> PageMeasurement {
    let plan = plan(load);
    harness.upstream.reset();
    let before = machine::cpu_time(harness.executor());
    harness.run(&plan, load.loops).await;
    measurement(machine::cpu_time(harness.executor()) - before, harness.upstream.stats(), load)
}

fn measure_baseline(
    harness: &BenchHarness,
    baseline: &mut BaselinePoller,
    load: &PageLoad,
) -> PageMeasurement {
    harness.upstream.reset();
    let before = machine::cpu_time(baseline.id());
    tokio::task::block_in_place(|| baseline.run(load.bytes, load.pages, load.loops));
    measurement(machine::cpu_time(baseline.id()) - before, harness.upstream.stats(), load)
}

pub(crate) async fn measure(size: BenchSize) -> ReportSection {
    let rounds = size.of(5, 9);
    let pages = |short: u64| size.of(short, 4 * short) / SHARE;
    let loads = [
        PageLoad { name: "1 KiB", bytes: KIB, loops: 16, pages: pages(1500) },
        PageLoad { name: "100 KiB", bytes: 100 * KIB, loops: 8, pages: pages(250) },
        PageLoad { name: "1 MiB", bytes: 1024 * KIB, loops: 4, pages: pages(75) },
    ];
    let mut section = ReportSection::new(
        "Pages, beside a hand-written poller",
        format!(
            "One executor on one core runs loops with `while`, two more conditions and one `set_context`, and writes every \
             page to Kafka (mock broker, `acks=all`, idempotent, lz4, linger 5 ms). The baseline is hand-written Rust: reqwest, \
             a serde struct for the cursor, and rdkafka with the same settings; its message is the unchanged body. CPU time is \
             user and system time of the whole process, from `/proc`. {rounds} rounds of each in turn; medians (minimum – \
             maximum). Goal: at least 0.80 of the baseline's requests per second at 1 KiB, and 0.85 above."
        ),
        &[
            "pages",
            "executor, CPU µs per request",
            "baseline, CPU µs per request",
            "CPU ratio",
            "executor, requests/s",
            "baseline, requests/s",
            "rate ratio",
        ],
    );
    let harness = BenchHarness::start(Duration::ZERO, 16 << 20).await;
    let mut baseline =
        BaselinePoller::start(&harness.upstream.url(), harness.kafka.brokers(), &harness.topics.responses);
    for load in &loads {
        let warm = PageLoad { pages: load.pages.div_ceil(10), ..*load };
        measure_orchid(&harness, &warm).await;
        measure_baseline(&harness, &mut baseline, &warm);
        let mut taken = Vec::new();
        for _ in 0..rounds {
            taken.push((
                measure_orchid(&harness, load).await,
                measure_baseline(&harness, &mut baseline, load),
            ));
        }
        let column = |pick: fn(&(PageMeasurement, PageMeasurement)) -> f64| {
            taken.iter().map(pick).collect::<Vec<f64>>()
        };
        section.row([
            load.name.to_owned(),
            spread(&column(|(ours, _)| ours.cpu_us), 1),
            spread(&column(|(_, baseline)| baseline.cpu_us), 1),
            format!("**{:.2}**", median(&column(|(ours, baseline)| baseline.cpu_us / ours.cpu_us))),
            format!("{:.0}", median(&column(|(ours, _)| ours.per_second))),
            format!("{:.0}", median(&column(|(_, baseline)| baseline.per_second))),
            format!("{:.2}", median(&column(|(ours, baseline)| ours.per_second / baseline.per_second))),
        ]);
    }
    drop(baseline);
    harness.stop().await;
    section
}
