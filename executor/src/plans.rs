//! Compiled plan revisions, by the hash of their definition.
//!
//! In: a grant's hash and, where the control plane did not know that we hold it, its JSON. Out: the compiled definition.
//! Bounded; what was not used for longest goes first. It never asks the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use orchid_plan::{Definition, ServerLimits};

use crate::lru_cache::LruCache;
use crate::report::GrantedDefinition;

const CAPACITY: usize = 256;

/// The compiled revisions of a process.
pub struct Plans {
    compiled: Mutex<LruCache<Bytes, Arc<Definition>>>,
}

impl Default for Plans {
    fn default() -> Self {
        Self { compiled: Mutex::new(LruCache::new(CAPACITY)) }
    }
}

/// Definitions that stay compiled as long as this lives: what an acquire call says that it knows.
#[derive(Clone, Default)]
pub struct Known {
    definitions: HashMap<Bytes, Arc<Definition>>,
}

/// A granted definition that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The grant left it out, and it is not known here.
    #[error("definition {0} came without its text")]
    Unknown(String),
    /// Not JSON.
    #[error("the definition is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It does not compile, although it was saved.
    #[error("the definition does not compile: {0}")]
    Compile(String),
}

impl Plans {
    /// What is compiled now. Hold on to it until the answer to the call that names it is worked off.
    pub fn known(&self) -> Known {
        let definitions = self.lock().iter().map(|(hash, held)| (hash.clone(), Arc::clone(held))).collect();
        Known { definitions }
    }

    /// The compiled definition of a grant.
    pub fn get(
        &self,
        granted: &GrantedDefinition,
        known: &Known,
        nesting_depth: u32,
    ) -> Result<Arc<Definition>, PlanError> {
        let at_hand = self.lock().get(&granted.hash);
        if let Some(definition) = at_hand.or_else(|| known.definitions.get(&granted.hash).cloned()) {
            return Ok(definition);
        }
        if granted.json.is_empty() {
            return Err(PlanError::Unknown(hex::encode(&granted.hash)));
        }
        let document: serde_json::Value = serde_json::from_slice(&granted.json)?;
        let compiled = orchid_plan::compile(&document, &limits(nesting_depth))
            .map_err(|faults| PlanError::Compile(faults.to_string()))?;
        let definition = Arc::new(compiled);
        self.lock().insert(granted.hash.clone(), Arc::clone(&definition));
        Ok(definition)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Bytes, Arc<Definition>>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The hashes, for the call.
    pub fn hashes(&self) -> Vec<Bytes> {
        self.definitions.keys().cloned().collect()
    }
}

/// What was saved under a server's limits runs, also where the limits fell since; only what could hurt this process is
/// checked again.
fn limits(nesting_depth: u32) -> ServerLimits {
    ServerLimits {
        definition_bytes: usize::MAX,
        steps: usize::MAX,
        nesting_depth,
        execution_seconds: u64::MAX,
        loops: u64::MAX,
        requests: None,
        timeout_seconds: u64::MAX,
        body_bytes: u64::MAX,
        stream_bytes: u64::MAX,
        retries: u32::MAX,
    }
}
