//! Upper limits that a server sets for plans. A plan that exceeds one is refused when it is saved.

/// Upper limits of a server for one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Maximum size of a definition, in bytes of canonical JSON.
    pub definition_bytes: usize,
    /// Maximum number of steps in a definition, sub-steps included.
    pub steps: usize,
    /// Maximum depth of nested steps; the root has depth 1.
    pub nesting_depth: u32,
    /// Highest value of `max_execution_seconds`.
    pub execution_seconds: u64,
    /// Highest value of `max_loops`.
    pub loops: u64,
    /// Highest value of `max_requests`, and its default.
    pub requests: Option<u64>,
    /// Highest value of `timeout_seconds`.
    pub timeout_seconds: u64,
    /// Highest value of `response.max_bytes` for a body that is held whole.
    pub body_bytes: u64,
    /// Highest value of `response.max_bytes` for a body that is read row by row (`stream`, JSON
    /// lines, CSV).
    pub stream_bytes: u64,
    /// Highest value of `retry.max_retries`.
    pub retries: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            definition_bytes: 256 * 1024,
            steps: 100,
            nesting_depth: 5,
            execution_seconds: 86_400,
            loops: 1_000_000,
            requests: None,
            timeout_seconds: 3600,
            body_bytes: 1024 * 1024 * 1024,
            stream_bytes: 1024 * 1024 * 1024 * 1024,
            retries: 100,
        }
    }
}
