//! What a development stack keeps secret, made at random once for each data folder: master key, pool token, the upstream's key.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FILE: &str = "secrets.json";

/// The secrets of one data folder, and the tenant that it begins with. Never printed.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secrets {
    /// Base64 of 32 bytes.
    pub master_key: String,
    /// What executors present to join the pool.
    pub pool_token: String,
    /// What the demo upstream wants as `x-api-key`.
    pub upstream_key: String,
    /// The tenant that the stack creates.
    pub tenant: Uuid,
}

impl Secrets {
    fn random() -> Self {
        Self {
            master_key: STANDARD.encode(rand::random::<[u8; 32]>()),
            pool_token: hex128(),
            upstream_key: hex128(),
            tenant: Uuid::now_v7(),
        }
    }

    /// Those of the folder; made when it has none.
    pub(super) fn of(folder: &Path) -> anyhow::Result<Self> {
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

/// Writes a file that only its owner can read, whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let beside = path.with_extension("new");
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_damaged_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let error = Secrets::of(folder.path()).err().unwrap();
        assert!(error.to_string().ends_with("secrets.json is damaged"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), "{");
    }

    #[test]
    fn a_folder_keeps_its_secrets_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Secrets::of(folder.path()).unwrap();
        let second = Secrets::of(folder.path()).unwrap();
        assert!(first.master_key == second.master_key && first.tenant == second.tenant);
        assert_eq!(STANDARD.decode(first.master_key).unwrap().len(), 32);
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
