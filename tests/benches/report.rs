//! The report of a run, as Markdown, and its place in a document.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use orchid_kit::clock;

use crate::machine;
use crate::size::BenchSize;

const BEGIN: &str = "<!-- results: `make bench-full` writes the lines between these markers -->";
const END: &str = "<!-- end of results -->";

/// A table with its description.
pub(crate) struct ReportSection {
    title: &'static str,
    /// The description of the measurement, with payload and settings.
    about: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl ReportSection {
    pub(crate) fn new(
        title: &'static str,
        about: impl Into<String>,
        columns: &[&'static str],
    ) -> ReportSection {
        ReportSection { title, about: about.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row and prints it at once.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "{}: {cells:?}", self.title);
        eprintln!("{}: {}", self.title, cells.join(" | "));
        self.rows.push(cells.to_vec());
    }

    fn text(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let columns: Vec<String> = self.columns.iter().map(|&column| column.to_owned()).collect();
        let rule: Vec<String> = columns.iter().map(|_| "---".to_owned()).collect();
        let mut text = format!("### {}\n\n{}\n\n{}{}", self.title, self.about, line(&columns), line(&rule));
        self.rows.iter().for_each(|cells| text.push_str(&line(cells)));
        text
    }
}

/// The report of a run.
pub(crate) struct BenchReport {
    head: String,
    sections: Vec<ReportSection>,
}

impl BenchReport {
    pub(crate) fn begin(size: BenchSize) -> BenchReport {
        let commit = git(&["rev-parse", "--short=12", "HEAD"]);
        let changed = if git(&["status", "--porcelain", "--untracked-files=no"]).is_empty() {
            ""
        } else {
            " with changes"
        };
        let command = size.of("make bench", "make bench-full");
        let build = if cfg!(debug_assertions) {
            "**debug build: these numbers mean nothing**"
        } else {
            "release build"
        };
        let head = format!(
            "- command: `{command}`, {}\n- commit: {commit}{changed}, {build}\n- machine: {}; load before {}",
            clock::utc_now().format("%Y-%m-%d"),
            machine::description(),
            machine::load(),
        );
        BenchReport { head, sections: Vec::new() }
    }

    pub(crate) fn section(&mut self, section: ReportSection) {
        self.sections.push(section);
    }

    pub(crate) fn end(&mut self) {
        // Writing to a String cannot fail.
        let _ = write!(self.head, ", after {}", machine::load());
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.head);
        for section in &self.sections {
            text.push('\n');
            text.push_str(&section.text());
        }
        text
    }

    /// Replaces the results that harness in a document.
    pub(crate) fn write_into(&self, file: &Path) {
        let old = fs::read_to_string(file).expect("the document is there");
        let (before, rest) = old.split_once(BEGIN).expect("the document has a place for results");
        let (_, after) = rest.split_once(END).expect("that place has an end");
        fs::write(file, format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.text()))
            .expect("it can be written");
    }
}

fn git(arguments: &[&str]) -> String {
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Returns the median.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Formats the median with minimum and maximum.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({least:.digits$} – {most:.digits$})", median(values))
}

/// Converts a duration to microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Converts bytes to MiB.
#[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
