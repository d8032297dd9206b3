//! Permissions of methods, as declared in the `.proto` files.

/// The caller that a method accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// A tenant, to read its own resources.
    TenantRead,
    /// A tenant, to change its own resources.
    TenantWrite,
    /// An operator of the installation.
    Operator,
    /// An executor that joins a pool, with the pool's token.
    FleetJoin,
    /// A registered executor, with its session token.
    Fleet,
}

include!(concat!(env!("OUT_DIR"), "/permissions.rs"));

/// Returns the permission of a method by its gRPC path (`/orchid.v1.PlanService/GetPlan`), or
/// `None` for methods that are not Orchid's (health, reflection).
pub fn permission_of(path: &str) -> Option<Permission> {
    METHODS.iter().find(|(method, _)| *method == path).map(|(_, permission)| *permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_path_has_no_permission() {
        assert_eq!(permission_of("/grpc.health.v1.Health/Check"), None);
    }

    #[test]
    fn methods_have_their_declared_permission() {
        assert_eq!(permission_of("/orchid.v1.PlanService/GetPlan"), Some(Permission::TenantRead));
        assert_eq!(permission_of("/orchid.admin.v1.TenantService/CreateTenant"), Some(Permission::Operator));
        assert_eq!(
            permission_of("/orchid.executor.v1.ExecutorService/Register"),
            Some(Permission::FleetJoin)
        );
    }
}
