//! The sealed parts of checkpoints. They hold what upstreams sent and where the next request goes,
//! which may include credentials, so they are stored like the secrets of configs: encrypted with
//! the tenant's data key, and bound to their execution and field.

use std::collections::HashMap;

use uuid::Uuid;

use crate::keys::{DataKey, KeyError, MasterKeys, WrappedKey};
use crate::store::db::Tx;
use crate::store::error::StoreError;
use crate::store::fleet::grants::SavedCheckpoint;
use crate::store::keys::ExecutionKey;
use crate::store::tenants;

/// A part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckpointPart {
    /// Resume state of the execution.
    ResumeState,
    /// Values of finished steps.
    FinishedSteps,
    /// Context writes of the execution itself.
    OwnContext,
}

impl CheckpointPart {
    /// Returns the field that sealed bytes are bound to.
    fn field(self) -> &'static str {
        match self {
            Self::ResumeState => "checkpoints.resume_state",
            Self::FinishedSteps => "checkpoints.finished_steps",
            Self::OwnContext => "checkpoints.own_context",
        }
    }
}

/// The data keys of the tenants of one transaction. A key that cannot be unwrapped concerns its
/// tenant alone.
pub(super) struct TenantKeys(HashMap<Uuid, Result<DataKey, KeyError>>);

impl TenantKeys {
    /// Reads and unwraps the data keys of these tenants.
    ///
    /// # Errors
    /// Fails if the database cannot be read.
    pub(super) async fn read(
        tx: &Tx,
        master_keys: &MasterKeys,
        tenants: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, StoreError> {
        let mut keys = HashMap::new();
        for (tenant_id, row) in tenants::data_keys(tx, tenants).await? {
            let wrapped = WrappedKey { key_id: row.data_key_id, sealed: row.data_key };
            keys.insert(tenant_id, master_keys.data_key(tenant_id, &wrapped));
        }
        Ok(Self(keys))
    }

    /// Encrypts a part of an execution's checkpoint.
    ///
    /// # Errors Fails if the tenant's key is missing or cannot be unwrapped, or the system has no
    /// randomness.
    pub(super) fn seal(
        &self,
        execution: ExecutionKey,
        part: CheckpointPart,
        plain: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.key(execution)?.seal(execution.tenant_id, execution.execution_id, part.field(), plain)
    }

    /// Decrypts a part of an execution's checkpoint. Earlier releases stored JSON in the clear, and
    /// their checkpoints are returned as they are.
    ///
    /// # Errors
    /// Fails if the bytes were not sealed for this part of this execution.
    pub(super) fn open(
        &self,
        execution: ExecutionKey,
        part: CheckpointPart,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, KeyError> {
        // JSON never begins with the version byte of sealed bytes.
        if !DataKey::is_sealed(&stored) {
            return Ok(stored);
        }
        self.key(execution)?.open(execution.tenant_id, execution.execution_id, part.field(), &stored)
    }

    /// Decrypts all parts of a checkpoint.
    ///
    /// # Errors
    /// Fails if a part was not sealed for this checkpoint.
    pub(super) fn open_checkpoint(&self, saved: SavedCheckpoint) -> Result<SavedCheckpoint, KeyError> {
        let execution = ExecutionKey { tenant_id: saved.tenant_id, execution_id: saved.execution_id };
        let open = |part, stored: Option<Vec<u8>>| stored.map(|stored| self.open(execution, part, stored));
        Ok(SavedCheckpoint {
            resume_state: self.open(execution, CheckpointPart::ResumeState, saved.resume_state)?,
            finished_steps: open(CheckpointPart::FinishedSteps, saved.finished_steps).transpose()?,
            own_context: open(CheckpointPart::OwnContext, saved.own_context).transpose()?,
            ..saved
        })
    }

    fn key(&self, execution: ExecutionKey) -> Result<&DataKey, KeyError> {
        let key = self.0.get(&execution.tenant_id).ok_or(KeyError::Altered)?;
        key.as_ref().map_err(Clone::clone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Uuid = Uuid::from_u128(1);

    fn keys() -> TenantKeys {
        TenantKeys(HashMap::from([(TENANT, DataKey::new(&[7; 32]))]))
    }

    fn execution(id: u128) -> ExecutionKey {
        ExecutionKey { tenant_id: TENANT, execution_id: Uuid::from_u128(id) }
    }

    fn saved(
        resume_state: &[u8],
        finished_steps: Option<&[u8]>,
        own_context: Option<&[u8]>,
    ) -> SavedCheckpoint {
        SavedCheckpoint {
            tenant_id: TENANT,
            execution_id: Uuid::from_u128(2),
            seq: 3,
            resume_state: resume_state.to_vec(),
            finished_steps: finished_steps.map(<[u8]>::to_vec),
            own_context: own_context.map(<[u8]>::to_vec),
            progress: b"progress".to_vec(),
        }
    }

    #[test]
    fn sealed_checkpoint_opens_and_shows_nothing() {
        let keys = keys();
        let seal = |part, plain: &[u8]| keys.seal(execution(2), part, plain).unwrap();
        let sealed = saved(
            &seal(CheckpointPart::ResumeState, br#"{"next":"hush-hush"}"#),
            Some(&seal(CheckpointPart::FinishedSteps, b"[]")),
            Some(&seal(CheckpointPart::OwnContext, b"{}")),
        );
        assert!(!String::from_utf8_lossy(&sealed.resume_state).contains("hush"));
        let opened = keys.open_checkpoint(sealed).unwrap();
        assert_eq!(opened.resume_state, br#"{"next":"hush-hush"}"#);
        assert_eq!(
            (opened.finished_steps.unwrap(), opened.own_context.unwrap()),
            (b"[]".to_vec(), b"{}".to_vec())
        );
        assert_eq!(opened.progress, b"progress");
    }

    #[test]
    fn part_opens_for_its_own_execution_and_field_only() {
        let keys = keys();
        let sealed = keys.seal(execution(2), CheckpointPart::ResumeState, b"{}").unwrap();
        for (id, part) in [(3, CheckpointPart::ResumeState), (2, CheckpointPart::OwnContext)] {
            assert_eq!(keys.open(execution(id), part, sealed.clone()), Err(KeyError::Altered), "{part:?}");
        }
        let stranger = ExecutionKey { tenant_id: Uuid::from_u128(9), ..execution(2) };
        assert!(keys.open(stranger, CheckpointPart::ResumeState, sealed).is_err());
    }

    #[test]
    fn key_that_cannot_be_unwrapped_is_the_error_of_its_tenant() {
        let unknown = KeyError::UnknownKey("k0".to_owned());
        let mut keys = keys();
        keys.0.insert(Uuid::from_u128(9), Err(unknown.clone()));
        let other = ExecutionKey { tenant_id: Uuid::from_u128(9), ..execution(2) };
        assert_eq!(keys.seal(other, CheckpointPart::ResumeState, b"{}"), Err(unknown));
        assert!(keys.seal(execution(2), CheckpointPart::ResumeState, b"{}").is_ok());
    }

    #[test]
    fn checkpoint_of_an_earlier_release_is_read_as_it_is() {
        let opened = keys().open_checkpoint(saved(br#"{"version":2}"#, None, Some(b"{}"))).unwrap();
        assert_eq!(opened.resume_state, br#"{"version":2}"#);
        assert_eq!(opened.own_context.unwrap(), b"{}");
    }
}
