//! `conditional`: the validators of the last answer, sent with the next run's request (RFC 9110, 13.1). A 304 means that
//! nothing has changed.

use bytes::Bytes;
use orchid_plan::Step;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use crate::attempt::{CursorKey, CursorKind};
use crate::output::CursorChange;
use crate::state::execution::ExecutionState;

/// Bytes of a validator at most; a longer one is not kept.
const VALIDATOR_MAX: usize = 4096;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Validator {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

/// A request of a conditional step.
pub(crate) struct Revalidation {
    /// The name of its url.
    pub(crate) url_name: String,
    /// A validator was sent: only then a 304 says anything.
    pub(crate) revalidates: bool,
}

/// Adds what the last run was told of this url, where the step is conditional; headers that the plan itself sets stay.
pub(crate) fn revalidate(
    run: &ExecutionState,
    step: &Step,
    url: &Url,
    headers: &mut Vec<(String, String)>,
) -> Option<Revalidation> {
    if !step.conditional {
        return None;
    }
    let url_name = name_of(url);
    let stored = run.cursors.began(&key(step, &url_name));
    let validator: Validator = stored.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let revalidates = validator != Validator::default();
    for (header, value) in [("if-none-match", validator.etag), ("if-modified-since", validator.last_modified)]
    {
        if let Some(value) = value
            && !headers.iter().any(|(known, _)| known == header)
        {
            headers.push((header.to_owned(), value));
        }
    }
    Some(Revalidation { url_name, revalidates })
}

/// What is to be kept of an answer for the next run; none where that is what stands there already. An answer without
/// validators takes those of an earlier one away.
pub(crate) fn validator(
    run: &ExecutionState,
    step: &Step,
    url_name: &str,
    headers: &[(String, String)],
) -> Option<CursorChange> {
    let header = |name: &str| {
        let value = headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        value.filter(|value| value.len() <= VALIDATOR_MAX)
    };
    let validator = Validator { etag: header("etag"), last_modified: header("last-modified") };
    let key = key(step, url_name);
    let json: Bytes = serde_json::to_vec(&validator).ok()?.into();
    let stored = run.cursors.now(&key);
    let nothing_new = stored.map_or(validator == Validator::default(), |before| *before == json);
    (!nothing_new).then_some(CursorChange { key, json })
}

fn key(step: &Step, url_name: &str) -> CursorKey {
    CursorKey { kind: CursorKind::Validator, step: step.id.to_string(), item: url_name.to_owned() }
}

/// 32 hex digits: a url may be long, and hold secrets.
fn name_of(url: &Url) -> String {
    hex::encode(&Sha256::digest(url.as_str())[..16])
}
