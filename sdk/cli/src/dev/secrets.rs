//! The secrets of a development stack: master key, pool token and the demo API's key. They are
//! generated once per data folder.

use std::path::Path;
use std::{fs, io};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FILE: &str = "secrets.json";

/// The secrets of a data folder and the id of its first tenant. No `Debug`: they are never printed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DevSecrets {
    /// The master key, 32 bytes in base64.
    pub master_key: String,
    /// The token that executors present to join the pool.
    pub pool_token: String,
    /// The `x-api-key` that the demo upstream requires.
    pub upstream_key: String,
    /// The tenant that the stack creates.
    pub tenant: Uuid,
}

impl DevSecrets {
    fn random() -> Self {
        Self {
            master_key: STANDARD.encode(rand::random::<[u8; 32]>()),
            pool_token: hex128(),
            upstream_key: hex128(),
            tenant: Uuid::now_v7(),
        }
    }

    /// Reads the folder's secrets, or generates and stores them if it has none.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read or written.
    pub(super) fn load_or_create(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secrets = Self::random();
                write_private(&path, &serde_json::to_vec_pretty(&secrets)?)?;
                Ok(secrets)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

fn hex128() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Writes a file that only its owner can read. The write is atomic: a crash leaves the old file.
///
/// # Errors
/// When the file cannot be written or renamed.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("new");
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn damaged_file_is_reported_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let error = DevSecrets::load_or_create(folder.path()).err().unwrap();
        assert!(error.to_string().ends_with("secrets.json is damaged"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "{");
    }

    #[test]
    fn secrets_are_stored_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let first = DevSecrets::load_or_create(folder.path()).unwrap();
        let second = DevSecrets::load_or_create(folder.path()).unwrap();
        assert!(first.master_key == second.master_key && first.tenant == second.tenant);
        assert_eq!(STANDARD.decode(first.master_key).unwrap().len(), 32);
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
