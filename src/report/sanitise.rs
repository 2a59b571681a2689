//! Keeps strangers' text harmless where a person reads it: no control byte, no escape sequence, nothing
//! invisible that rearranges a line.
//!
//! Pure. Names that must be copied exactly use `model::path::escape` instead, which loses nothing.

use crate::model::path::is_invisible;

/// Stands for what was taken out.
const REPLACEMENT: char = '\u{fffd}';

/// Characters that an account, a mailbox or a header field may have on a line.
pub const FIELD: usize = 120;

/// Characters that a reason, a path or an error may have on a line.
pub const SENTENCE: usize = 1000;

/// One line of at most `max` characters: white space becomes a blank, what is dangerous U+FFFD.
pub fn inline(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(4 * max));
    for (at, c) in text.chars().enumerate() {
        if at == max {
            line.push('…');
            break;
        }
        line.push(match c {
            '\t' | '\n' | '\r' => ' ',
            c if is_dangerous(c) => REPLACEMENT,
            c => c,
        });
    }
    line
}

/// Several lines: like [`inline`], but line ends stay and nothing is cut.
pub fn block(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && is_dangerous(c) { REPLACEMENT } else { c }).collect()
}

/// JSON text in which every character that could act on a terminal is a `\u` escape: the same value.
/// Such characters stand only inside strings, so the text need not be parsed.
pub fn json(text: String) -> String {
    if !text.chars().any(|c| c != '\n' && is_dangerous(c)) {
        return text;
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c != '\n' && is_dangerous(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Controls, and what is there and cannot be seen.
pub fn is_dangerous(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_and_direction_tricks_lose_their_teeth() {
        assert_eq!(inline("\u{1b}[2Jhi\r\nthere", 99), "\u{fffd}[2Jhi  there");
        assert_eq!(inline("a\u{202e}b\u{9b}c\u{e0041}", 99), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(inline("50% off – grüße", 99), "50% off – grüße");
        assert_eq!(inline("abcdef", 3), "abc…");
        assert_eq!(block("a\nb\u{7}"), "a\nb\u{fffd}");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"subject": "x\u{9b}31m\u{202e}\u{7f}\u{e0041} ok"});
        let safe = json(value.to_string());
        assert!(safe.is_ascii(), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    proptest! {
        #[test]
        fn nothing_dangerous_survives(text in any::<String>(), max in 0usize..40) {
            prop_assert!(!inline(&text, max).chars().any(is_dangerous));
            prop_assert!(inline(&text, max).chars().count() <= max + 1);
            prop_assert!(!block(&text).chars().any(|c| c != '\n' && is_dangerous(c)));
        }
    }
}
