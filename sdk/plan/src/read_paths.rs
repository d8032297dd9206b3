//! The paths that expressions read from the scope, known from their text before anything runs.
//!
//! The engine uses them to keep only the parts of responses that a later expression reads.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::{ReadSegment, ScopeName};

/// A set of paths that expressions read.
///
/// `["response", "body", "next"]` means that value and everything below it, so a shorter path
/// covers every longer one that starts with it. Where an expression computes a name, its path ends
/// before that name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadPaths {
    paths: BTreeSet<Vec<String>>,
    /// The same reads, followed into lists.
    exact: BTreeSet<Vec<ReadSegment>>,
}

impl ReadPaths {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the paths in order, none of them covered by another. The empty path is the whole
    /// scope.
    pub fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.paths.iter().map(Vec::as_slice)
    }

    /// Returns whether anything under a name of the scope is read.
    #[must_use]
    pub fn includes(&self, name: ScopeName) -> bool {
        self.overlaps(&[name.as_str()])
    }

    /// Returns whether anything is read that an upstream may have sent.
    #[must_use]
    pub fn includes_answers(&self) -> bool {
        use ScopeName::{Context, Cursor, Item, Items, Page, Parent, Prev, Response, Steps};
        [Context, Cursor, Item, Items, Page, Parent, Prev, Response, Steps]
            .into_iter()
            .any(|name| self.includes(name))
    }

    /// Returns whether the body of the step's own response is read, at once (`response`) or by the
    /// next page (`prev`).
    #[must_use]
    pub fn includes_body(&self) -> bool {
        self.overlaps(&["response", "body"]) || self.overlaps(&["prev", "body"])
    }

    /// Returns whether anything at, above or below a path is read.
    #[must_use]
    pub fn overlaps<N: AsRef<str>>(&self, path: &[N]) -> bool {
        self.paths.iter().any(|read| read.iter().zip(path).all(|(a, b)| a == b.as_ref()))
    }

    /// Returns the paths below a prefix, relative to it; `None` if everything under it is read.
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

    /// Returns the paths below a prefix of names, relative to it and followed into lists; `None` if
    /// everything under it is read.
    #[must_use]
    pub fn exact_below(&self, prefix: &[&str]) -> Option<Vec<&[ReadSegment]>> {
        let mut found = Vec::new();
        for read in &self.exact {
            let is_on_path = |(segment, name): (&ReadSegment, &&str)| match segment {
                ReadSegment::Member(member) => member == name,
                // A list has no members: nothing of a list is read under a name.
                ReadSegment::Index(_) | ReadSegment::Every | ReadSegment::Size => false,
            };
            if !read.iter().zip(prefix).all(is_on_path) {
                continue;
            }
            if read.len() <= prefix.len() {
                return None;
            }
            found.push(&read[prefix.len()..]);
        }
        Some(found)
    }

    /// Returns the ids of the steps that are read through `steps.<id>`; `None` if it could be any.
    #[must_use]
    pub fn step_ids(&self) -> Option<BTreeSet<&str>> {
        let paths = self.below(&["steps"])?;
        Some(paths.into_iter().filter_map(|path| path.first()).map(String::as_str).collect())
    }

    /// Adds a path.
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

    /// Sets the same reads as paths that are followed into lists.
    pub(crate) fn set_exact(&mut self, exact: BTreeSet<Vec<ReadSegment>>) {
        self.exact = exact;
    }

    /// Adds all paths of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        for path in &other.paths {
            self.add(path.clone());
        }
        self.exact.extend(other.exact.iter().cloned());
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
    fn shorter_path_covers_longer_ones() {
        let reads = reads(&["response.body.a", "response.body", "response.body.b.c"]);
        assert_eq!(reads.paths().collect::<Vec<_>>(), [["response", "body"].map(str::to_owned)]);
        assert_eq!(reads.below(&["response", "body"]), None);
        let neighbours = self::reads(&["a.b.c", "a.bc", "a.b", "a.b.d", "a.c"]);
        let paths: Vec<_> = neighbours.paths().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["a.b", "a.bc", "a.c"]);
    }

    #[test]
    fn body_is_included_by_any_path_around_it() {
        assert!(reads(&["response.body.next"]).includes_body());
        assert!(reads(&["prev"]).includes_body());
        assert!(reads(&[""]).includes_body());
        assert!(!reads(&["response.status_code", "context.a"]).includes_body());
    }

    #[test]
    fn step_ids_are_listed_if_they_are_known() {
        assert_eq!(reads(&["steps.a.body", "steps.b"]).step_ids(), Some(BTreeSet::from(["a", "b"])));
        assert_eq!(reads(&["steps"]).step_ids(), None);
        assert_eq!(reads(&["context.x"]).step_ids(), Some(BTreeSet::new()));
    }
}
