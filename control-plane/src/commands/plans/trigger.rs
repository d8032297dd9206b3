//! Starts an execution of a plan for one of its configs. This also works for disabled plans and
//! paused schedules, but not for disabled configs.

use chrono::{DateTime, Utc};
use orchid_common::suggest::closest;
use orchid_domain::execution::{Kind, Origin};
use uuid::Uuid;

use super::context_override::ContextOverride;
use super::read::by_key;
use crate::commands::executions::GetExecution;
use crate::commands::executions::transition::create::create_execution;
use crate::commands::schedules::sync_schedules::configs_of;
use crate::commands::{CommandError, Diagnostic};
use crate::store::configs::{self, ConfigName};
use crate::store::db::{TenantTx, Transaction};
use crate::store::executions::Execution;
use crate::store::executions::insert::NewExecution;
use crate::store::keys::ExecutionKey;
use crate::store::plans::Plan;
use crate::store::tenants;

/// Maximum number of config keys listed in an error.
const MAX_NAMED: usize = 20;

/// Command that triggers a plan.
pub struct TriggerPlan {
    /// UUID v7 of the new execution.
    pub id: Uuid,
    /// Key of the plan.
    pub key: String,
    /// Key of the config; none if the plan has only one.
    pub config: Option<String>,
    /// Values that override context fields during the execution.
    pub context_override: Option<ContextOverride>,
    /// Whether context and cursors are saved although there is an override.
    pub persist_context: bool,
    /// W3C trace context of the trigger.
    pub traceparent: Option<String>,
    /// Time of the request.
    pub now: DateTime<Utc>,
}

impl Transaction<TenantTx> for TriggerPlan {
    type Output = Execution;
    type Error = CommandError;

    async fn run(&self, tx: &TenantTx) -> Result<Execution, CommandError> {
        let plan = by_key(tx, &self.key).await?;
        let names = configs::names(tx, plan.integration_id).await?;
        let config = self.config(&plan, &names)?;
        if !config.enabled {
            let message = format!("config {:?} is disabled: enable it first", config.key);
            return Err(CommandError::Refused { reason: "CONFIG_DISABLED", message });
        }
        let new = NewExecution {
            key: ExecutionKey { tenant_id: tx.tenant_id(), execution_id: self.id },
            plan_id: plan.id,
            plan_key: plan.key,
            plan_revision: plan.revision,
            integration_key: plan.integration_key,
            config_id: config.id,
            config_key: config.key.clone(),
            kind: Kind::Run,
            origin: Origin::Trigger,
            persists: self.context_override.is_none() || self.persist_context,
            context_override: self.context_override.as_ref().map(|json| json.as_json().to_vec()),
            persist_context: self.persist_context,
            priority: plan.priority,
            scheduled_at: self.now,
            traceparent: self.traceparent.clone(),
            pool: tenants::pool(tx).await?,
        };
        create_execution(tx, self.now, &new).await?;
        GetExecution { id: self.id }.run(tx).await
    }
}

impl TriggerPlan {
    fn config<'a>(&self, plan: &Plan, names: &'a [ConfigName]) -> Result<&'a ConfigName, CommandError> {
        let configs: Vec<&ConfigName> = configs_of(plan, names).collect();
        let named: Vec<&str> = configs.iter().take(MAX_NAMED).map(|config| config.key.as_str()).collect();
        let more = if configs.len() > MAX_NAMED { ", …" } else { "" };
        let keys = format!("{}{more}", named.join(", "));
        let required = |message: String| {
            let diagnostic = Diagnostic::new("CONFIG_REQUIRED", "/config", message);
            CommandError::invalid("CONFIG_REQUIRED", diagnostic)
        };
        match (&self.config, configs.as_slice()) {
            (None, []) => {
                Err(required(format!("plan {:?} has no config: create one for its integration", plan.key)))
            }
            (None, [only]) => Ok(only),
            (None, _) => {
                Err(required(format!("plan {:?} has several configs: name one of {keys}", plan.key)))
            }
            (Some(key), _) => configs.iter().find(|config| config.key == *key).copied().ok_or_else(|| {
                let near = closest(key, configs.iter().map(|config| config.key.as_str()));
                CommandError::NotFound {
                    what: "config",
                    name: key.clone(),
                    hint: unknown_config_hint(&plan.key, &keys, near),
                }
            }),
        }
    }
}

/// Returns the end of the error for an unknown config: the configs that the plan has.
fn unknown_config_hint(plan: &str, keys: &str, near: Option<&str>) -> String {
    if keys.is_empty() {
        return format!(" for plan {plan:?}, which has no config: create one for its integration");
    }
    let near = near.map(|near| format!("; did you mean {near}")).unwrap_or_default();
    format!(" for plan {plan:?}, which has {keys}{near}")
}
