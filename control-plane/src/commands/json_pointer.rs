//! JSON pointers (RFC 6901).

/// Escapes a name for use in a JSON pointer.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
