//! Orchid's stateless executor: takes leases, runs plans, streams what upstreams answer into Kafka.

pub mod beat;
pub mod control;
pub mod fetch;
pub mod intake;
pub mod settings;
pub mod sink;
pub mod worker;
