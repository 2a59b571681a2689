//! `subscriptions`: the mailboxes that a user's programs show.

use super::raw::{Faults, lines};

const HEAD: &[u8] = b"V\t2\n\n";
/// Stands before the letter of a byte that cannot stand in a name.
const ESCAPE: u8 = 1;
const ESCAPED: [(u8, u8); 5] = [(0, b'0'), (ESCAPE, b'1'), (b'\t', b't'), (b'\r', b'r'), (b'\n', b'n')];

/// The list, as it is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriptions {
    /// Whether it is of version 2; before, a name stood on its line as it was.
    pub levels: bool,
    /// Each as its levels (`Archive`, `2026`); without `levels`, one that is the whole name.
    pub names: Vec<Vec<Vec<u8>>>,
}

/// The list and what was wrong with it, by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub subscriptions: Subscriptions,
    pub faults: Faults,
}

/// Reads a list in any state.
pub fn parse(text: &[u8]) -> Parsed {
    let levels = text.starts_with(HEAD);
    let (mut names, mut faults) = (Vec::new(), Faults::default());
    for line in lines(text).skip(if levels { 2 } else { 0 }) {
        if line.text.contains(&0) {
            faults.add(line.number, "there are zero bytes");
        } else if line.text.is_empty() {
            faults.add(line.number, "there is no name");
        } else if !line.ended {
            // Dovecot takes it, but nobody knows how the name went on.
            faults.add(line.number, "the last line has no end");
        } else if levels {
            names.push(line.text.split(|&byte| byte == b'\t').map(unescape).collect());
        } else {
            names.push(vec![line.text.to_vec()]);
        }
    }
    Parsed { subscriptions: Subscriptions { levels, names }, faults }
}

/// The list as Dovecot writes it; `None` if it has a name that Dovecot would read as another.
pub fn write(list: &Subscriptions) -> Option<Vec<u8>> {
    let mut text = if list.levels { HEAD.to_vec() } else { Vec::new() };
    for name in &list.names {
        let start = text.len();
        match name[..] {
            [ref whole] if !list.levels => text.extend_from_slice(whole),
            _ if !list.levels => return None,
            _ => {
                let levels: Vec<Vec<u8>> = name.iter().map(|level| escape(level)).collect();
                text.extend(levels.join(&b'\t'));
            }
        }
        let line = &text[start..];
        if line.is_empty() || line.iter().any(|byte| matches!(byte, 0 | b'\n')) || line.ends_with(b"\r") {
            return None;
        }
        text.push(b'\n');
    }
    // A first version that happens to begin like a second one.
    if !list.levels && text.starts_with(HEAD) { None } else { Some(text) }
}

fn escape(level: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(level.len());
    for &byte in level {
        match ESCAPED.iter().find(|(raw, _)| *raw == byte) {
            Some((_, letter)) => text.extend_from_slice(&[ESCAPE, *letter]),
            None => text.push(byte),
        }
    }
    text
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut level = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        let letter = if byte == ESCAPE { rest.next() } else { None };
        let meant =
            letter.map(|letter| ESCAPED.iter().find(|(_, known)| *known == letter).map_or(letter, |(raw, _)| *raw));
        level.extend(meant.or((byte != ESCAPE).then_some(byte)));
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_lists_come_back_byte_for_byte() {
        for real in [&b"V\t2\n\nWork\nYears\t2023\nA\x01tb\n"[..], b"Work\nYears.2023\n", b"", b"V\t2\n\n"] {
            let read = parse(real);
            assert!(read.faults.is_empty());
            assert_eq!(write(&read.subscriptions).unwrap(), real);
        }
        let names = parse(b"V\t2\n\nYears\t2023\nA\x01tb\n").subscriptions.names;
        assert_eq!(names, [vec![b"Years".to_vec(), b"2023".to_vec()], vec![b"A\tb".to_vec()]]);
    }

    #[test]
    fn damaged_lines_cost_themselves() {
        let read = parse(b"V\t2\n\nWork\nA\0\0b\n\nYear");
        assert_eq!(read.subscriptions.names, [[b"Work".to_vec()]]);
        assert_eq!(read.faults.first.iter().map(|fault| fault.at).collect::<Vec<_>>(), [4, 5, 6]);
    }

    #[test]
    fn what_would_be_read_as_something_else_is_not_written() {
        let list = |levels, name: &[&[u8]]| {
            write(&Subscriptions { levels, names: vec![name.iter().map(|level| level.to_vec()).collect()] })
        };
        assert!(list(true, &[b"a\nb"]).is_some());
        for (levels, name) in [(false, &[&b"a\nb"[..]][..]), (false, &[b"a", b"b"]), (true, &[b""]), (true, &[])] {
            assert_eq!(list(levels, name), None);
        }
    }
}
