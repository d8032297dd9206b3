//! What Orchid costs, always beside something it can be compared with, in the same run on the same machine.
//!
//! `make bench` runs everything in short, `make bench-full` at full size and writes `docs/benchmarks.md`. The executor that is measured is
//! the real binary, pinned to one core; upstream, broker and a control plane that grants everything at once share this process, pinned to
//! another, and are not counted. Nothing here passes or fails on time.
//!
//! Arguments: `--full`, `--docs FILE` (its results are replaced), and words, of which a row's name must contain one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot be taken ends the run, and says why"
)]

mod baseline;
mod control_plane;
mod expressions;
mod fan_out;
mod harness;
mod machine;
mod memory;
mod pages;
mod report;
mod upstream;

use std::path::PathBuf;

use report::BenchReport;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BenchSize {
    Short,
    Full,
}

/// A debug build is only run to see that all of this works: it measures nothing, and so does a twentieth.
const SHARE: u64 = if cfg!(debug_assertions) { 20 } else { 1 };

impl BenchSize {
    /// One of two numbers.
    fn of<T>(self, short: T, full: T) -> T {
        match self {
            BenchSize::Short => short,
            BenchSize::Full => full,
        }
    }
}

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
        return baseline::play(typed.skip(1));
    }
    let arguments = arguments(typed);
    // Threads that start later stay there, too.
    machine::pin_self(machine::SURROUNDINGS);
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
    if arguments.wants("memory") {
        report.section(memory::measure(size).await);
    }
    report.end();
    report
}
