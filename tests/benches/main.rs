//! Benchmarks: measures the cost of Orchid beside a baseline, in the same run on the same machine.
//!
//! `make bench` runs a short version; `make bench-full` runs the full size and writes
//! `docs/benchmarks.md`. The measured executor is the real binary, pinned to one core. The
//! upstream, the broker and a control plane that grants everything at once share this process,
//! which is pinned to another core and not measured. `throughput` and `latency` measure the real
//! control plane instead, on all cores. No benchmark passes or fails by its time.
//!
//! Arguments: `--full`, `--docs FILE` (replaces the results in it), and words that select
//! benchmarks.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be taken ends the run with a message"
)]

mod amplified;
mod baseline;
mod control_plane;
mod expressions;
mod fan_out;
mod harness;
mod isolation;
mod latency;
mod machine;
mod memory;
mod pages;
mod report;
mod size;
mod throughput;
mod upstream;

use std::path::PathBuf;

use crate::report::BenchReport;
use crate::size::BenchSize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Arguments {
    size: BenchSize,
    docs: Option<PathBuf>,
    words: Vec<String>,
}

impl Arguments {
    fn wants(&self, row: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| row.contains(word.as_str()))
    }
}

fn arguments(mut typed: impl Iterator<Item = String>) -> Arguments {
    let mut arguments = Arguments { size: BenchSize::Short, docs: None, words: Vec::new() };
    while let Some(one) = typed.next() {
        match one.as_str() {
            "--full" => arguments.size = BenchSize::Full,
            "--docs" => arguments.docs = Some(typed.next().expect("--docs names a file").into()),
            flag if flag.starts_with('-') => panic!("no such flag: {flag}"),
            word => arguments.words.push(word.to_owned()),
        }
    }
    arguments
}

fn main() {
    let mut typed = std::env::args().skip(1).peekable();
    if typed.peek().is_some_and(|first| first == baseline::ROLE) {
        return baseline::serve(typed.skip(1));
    }
    let arguments = arguments(typed);
    // Threads that start later inherit the core.
    machine::pin_self(machine::HARNESS_CORE);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let report = runtime.block_on(measure(&arguments));
    println!("{}", report.text());
    if let Some(file) = &arguments.docs {
        report.write_into(file);
    }
}

async fn measure(arguments: &Arguments) -> BenchReport {
    let size = arguments.size;
    let mut report = BenchReport::begin(size);
    if arguments.wants("expressions") {
        report.section(expressions::measure(size));
    }
    if arguments.wants("pages") {
        report.section(pages::measure(size).await);
    }
    if arguments.wants("fan-out") {
        report.section(fan_out::measure(size).await);
    }
    if arguments.wants("isolation") {
        report.section(isolation::measure(size).await);
    }
    if arguments.wants("memory") {
        report.section(memory::measure(size).await);
    }
    // These measure the whole stack, on all cores.
    machine::unpin_self();
    if arguments.wants("throughput") {
        report.section(throughput::measure(size).await);
    }
    if arguments.wants("latency") {
        report.section(latency::measure(size).await);
    }
    report.end();
    report
}
