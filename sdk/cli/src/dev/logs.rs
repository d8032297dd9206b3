//! Shows what the children write to their logs, as it comes, each line with the child's name.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use orchid_kit::tasks::TaskGroup;
use tokio::time;

use crate::console::{Console, Style};

const POLL: Duration = Duration::from_millis(200);
/// At most this many bytes of one log at a time.
const CHUNK: u64 = 1 << 20;

/// One log that is followed.
struct Follower {
    name: String,
    path: PathBuf,
    offset: u64,
    unfinished: Vec<u8>,
}

/// Follows the logs until the tasks stop, from their present ends.
pub(super) fn follow(logs: Vec<(String, PathBuf)>, console: Console, tasks: &mut TaskGroup) {
    let stop = tasks.stop_token();
    let mut followers: Vec<Follower> =
        logs.into_iter().map(|(name, path)| Follower::new(name, path)).collect();
    tasks.start("logs", async move {
        while stop.run_until_cancelled(time::sleep(POLL)).await.is_some() {
            for follower in &mut followers {
                let prefix = console.paint(Style::Dim, format!("{:>13} │", follower.name));
                for line in follower.new_lines().unwrap_or_default() {
                    console.notice(format!("{prefix} {line}"));
                }
            }
        }
    });
}

impl Follower {
    fn new(name: String, path: PathBuf) -> Self {
        let offset = path.metadata().map(|found| found.len()).unwrap_or_default();
        Self { name, path, offset, unfinished: Vec::new() }
    }

    /// The lines that were finished since the last call.
    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.take(CHUNK).read_to_end(&mut self.unfinished)?;
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
    fn a_line_comes_once_it_is_finished_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "before\n").unwrap();
        let mut follower = Follower::new("child".into(), path.clone());
        assert_eq!(follower.new_lines().unwrap(), Vec::<String>::new());
        let mut log = File::options().append(true).open(&path).unwrap();
        log.write_all("one\ntw".as_bytes()).unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["one"]);
        log.write_all("o\nthree\n".as_bytes()).unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["two", "three"]);
    }

    #[test]
    fn a_log_that_was_cut_is_read_from_its_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "a long line of the past\n").unwrap();
        let mut follower = Follower::new("child".into(), path.clone());
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(follower.new_lines().unwrap(), ["new"]);
    }
}
