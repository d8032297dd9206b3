//! The position of a step among the others, and the names that its expressions may start with
//! there.

use std::collections::BTreeSet;

use super::object::ObjectReader;
use super::unsupported;
use crate::expr::InScope;
use crate::{AuthFlow, EmitMode, ScopeName};

/// The position of a step, as far as its meaning depends on the steps around and before it.
#[derive(Clone)]
pub(super) struct StepPosition {
    /// Depth of nesting; a root step has depth 1.
    pub(super) depth: u32,
    pub(super) max_depth: u32,
    pub(super) role: StepRole,
    /// Whether the step must not emit, as all steps of an async job but its last download.
    pub(super) silent: bool,
    /// Whether a step around it has a response, which it sees as `parent`.
    in_step: bool,
    /// Whether it runs once for each row or `for_each` item of a step around it.
    in_items: bool,
    /// Whether a step around it has a cursor.
    in_cursor: bool,
    /// Whether a step around it has a window.
    in_window: bool,
    /// Auth flow of the steps around it.
    pub(super) auth_flow: Option<AuthFlow>,
    /// Ids of the steps that have finished before, at this depth and around it.
    pub(super) earlier: Vec<String>,
}

/// The role of a step in the object that contains it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StepRole {
    /// A root step, or one of `sub_steps`.
    Plain,
    /// `submit`, `poll` or `cancel` of an async job: one request under this fixed id.
    Fixed(&'static str),
    /// `poll` of an async job whose result is the response to the last poll.
    ResultPoll,
    /// One of the downloads of an async job, but not the last.
    Download,
    /// The last download of an async job.
    LastDownload,
}

impl StepRole {
    /// Returns the id that a step with this role always has.
    pub(super) fn fixed_id(self) -> Option<&'static str> {
        match self {
            Self::Fixed(id) => Some(id),
            Self::ResultPoll => Some("poll"),
            Self::Plain | Self::Download | Self::LastDownload => None,
        }
    }

    /// Returns whether a relative url of the step is resolved against that of the job's `submit`.
    pub(super) fn follows_submit(self) -> bool {
        match self {
            Self::Fixed(id) => id != "submit",
            Self::ResultPoll | Self::Download | Self::LastDownload => true,
            Self::Plain => false,
        }
    }
}

impl StepPosition {
    pub(super) fn root(max_depth: u32) -> Self {
        Self {
            depth: 1,
            max_depth,
            role: StepRole::Plain,
            silent: false,
            in_step: false,
            in_items: false,
            in_cursor: false,
            in_window: false,
            auth_flow: None,
            earlier: Vec::new(),
        }
    }

    /// Returns the position of a step's sub-steps.
    pub(super) fn below(&self, step: &ObjectReader<'_>, auth_flow: Option<AuthFlow>) -> Self {
        Self {
            depth: self.depth + 1,
            role: StepRole::Plain,
            in_step: true,
            in_items: self.in_items || step.has("iterate_over") || step.has("for_each"),
            in_cursor: self.in_cursor || step.has("cursor"),
            in_window: self.in_window || step.has("window"),
            auth_flow,
            ..self.clone()
        }
    }

    /// Returns the position of the steps of an async job. A job has no response of its own, so they
    /// see the parent that the job sees.
    pub(super) fn inside_job(&self, job: &ObjectReader<'_>, auth_flow: Option<AuthFlow>) -> Self {
        Self {
            depth: self.depth + 1,
            in_items: self.in_items || job.has("for_each"),
            auth_flow,
            ..self.clone()
        }
    }

    /// Returns the same position once these steps have finished.
    pub(super) fn after(&self, earlier: &[String]) -> Self {
        Self { earlier: earlier.to_vec(), ..self.clone() }
    }

    /// Returns the same position for a step with this role.
    pub(super) fn with_role(&self, role: StepRole) -> Self {
        let silent = self.silent || matches!(role, StepRole::Fixed(_) | StepRole::Download);
        Self { role, silent, ..self.clone() }
    }

    /// Returns whether a step at this position has an item, its own or one of a step around it.
    pub(super) fn has_item(&self, step: &ObjectReader<'_>) -> bool {
        self.in_items || step.has("for_each")
    }

    /// Returns the default of `emit` at this position.
    pub(super) fn default_emit(&self) -> EmitMode {
        match self.role {
            _ if self.silent => EmitMode::None,
            StepRole::LastDownload | StepRole::ResultPoll => EmitMode::Page,
            StepRole::Plain if self.depth == 1 => EmitMode::Page,
            StepRole::Plain | StepRole::Fixed(_) | StepRole::Download => EmitMode::None,
        }
    }
}

/// The names in scope at each stage of a step. Later stages have more names.
pub(crate) struct StepScopes {
    /// Before there is an item: `for_each`.
    pub(crate) before_items: InScope,
    /// With the item, before the cursor is known: `cursor.start`, `cursor.per_item`.
    pub(crate) with_item: InScope,
    /// Before the first page: `execute_if`, `window.from`, `window.to`.
    pub(crate) before_first_page: InScope,
    /// While a page's request is rendered, and after its response.
    pub(crate) in_page: InScope,
}

impl StepScopes {
    pub(super) fn of(position: &StepPosition, step: &ObjectReader<'_>) -> Self {
        Self::build(position, position.has_item(step), step.has("cursor"), step.has("window"))
    }

    /// Returns every name that may be in scope in some step at the root, or in some step below
    /// another one.
    pub(crate) fn widest(below: bool) -> Self {
        let position = StepPosition {
            in_step: below,
            in_items: below,
            in_cursor: below,
            in_window: below,
            ..StepPosition::root(1)
        };
        Self::build(&position, true, true, true)
    }

    fn build(position: &StepPosition, item: bool, cursor: bool, window: bool) -> Self {
        use ScopeName::{
            Config, Context, Cursor, Item, ItemIndex, Items, Meta, Page, Parent, Prev, Response, Steps,
            Window,
        };
        let mut names = BTreeSet::from([Config, Context, Meta, Steps]);
        let mut scope = |more: &[(bool, &[ScopeName])]| {
            for (present, more) in more {
                names.extend(more.iter().filter(|_| *present));
            }
            InScope::new(names.iter().copied(), unsupported::NAMES, &position.earlier)
        };
        let items: &[ScopeName] = &[Item, ItemIndex, Items];
        // Each call adds to the names of the one before, so the order of these fields matters.
        Self {
            before_items: scope(&[
                (position.in_step, &[Parent]),
                (position.in_items, items),
                (position.in_cursor, &[Cursor]),
                (position.in_window, &[Window]),
            ]),
            with_item: scope(&[(item, items)]),
            before_first_page: scope(&[(cursor, &[Cursor])]),
            in_page: scope(&[(true, &[Response, Prev, Page]), (window, &[Window])]),
        }
    }
}
