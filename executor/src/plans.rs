//! Compiled plan revisions, by the hash of their definition.
//!
//! In: a grant's hash and, where the control plane did not know that we hold it, its JSON. Out: the compiled definition.
//! Bounded; what was not used for longest goes first. It never asks the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use orchid_plan::{Definition, ServerLimits};

use crate::report::GrantedDefinition;

const CAPACITY: usize = 256;

/// The compiled revisions of a process.
#[derive(Default)]
pub struct Plans {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    held: HashMap<Bytes, Held>,
    uses: u64,
}

struct Held {
    definition: Arc<Definition>,
    last_use: u64,
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
        let inner = self.lock();
        let held = inner.held.iter().map(|(hash, held)| (hash.clone(), Arc::clone(&held.definition)));
        Known { definitions: held.collect() }
    }

    /// The compiled definition of a grant.
    pub fn get(
        &self,
        granted: &GrantedDefinition,
        known: &Known,
        nesting_depth: u32,
    ) -> Result<Arc<Definition>, PlanError> {
        let at_hand = self.lock().used(&granted.hash);
        if let Some(definition) = at_hand.or_else(|| known.definitions.get(&granted.hash).cloned()) {
            return Ok(definition);
        }
        if granted.json.is_empty() {
            return Err(PlanError::Unknown(hex::encode(&granted.hash)));
        }
        let document: serde_json::Value = serde_json::from_slice(&granted.json)?;
        let compiled = orchid_plan::compile(&document, &limits(nesting_depth))
            .map_err(|faults| PlanError::Compile(faults.to_string()))?;
        Ok(self.lock().insert(granted.hash.clone(), Arc::new(compiled)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The hashes, for the call.
    pub fn hashes(&self) -> Vec<Bytes> {
        self.definitions.keys().cloned().collect()
    }
}

impl Inner {
    fn used(&mut self, hash: &Bytes) -> Option<Arc<Definition>> {
        self.uses += 1;
        let held = self.held.get_mut(hash)?;
        held.last_use = self.uses;
        Some(Arc::clone(&held.definition))
    }

    fn insert(&mut self, hash: Bytes, definition: Arc<Definition>) -> Arc<Definition> {
        if self.held.len() >= CAPACITY {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.last_use).map(|(hash, _)| hash.clone());
            if let Some(oldest) = oldest {
                self.held.remove(&oldest);
            }
        }
        self.uses += 1;
        self.held.insert(hash, Held { definition: Arc::clone(&definition), last_use: self.uses });
        definition
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
