//! JMESPath's equality, paid for step by step: shared parts make values whose full comparison would never end.

use jmespath::{Rcvar, Variable};

use super::eval::{Outcome, Run};

/// Whether two values are equal. Numbers are compared as doubles, as JMESPath does.
pub(crate) fn equal(run: &mut Run<'_>, left: &Rcvar, right: &Rcvar) -> Outcome<bool> {
    run.pay_steps(1)?;
    match (&**left, &**right) {
        (Variable::Array(a), Variable::Array(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(b) {
                if !equal(run, a, b)? {
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
                if a_name != b_name || !equal(run, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Variable::String(a), Variable::String(b)) => {
            run.pay_steps(a.len().min(b.len()) / 64)?;
            Ok(a == b)
        }
        (a, b) => Ok(a == b),
    }
}
