//! The account that a private server runs as: that of this process, or an unprivileged one if this
//! process runs as root.
//!
//! Accounts are looked up in `/etc/passwd` and never created.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::{fs, io};

/// Accounts that may own a private server, in order of preference.
const CANDIDATES: [&str; 3] = ["postgres", "redis", "nobody"];

/// The ids of a user account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserAccount {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl UserAccount {
    /// Names of the accounts that [`UserAccount::unprivileged`] looks for.
    pub(super) const CANDIDATE_NAMES: &'static str = "postgres, redis, nobody";

    /// Returns true if this process runs as root.
    pub fn running_as_root() -> bool {
        fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
    }

    /// Returns an unprivileged account for a server that a root process starts.
    pub fn unprivileged() -> Option<Self> {
        from_passwd(&fs::read_to_string("/etc/passwd").ok()?)
    }

    /// Returns true if this account can enter a folder and all folders above it.
    pub fn can_enter(self, folder: &Path) -> bool {
        folder
            .ancestors()
            .all(|ancestor| fs::metadata(ancestor).is_ok_and(|metadata| self.may_enter(&metadata)))
    }

    /// Makes this account the owner of a file or folder.
    ///
    /// # Errors
    /// Fails if the path does not exist, or if this process may not change its owner.
    pub fn take_ownership(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    fn may_enter(self, folder: &fs::Metadata) -> bool {
        let mode = folder.permissions().mode();
        // Only the first class that matches counts: an owner without the bit is refused even if
        // others have it.
        let bit = if folder.uid() == self.uid {
            0o100
        } else if folder.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

/// Finds the first candidate in the text of `/etc/passwd`.
fn from_passwd(passwd: &str) -> Option<UserAccount> {
    CANDIDATES.iter().find_map(|name| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != *name {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(UserAccount { uid, gid })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_account_is_found_by_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(from_passwd(passwd), Some(UserAccount { uid: 101, gid: 104 }));
        assert_eq!(
            from_passwd(passwd.split_once("postgres").expect("split").0),
            Some(UserAccount { uid: 65534, gid: 65533 })
        );
        assert_eq!(from_passwd("root:x:0:0:root:/root:/bin/sh\n"), None);
    }

    #[test]
    fn folder_closed_to_others_cannot_be_entered() {
        let folder =
            std::env::temp_dir().join(format!("orchid-account-{}", super::super::host::random_password()));
        fs::create_dir(&folder).expect("folder");
        let stranger = UserAccount { uid: 4_000_000, gid: 4_000_000 };
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("chmod");
        assert!(stranger.can_enter(&folder));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("chmod");
        assert!(!stranger.can_enter(&folder));
        assert!(!stranger.can_enter(&folder.join("missing")));
        fs::remove_dir(&folder).expect("clean up");
    }
}
