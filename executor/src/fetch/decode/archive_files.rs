//! The files of an archive: which ones are read, and where each one begins in the body.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchid_engine::ArchiveFile;
use orchid_plan::FilePattern;

/// The selection of an archive's files, and the files found so far. Clones share them: the decoder
/// adds files, and the reader of the body takes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArchiveFiles {
    /// Pattern of the files' names; `None` for an archive of exactly one file.
    pattern: Option<FilePattern>,
    found: Arc<Mutex<FoundFiles>>,
}

#[derive(Debug, Default)]
struct FoundFiles {
    /// Number of bytes of all files so far.
    bytes: u64,
    /// Name of the first file.
    first: Option<String>,
    /// Files that the reader has not taken, with the offset of the body at which they begin.
    waiting: VecDeque<(u64, String)>,
}

impl ArchiveFiles {
    pub(crate) fn new(pattern: Option<FilePattern>) -> Self {
        Self { pattern, found: Arc::default() }
    }

    /// Returns whether the file with this name is to be read. Without a pattern, any file may be
    /// the archive's only one.
    pub(crate) fn select(&self, name: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    }

    /// Returns the pattern of the files' names.
    pub(crate) fn pattern(&self) -> Option<&str> {
        self.pattern.as_ref().map(FilePattern::as_str)
    }

    /// Begins a file. Fails if it is the second of an archive of one.
    pub(super) fn begin(&self, name: &str) -> Result<(), String> {
        let mut found = self.lock();
        if let (None, Some(first)) = (&self.pattern, &found.first) {
            return Err(format!(
                "the zip archive contains more than one file: {first:?}, {name:?}; response.files selects files \
                 by a pattern such as \"*.csv\""
            ));
        }
        found.first.get_or_insert_with(|| name.to_owned());
        let start = found.bytes;
        found.waiting.push_back((start, name.to_owned()));
        Ok(())
    }

    /// Counts bytes of the current file.
    pub(super) fn add(&self, bytes: usize) {
        self.lock().bytes += bytes as u64;
    }

    /// Returns whether no file was found.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().first.is_none()
    }

    /// Returns the offset at which the next file begins.
    pub(crate) fn next_start(&self) -> Option<u64> {
        self.lock().waiting.front().map(|(start, _)| *start)
    }

    /// Takes the name of the file that begins at this offset, or before it.
    pub(crate) fn take(&self, offset: u64) -> Option<String> {
        let mut found = self.lock();
        if found.waiting.front().is_some_and(|(start, _)| *start <= offset) {
            return found.waiting.pop_front().map(|(_, name)| name);
        }
        None
    }

    /// Takes all files of a body of this size.
    pub(crate) fn take_all(&self, bytes: usize) -> Vec<ArchiveFile> {
        let mut files = Vec::new();
        let mut end = bytes;
        for (start, name) in std::mem::take(&mut self.lock().waiting).into_iter().rev() {
            let start = usize::try_from(start).map_or(end, |start| start.min(end));
            files.push(ArchiveFile { name, bytes: end - start });
            end = start;
        }
        files.reverse();
        files
    }

    fn lock(&self) -> MutexGuard<'_, FoundFiles> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
