//! What a server allows at most. Plans that ask for more are refused when they are saved.

/// Upper bounds of a server for what one plan may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Bytes of a definition's canonical JSON.
    pub definition_bytes: usize,
    /// Steps in a definition, sub-steps included.
    pub steps: usize,
    /// Levels of steps below each other; the root is level 1.
    pub nesting_depth: u32,
    /// `max_execution_seconds` at most.
    pub execution_seconds: u64,
    /// `max_loops` at most.
    pub loops: u64,
    /// `max_requests` at most, and its value where a plan names none.
    pub requests: Option<u64>,
    /// `timeout_seconds` at most.
    pub timeout_seconds: u64,
    /// `response.max_bytes` at most, of a body that is held whole.
    pub body_bytes: u64,
    /// The same of a body that passes row by row (`stream`, JSON lines, CSV).
    pub stream_bytes: u64,
    /// `retry.max_retries` at most.
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
