//! A fan-out: one request for a list, and one for each of its rows.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::BenchHarness;
use crate::machine;
use crate::report::{ReportSection, median, micros, spread};
use crate::size::{BenchSize, SHARE};

const DELAY: Duration = Duration::from_millis(20);
const CONCURRENCY: u32 = 50;

/// Returns a plan that requests a list and then each of its rows at the path `child`.
pub(crate) fn plan(child: &str, items: u64, concurrency: u64) -> Value {
    json!({
        "step": {
            "id": "items",
            "url": format!("{{{{ config.base_url }}}}/items?count={items}"),
            "iterate_over": "response.body.items",
            "concurrency": concurrency,
            "sub_steps": [{"id": "child", "url": format!("{{{{ config.base_url }}}}{child}?id={{{{ item.id }}}}")}],
        },
        "max_execution_seconds": 3600,
    })
}

struct FanOutMeasurement {
    wall: Duration,
    /// The time of all requests at the upstream, divided by the concurrency.
    ideal: Duration,
    cpu_us: f64,
}

/// Measures `runs` consecutive executions with `items` rows each.
#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
async fn measure_runs(harness: &BenchHarness, items: u64, runs: u32) -> FanOutMeasurement {
    let plan = plan("/children", items, CONCURRENCY.into());
    let (mut wall, mut ideal) = (Duration::ZERO, Duration::ZERO);
    let before = machine::cpu_time(harness.executor());
    for _ in 0..runs {
        harness.upstream.reset();
        harness.run(&plan, 1).await;
        let stats = harness.upstream.stats();
        assert_eq!(stats.requests, items);
        wall += stats.span;
        ideal += stats.busy / CONCURRENCY;
    }
    let cpu = machine::cpu_time(harness.executor()) - before;
    FanOutMeasurement { wall, ideal, cpu_us: micros(cpu) / (items as f64 * f64::from(runs)) }
}

pub(crate) async fn measure(size: BenchSize) -> ReportSection {
    let many = size.of(2_000, 10_000) / SHARE;
    let rounds = 5;
    let mut section = ReportSection::new(
        "Fan-out",
        format!(
            "One execution requests a list and then each of its rows, {CONCURRENCY} at a time; the upstream takes {} ms for each row. \
             The ideal time is the measured time of all requests at the upstream, divided by {CONCURRENCY}. {rounds} rounds; \
             medians (minimum – maximum). CPU per row includes the execution itself, so small executions are repeated until they \
             have as many rows. Goal: at most 1.05 of the ideal time, and CPU per row that does not grow.",
            DELAY.as_millis()
        ),
        &["rows per execution", "executions", "time / ideal time", "CPU µs per row"],
    );
    let harness = BenchHarness::start(DELAY, 16 << 20).await;
    if let Err(why) = harness.probe(&plan("/children", 100, CONCURRENCY.into()), 100).await {
        section.row(["–".to_owned(), "–".to_owned(), format!("not measured: {why}"), "–".to_owned()]);
        harness.stop().await;
        return section;
    }
    let loads = [(100, u32::try_from(many.div_ceil(100)).expect("a number")), (many, 1)];
    let mut taken: [Vec<FanOutMeasurement>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for ((items, runs), into) in loads.into_iter().zip(&mut taken) {
            into.push(measure_runs(&harness, items, runs).await);
        }
    }
    for ((items, runs), taken) in loads.into_iter().zip(&taken) {
        let ratios: Vec<f64> =
            taken.iter().map(|one| one.wall.as_secs_f64() / one.ideal.as_secs_f64()).collect();
        let cpu: Vec<f64> = taken.iter().map(|one| one.cpu_us).collect();
        section.row([
            items.to_string(),
            runs.to_string(),
            format!("**{:.3}**", median(&ratios)),
            spread(&cpu, 1),
        ]);
    }
    harness.stop().await;
    section
}
