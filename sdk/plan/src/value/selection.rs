//! The parts of a JSON document that are read as values.

/// One segment of a path that is followed into lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadSegment {
    /// A member of an object.
    Member(String),
    /// An element of a list. Negative indexes count from its end.
    Index(i32),
    /// Every element of a list.
    Every,
    /// The number of elements of a list, or the names of an object's members, without their values.
    /// Always last.
    Size,
}

/// A set of paths to parse out of JSON documents. It is built once and used for every document.
#[derive(Debug, Clone, PartialEq)]
pub struct PathSelection(pub(super) SelectionNode);

impl PathSelection {
    /// Selects the whole document.
    pub const ALL: Self = Self(SelectionNode::All);

    /// Selects nothing: lists and objects are read as empty, a scalar is read.
    pub const NONE: Self = Self(SelectionNode::Parts(SelectedParts::NONE));

    /// Selects the values at paths from the top. An empty path selects everything.
    ///
    /// An element that is read at an index from the end of its list is selected of every element,
    /// because the length of the list is not known before.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p [ReadSegment]>) -> Self {
        Self(SelectionNode::of(&paths.into_iter().collect::<Vec<_>>()))
    }

    /// Returns true if nothing of a list is selected, not even its length.
    #[must_use]
    pub fn leaves_out_lists(&self) -> bool {
        matches!(&self.0, SelectionNode::Parts(parts) if !parts.includes_elements())
    }

    /// Returns true if nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum SelectionNode {
    All,
    Parts(SelectedParts),
}

/// The selected parts of a list or an object. A scalar is always read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SelectedParts {
    /// Selected members of an object. They are few, so searching a list is faster than a tree.
    members: Vec<(String, SelectionNode)>,
    /// The parts of every element of a list.
    every: Option<Box<SelectionNode>>,
    /// The parts of single elements, counted from the start. `every` includes them.
    indexes: Vec<(usize, SelectionNode)>,
    /// True if the number of elements, or the names of the members, is selected.
    size: bool,
}

impl SelectionNode {
    fn of(paths: &[&[ReadSegment]]) -> Self {
        // An empty path selects everything, so longer paths below it need no node.
        if paths.iter().any(|path| path.is_empty()) {
            return Self::All;
        }
        let mut parts = SelectedParts::NONE;
        for segment in paths.iter().filter_map(|path| path.first()) {
            let below = || Self::of(&rests(paths, |other| other == segment));
            match segment {
                ReadSegment::Member(name) if parts.member(name).is_none() => {
                    parts.members.push((name.clone(), below()));
                }
                ReadSegment::Index(index @ 0..) if parts.element(distance(*index)).is_none() => {
                    parts.indexes.push((distance(*index), below()));
                }
                ReadSegment::Every | ReadSegment::Index(..0) if parts.every.is_none() => {
                    let is_element =
                        |other: &ReadSegment| matches!(other, ReadSegment::Every | ReadSegment::Index(_));
                    parts.every = Some(Box::new(Self::of(&rests(paths, is_element))));
                }
                ReadSegment::Size => parts.size = true,
                ReadSegment::Member(_) | ReadSegment::Index(_) | ReadSegment::Every => {}
            }
        }
        Self::Parts(parts)
    }
}

impl SelectedParts {
    const NONE: Self = Self { members: Vec::new(), every: None, indexes: Vec::new(), size: false };

    /// Returns what is selected of the member of this name.
    fn member(&self, name: &str) -> Option<&SelectionNode> {
        self.members.iter().find(|(selected, _)| selected == name).map(|(_, node)| node)
    }

    /// Returns the selected member whose name is written as `is_name` finds.
    pub(super) fn find_member(&self, is_name: impl Fn(&str) -> bool) -> Option<(&str, &SelectionNode)> {
        let found = self.members.iter().find(|(name, _)| is_name(name));
        found.map(|(name, node)| (name.as_str(), node))
    }

    /// Returns what is selected of the element at an index.
    pub(super) fn element(&self, index: usize) -> Option<&SelectionNode> {
        if let Some(every) = &self.every {
            return Some(every);
        }
        self.indexes.iter().find(|(selected, _)| *selected == index).map(|(_, node)| node)
    }

    /// Returns whether anything of a list is selected.
    pub(super) fn includes_elements(&self) -> bool {
        self.size || self.every.is_some() || !self.indexes.is_empty()
    }

    /// Returns whether the element at an index must exist, although nothing of it is selected.
    pub(super) fn keeps_place(&self, index: usize) -> bool {
        self.size || self.indexes.iter().any(|(selected, _)| *selected > index)
    }

    /// Returns whether the names of all members are selected.
    pub(super) fn keeps_names(&self) -> bool {
        self.size
    }
}

fn distance(index: i32) -> usize {
    usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)
}

/// Returns the rests of the paths whose first segment matches.
fn rests<'p>(paths: &[&'p [ReadSegment]], matches: impl Fn(&ReadSegment) -> bool) -> Vec<&'p [ReadSegment]> {
    let split = paths.iter().filter_map(|path| path.split_first());
    split.filter(|(first, _)| matches(first)).map(|(_, rest)| rest).collect()
}
