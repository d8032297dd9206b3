//! Ids with a type each, so that a lease's id cannot be passed as an execution's. All are UUIDs of
//! version 7, except those of leases.

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
    /// Id of a tenant.
    TenantId,
    /// Id of a plan.
    PlanId,
    /// Id of a config.
    ConfigId,
    /// Id of the schedule of a plan for a config.
    ScheduleId,
    /// Id of an execution.
    ExecutionId,
    /// Id of a lease, random (version 4).
    LeaseId,
    /// Id of the session of an executor process.
    SessionId,
    /// Id of a terminal announcement.
    AnnouncementId,
}
