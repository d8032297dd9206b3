//! The doorbell: Redis streams that tell executors of ready work. It carries names alone, and may lose or repeat anything: that costs
//! time, never a job. What is true stands in Postgres.

mod streams;

pub use streams::{Doorbell, DoorbellEntry, DoorbellError};

/// The consumer group of all executors.
pub const GROUP: &str = "executors";

/// The stream of a pool. The braces keep all keys of a pool on one node of a Redis cluster; 0 is the pool's first shard.
pub fn stream(prefix: &str, pool: &str) -> String {
    format!("{prefix}:{{{pool}:0}}:jobs")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_pools_keys_share_a_hash_tag() {
        assert_eq!(super::stream("orchid", "default"), "orchid:{default:0}:jobs");
    }
}
