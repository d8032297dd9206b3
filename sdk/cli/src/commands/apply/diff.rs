//! Compares two JSON documents line by line, pretty-printed. Pure.

use serde_json::Value;

/// The longest document to compare, in lines; the comparison takes quadratic time and memory.
const MAX_LINES: usize = 2_000;

/// Returns the lines that differ, in order and indented: `-` for lines of the old document only,
/// `+` for lines of the new document only.
pub(super) fn diff(old: &Value, new: &Value) -> String {
    let (old, new) = (pretty(old), pretty(new));
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    if old.len() > MAX_LINES || new.len() > MAX_LINES {
        return format!("    ({} lines became {})\n", old.len(), new.len());
    }
    let common = common_suffixes(&old, &new);
    let (mut i, mut j) = (0, 0);
    let mut out = String::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push_str(&format!("    - {}\n", old[i]));
            i += 1;
        } else {
            out.push_str(&format!("    + {}\n", new[j]));
            j += 1;
        }
    }
    out
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// Returns a table whose `[i][j]` is the length of the longest common subsequence of the old lines
/// from `i` and the new lines from `j`.
fn common_suffixes(old: &[&str], new: &[&str]) -> Vec<Vec<u16>> {
    let mut common = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_differing_lines_are_shown() {
        let old = json!({"step": {"url": "a", "method": "GET", "id": "x"}});
        let new = json!({"step": {"url": "b", "id": "x", "params": {}}});
        assert_eq!(
            diff(&old, &new),
            "    -     \"method\": \"GET\",\n    -     \"url\": \"a\"\n    +     \"params\": {},\n    +     \"url\": \"b\"\n"
        );
    }

    #[test]
    fn equal_documents_have_an_empty_diff() {
        assert_eq!(diff(&json!({"a": [1, 2]}), &json!({"a": [1, 2]})), "");
    }

    #[test]
    fn long_documents_are_only_counted() {
        let long: Value = (0..3_000).collect();
        assert_eq!(diff(&long, &json!([])), "    (3002 lines became 1)\n");
    }
}
