//! Puts grants together: definition, opened config, overlaid context, cursors and checkpoint.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::grant::{Grant, GrantedCheckpoint, GrantedConfig, PersistentState};
use super::unstartable::UnstartableReason;
use crate::commands::configs::secrets::{ConfigPart, SecretValues};
use crate::commands::executions::progress::ExecutionProgress;
use crate::commands::fleet::checkpoint::persist::OwnContext;
use crate::commands::fleet::error::FleetError;
use crate::commands::fleet::lease_token::LeaseToken;
use crate::commands::fleet::sealed_state::TenantKeys;
use crate::keys::{KeyError, MasterKeys, TokenSealer, WrappedKey};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::executions::locked::LockedExecution;
use crate::store::fleet::cursors::{self, CursorValues};
use crate::store::fleet::grants::{
    self, ContextFields, GrantSizes, PlanDefinition, SavedCheckpoint, SealedConfig,
};
use crate::store::keys::{ExecutionKey, ScheduleKey};

/// Context and cursors that are larger together are not part of a grant. The executor fetches them.
const MAX_INLINE_STATE_BYTES: i64 = 64 * 1024;
/// Approximate bytes of a grant beside its large parts.
const OVERHEAD_BYTES: usize = 2048;

/// The material for the grants of some executions, read in a fixed number of statements.
pub(super) struct GrantMaterial {
    sizes: HashMap<ExecutionKey, GrantSizes>,
    definitions: HashMap<(Uuid, Uuid, i32), PlanDefinition>,
    configs: HashMap<(Uuid, Uuid), SealedConfig>,
}

impl GrantMaterial {
    /// Reads definitions and configs, and the sizes of everything else. `known` holds the hashes of
    /// definitions that the executor has.
    pub(super) async fn read(
        tx: &Tx,
        executions: &[LockedExecution],
        known: &[Vec<u8>],
    ) -> Result<Self, StoreError> {
        let mut revisions: Vec<_> = executions.iter().map(revision_of).collect();
        revisions.sort_unstable();
        revisions.dedup();
        let mut configs: Vec<_> = executions.iter().map(config_of).collect();
        configs.sort_unstable();
        configs.dedup();
        Ok(Self {
            sizes: grants::sizes(tx, executions).await?,
            definitions: grants::definitions(tx, &revisions, known).await?,
            configs: grants::configs(tx, &configs).await?,
        })
    }

    /// Returns the approximate bytes of an execution's grant; none when its definition or config
    /// does not exist.
    pub(super) fn bytes(&self, execution: &LockedExecution) -> Option<usize> {
        let definition = self.definitions.get(&revision_of(execution))?;
        let config = self.configs.get(&config_of(execution))?;
        let sizes = self.sizes.get(&execution.key).copied().unwrap_or_default();
        let state = if self.state_is_fetched(execution) { 0 } else { sizes.context + sizes.cursors };
        let stored = usize::try_from(state + sizes.checkpoint).unwrap_or(usize::MAX);
        let definition = definition.json.as_ref().map_or(0, String::len);
        // Sealed secrets are slightly larger than opened ones. An estimate is enough here.
        let sealed = [&config.secrets, &config.transport_secrets].into_iter().flatten().map(Vec::len);
        let config =
            config.values.to_string().len() + config.transport.to_string().len() + sealed.sum::<usize>();
        let overlay = execution.context_override.as_ref().map_or(0, Vec::len);
        Some(stored.saturating_add(definition + config + overlay + OVERHEAD_BYTES))
    }

    /// Returns whether context and cursors are too large for the grant.
    fn state_is_fetched(&self, execution: &LockedExecution) -> bool {
        self.sizes
            .get(&execution.key)
            .is_some_and(|sizes| sizes.context + sizes.cursors > MAX_INLINE_STATE_BYTES)
    }

