//! What compiled expressions read from the scope, known before anything runs.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::ScopeName;

/// The paths that a set of expressions reads, as far as they are spelled out. `["response", "body", "next"]` means that
/// value and everything below it; a shorter path covers every longer one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadPaths {
    paths: BTreeSet<Vec<String>>,
}

impl ReadPaths {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The paths, none covered by another, in order. The empty path is the whole scope.
    pub fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.paths.iter().map(Vec::as_slice)
    }

    /// Whether anything under a first name is read.
    #[must_use]
    pub fn includes(&self, name: ScopeName) -> bool {
        self.overlaps(&[name.as_str()])
    }

    /// Whether the body of the step's own answer is looked at, now (`response`) or a pass later (`prev`).
    #[must_use]
    pub fn includes_body(&self) -> bool {
        self.overlaps(&["response", "body"]) || self.overlaps(&["prev", "body"])
    }

    /// Whether anything at, above or below a path is read.
    #[must_use]
    pub fn overlaps(&self, path: &[&str]) -> bool {
        self.paths.iter().any(|read| read.iter().zip(path).all(|(a, b)| a == b))
    }

    /// The paths read below a prefix, relative to it; `None` if the whole of it is read.
    #[must_use]
    pub fn below(&self, prefix: &[&str]) -> Option<Vec<&[String]>> {
        let mut found = Vec::new();
        for read in &self.paths {
            if !read.iter().zip(prefix).all(|(a, b)| a == b) {
                continue;
            }
            if read.len() <= prefix.len() {
                return None;
            }
            found.push(&read[prefix.len()..]);
        }
        Some(found)
    }

    /// The step ids that are read through `steps.<id>`; `None` if any of them could be.
    #[must_use]
    pub fn step_ids(&self) -> Option<BTreeSet<&str>> {
        let paths = self.below(&["steps"])?;
        Some(paths.into_iter().filter_map(|path| path.first()).map(String::as_str).collect())
    }

    /// Adds one path.
    pub(crate) fn add(&mut self, path: Vec<String>) {
        if (0..=path.len()).any(|length| self.paths.contains(&path[..length])) {
            return;
        }
        let from_here = self.paths.range::<[String], _>((Bound::Included(path.as_slice()), Bound::Unbounded));
        let covered: Vec<_> = from_here.take_while(|read| read.starts_with(&path)).cloned().collect();
        covered.iter().for_each(|read| {
            self.paths.remove(read);
        });
        self.paths.insert(path);
    }

    /// Adds all paths of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        for path in &other.paths {
            self.add(path.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(paths: &[&str]) -> ReadPaths {
        let mut reads = ReadPaths::new();
        for path in paths {
            reads.add(path.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect());
        }
        reads
    }

    #[test]
    fn a_shorter_path_covers_longer_ones() {
        let reads = reads(&["response.body.a", "response.body", "response.body.b.c"]);
        assert_eq!(reads.paths().collect::<Vec<_>>(), [["response", "body"].map(str::to_owned)]);
        assert_eq!(reads.below(&["response", "body"]), None);
        let neighbours = self::reads(&["a.b.c", "a.bc", "a.b", "a.b.d", "a.c"]);
        let paths: Vec<_> = neighbours.paths().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["a.b", "a.bc", "a.c"]);
    }

    #[test]
    fn the_body_is_read_by_itself_or_by_what_contains_it() {
        assert!(reads(&["response.body.next"]).includes_body());
        assert!(reads(&["prev"]).includes_body());
        assert!(reads(&[""]).includes_body());
        assert!(!reads(&["response.status_code", "context.a"]).includes_body());
    }

    #[test]
    fn steps_are_named_where_they_can_be() {
        assert_eq!(reads(&["steps.a.body", "steps.b"]).step_ids(), Some(BTreeSet::from(["a", "b"])));
        assert_eq!(reads(&["steps"]).step_ids(), None);
        assert_eq!(reads(&["context.x"]).step_ids(), Some(BTreeSet::new()));
    }
}
