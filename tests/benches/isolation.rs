//! Isolation: executions of a quiet tenant, alone and beside expressions of another tenant that
//! take most of their step budget.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::BenchHarness;
use crate::report::{ReportSection, micros};
use crate::size::BenchSize;

const HOSTILE_TENANT: &str = "0190163d-8694-739b-aea5-966c26f8ad92";
const HOSTILE_RUNS: usize = 4;

/// Returns a plan with one request.
fn quiet() -> Value {
    json!({"step": {"url": "{{ config.base_url }}/page?size=1024"}})
}

/// Returns a plan that computes for ever, with a request now and then.
fn hostile() -> Value {
    json!({
        "step": {
            "url": "{{ config.base_url }}/page?size=1024",
            "while": "length(range(`0`, `900000`)[?@ > `5`]) > length(range(`0`, `900000`)[?@ > `899990`])",
        },
        "max_loops": 1_000_000,
        "max_execution_seconds": 3600,
    })
}

/// Runs executions of the quiet tenant one after the other, and returns their times in order.
async fn times(harness: &BenchHarness, runs: usize) -> Vec<Duration> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = Instant::now();
        harness.run(&quiet(), 1).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    micros(times[(times.len() * percent / 100).min(times.len() - 1)]) / 1_000.0
}

pub(crate) async fn measure(size: BenchSize) -> ReportSection {
    let runs = size.of(100, 500);
    let mut section = ReportSection::new(
        "Isolation",
        format!(
            "Executions of one request each, one after the other, from the grant to the final report; alone, and beside {HOSTILE_RUNS} \
             executions of another tenant whose loops compute all the time, on the executor's one core. {runs} executions each."
        ),
        &["beside", "p50, ms", "p99, ms", "p99 / p99 alone"],
    );
    let harness = BenchHarness::start(Duration::ZERO, 16 << 20).await;
    let alone = times(&harness, runs).await;
    harness.offer_as(HOSTILE_TENANT, &hostile(), HOSTILE_RUNS).await;
    harness.until("the hostile executions compute", |upstream| upstream.stats().requests > 0).await;
    let beside = times(&harness, runs).await;
    for (name, times) in [("nothing", &alone), ("expensive expressions", &beside)] {
        section.row([
            name.to_owned(),
            format!("{:.2}", percentile(times, 50)),
            format!("{:.2}", percentile(times, 99)),
            format!("**{:.2}**", percentile(times, 99) / percentile(&alone, 99)),
        ]);
    }
    harness.stop().await;
    section
}