    /// Reads contexts, cursors and checkpoints of executions that are about to be granted, and puts
    /// the contents of their grants together. Each execution has a result of its own: what is
    /// stored for one never keeps the others from being granted.
    pub(super) async fn contents(
        &self,
        tx: &Tx,
        executions: Vec<LockedExecution>,
        master_keys: &MasterKeys,
    ) -> Result<GrantCandidates, FleetError> {
        let stored = match StoredState::read(tx, self.wanted(&executions), master_keys).await {
            Ok(stored) => stored,
            // Reading all at once does not tell whose rows are corrupt. The caller tries each
            // alone.
            Err(error) => match (UnstartableReason::of(&error), executions.as_slice()) {
                (Some(reason), [_]) => {
                    let unstartable = executions.into_iter().map(|execution| (execution, reason.clone()));
                    return Ok(GrantCandidates { ready: Vec::new(), unstartable: unstartable.collect() });
                }
                _ => return Err(error),
            },
        };
        let mut candidates = GrantCandidates::default();
        for execution in executions {
            match self.contents_of(&execution, &stored, master_keys) {
                Ok(contents) => candidates.ready.push((execution, contents)),
                Err(error) => match UnstartableReason::of(&error) {
                    Some(reason) => candidates.unstartable.push((execution, reason)),
                    None => return Err(error),
                },
            }
        }
        Ok(candidates)
    }

    fn contents_of(
        &self,
        execution: &LockedExecution,
        stored: &StoredState,
        master_keys: &MasterKeys,
    ) -> Result<GrantContents, FleetError> {
        let definition = self.definitions.get(&revision_of(execution)).cloned();
        let definition = definition.ok_or_else(|| StoreError::corrupt("plan_revisions", "it is gone"))?;
        let sealed = self.configs.get(&config_of(execution));
        let sealed = sealed.ok_or_else(|| StoreError::corrupt("configs", "it is gone"))?;
        // The executor fetches a large state with a separate call, so that one large tenant does
        // not keep the others out of this response.
        let persistent_state =
            if self.state_is_fetched(execution) { None } else { Some(stored.persistent_state(execution)?) };
        let checkpoint = stored.checkpoint(execution)?.map(decode_checkpoint).transpose()?;
        Ok(GrantContents {
            definition,
            config: open_config(execution, sealed, master_keys)?,
            persistent_state,
            checkpoint,
        })
    }

    /// Returns what has to be read. Empty and oversized state is left out.
    fn wanted<'a>(&self, executions: &'a [LockedExecution]) -> WantedState<'a> {
        let size = |execution: &LockedExecution| self.sizes.get(&execution.key).copied().unwrap_or_default();
        let all = || executions.iter();
        let inline = || all().filter(|execution| !self.state_is_fetched(execution));
        WantedState {
            contexts: inline().filter(|execution| size(execution).context > 0).collect(),
            cursors: inline().filter(|execution| size(execution).cursors > 0).collect(),
            checkpoints: all().filter(|execution| size(execution).checkpoint > 0).collect(),
        }
    }
}

/// The parts of a grant that are read before its lease is opened.
pub(super) struct GrantContents {
    definition: PlanDefinition,
    config: GrantedConfig,
    persistent_state: Option<PersistentState>,
    checkpoint: Option<GrantedCheckpoint>,
}

impl GrantContents {
    /// Returns the running time that the definition allows, in seconds.
    pub(super) fn max_execution_seconds(&self) -> Option<i64> {
        self.definition.max_execution_seconds
    }

    /// Returns the grant of a leased execution.
    ///
    /// # Errors
    /// The lease token cannot be sealed.
    pub(super) fn into_grant(
        self,
        lease: LeaseToken,
        execution: LockedExecution,
        sealer: &TokenSealer,
    ) -> Result<Grant, KeyError> {
        let Self { definition, config, persistent_state, checkpoint } = self;
        Ok(Grant {
            lease,
            lease_token: lease.seal(sealer)?,
            kind: execution.kind,
            definition_hash: definition.hash,
            definition_json: definition.json,
            config,
            persistent_state,
            fresh_start_reason: fresh_start_reason(&execution, checkpoint.is_some()),
            checkpoint,
            scheduled_at: execution.scheduled_at,
            started_at: execution.started_at.unwrap_or(execution.scheduled_at),
            ran_ms: execution.ran_ms,
            cancel_requested: execution.cancel_requested_at.is_some(),
            persists: execution.persists,
            plan_key: execution.plan_key,
            plan_revision: execution.plan_revision,
            integration_key: execution.integration_key,
            traceparent: execution.traceparent,
        })
    }
}

