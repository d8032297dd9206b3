//! Counts the elements of the largest list in a JSON text, without building it.

use orchid_plan::{JsonScanner, ValueError};

/// Returns the number of elements of the largest list that is not inside another one; `None` if
/// there is no list, or the text is not JSON.
pub(crate) fn largest_list(json: &[u8]) -> Option<u64> {
    let mut scanner = JsonScanner::at(json, 0);
    let largest = largest_in_value(&mut scanner).ok()?;
    scanner.end().ok()?;
    largest
}

/// Skips a value; returns the size of its largest list. Recursion is safe: the text was read
/// before, so its nesting is bounded.
fn largest_in_value(scanner: &mut JsonScanner<'_>) -> Result<Option<u64>, ValueError> {
    scanner.skip_space();
    if scanner.skip_byte(b'[') {
        let mut count = 0;
        while scanner.next_element(count == 0)? {
            scanner.skip_value()?;
            count += 1;
        }
        return Ok(Some(count));
    }
    if scanner.skip_byte(b'{') {
        let (mut largest, mut first) = (None, true);
        while scanner.next_member(first)?.is_some() {
            first = false;
            largest = largest.max(largest_in_value(scanner)?);
        }
        return Ok(largest);
    }
    scanner.skip_value().map(|_| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_the_largest_outer_list_are_counted() {
        assert_eq!(largest_list(b"[1,[2,3,4],{}]"), Some(3));
        assert_eq!(largest_list(br#"{"a":[1],"b":{"c":[1,2,3],"d":"x"},"e":null,"f":1.5}"#), Some(3));
        assert_eq!(largest_list(br#"{"a":[]}"#), Some(0));
        assert_eq!(largest_list(br#"{"a":{"b":true}}"#), None);
        assert_eq!(largest_list(b"[1"), None);
    }
}
