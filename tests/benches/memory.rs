//! The memory of an executor: idle, per row of a fan-out, for one large page, and during a stream.

use std::time::Duration;

use serde_json::{Value, json};

use crate::amplified::INPUTS;
use crate::harness::BenchHarness;
use crate::report::{ReportSection, median, mib};
use crate::size::{BenchSize, SHARE};
use crate::{fan_out, machine};

const PAGE_BYTES: usize = 10 << 20;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn page_plan() -> Value {
    json!({"step": {
        "id": "page",
        "url": format!("{{{{ config.base_url }}}}/page?size={PAGE_BYTES}"),
        "iterate_over": "response.body.items",
        "set_context": {"next": "response.body.next"},
    }})
}

fn stream_plan(bytes: u64) -> Value {
    json!({
        "step": {
            "id": "lines",
            "url": format!("{{{{ config.base_url }}}}/lines?bytes={bytes}"),
            "iterate_over": "response.body",
            "response": {"format": "jsonl", "stream": true, "max_bytes": bytes + GIB},
            "timeout_seconds": 3600,
        },
        "max_execution_seconds": 7200,
    })
}

pub(crate) async fn measure(size: BenchSize) -> ReportSection {
    let stream_bytes = size.of(256 * MIB, 5 * GIB) / SHARE;
    let mut section = ReportSection::new(
        "Memory",
        "Resident memory of the executor's process, including its program text. Peaks are the kernel's high-water mark, each in a new process.",
        &["what", "measured", "goal"],
    );
    idle(&mut section).await;
    page(&mut section).await;
    in_flight(&mut section).await;
    amplified(&mut section).await;
    stream(&mut section, stream_bytes).await;
    section
}

async fn idle(section: &mut ReportSection) {
    let harness = BenchHarness::start(Duration::ZERO, 16 * MIB).await;
    let mut taken = Vec::new();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        taken.push(mib(machine::resident(harness.executor())));
    }
    section.row(["idle".to_owned(), format!("{:.1} MiB", median(&taken)), "≤ 40 MiB".to_owned()]);
    harness.stop().await;
}

async fn page(section: &mut ReportSection) {
    let mut taken = Vec::new();
    for _ in 0..5 {
        let harness = BenchHarness::start(Duration::ZERO, 16 * MIB).await;
        let before = machine::resident(harness.executor());
        machine::forget_peak(harness.executor());
        harness.run(&page_plan(), 1).await;
        taken.push(mib(machine::peak(harness.executor()) - before) / mib(PAGE_BYTES as u64));
        harness.stop().await;
    }
    let what = "one page of 10 MiB with unchanged rows, in messages of 2 MiB".to_owned();
    section.row([what, format!("{:.2} × the page", median(&taken)), "≤ 4 ×".to_owned()]);
}

async fn in_flight(section: &mut ReportSection) {
    let what = "a row in flight, with its connection".to_owned();
    let goal = "≤ 16 KiB".to_owned();
    let (few, many) = (100_u64, 1000_u64);
    let mut resident = Vec::new();
    for concurrency in [few, many] {
        let harness = BenchHarness::start(Duration::ZERO, 16 * MIB).await;
        if let Err(why) = harness.probe(&fan_out::plan("/held", 1, 1), 1).await {
            section.row([what, format!("not measured: {why}"), goal]);
            return harness.stop().await;
        }
        harness.upstream.hold(true);
        harness.offer(&fan_out::plan("/held", many, concurrency), 1).await;
        harness.until("the rows are in flight", |upstream| upstream.held() == concurrency).await;
        resident.push(machine::resident(harness.executor()));
        harness.upstream.hold(false);
        harness.all_succeeded(1).await;
        harness.stop().await;
    }
    let each = mib(resident[1].saturating_sub(resident[0])) * 1024.0 / 900.0;
    section.row([what, format!("{each:.1} KiB ({many} beside {few})"), goal]);
}

async fn amplified(section: &mut ReportSection) {
    for (number, input) in INPUTS.iter().enumerate() {
        let harness = BenchHarness::start(Duration::ZERO, 16 * MIB).await;
        let before = machine::resident(harness.executor());
        machine::forget_peak(harness.executor());
        harness.run(&input.plan(&format!("/amplified?input={number}")), 1).await;
        let peak = machine::peak(harness.executor()).saturating_sub(before);
        harness.stop().await;
        let times = mib(peak) / mib(input.body().len() as u64);
        section.row([
            input.what.to_owned(),
            format!("{:.1} MiB, {times:.1} × the body", mib(peak)),
            String::new(),
        ]);
    }
}

async fn stream(section: &mut ReportSection, bytes: u64) {
    let what = format!("a stream of {} MiB of JSON lines", bytes / MIB);
    let goal = "flat, ≤ 256 MiB".to_owned();
    let plan = stream_plan(bytes);
    let harness = BenchHarness::start(Duration::ZERO, bytes + 2 * GIB).await;
    machine::forget_peak(harness.executor());
    if let Err(why) = harness.probe(&stream_plan(bytes / 8), 0).await {
        section.row([what, format!("not measured: {why}"), goal]);
        return harness.stop().await;
    }
    let small = machine::peak(harness.executor());
    machine::forget_peak(harness.executor());
    harness.run(&plan, 1).await;
    let large = machine::peak(harness.executor());
    harness.stop().await;
    let measured = format!("peak {:.0} MiB; an eighth of it {:.0} MiB", mib(large), mib(small));
    section.row([what, measured, goal]);
}
