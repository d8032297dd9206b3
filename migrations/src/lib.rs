//! Orchid's Postgres schema as a list of steps: plain SQL under `sql/`, one change per file, up and
//! down. A released step is never edited. This crate holds and orders the steps, and
//! `orchid-control-plane migrate` runs them.

mod statements;
mod step;

use sea_orm_migration::prelude::{MigrationTrait, MigratorTrait};

use crate::step::MigrationStep;

/// All steps, oldest first.
pub struct Migrator;

macro_rules! steps {
    ($($name:literal),+ $(,)?) => {
        &[$(MigrationStep {
            name: $name,
            up: include_str!(concat!("../sql/", $name, ".up.sql")),
            down: include_str!(concat!("../sql/", $name, ".down.sql")),
        }),+]
    };
}

static STEPS: &[MigrationStep] = steps![
    "0001_roles",
    "0002_functions",
    "0003_tenants",
    "0004_integrations",
    "0005_plans",
    "0006_executions",
    "0007_leases",
    "0008_progress",
    "0009_distribute",
    "0010_foreign_keys",
    "0011_row_security",
    "0012_partitions",
    "0013_cursors",
    "0014_config_transport",
    "0015_must_cancel",
    "0016_cron",
    "0017_plain_names",
    "0018_continuations",
    "0023_schema_compatibility",
    "0024_replicas",
    "0025_old_ready",
    "0026_waiting_tenants",
    "0029_flat_costs",
    "0030_partition_locks",
];

/// Steps that builds from before them cannot work with. All others work with the previous release,
/// so that replicas of both serve while one replaces the other.
const BREAKING: &[&str] = &["0023_schema_compatibility"];

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.iter().map(|step| Box::new(*step) as Box<dyn MigrationTrait>).collect()
    }
}

/// Returns the names of all steps of this build, oldest first.
pub fn step_names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}

/// Returns the newest step that a build must know to work with a schema of these steps; none if the
/// schema is from before that was recorded.
pub fn oldest_served_step<'s>(applied: impl IntoIterator<Item = &'s str>) -> Option<&'static str> {
    let applied: Vec<&str> = applied.into_iter().collect();
    BREAKING.iter().rev().find(|step| applied.contains(step)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_sorted_and_breaking_ones_exist() {
        let names: Vec<&str> = step_names().collect();
        assert!(names.is_sorted());
        assert!(BREAKING.is_sorted());
        assert!(BREAKING.iter().all(|step| names.contains(step)));
        assert_eq!(oldest_served_step(names), BREAKING.last().copied());
        assert_eq!(oldest_served_step(["0001_roles"]), None);
    }
}
