//! The topics of one test.

/// The number of partitions of every topic.
pub(super) const PARTITIONS: i32 = 4;

/// The topics of one test.
#[derive(Debug, Clone)]
pub struct TestTopics {
    /// The topic of pages.
    pub responses: String,
    /// The topic of errors.
    pub errors: String,
    /// The topic of execution starts and ends.
    pub events: String,
}

impl TestTopics {
    /// Returns the names of a test's topics without creating them.
    pub fn named(prefix: &str) -> TestTopics {
        let topic = |name: &str| format!("{prefix}-{name}");
        TestTopics {
            responses: topic("api-responses"),
            errors: topic("api-errors"),
            events: topic("execution-events"),
        }
    }

    /// Returns all names.
    pub fn names(&self) -> [&str; 3] {
        [&self.responses, &self.errors, &self.events]
    }
}
