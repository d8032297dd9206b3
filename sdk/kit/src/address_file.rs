//! Publishes the address that a process listens on in a file, for the process that started it. The
//! file is written atomically.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The address file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the address to {}", path.display())]
pub struct AddressFileError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Writes `address` and a newline to `path`. The file is renamed into place, so a reader never sees
/// a partial address.
///
/// # Errors
/// Fails if the folder does not exist or is not writable.
pub fn write_address(path: &Path, address: &str) -> Result<(), AddressFileError> {
    let mut temporary = path.as_os_str().to_owned();
    // The process id keeps two processes that write the same path apart.
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, format!("{address}\n"))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| AddressFileError { path: path.to_owned(), source })
}

/// Reads the address in `path`. Returns `None` while the file does not exist.
pub fn read_address(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let address = text.trim();
    (!address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_address_is_read_and_no_other_file_is_left() {
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
    fn missing_folder_error_names_the_path() {
        let error = write_address(Path::new("/nonexistent/address"), "127.0.0.1:1").unwrap_err();
        assert_eq!(error.to_string(), "cannot write the address to /nonexistent/address");
    }
}
