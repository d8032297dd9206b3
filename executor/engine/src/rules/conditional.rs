//! `conditional`: sends the validators of the last response with the next execution's request (RFC
//! 9110, 13.1). A 304 then means that nothing has changed.

use bytes::Bytes;
use orchid_plan::Step;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use crate::attempt::{CursorKey, CursorKind};
use crate::output::CursorChange;
use crate::state::execution::ExecutionState;

/// Maximum size of a validator, in bytes; a longer one is not stored.
const VALIDATOR_MAX: usize = 4096;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredValidator {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

/// The validators that were sent with a request.
pub(crate) struct Revalidation {
    /// Name under which the validators of this URL are stored.
    pub(crate) url_name: String,
    /// True if there was a validator to send: only then does a 304 mean "unchanged".
    pub(crate) revalidates: bool,
}

/// Adds the stored validators of this URL to the headers, if the step is conditional.
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
    let validator: StoredValidator =
        stored.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let revalidates = validator != StoredValidator::default();
    for (header, value) in [("if-none-match", validator.etag), ("if-modified-since", validator.last_modified)]
    {
        // A header that the plan itself sets wins.
        if let Some(value) = value
            && !headers.iter().any(|(known, _)| known == header)
        {
            headers.push((header.to_owned(), value));
        }
    }
    Some(Revalidation { url_name, revalidates })
}

/// Returns the validators of a response to store for the next execution; `None` if they are stored
/// already. A response without validators removes those of an earlier one, and so does a page with
/// failed rows: a 304 would hide these rows.
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
    let key = key(step, url_name);
    let validator = if run.held.holds(&key) {
        StoredValidator::default()
    } else {
        StoredValidator { etag: header("etag"), last_modified: header("last-modified") }
    };
    // Written even if both are missing, so that validators the upstream no longer sends are
    // removed.
    let json: Bytes = serde_json::to_vec(&validator).ok()?.into();
    let stored = run.cursors.now(&key);
    // Writing the same value again would grow every checkpoint.
    let nothing_new = stored.map_or(validator == StoredValidator::default(), |before| *before == json);
    (!nothing_new).then_some(CursorChange { key, json })
}

/// Returns the key under which the validators of a URL are stored.
pub(crate) fn key(step: &Step, url_name: &str) -> CursorKey {
    CursorKey { kind: CursorKind::Validator, step: step.id.to_string(), item: url_name.to_owned() }
}

/// Returns 32 hex digits that identify a URL: the URL itself could be long, and contain secrets.
fn name_of(url: &Url) -> String {
    hex::encode(&Sha256::digest(url.as_str())[..16])
}
