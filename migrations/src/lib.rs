//! Orchid's Postgres schema as a list of steps: plain SQL under `sql/`, one change per file, up and
//! down. A released step is never edited. This crate holds and orders the steps, and
//! `orchid-control-plane migrate` runs them.

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
    "0026_waiting_tenants",
];

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        STEPS.iter().map(|step| Box::new(*step) as Box<dyn MigrationTrait>).collect()
    }
}

/// Returns the names of all steps of this build, oldest first.
pub fn step_names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}
