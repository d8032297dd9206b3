//! JMESPath's equality, charged step by step.
//!
//! Values can share parts, so two small values can take exponential time to compare.

use super::evaluation::{EvalResult, Evaluation};
use crate::value::{Rcvar, Variable};

/// Returns true if two values are equal. Numbers are compared as doubles, as JMESPath does, unless
/// one of them is beyond a double.
pub(crate) fn equal(evaluation: &mut Evaluation<'_>, left: &Rcvar, right: &Rcvar) -> EvalResult<bool> {
    evaluation.charge_steps(1)?;
    match (&**left, &**right) {
        (Variable::Array(a), Variable::Array(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !equal(evaluation, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Variable::Object(a), Variable::Object(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for ((a_name, a), (b_name, b)) in a.iter().zip(b) {
                if a_name != b_name || !equal(evaluation, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Variable::String(a), Variable::String(b)) => {
            evaluation.charge_steps(a.len().min(b.len()) / 64)?;
            Ok(a == b)
        }
        (a, b) => Ok(a.equals_scalar(b)),
    }
}
