//! Puts grants together: definition, opened config, overlaid context, checkpoint.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::grant::{Grant, GrantedCheckpoint, GrantedConfig, PersistentState};
use crate::commands::configs::secrets::{ConfigPart, SecretValues};
use crate::commands::fleet::checkpoint::OwnContext;
use crate::commands::fleet::progress::ExecutionProgress;
use crate::commands::fleet::{FleetError, LeaseToken};
use crate::keys::{MasterKeys, TokenSealer, WrappedKey};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::ExecutionKey;
use crate::store::fleet::cursors::{self, CursorValues};
use crate::store::fleet::grants::{
    self, ContextFields, GrantSizes, PlanDefinition, SavedCheckpoint, SealedConfig,
};
use crate::store::fleet::runs::LockedExecution;
use crate::store::fleet::schedules::ScheduleKey;

/// Context and cursors that are larger together are fetched apart.
const MAX_KEPT_BYTES: i64 = 64 * 1024;
/// What a grant takes beside its large parts, about.
const OVERHEAD_BYTES: usize = 2048;

/// What grants of some runs need, read at once.
pub(super) struct Material {
    sizes: HashMap<ExecutionKey, GrantSizes>,
    definitions: HashMap<(Uuid, Uuid, i32), PlanDefinition>,
    configs: HashMap<(Uuid, Uuid), SealedConfig>,
}

impl Material {
    /// Reads definitions, configs and sizes.
    pub(super) async fn read(
        tx: &Tx,
        runs: &[LockedExecution],
        known: &[Vec<u8>],
    ) -> Result<Self, StoreError> {
        let mut revisions: Vec<_> = runs.iter().map(revision_of).collect();
        revisions.sort_unstable();
        revisions.dedup();
        let mut configs: Vec<_> = runs.iter().map(config_of).collect();
        configs.sort_unstable();
        configs.dedup();
        Ok(Self {
            sizes: grants::sizes(tx, runs).await?,
            definitions: grants::definitions(tx, &revisions, known).await?,
            configs: grants::configs(tx, &configs).await?,
        })
    }

    /// How many bytes the grant of a run takes; none where something that it needs is gone.
    pub(super) fn bytes(&self, run: &LockedExecution) -> Option<usize> {
        let definition = self.definitions.get(&revision_of(run))?;
        let config = self.configs.get(&config_of(run))?;
        let sizes = self.sizes.get(&run.key).copied().unwrap_or_default();
        let kept = if self.is_kept_apart(run) { 0 } else { sizes.context + sizes.cursors };
        let stored = usize::try_from(kept + sizes.checkpoint).unwrap_or(usize::MAX);
        let definition = definition.json.as_ref().map_or(0, String::len);
        let sealed = [&config.secrets, &config.transport_secrets].into_iter().flatten().map(Vec::len);
        let config =
            config.values.to_string().len() + config.transport.to_string().len() + sealed.sum::<usize>();
        let overlay = run.context_override.as_ref().map_or(0, Vec::len);
        Some(stored.saturating_add(definition + config + overlay + OVERHEAD_BYTES))
    }

    fn is_kept_apart(&self, run: &LockedExecution) -> bool {
        self.sizes.get(&run.key).is_some_and(|sizes| sizes.context + sizes.cursors > MAX_KEPT_BYTES)
    }

    /// Reads contexts, cursors and checkpoints of runs that are granted, and puts the grants together.
    pub(super) async fn grants(
        mut self,
        tx: &Tx,
        granted: Vec<(LockedExecution, LeaseToken)>,
        master_keys: &MasterKeys,
        sealer: &TokenSealer,
    ) -> Result<Vec<Grant>, FleetError> {
        let size = |run: &LockedExecution| self.sizes.get(&run.key).copied().unwrap_or_default();
        let runs = || granted.iter().map(|(run, _)| run);
        let inline = || runs().filter(|run| !self.is_kept_apart(run));
        let wanted = Wanted {
            contexts: inline().filter(|run| size(run).context > 0).collect(),
            cursors: inline().filter(|run| size(run).cursors > 0).collect(),
            checkpoints: runs().filter(|run| size(run).checkpoint > 0).collect(),
        };
        let stored = Stored::read(tx, wanted).await?;
        let mut grants = Vec::with_capacity(granted.len());
        for (run, lease) in granted {
            let kept = if self.is_kept_apart(&run) { None } else { Some(stored.kept(&run)?) };
            let checkpoint = stored.checkpoints.get(&grants::begin_at(&run)).map(saved).transpose()?;
            let definition = self.definitions.get(&revision_of(&run)).cloned();
            let definition =
                definition.ok_or_else(|| StoreError::corrupt("plan_revisions", "the revision is gone"))?;
            let sealed = self
                .configs
                .get_mut(&config_of(&run))
                .ok_or_else(|| StoreError::corrupt("configs", "the config is gone"))?;
            grants.push(Grant {
                lease,
                lease_token: lease.seal(sealer)?,
                kind: run.kind,
                definition_hash: definition.hash,
                definition_json: definition.json,
                config: open(&run, sealed, master_keys)?,
                kept,
                checkpoint,
                scheduled_at: run.scheduled_at,
                started_at: run.started_at.unwrap_or(run.scheduled_at),
                ran_ms: run.ran_ms,
                cancel_requested: run.cancel_requested_at.is_some(),
                persists: run.persists,
                plan_key: run.plan_key,
                plan_revision: run.plan_revision,
                integration_key: run.integration_key,
                traceparent: run.traceparent,
            });
        }
        Ok(grants)
    }
}

