//! What the readers of a document share: the faults so far, and what the step's expressions read.

use std::collections::BTreeMap;

use crate::expr::{InScope, Site};
use crate::{Expr, Fault, FaultCode, Faults, Reads, ServerLimits, Template};

/// Faults of one document at most; more help nobody.
const MAX_FAULTS: usize = 200;

pub(super) struct Context<'s> {
    pub(super) server: &'s ServerLimits,
    faults: Vec<Fault>,
    /// What the expressions compiled since the last [`Context::take_reads`] read.
    reads: Reads,
    /// Ids of steps, and where they stand.
    pub(super) ids: BTreeMap<String, String>,
    /// Steps so far, in the document's order.
    pub(super) steps: usize,
}

impl<'s> Context<'s> {
    pub(super) fn new(server: &'s ServerLimits) -> Self {
        Self { server, faults: Vec::new(), reads: Reads::new(), ids: BTreeMap::new(), steps: 0 }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FAULTS && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    pub(super) fn conflict(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.fault(Fault::new(FaultCode::Conflict, pointer, message));
    }

    pub(super) fn finish<T>(self, outcome: Option<T>) -> Result<T, Faults> {
        match outcome {
            Some(outcome) if self.faults.is_empty() => Ok(outcome),
            _ if self.faults.is_empty() => {
                Err(Faults(vec![Fault::new(FaultCode::InvalidValue, "", "the document cannot be read")]))
            }
            _ => Err(Faults(self.faults)),
        }
    }

    pub(super) fn expr(&mut self, text: &str, pointer: &str, scope: &InScope) -> Option<Expr> {
        match Expr::compile(text, &Site { pointer, start: 0, scope }) {
            Ok(expr) => {
                self.reads.extend(expr.reads());
                Some(expr)
            }
            Err(faults) => {
                faults.into_iter().for_each(|fault| self.fault(fault));
                None
            }
        }
    }

    pub(super) fn template(
        &mut self,
        text: &str,
        pointer: &str,
        scope: &InScope,
        url: bool,
    ) -> Option<Template> {
        match Template::compile(text, pointer, scope, url) {
            Ok(template) => {
                template.exprs().for_each(|expr| self.reads.extend(expr.reads()));
                Some(template)
            }
            Err(faults) => {
                faults.into_iter().for_each(|fault| self.fault(fault));
                None
            }
        }
    }

    /// Puts back what was taken before a step was read.
    pub(super) fn restore_reads(&mut self, reads: Reads) {
        self.reads = reads;
    }

    pub(super) fn add_reads(&mut self, reads: &Reads) {
        self.reads.extend(reads);
    }

    pub(super) fn take_reads(&mut self) -> Reads {
        std::mem::take(&mut self.reads)
    }
}
