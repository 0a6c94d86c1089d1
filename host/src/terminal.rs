//! The terminal: how large it is, and what fits into a line of it.

#![forbid(unsafe_code)]

use std::io;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns and lines of the terminal on standard output; the usual ones where it does not say, as on a serial line.
pub fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of a text that fits into so many columns.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let end = text.char_indices().find(|(_, it)| {
        let width = it.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        !fits
    });
    let end = end.map_or(text.len(), |(at, _)| at);
    if columns == 0 { String::new() } else { format!("{}…", &text[..end]) }
}

/// A text in exactly so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let blanks = columns.saturating_sub(text.width());
    text + &" ".repeat(blanks)
}

#[cfg(test)]
mod tests {
    use super::{cut, padded, width};

    #[test]
    fn a_line_is_never_wider_than_its_terminal() {
        for (text, columns, want) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("磁盘映像", 5, "磁盘…"),
            ("磁盘映像", 4, "磁…"),
            ("abc", 0, ""),
            ("", 2, ""),
        ] {
            assert_eq!(cut(text, columns), want, "{text} in {columns}");
            assert_eq!(width(&padded(text, columns)), columns, "{text} in {columns}");
        }
    }
}
