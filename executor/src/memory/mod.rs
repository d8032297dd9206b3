//! The memory that attempts share: bodies, buffers of the engine, and messages on their way to
//! Kafka are charged to one budget of the process.

mod budget;

pub use self::budget::{MemoryAccount, MemoryBudget, MemoryCharge};
