//! Starts an execution of a plan for one of its configs. This also works for disabled plans and
//! paused schedules, but not for disabled configs.

use chrono::{DateTime, Utc};
use orchid_common::suggest::closest;
use orchid_domain::execution::{Beginning, Kind, NewRun, Origin, Transition, chains, create};
use uuid::Uuid;

use super::context_override::ContextOverride;
use super::read::by_key;
use crate::commands::executions::GetExecution;
use crate::commands::executions::transition::create::create_execution;
use crate::commands::{CommandError, Diagnostic};
use crate::store::configs::{self, ConfigName};
use crate::store::db::{TenantTx, Transaction};
use crate::store::executions::Execution;
use crate::store::executions::insert::NewExecution;
use crate::store::executions::trigger::{self, StartState, TriggeredExecution};
use crate::store::keys::ExecutionKey;
use crate::store::plans::{self, Plan};
use crate::store::tenants;

/// Maximum number of config keys listed in an error.
const MAX_NAMED: usize = 20;
/// Maximum configs from which the one that was meant is suggested.
const MAX_SUGGESTED: i64 = 1000;

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
        // Without a result, the steps below say what is wrong, or find what has changed since. They
        // are also how a Citus cluster triggers.
        if let Some(execution) = trigger::trigger(tx, &self.execution()).await? {
            return Ok(execution);
        }
        let plan = by_key(tx, &self.key).await?;
        let config = self.config(tx, &plan).await?;
        if !config.enabled {
            let message = format!("config {:?} is disabled: enable it first", config.key);
            return Err(CommandError::Refused { reason: "CONFIG_DISABLED", message });
        }
        // An execution that saves its state is created under the lock of its schedule. One that
        // saves nothing needs none, so it holds plan and config themselves until it is committed.
        if !self.persists() && !plans::hold_with_config(tx, plan.id, config.id).await? {
            return Err(removed(&plan, &config));
        }
        let new = NewExecution {
            key: ExecutionKey { tenant_id: tx.tenant_id(), execution_id: self.id },
            plan_id: plan.id,
            plan_key: plan.key.clone(),
            plan_revision: plan.revision,
            integration_key: plan.integration_key.clone(),
            config_id: config.id,
            config_key: config.key.clone(),
            kind: Kind::Run,
            origin: Origin::Trigger,
            persists: self.persists(),
            context_override: self.context_override.as_ref().map(|json| json.as_json().to_vec()),
            persist_context: self.persist_context,
            priority: plan.priority,
            scheduled_at: self.now,
            traceparent: self.traceparent.clone(),
            pool: tenants::pool(tx).await?,
        };
        create_execution(tx, self.now, &new).await?.ok_or_else(|| removed(&plan, &config))?;
        GetExecution { id: self.id }.run(tx).await
    }
}

impl TriggerPlan {
    fn persists(&self) -> bool {
        self.context_override.is_none() || self.persist_context
    }

    /// Returns the execution, with its start for both cases: alone, and behind an active execution.
    fn execution(&self) -> TriggeredExecution<'_> {
        let persists = self.persists();
        TriggeredExecution {
            id: self.id,
            history_id: Uuid::now_v7(),
            plan_key: &self.key,
            config_key: self.config.as_deref(),
            persists,
            chains: chains(persists, self.context_override.is_some()),
            persist_context: self.persist_context,
            context_override: self.context_override.as_ref().map(|json| json.as_json().to_vec()),
            traceparent: self.traceparent.clone(),
            now: self.now,
            alone: start(&first_transition(persists, false)),
            behind: start(&first_transition(persists, true)),
        }
    }

    /// Returns the config to run for. Only an error looks at others than the named one.
    async fn config(&self, tx: &TenantTx, plan: &Plan) -> Result<ConfigName, CommandError> {
        let Some(key) = &self.config else { return only_config(tx, plan).await };
        let listed = plan.listed_configs()?;
        if listed.is_none_or(|keys| keys.contains(key)) {
            let found = configs::names_by_keys(tx, plan.integration_id, vec![key.clone()]).await?;
            if let Some(config) = found.into_iter().next() {
                return Ok(config);
            }
        }
        let known = configs::names_of_plan(tx, plan, Some(MAX_SUGGESTED)).await?;
        let near = closest(key, known.iter().map(|config| config.key.as_str()));
        let hint = unknown_config_hint(&plan.key, &named(&known), near);
        Err(CommandError::NotFound { what: "config", name: key.clone(), hint })
    }
}

/// Decides how a triggered execution begins. The statement knows where: it reads the schedule.
fn first_transition(persists: bool, another_active: bool) -> Transition {
    create(NewRun { origin: Origin::Trigger, persists, beginning: Beginning::Fresh }, another_active)
}

fn start(transition: &Transition) -> StartState {
    StartState { state: transition.next, cause: transition.cause }
}

/// Returns the error of a trigger that a change of the plan or config overtook.
fn removed(plan: &Plan, config: &ConfigName) -> CommandError {
    let hint = format!(" for plan {:?} any more: it was removed in this moment", plan.key);
    CommandError::NotFound { what: "config", name: config.key.clone(), hint }
}

/// Returns the only config of a plan.
async fn only_config(tx: &TenantTx, plan: &Plan) -> Result<ConfigName, CommandError> {
    let mut configs = configs::names_of_plan(tx, plan, Some(MAX_NAMED as i64 + 1)).await?;
    let message = match configs.as_slice() {
        [] => format!("plan {:?} has no config: create one for its integration", plan.key),
        [_] => return Ok(configs.remove(0)),
        several => format!("plan {:?} has several configs: name one of {}", plan.key, named(several)),
    };
    let diagnostic = Diagnostic::new("CONFIG_REQUIRED", "/config", message);
    Err(CommandError::invalid("CONFIG_REQUIRED", diagnostic))
}

/// Returns the first keys of configs as a list for people.
fn named(configs: &[ConfigName]) -> String {
    let keys: Vec<&str> = configs.iter().take(MAX_NAMED).map(|config| config.key.as_str()).collect();
    let more = if configs.len() > MAX_NAMED { ", …" } else { "" };
    format!("{}{more}", keys.join(", "))
}

/// Returns the end of the error for an unknown config: the configs that the plan has.
fn unknown_config_hint(plan: &str, keys: &str, near: Option<&str>) -> String {
    if keys.is_empty() {
        return format!(" for plan {plan:?}, which has no config: create one for its integration");
    }
    let near = near.map(|near| format!("; did you mean {near}")).unwrap_or_default();
    format!(" for plan {plan:?}, which has {keys}{near}")
}

#[cfg(test)]
mod tests {
    use orchid_domain::execution::{Beginning, Effect};

    use super::first_transition;

    #[test]
    fn statement_writes_the_effects_of_both_starts() {
        let alone =
            [Effect::Begin(Beginning::Fresh), Effect::EnterReady { not_before: None }, Effect::Record];
        assert_eq!(first_transition(true, false).effects, alone);
        assert_eq!(first_transition(false, true).effects, alone);
        assert_eq!(first_transition(true, true).effects, [Effect::Record]);
    }
}
