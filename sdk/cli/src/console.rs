//! The only place that writes to stdout and stderr: answers to stdout, notices to stderr. Colours only at a terminal and without NO_COLOR.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

/// Where a command's words go. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    colour: bool,
    terminal: bool,
}

/// How a piece of text is set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

impl Style {
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
    /// As this process's stdout and environment say.
    pub(crate) fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: terminal && wanted, terminal }
    }

    /// Without colours and without a terminal, for tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false, terminal: false }
    }

    /// Whether somebody looks on.
    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    /// A line of the answer. A reader that went away ends nobody.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stdout().lock(), "{}", text.as_ref());
    }

    /// Text of the answer that already ends as it shall.
    pub(crate) fn print(self, text: impl AsRef<str>) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_ref().as_bytes()).and_then(|()| out.flush());
    }

    /// A line beside the answer.
    pub(crate) fn notice(self, text: impl AsRef<str>) {
        let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
    }

    /// The text, set off where colours are wanted.
    pub(crate) fn paint(self, style: Style, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if self.colour { format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()) } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        assert_eq!(Console::plain().paint(Style::Red, "no"), "no");
        assert_eq!(Console { colour: true, terminal: true }.paint(Style::Red, "no"), "\u{1b}[31mno\u{1b}[0m");
    }
}