fn revision_of(run: &LockedExecution) -> (Uuid, Uuid, i32) {
    (run.key.tenant_id, run.plan_id, run.plan_revision)
}

fn config_of(run: &LockedExecution) -> (Uuid, Uuid) {
    (run.key.tenant_id, run.config_id)
}

fn saved(checkpoint: &SavedCheckpoint) -> Result<GrantedCheckpoint, StoreError> {
    Ok(GrantedCheckpoint {
        seq: checkpoint.seq,
        place: checkpoint.place.clone(),
        finished: checkpoint.finished.clone(),
        progress: ExecutionProgress::decode(&checkpoint.progress)?,
    })
}

/// Opens a config: each secret goes to its place.
fn open(
    run: &LockedExecution,
    config: &SealedConfig,
    master_keys: &MasterKeys,
) -> Result<GrantedConfig, FleetError> {
    let (mut values, mut transport) = (config.values.clone(), config.transport.clone());
    let mut secret_pointers = Vec::new();
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
        key: run.config_key.clone(),
        values_json: values.to_string().into_bytes(),
        secret_pointers,
        transport,
    })
}

/// Whose what is to be read.
#[derive(Default)]
struct Wanted<'a> {
    contexts: Vec<&'a LockedExecution>,
    cursors: Vec<&'a LockedExecution>,
    checkpoints: Vec<&'a LockedExecution>,
}

/// Contexts, cursors and checkpoints as they are stored.
struct Stored {
    contexts: HashMap<ScheduleKey, ContextFields>,
    cursors: HashMap<ScheduleKey, CursorValues>,
    checkpoints: HashMap<ExecutionKey, SavedCheckpoint>,
}

impl Stored {
    async fn read(tx: &Tx, wanted: Wanted<'_>) -> Result<Self, StoreError> {
        let mut checkpoints: Vec<ExecutionKey> =
            wanted.checkpoints.iter().map(|run| grants::begin_at(run)).collect();
        checkpoints.sort_unstable();
        checkpoints.dedup();
        Ok(Self {
            contexts: grants::contexts(tx, &schedules_of(&wanted.contexts)).await?,
            cursors: cursors::of(tx, &schedules_of(&wanted.cursors)).await?,
            checkpoints: grants::checkpoints(tx, &checkpoints).await?,
        })
    }

    fn kept(&self, run: &LockedExecution) -> Result<PersistentState, StoreError> {
        let stored = self.contexts.get(&schedule_of(run)).cloned().unwrap_or_default();
        let own = self
            .checkpoints
            .get(&grants::begin_at(run))
            .and_then(|checkpoint| checkpoint.own_context.as_deref());
        let context = overlay(stored, run.context_override.as_deref(), own)?;
        Ok(PersistentState {
            context,
            cursors: self.cursors.get(&schedule_of(run)).cloned().unwrap_or_default(),
        })
    }
}

fn schedule_of(run: &LockedExecution) -> ScheduleKey {
    ScheduleKey { tenant_id: run.key.tenant_id, plan_id: run.plan_id, config_id: run.config_id }
}

/// Each once.
fn schedules_of(runs: &[&LockedExecution]) -> Vec<ScheduleKey> {
    let mut keys: Vec<ScheduleKey> = runs.iter().map(|run| schedule_of(run)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Reads what outlives a run that is locked, however large it is.
pub(in crate::commands::fleet) async fn kept_of(
    tx: &Tx,
    run: &LockedExecution,
) -> Result<PersistentState, StoreError> {
    let wanted = Wanted { contexts: vec![run], cursors: vec![run], checkpoints: vec![run] };
    Stored::read(tx, wanted).await?.kept(run)
}

/// The persistent context, then a trigger's values over it, then what the run itself wrote.
fn overlay(
    mut context: ContextFields,
    given: Option<&[u8]>,
    own: Option<&[u8]>,
) -> Result<ContextFields, StoreError> {
    if let Some(given) = given {
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
    fn what_the_run_wrote_lies_over_what_its_trigger_gave() {
        let stored = fields(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let given = br#"{"b": 12345678901234567890123, "d": "x"}"#;
        let own = br#"{"d": "[4]", "c": null}"#;
        let context = overlay(stored, Some(given), Some(own)).unwrap();
        assert_eq!(context, fields(&[("a", "1"), ("b", "12345678901234567890123"), ("d", "[4]")]));
    }

    #[test]
    fn an_override_that_is_no_object_is_a_corrupt_row() {
        assert!(overlay(ContextFields::new(), Some(b"[]"), None).is_err());
    }
}
