//! The account that a private server runs as: this process's own, or, when that is root, an unprivileged one.
//!
//! In goes `/etc/passwd`; out comes a user and group id, and the folders that this user can reach. It never creates
//! accounts.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

/// Accounts that may own a private server, best first.
const CANDIDATES: [&str; 3] = ["postgres", "redis", "nobody"];

/// A user of the machine, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserAccount {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl UserAccount {
    /// The names of the accounts that [`UserAccount::unprivileged`] looks for.
    pub(super) const TRIED: &'static str = "postgres, redis, nobody";

    /// Whether this process runs as root.
    pub fn running_as_root() -> bool {
        fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
    }

    /// An account without privileges, for a server that a root process starts.
    pub fn unprivileged() -> Option<UserAccount> {
        from_passwd(&fs::read_to_string("/etc/passwd").ok()?)
    }

    /// Whether this account can enter a folder: every folder on the way lets it through.
    pub fn can_enter(self, folder: &Path) -> bool {
        folder.ancestors().all(|step| fs::metadata(step).is_ok_and(|found| self.passes(&found)))
    }

    /// Gives a file or folder to this account.
    ///
    /// # Errors
    /// When it is missing, or this process may not.
    pub fn own(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    fn passes(self, folder: &fs::Metadata) -> bool {
        let mode = folder.permissions().mode();
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
    fn an_account_is_found_by_name_and_the_better_one_wins() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:nobody:/:/bin/false\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(from_passwd(passwd), Some(UserAccount { uid: 101, gid: 104 }));
        assert_eq!(
            from_passwd(passwd.split_once("postgres").expect("split").0),
            Some(UserAccount { uid: 65534, gid: 65533 })
        );
        assert_eq!(from_passwd("root:x:0:0:root:/root:/bin/sh\n"), None);
    }

    #[test]
    fn a_folder_closed_to_others_is_not_entered() {
        let folder = std::env::temp_dir().join(format!("orchid-account-{}", super::super::random_password()));
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
