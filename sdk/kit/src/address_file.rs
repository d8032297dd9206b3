//! Tells whoever started this process where it listens: the address goes into a file, whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The address could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the address to {}", path.display())]
pub struct AddressFileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Writes `address` and a newline to `path` through a rename, so that a reader sees no half of it.
pub fn write_address(path: &Path, address: &str) -> Result<(), AddressFileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    fs::write(&beside, format!("{address}\n"))
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| AddressFileError { path: path.to_owned(), source })
}

/// The address that stands in `path`; `None` while there is no such file.
pub fn read_address(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let address = text.trim();
    (!address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_is_read_and_nothing_else_is_left() {
        let folder = std::env::temp_dir().join(format!("orchid-announce-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("address");
        assert_eq!(read_address(&path), None);
        write_address(&path, "127.0.0.1:7400").unwrap();
        write_address(&path, "127.0.0.1:7401").unwrap();
        assert_eq!(read_address(&path).as_deref(), Some("127.0.0.1:7401"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let error = write_address(Path::new("/nonexistent/address"), "127.0.0.1:1").unwrap_err();
        assert_eq!(error.to_string(), "cannot write the address to /nonexistent/address");
    }
}
