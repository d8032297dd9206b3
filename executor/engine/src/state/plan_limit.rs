//! The limits that a definition sets for one execution.

use orchid_plan::Definition;

/// A limit of the definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlanLimit {
    /// `max_loops`: pages of one loop.
    Loops {
        /// Number of last answers that were all the same; 0 if that is not known.
        same_answers: u64,
    },
    /// `max_requests`: tries of the execution.
    Requests,
    /// `max_execution_seconds`: execution time over all attempts.
    ExecutionTime,
}

impl PlanLimit {
    /// Returns the error code.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Loops { .. } => "MAX_LOOPS",
            Self::Requests => "MAX_REQUESTS",
            Self::ExecutionTime => "MAX_EXECUTION_SECONDS",
        }
    }

    /// Returns the pointer to the field that sets the limit.
    pub(crate) fn pointer(self) -> &'static str {
        match self {
            Self::Loops { .. } => "/definition/max_loops",
            Self::Requests => "/definition/max_requests",
            Self::ExecutionTime => "/definition/max_execution_seconds",
        }
    }

    /// Describes the limit once it is reached; the text ends in messages.
    pub(crate) fn message(self, definition: &Definition) -> String {
        match self {
            Self::Loops { same_answers } => {
                let passes = definition.max_loops;
                let same = match same_answers {
                    0 | 1 => String::new(),
                    same => format!(
                        "; its last {same} answers were all the same: check whether the request names the page"
                    ),
                };
                format!("the loop made all its {passes} passes{same}")
            }
            Self::Requests => {
                format!("all {} requests were made", definition.max_requests.unwrap_or_default())
            }
            Self::ExecutionTime => {
                format!("the {} s of execution are over", definition.max_execution.as_secs())
            }
        }
    }
}
