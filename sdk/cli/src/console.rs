//! The only module that writes to stdout (results) and stderr (notices).
//!
//! Colours appear only at a terminal, and not if `NO_COLOR` is set.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};

/// A handle for output; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    colour: bool,
    terminal: bool,
}

/// The emphasis of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextStyle {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl TextStyle {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
        }
    }
}

impl Console {
    /// Creates a console for this process's stdout and environment.
    pub(crate) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let colour_allowed = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: terminal && colour_allowed, terminal }
    }

    /// Creates a console without colours and without a terminal, for tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false, terminal: false }
    }

    /// Returns whether stdout is a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Writes a line of the result. A closed pipe is ignored: it ends the reader, not the command.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stdout().lock(), "{}", text.as_ref());
    }

    /// Writes text of the result without adding a newline.
    pub(crate) fn print(self, text: impl AsRef<str>) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_ref().as_bytes()).and_then(|()| out.flush());
    }

    /// Writes a line that is not part of the result to stderr.
    pub(crate) fn notice(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// Returns the text with the style's colour, if colours are on.
    pub(crate) fn paint(self, style: TextStyle, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if self.colour { format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()) } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_painted_only_with_colours_on() {
        assert_eq!(Console::plain().paint(TextStyle::Red, "no"), "no");
        assert_eq!(
            Console { colour: true, terminal: true }.paint(TextStyle::Red, "no"),
            "\u{1b}[31mno\u{1b}[0m"
        );
    }
}
