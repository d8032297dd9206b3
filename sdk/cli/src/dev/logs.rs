//! Prints the lines that child processes write to their logs, each with the child's name.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use orchid_kit::tasks::TaskGroup;
use tokio::time;

use crate::console::{Console, TextStyle};

const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The most bytes to read from one log at a time.
const MAX_READ: u64 = 1 << 20;

/// A log file with the offset that has been read.
struct LogFollower {
    name: String,
    path: PathBuf,
    offset: u64,
    unfinished: Vec<u8>,
}

/// Prints new lines of the logs, from their present ends until the tasks stop.
pub(super) fn follow(logs: Vec<(String, PathBuf)>, console: Console, tasks: &mut TaskGroup) {
    let stop = tasks.stop_token();
    let mut followers: Vec<LogFollower> =
        logs.into_iter().map(|(name, path)| LogFollower::new(name, path)).collect();
    tasks.start("logs", async move {
        while stop.run_until_cancelled(time::sleep(POLL_INTERVAL)).await.is_some() {
            for follower in &mut followers {
                let prefix = console.paint(TextStyle::Dim, format!("{:>13} │", follower.name));
                for line in follower.new_lines().unwrap_or_default() {
                    console.notice(format!("{prefix} {line}"));
                }
            }
        }
    });
}

impl LogFollower {
    fn new(name: String, path: PathBuf) -> Self {
        let offset = path.metadata().map(|found| found.len()).unwrap_or_default();
        Self { name, path, offset, unfinished: Vec::new() }
    }

    /// Returns the lines that were finished since the last call.
    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        // A log that is shorter than before was truncated: read it from its start.
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.take(MAX_READ).read_to_end(&mut self.unfinished)?;
        self.offset += read as u64;
        let Some(end) = self.unfinished.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let finished: Vec<u8> = self.unfinished.drain(..=end).collect();
        Ok(String::from_utf8_lossy(&finished).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn finished_line_is_returned_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "before\n").unwrap();
        let mut follower = LogFollower::new("child".into(), path.clone());
        assert_eq!(follower.new_lines().unwrap(), Vec::<String>::new());
        let mut log = File::options().append(true).open(&path).unwrap();
        log.write_all("one\ntw".as_bytes()).unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["one"]);
        log.write_all("o\nthree\n".as_bytes()).unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["two", "three"]);
    }

    #[test]
    fn truncated_log_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "a long line of the past\n").unwrap();
        let mut follower = LogFollower::new("child".into(), path.clone());
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["new"]);
    }
}
