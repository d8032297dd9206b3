//! The doorbell: Redis streams that tell executors of ready work.
//!
//! An entry names an execution and carries nothing else. Redis may lose or repeat entries: that
//! costs time and never a job, because Postgres alone decides.

mod streams;

pub use streams::{Doorbell, DoorbellEntry, DoorbellError};

/// Consumer group of all executors.
pub const GROUP: &str = "executors";

/// Returns the stream of a pool. The braces are a hash tag: they keep all keys of a pool on one
/// node of a Redis cluster. 0 is the pool's first shard.
pub fn stream(prefix: &str, pool: &str) -> String {
    format!("{prefix}:{{{pool}:0}}:jobs")
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_of_a_pool_share_a_hash_tag() {
        assert_eq!(super::stream("orchid", "default"), "orchid:{default:0}:jobs");
    }
}
