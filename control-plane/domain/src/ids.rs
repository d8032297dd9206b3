//! Ids with a type each, so that a lease's cannot stand where an execution's is meant. All are UUIDs, version 7 but for leases.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )+};
}

ids! {
    /// A tenant.
    TenantId,
    /// A plan.
    PlanId,
    /// A config.
    ConfigId,
    /// The schedule of a plan for a config.
    ScheduleId,
    /// One run of a plan for a config.
    ExecutionId,
    /// The right to run one attempt; random, version 4.
    LeaseId,
    /// A registered executor process.
    SessionId,
    /// A terminal event on its way to Kafka.
    AnnouncementId,
}
