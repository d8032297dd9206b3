//! The size of a benchmark run.

/// The size of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BenchSize {
    Short,
    Full,
}

/// The divisor of all sizes: a debug build only checks that the benchmarks work.
pub(crate) const SHARE: u64 = if cfg!(debug_assertions) { 20 } else { 1 };

impl BenchSize {
    /// Returns the value for this size.
    pub(crate) fn of<T>(self, short: T, full: T) -> T {
        match self {
            BenchSize::Short => short,
            BenchSize::Full => full,
        }
    }
}
