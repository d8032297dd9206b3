//! The metrics of an executor.

use orchid_kit::telemetry::observe_gauge;

use crate::memory::MemoryBudget;

/// Registers the gauges of the byte budget.
pub(crate) fn observe_memory(budget: &MemoryBudget) {
    let (used, limit, waiting) = (budget.clone(), budget.limit(), budget.clone());
    observe_gauge(
        "orchid.executor.memory.used",
        "By",
        "bytes of bodies, buffers and unacknowledged messages",
        move || used.used(),
    );
    observe_gauge("orchid.executor.memory.limit", "By", "memory.max_bytes", move || limit);
    observe_gauge(
        "orchid.executor.memory.waiting",
        "{request}",
        "requests and bodies that wait for memory",
        move || waiting.waiting() as u64,
    );
}