/// Executions that were about to be granted, by whether that is possible.
#[derive(Default)]
pub(super) struct GrantCandidates {
    /// Those whose grants are complete but for the lease.
    pub(super) ready: Vec<(LockedExecution, GrantContents)>,
    /// Those whose grants cannot be put together.
    pub(super) unstartable: Vec<(LockedExecution, UnstartableReason)>,
}

fn revision_of(execution: &LockedExecution) -> (Uuid, Uuid, i32) {
    (execution.key.tenant_id, execution.plan_id, execution.plan_revision)
}

fn config_of(execution: &LockedExecution) -> (Uuid, Uuid) {
    (execution.key.tenant_id, execution.config_id)
}

/// Returns why an execution does not continue the one that ended at a limit; empty if it does, or
/// there is none.
fn fresh_start_reason(execution: &LockedExecution, has_checkpoint: bool) -> String {
    if has_checkpoint {
        return String::new();
    }
    let (limited, reason) = match (execution.dropped_execution_id, execution.continues_execution_id) {
        (Some(limited), _) => (limited, "the plan has changed since"),
        (None, Some(limited)) => (limited, "its checkpoint is no longer stored"),
        (None, None) => return String::new(),
    };
    format!("execution {limited} ended at a limit, but {reason}: this one starts from the beginning")
}

fn decode_checkpoint(saved: &SavedCheckpoint) -> Result<GrantedCheckpoint, StoreError> {
    Ok(GrantedCheckpoint {
        seq: saved.seq,
        resume_state: saved.resume_state.clone(),
        finished_steps: saved.finished_steps.clone(),
        progress: ExecutionProgress::decode(&saved.progress)?,
    })
}

/// Opens a config: unseals its secrets and puts each in its place.
fn open_config(
    execution: &LockedExecution,
    config: &SealedConfig,
    master_keys: &MasterKeys,
) -> Result<GrantedConfig, FleetError> {
    let (mut values, mut transport) = (config.values.clone(), config.transport.clone());
    let mut secret_pointers = Vec::new();
    // A config without secrets does not need the tenant's key, so the key is not unwrapped for it.
    if config.secrets.is_some() || config.transport_secrets.is_some() {
        let wrapped = WrappedKey { key_id: config.data_key_id.clone(), sealed: config.data_key.clone() };
        let key = master_keys.data_key(config.tenant_id, &wrapped)?;
        let place = (config.tenant_id, config.id);
        let secrets = SecretValues::open(&key, place, ConfigPart::Values, config.secrets.as_deref())?;
        secret_pointers.extend(secrets.pointers().map(str::to_owned));
        secrets.put_back(&mut values);
        SecretValues::open(&key, place, ConfigPart::Transport, config.transport_secrets.as_deref())?
            .put_back(&mut transport);
    }
    let transport =
        serde_json::from_value(transport).map_err(|error| StoreError::corrupt("configs.transport", error))?;
    Ok(GrantedConfig {
        id: config.id,
        key: execution.config_key.clone(),
        values_json: values.to_string().into_bytes(),
        secret_pointers,
        transport,
    })
}

/// The executions whose state is to be read, by the kind of state.
#[derive(Default)]
struct WantedState<'a> {
    contexts: Vec<&'a LockedExecution>,
    cursors: Vec<&'a LockedExecution>,
    checkpoints: Vec<&'a LockedExecution>,
}

/// Contexts, cursors and checkpoints as they are stored.
struct StoredState {
    contexts: HashMap<ScheduleKey, ContextFields>,
    cursors: HashMap<ScheduleKey, CursorValues>,
    /// Opened checkpoints. One that does not open concerns its execution alone.
    checkpoints: HashMap<ExecutionKey, Result<SavedCheckpoint, KeyError>>,
}

impl StoredState {
    async fn read(tx: &Tx, wanted: WantedState<'_>, master_keys: &MasterKeys) -> Result<Self, FleetError> {
        let mut checkpoints: Vec<ExecutionKey> =
            wanted.checkpoints.iter().map(|execution| grants::checkpoint_source(execution)).collect();
        checkpoints.sort_unstable();
        checkpoints.dedup();
        Ok(Self {
            contexts: grants::contexts(tx, &schedules_of(&wanted.contexts)).await?,
            cursors: cursors::read(tx, &schedules_of(&wanted.cursors)).await?,
            checkpoints: open_checkpoints(tx, &checkpoints, master_keys).await?,
        })
    }

