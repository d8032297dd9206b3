//! Compiled plan definitions, by their hash.
//!
//! An acquire call lists the definitions that are compiled here, and the control plane leaves their
//! JSON out of the grants. The cache is bounded, so a listed definition could be evicted before the
//! response arrives; [`PinnedPlans`] keeps it alive until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use orchid_plan::{Definition, ServerLimits};

use crate::convert::GrantedDefinition;
use crate::lru_cache::LruCache;

const CAPACITY: usize = 256;

type DefinitionsByHash = LruCache<Bytes, Arc<Definition>>;

/// The compiled definitions of a process.
pub struct PlanCache {
    definitions: Mutex<DefinitionsByHash>,
}

/// Definitions that stay compiled as long as this value lives.
#[derive(Clone, Default)]
pub struct PinnedPlans {
    definitions: HashMap<Bytes, Arc<Definition>>,
}

/// A granted definition that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The grant left the JSON out, but the definition is not cached here.
    #[error("definition {0} is not cached here and came without its JSON")]
    Unknown(String),
    /// The definition is not JSON.
    #[error("definition is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The definition does not compile, although it was accepted when it was saved.
    #[error("definition does not compile: {0}")]
    Compile(String),
}

impl Default for PlanCache {
    fn default() -> Self {
        Self { definitions: Mutex::new(LruCache::new(CAPACITY)) }
    }
}

impl PlanCache {
    /// Pins all definitions that are compiled now. Keep the result until the response to the call
    /// that lists them is worked off.
    pub fn pin_all(&self) -> PinnedPlans {
        let definitions = self.lock();
        let pinned = definitions.iter().map(|(hash, definition)| (hash.clone(), Arc::clone(definition)));
        PinnedPlans { definitions: pinned.collect() }
    }

    /// Returns the compiled definition of a grant, from the cache, from `pinned`, or compiled now.
    ///
    /// # Errors
    ///
    /// Fails when the grant contains no JSON and the definition is not known, or when it does not
    /// parse or compile.
    pub fn get(
        &self,
        granted: &GrantedDefinition,
        pinned: &PinnedPlans,
        nesting_depth: u32,
    ) -> Result<Arc<Definition>, PlanError> {
        let cached = self.lock().get(&granted.hash);
        if let Some(definition) = cached.or_else(|| pinned.definitions.get(&granted.hash).cloned()) {
            return Ok(definition);
        }
        if granted.json.is_empty() {
            return Err(PlanError::Unknown(hex::encode(&granted.hash)));
        }
        let document: serde_json::Value = serde_json::from_slice(&granted.json)?;
        // Compiled outside the lock. Two attempts may compile the same definition; the later one
        // stays.
        let compiled = orchid_plan::compile(&document, &limits(nesting_depth))
            .map_err(|faults| PlanError::Compile(faults.to_string()))?;
        let compiled = Arc::new(compiled);
        self.lock().insert(granted.hash.clone(), Arc::clone(&compiled));
        Ok(compiled)
    }

    fn lock(&self) -> MutexGuard<'_, DefinitionsByHash> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PinnedPlans {
    /// Returns the hashes, for the acquire call.
    pub fn hashes(&self) -> Vec<Bytes> {
        self.definitions.keys().cloned().collect()
    }
}

/// Returns the limits for compiling. A definition that was saved under the server's limits must run
/// even if the limits have fallen since, so only the nesting depth, which could overflow this
/// process's stack, is checked again.
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
