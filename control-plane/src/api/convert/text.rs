//! Texts of executors for people. Parts of them come from upstreams, so they may contain anything,
//! of any length.

use orchid_proto::executor::v1 as wire;

/// Maximum bytes of a message, a reason or a code.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Maximum bytes of the last request of a lease.
const MAX_LAST_REQUEST_BYTES: usize = 512;

/// Returns a text that can be stored and shown: bounded, and with U+FFFD for each control character
/// but line feed and tab. Postgres stores no NUL, and terminals obey the others.
pub(super) fn message(text: String) -> String {
    bounded(text, MAX_MESSAGE_BYTES)
}

/// Returns the last request of a lease like a [`message`].
pub(super) fn last_request(text: String) -> String {
    bounded(text, MAX_LAST_REQUEST_BYTES)
}

/// Cleans the texts of an error.
pub(super) fn error(error: wire::ExecutionError) -> wire::ExecutionError {
    let wire::ExecutionError { class, code, message, pointer, status_code, step_path, response_excerpt } =
        error;
    wire::ExecutionError {
        class: self::message(class),
        code: self::message(code),
        message: self::message(message),
        pointer: self::message(pointer),
        status_code,
        step_path: self::message(step_path),
        response_excerpt: self::message(response_excerpt),
    }
}

/// Cleans the texts of a warning.
pub(super) fn warning(warning: wire::ExecutionWarning) -> wire::ExecutionWarning {
    let wire::ExecutionWarning { code, pointer, message } = warning;
    wire::ExecutionWarning {
        code: self::message(code),
        pointer: self::message(pointer),
        message: self::message(message),
    }
}

fn bounded(mut text: String, max_bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(max_bytes));
    let is_unsafe = |char: char| char.is_control() && !matches!(char, '\n' | '\t');
    // Most texts are fine and are not copied.
    if text.contains(is_unsafe) { text.replace(is_unsafe, "\u{fffd}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_and_others_kept() {
        let seen = message("entity \"x\0y\"\u{1b}[31m\n\tat ü".to_owned());
        assert_eq!(seen, "entity \"x\u{fffd}y\"\u{fffd}[31m\n\tat ü");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(last_request("ü".repeat(400)).len(), 512);
        assert_eq!(last_request(format!("a{}", "ü".repeat(400))).len(), 511);
    }
}
