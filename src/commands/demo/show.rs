//! How the table gets to whoever looks on: drawn anew in its place on a terminal, a line each second elsewhere.

use super::super::print;
use super::table::{Sent, line, table};
use super::viewer::Viewer;
use crate::exit::Failure;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::time::Duration;

/// What is shown, and where.
pub(super) struct Show {
    lines: Vec<String>,
    /// Whether it is drawn anew in its place, and in colours.
    drawn: Option<bool>,
    /// Lines of the last frame.
    height: usize,
}

impl Show {
    /// On standard output, with these lines above.
    pub(super) fn new(lines: Vec<String>) -> Self {
        let (term, no_color) = (std::env::var_os("TERM"), std::env::var_os("NO_COLOR"));
        let terminal = std::io::stdout().is_terminal();
        Self {
            lines,
            drawn: drawn(terminal, term.as_deref(), no_color.as_deref()),
            height: 0,
        }
    }

    /// The lines above.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        print(&self.lines.join("\n"))
    }

    /// How often something is shown.
    pub(super) const fn every(&self) -> Duration {
        match self.drawn {
            Some(_) => Duration::from_millis(250),
            None => Duration::from_secs(1),
        }
    }

    /// Where things stand.
    pub(super) fn frame(&mut self, sent: &Sent, viewers: &[Viewer]) -> Result<(), Failure> {
        let rows: Vec<_> = std::iter::once(sent.row())
            .chain(viewers.iter().map(|viewer| viewer.row(sent)))
            .collect();
        let Some(colours) = self.drawn else {
            return print(&line(&rows));
        };
        let lines = table(&rows, colours);
        let text = frame(&lines, self.height);
        self.height = lines.len();
        print(&text)
    }
}

/// Whether it is drawn in its place, and in colours: <https://no-color.org> asks for none where the variable is set and
/// not empty.
fn drawn(terminal: bool, term: Option<&OsStr>, no_color: Option<&OsStr>) -> Option<bool> {
    let able = terminal && term.is_some_and(|term| !term.is_empty() && term != "dumb");
    able.then(|| no_color.is_none_or(OsStr::is_empty))
}

/// These lines over as many of the frame before.
fn frame(lines: &[String], before: usize) -> String {
    let up = if before == 0 {
        String::new()
    } else {
        format!("\u{1b}[{before}A")
    };
    let lines: Vec<String> = lines.iter().map(|line| format!("\u{1b}[2K{line}")).collect();
    up + &lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_is_drawn_on_and_colours_can_be_refused() {
        let text = |text: &'static str| Some(OsStr::new(text));
        assert_eq!(drawn(true, text("xterm"), None), Some(true));
        assert_eq!(drawn(true, text("xterm"), text("")), Some(true));
        assert_eq!(drawn(true, text("xterm"), text("1")), Some(false));
        for (terminal, term) in [
            (false, text("xterm")),
            (true, text("dumb")),
            (true, text("")),
            (true, None),
        ] {
            assert_eq!(drawn(terminal, term, None), None);
        }
    }

    #[test]
    fn a_frame_covers_the_one_before() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(frame(&lines, 0), "\u{1b}[2Ka\n\u{1b}[2Kb");
        assert_eq!(frame(&lines, 2), "\u{1b}[2A\u{1b}[2Ka\n\u{1b}[2Kb");
    }
}
