//! The bounds that an expression's text must keep before the parser sees it. The parser recurses with nesting and a
//! stack that overflows ends the process, so nesting is counted here, on the text alone.

/// Bytes of one expression at most.
pub(crate) const MAX_LENGTH: usize = 4096;
/// Levels of nesting at most.
pub(crate) const MAX_NESTING: usize = 100;
/// Height of the parsed tree at most: bounds the recursion of everything that walks it.
pub(crate) const MAX_HEIGHT: usize = 200;

/// How deep a text nests, or where it passes the bound. Brackets nest, and so do projections and `!` until the next operator,
/// and expression references until the next comma: for each of these the parser recurses.
pub(crate) fn nesting(text: &str) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let mut levels = vec![Level::default()];
    let mut open = 0;
    let mut deepest = 0;
    let mut place = 0;
    while place < bytes.len() {
        let byte = bytes[place];
        let nested = levels.len() > 1;
        let Some(level) = levels.last_mut() else { return Err(place) };
        match byte {
            b'\'' | b'"' | b'`' => place = end_of_quoted(bytes, place),
            b'(' | b'{' | b'[' => {
                level.projections += usize::from(byte == b'[');
                open += 1 + level.depth();
                levels.push(Level::default());
            }
            b')' | b'}' | b']' if nested => {
                levels.pop();
                open -= 1 + levels.last().map_or(0, Level::depth);
            }
            b',' => *level = Level::default(),
            b'*' | b'!' => level.projections += 1,
            b'|' => level.projections = 0,
            b'&' if bytes.get(place + 1) == Some(&b'&') => {
                level.projections = 0;
                place += 1;
            }
            b'&' => level.references += 1,
            _ => {}
        }
        deepest = deepest.max(open + levels.last().map_or(0, Level::depth));
        if deepest > MAX_NESTING {
            return Err(place);
        }
        place += 1;
    }
    Ok(deepest)
}

/// What nests inside one pair of brackets.
#[derive(Default)]
struct Level {
    projections: usize,
    references: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.projections + self.references
    }
}

/// The place of the closing quote, or the last byte where there is none. A backslash escapes in all three kinds.
pub(crate) fn end_of_quoted(bytes: &[u8], open: usize) -> usize {
    let quote = bytes[open];
    let mut place = open + 1;
    while place < bytes.len() {
        match bytes[place] {
            b'\\' => place += 1,
            byte if byte == quote => return place,
            _ => {}
        }
        place += 1;
    }
    bytes.len() - 1
}

/// The place of the bracket that closes the one at `open`; none where it is never closed.
pub(crate) fn end_of_brackets(bytes: &[u8], open: usize) -> Option<usize> {
    let mut levels = 0;
    let mut place = open;
    while place < bytes.len() {
        match bytes[place] {
            b'\'' | b'"' | b'`' => place = end_of_quoted(bytes, place),
            b'(' | b'{' | b'[' => levels += 1,
            b')' | b'}' | b']' => levels -= 1,
            _ => {}
        }
        if levels == 0 {
            return Some(place);
        }
        place += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_nest_is_counted() {
        for (open, close) in [
            ("a|&", ""),
            ("(", ")"),
            ("[", "]"),
            ("!", ""),
            ("[*]", ""),
            (".*", ""),
            ("& ", ""),
            ("[?a", "]"),
            ("{a:", "}"),
        ] {
            let text = |levels: usize| format!("{}a{}", open.repeat(levels), close.repeat(levels));
            assert!(nesting(&text(30)).is_ok_and(|deepest| deepest >= 30), "{open}");
            assert!(nesting(&text(MAX_NESTING + 1)).is_err(), "{open}");
        }
    }

    #[test]
    fn brackets_end_where_they_are_closed() {
        for (text, end) in
            [("(a[0](b))c)", Some(8)), ("[?a == ']']", Some(10)), ("(\"\\\")\" )", Some(7)), ("(a", None)]
        {
            assert_eq!(end_of_brackets(text.as_bytes(), 0), end, "{text}");
        }
    }

    #[test]
    fn what_stands_side_by_side_or_in_quotes_does_not_nest() {
        assert!(nesting(&vec!["a[0].b[*].c"; 150].join(", ")).is_ok());
        assert!(nesting(&format!("'{}'", "(".repeat(500))).is_ok());
        assert!(nesting(&format!("\"{}\\\"{}\"", "[".repeat(300), "[".repeat(300))).is_ok());
        assert!(nesting(&vec!["a[*]"; 500].join(" && ")).is_ok());
        assert!(nesting(&vec!["[@,@][]"; 500].join("|")).is_ok());
    }
}
