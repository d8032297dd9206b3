//! State that the readers of a document share: the diagnostics so far, the step ids, and the paths
//! that the current step's expressions read.

use std::collections::BTreeMap;

use crate::diagnostic::MAX_DIAGNOSTICS;
use crate::expr::{ExprOrigin, InScope};
use crate::{Diagnostic, DiagnosticCode, Diagnostics, Expr, ReadPaths, ServerLimits, Template};

pub(crate) struct ReadContext<'s> {
    pub(crate) server: &'s ServerLimits,
    diagnostics: Vec<Diagnostic>,
    /// Paths that are read by the expressions compiled since the last [`Self::take_reads`].
    reads: ReadPaths,
    /// JSON pointers of the steps, by their ids.
    pub(crate) ids: BTreeMap<String, String>,
    /// Number of steps so far, in document order.
    pub(crate) steps: usize,
}

impl<'s> ReadContext<'s> {
    pub(crate) fn new(server: &'s ServerLimits) -> Self {
        Self { server, diagnostics: Vec::new(), reads: ReadPaths::new(), ids: BTreeMap::new(), steps: 0 }
    }

    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        if !self.is_full() && !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Returns whether no more diagnostics are kept. The document is refused then, so whatever is
    /// left of it need not be read.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= MAX_DIAGNOSTICS
    }

    pub(crate) fn conflict(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.report(Diagnostic::new(DiagnosticCode::Conflict, pointer, message));
    }

    pub(crate) fn finish<T>(self, outcome: Option<T>) -> Result<T, Diagnostics> {
        match outcome {
            Some(outcome) if self.diagnostics.is_empty() => Ok(outcome),
            _ if self.diagnostics.is_empty() => Err(Diagnostics(vec![Diagnostic::new(
                DiagnosticCode::InvalidValue,
                "",
                "the document cannot be read",
            )])),
            _ => Err(Diagnostics(self.diagnostics)),
        }
    }

    pub(crate) fn expr(&mut self, text: &str, pointer: &str, scope: &InScope) -> Option<Expr> {
        if self.is_full() {
            return None;
        }
        match Expr::compile(text, &ExprOrigin { pointer, start: 0, scope }) {
            Ok(expr) => {
                self.reads.extend(expr.reads());
                Some(expr)
            }
            Err(diagnostics) => {
                diagnostics.into_iter().for_each(|diagnostic| self.report(diagnostic));
                None
            }
        }
    }

    pub(crate) fn template(
        &mut self,
        text: &str,
        pointer: &str,
        scope: &InScope,
        url: bool,
    ) -> Option<Template> {
        if self.is_full() {
            return None;
        }
        match Template::compile(text, pointer, scope, url) {
            Ok(template) => {
                template.exprs().for_each(|expr| self.reads.extend(expr.reads()));
                Some(template)
            }
            Err(diagnostics) => {
                diagnostics.into_iter().for_each(|diagnostic| self.report(diagnostic));
                None
            }
        }
    }

    /// Restores the paths that were taken before a step was read.
    pub(crate) fn restore_reads(&mut self, reads: ReadPaths) {
        self.reads = reads;
    }

    pub(crate) fn add_reads(&mut self, reads: &ReadPaths) {
        self.reads.extend(reads);
    }

    pub(crate) fn take_reads(&mut self) -> ReadPaths {
        std::mem::take(&mut self.reads)
    }
}
