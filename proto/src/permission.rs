//! Who may call which method, as the `.proto` files declare it.

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Reads what belongs to the caller's tenant.
    TenantRead,
    /// Changes what belongs to the caller's tenant.
    TenantWrite,
    /// Reads or changes the installation.
    Operator,
    /// Joins a pool, by the pool's token.
    FleetJoin,
    /// Acts as a registered executor, by a session token.
    Fleet,
}

include!(concat!(env!("OUT_DIR"), "/permissions.rs"));

/// The permission that a method needs, by its gRPC path (`/orchid.v1.PlanService/GetPlan`); `None` for paths that are not
/// Orchid's (health, reflection).
pub fn permission_of(path: &str) -> Option<Permission> {
    METHODS.iter().find(|(method, _)| *method == path).map(|(_, permission)| *permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_somebody_else_has_no_permission() {
        assert_eq!(permission_of("/grpc.health.v1.Health/Check"), None);
    }

    #[test]
    fn methods_have_the_permission_that_their_proto_declares() {
        assert_eq!(permission_of("/orchid.v1.PlanService/GetPlan"), Some(Permission::TenantRead));
        assert_eq!(permission_of("/orchid.admin.v1.TenantService/CreateTenant"), Some(Permission::Operator));
        assert_eq!(
            permission_of("/orchid.executor.v1.ExecutorService/Register"),
            Some(Permission::FleetJoin)
        );
    }
}
