//! Etags: opaque, and different for every version of every resource, even after a resource was
//! deleted and created again under the same name.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::commands::CommandError;

/// Returns the etag of a version of a resource.
pub fn etag(id: Uuid, version: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(id.as_bytes());
    hash.update(version.to_be_bytes());
    hex::encode(&hash.finalize()[..8])
}

/// Checks the etag that a caller sent, if any.
///
/// # Errors
/// Fails if it is not the current one.
pub fn check(
    what: &'static str,
    name: &str,
    id: Uuid,
    version: i64,
    given: Option<&str>,
) -> Result<(), CommandError> {
    match given {
        Some(given) if given != etag(id, version) => {
            Err(CommandError::EtagMismatch { what, name: name.to_owned() })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_every_resource_has_its_own_etag() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_ne!(etag(one, 1), etag(one, 2));
        assert_ne!(etag(one, 1), etag(other, 1));
        assert!(check("plan", "p", one, 2, Some(&etag(one, 1))).is_err());
        assert!(check("plan", "p", one, 2, Some(&etag(one, 2))).is_ok());
        assert!(check("plan", "p", one, 2, None).is_ok());
    }
}