    /// Returns the checkpoint that an execution continues from.
    fn checkpoint(&self, execution: &LockedExecution) -> Result<Option<&SavedCheckpoint>, KeyError> {
        let opened = self.checkpoints.get(&grants::checkpoint_source(execution));
        opened.map(|opened| opened.as_ref().map_err(Clone::clone)).transpose()
    }

    fn persistent_state(&self, execution: &LockedExecution) -> Result<PersistentState, FleetError> {
        let schedule = execution.schedule_key();
        let stored = self.contexts.get(&schedule).cloned().unwrap_or_default();
        // Empty unless the execution saves nothing or has an override: see `persist`.
        let own = self.checkpoint(execution)?.and_then(|checkpoint| checkpoint.own_context.as_deref());
        let context = overlay(stored, execution.context_override.as_deref(), own)?;
        Ok(PersistentState { context, cursors: self.cursors.get(&schedule).cloned().unwrap_or_default() })
    }
}

/// Reads checkpoints and opens them.
async fn open_checkpoints(
    tx: &Tx,
    keys: &[ExecutionKey],
    master_keys: &MasterKeys,
) -> Result<HashMap<ExecutionKey, Result<SavedCheckpoint, KeyError>>, StoreError> {
    let stored = grants::checkpoints(tx, keys).await?;
    let tenants = stored.keys().map(|key| key.tenant_id);
    let tenant_keys = TenantKeys::read(tx, master_keys, tenants).await?;
    Ok(stored.into_iter().map(|(key, saved)| (key, tenant_keys.open_checkpoint(saved))).collect())
}

/// Returns the distinct schedules of some executions.
fn schedules_of(executions: &[&LockedExecution]) -> Vec<ScheduleKey> {
    let mut keys: Vec<ScheduleKey> = executions.iter().map(|execution| execution.schedule_key()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Reads context and cursors of a locked execution, whatever their size.
pub(in crate::commands::fleet) async fn read_persistent_state(
    tx: &Tx,
    execution: &LockedExecution,
    master_keys: &MasterKeys,
) -> Result<PersistentState, FleetError> {
    let wanted =
        WantedState { contexts: vec![execution], cursors: vec![execution], checkpoints: vec![execution] };
    StoredState::read(tx, wanted, master_keys).await?.persistent_state(execution)
}

/// Lays the override of the trigger over the persistent context, and the execution's own writes
/// over both.
fn overlay(
    mut context: ContextFields,
    given: Option<&[u8]>,
    own: Option<&[u8]>,
) -> Result<ContextFields, StoreError> {
    if let Some(given) = given {
        // Raw text, because parsing would change the digits of large numbers.
        let given: BTreeMap<String, &RawValue> =
            serde_json::from_slice(given).map_err(|error| StoreError::corrupt("context override", error))?;
        context.extend(given.into_iter().map(|(name, value)| (name, value.get().as_bytes().to_vec())));
    }
    if let Some(own) = own {
        let own: OwnContext =
            serde_json::from_slice(own).map_err(|error| StoreError::corrupt("own context", error))?;
        for (name, json) in own {
            match json {
                Some(json) => drop(context.insert(name, json.into_bytes())),
                None => drop(context.remove(&name)),
            }
        }
    }
    Ok(context)
}

#[cfg(test)]
mod tests {
    use super::{ContextFields, overlay};

    fn fields(pairs: &[(&str, &str)]) -> ContextFields {
        pairs.iter().map(|(name, json)| ((*name).to_owned(), json.as_bytes().to_vec())).collect()
    }

    #[test]
    fn own_writes_override_the_trigger_which_overrides_the_context() {
        let stored = fields(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let given = br#"{"b": 12345678901234567890123, "d": "x"}"#;
        let own = br#"{"d": "[4]", "c": null}"#;
        let context = overlay(stored, Some(given), Some(own)).unwrap();
        assert_eq!(context, fields(&[("a", "1"), ("b", "12345678901234567890123"), ("d", "[4]")]));
    }

    #[test]
    fn override_that_is_not_an_object_is_a_corrupt_row() {
        assert!(overlay(ContextFields::new(), Some(b"[]"), None).is_err());
    }
}
