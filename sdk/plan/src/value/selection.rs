//! The parts of a JSON document that are read as values.

/// A set of paths to parse out of JSON documents. It is built once and used for every document.
#[derive(Debug, Clone, PartialEq)]
pub struct PathSelection(pub(super) SelectionNode);

impl PathSelection {
    /// Selects the whole document.
    pub const ALL: Self = Self(SelectionNode::All);

    /// Selects the values at paths of member names, from the top. An empty path selects everything.
    /// A list on the way has no members, so nothing in it is selected.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p [String]>) -> Self {
        let mut root = SelectionNode::Members(Vec::new());
        for path in paths {
            root.add(path);
        }
        Self(root)
    }

    /// Returns true if only members of an object are selected. Nothing of any other value is.
    #[must_use]
    pub fn selects_members(&self) -> bool {
        matches!(self.0, SelectionNode::Members(_))
    }

    /// Returns true if nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, SelectionNode::Members(members) if members.is_empty())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum SelectionNode {
    All,
    /// Selected members. They are few, so searching a list is faster than a tree.
    Members(Vec<(String, SelectionNode)>),
}

impl SelectionNode {
    fn add(&mut self, path: &[String]) {
        let Self::Members(members) = self else { return };
        // An empty path selects everything, so longer paths below it need no node.
        let [first, rest @ ..] = path else {
            *self = Self::All;
            return;
        };
        let known = members.iter().position(|(name, _)| name == first);
        let at = known.unwrap_or_else(|| {
            members.push((first.clone(), Self::Members(Vec::new())));
            members.len() - 1
        });
        members[at].1.add(rest);
    }
}
