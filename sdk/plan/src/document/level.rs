//! Where a step stands among the others, and the names that its expressions may begin with there.

use std::collections::BTreeSet;

use super::object::Object;
use super::unsupported;
use crate::expr::InScope;
use crate::{AuthFlow, EmitMode, ScopeName};

/// Where a step stands.
#[derive(Clone)]
pub(super) struct Level {
    /// The root is 1.
    pub(super) depth: u32,
    pub(super) max_depth: u32,
    pub(super) role: Role,
    /// Whether nothing here may emit: all of an async job but its last download.
    pub(super) silent: bool,
    /// Whether there is a step around it whose answer it sees.
    in_step: bool,
    /// Whether there are rows or elements around it.
    in_items: bool,
    /// Whether a step around it has a cursor.
    in_cursor: bool,
    /// Whether a step around it has a window.
    in_window: bool,
    /// What the steps around it say.
    pub(super) auth_flow: Option<AuthFlow>,
    /// Ids of the steps that are finished before, on this level and the outer ones.
    pub(super) earlier: Vec<String>,
}

/// What a step is to the one that it stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A root step, or one of `sub_steps`.
    Plain,
    /// `submit`, `poll` or `cancel` of an async job: one request, under this fixed id.
    Fixed(&'static str),
    /// One of `download` of an async job that another one follows.
    Download,
    /// The last of `download`.
    LastDownload,
}

impl Role {
    /// The id that a step has whatever its author says.
    pub(super) fn fixed_id(self) -> Option<&'static str> {
        match self {
            Self::Fixed(id) => Some(id),
            _ => None,
        }
    }
}

impl Level {
    pub(super) fn root(max_depth: u32) -> Self {
        Self {
            depth: 1,
            max_depth,
            role: Role::Plain,
            silent: false,
            in_step: false,
            in_items: false,
            in_cursor: false,
            in_window: false,
            auth_flow: None,
            earlier: Vec::new(),
        }
    }

    /// The level of a step's sub-steps.
    pub(super) fn below(&self, step: &Object<'_>, auth_flow: Option<AuthFlow>) -> Self {
        Self {
            depth: self.depth + 1,
            role: Role::Plain,
            in_step: true,
            in_items: self.in_items || step.has("iterate_over") || step.has("for_each"),
            in_cursor: self.in_cursor || step.has("cursor"),
            in_window: self.in_window || step.has("window"),
            auth_flow,
            ..self.clone()
        }
    }

    /// The level of an async job's own steps, one deeper. They see what the job sees: it has no answer of its own.
    pub(super) fn inside_job(&self, job: &Object<'_>, auth_flow: Option<AuthFlow>) -> Self {
        Self {
            depth: self.depth + 1,
            in_items: self.in_items || job.has("for_each"),
            auth_flow,
            ..self.clone()
        }
    }

    /// The same place once these steps are finished.
    pub(super) fn after(&self, earlier: &[String]) -> Self {
        Self { earlier: earlier.to_vec(), ..self.clone() }
    }

    /// The same place for a step with this role.
    pub(super) fn of(&self, role: Role) -> Self {
        let silent = self.silent || matches!(role, Role::Fixed(_) | Role::Download);
        Self { role, silent, ..self.clone() }
    }

    /// Whether a step here has an item: one of its own, or one around it.
    pub(super) fn has_item(&self, step: &Object<'_>) -> bool {
        self.in_items || step.has("for_each")
    }

    /// What a step here emits where it says nothing.
    pub(super) fn default_emit(&self) -> EmitMode {
        match self.role {
            _ if self.silent => EmitMode::None,
            Role::LastDownload => EmitMode::Page,
            Role::Plain if self.depth == 1 => EmitMode::Page,
            _ => EmitMode::None,
        }
    }
}

/// The names in scope at the moments of a step.
pub(crate) struct Scopes {
    /// Before there is an item: `for_each`.
    pub(crate) around: InScope,
    /// With the item, before the cursor is known: `cursor.start`, `cursor.per_item`.
    pub(crate) item: InScope,
    /// Before the first pass: `execute_if`, `window.from`, `window.to`.
    pub(crate) before: InScope,
    /// While a request is rendered, and after its answer.
    pub(crate) within: InScope,
}

impl Scopes {
    pub(super) fn of(level: &Level, step: &Object<'_>) -> Self {
        Self::with(level, level.has_item(step), step.has("cursor"), step.has("window"))
    }

    /// Everything that could be in scope anywhere in a step that is below another, or is not.
    pub(crate) fn widest(below: bool) -> Self {
        let level =
            Level { in_step: below, in_items: below, in_cursor: below, in_window: below, ..Level::root(1) };
        Self::with(&level, true, true, true)
    }

    fn with(level: &Level, item: bool, cursor: bool, window: bool) -> Self {
        use ScopeName::{
            Config, Context, Cursor, Item, ItemIndex, Items, Meta, Page, Parent, Prev, Response, Steps,
            Window,
        };
        let mut names = BTreeSet::from([Config, Context, Meta, Steps]);
        let mut scope = |more: &[(bool, &[ScopeName])]| {
            for (there, more) in more {
                names.extend(more.iter().filter(|_| *there));
            }
            InScope::new(names.iter().copied(), unsupported::NAMES, &level.earlier)
        };
        let items: &[ScopeName] = &[Item, ItemIndex, Items];
        Self {
            around: scope(&[
                (level.in_step, &[Parent]),
                (level.in_items, items),
                (level.in_cursor, &[Cursor]),
                (level.in_window, &[Window]),
            ]),
            item: scope(&[(item, items)]),
            before: scope(&[(cursor, &[Cursor])]),
            within: scope(&[(true, &[Response, Prev, Page]), (window, &[Window])]),
        }
    }
}
