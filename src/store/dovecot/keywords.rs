//! `dovecot-keywords`: which keyword a letter behind the flags of a Maildir file name stands for.

use super::raw::{Faults, decimal, lines};
use std::collections::BTreeMap;

/// Letters `a` to `z`.
pub const LETTERS: u8 = 26;

/// Names by number, 0 for `a`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keywords {
    pub names: BTreeMap<u8, Vec<u8>>,
}

/// The table and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub keywords: Keywords,
    /// By line. Dovecot passes over all of them without a word.
    pub faults: Faults,
}

impl Keywords {
    /// What a letter of a file name stands for.
    pub fn name(&self, letter: u8) -> Option<&[u8]> {
        self.names.get(&letter.checked_sub(b'a')?).map(Vec::as_slice)
    }

    pub fn letter(&self, name: &[u8]) -> Option<u8> {
        self.names.iter().find(|(_, known)| *known == name).map(|(number, _)| b'a' + number)
    }
}

/// Reads a table in any state.
pub fn parse(text: &[u8]) -> Parsed {
    let (mut keywords, mut faults) = (Keywords::default(), Faults::default());
    for line in lines(text) {
        let read = if !line.ended {
            Err("the last line has no end")
        } else if line.text.contains(&0) {
            Err("there are zero bytes")
        } else {
            keyword(line.text, &keywords)
        };
        match read {
            Ok((number, name)) => drop(keywords.names.insert(number, name)),
            Err(why) => faults.add(line.number, why),
        }
    }
    Parsed { keywords, faults }
}

fn keyword(line: &[u8], known: &Keywords) -> Result<(u8, Vec<u8>), &'static str> {
    let space = line.iter().position(|&byte| byte == b' ').ok_or("there is no name")?;
    let (number, name) = (&line[..space], &line[space + 1..]);
    let number: u8 = decimal(number).filter(|&number| number < LETTERS).ok_or("there is no number up to 25")?;
    if name.is_empty() {
        return Err("there is no name");
    }
    // A number that comes again means another file was written over this one: the first answer is no worse, but
    // Dovecot goes by the last.
    if known.letter(name).is_some() { Err("a name comes twice") } else { Ok((number, name.to_vec())) }
}

/// The table as Dovecot writes it; `None` if it has a name or number that Dovecot would not read.
pub fn write(keywords: &Keywords) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for (number, name) in &keywords.names {
        let breaks = name.iter().any(|byte| matches!(byte, 0 | b'\n')) || name.ends_with(b"\r");
        if *number >= LETTERS || name.is_empty() || breaks || keywords.letter(name) != Some(b'a' + number) {
            return None;
        }
        text.extend(format!("{number} ").bytes());
        text.extend_from_slice(name);
        text.push(b'\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &[u8] = b"0 $Label1\n1 Foo\n";

    #[test]
    fn a_real_table_comes_back_byte_for_byte() {
        let read = parse(REAL);
        assert!(read.faults.is_empty());
        assert_eq!(read.keywords.name(b'a'), Some(&b"$Label1"[..]));
        assert_eq!(read.keywords.letter(b"Foo"), Some(b'b'));
        assert_eq!((read.keywords.name(b'c'), read.keywords.name(b'A')), (None, None));
        assert_eq!(write(&read.keywords).unwrap(), REAL);
    }

    #[test]
    fn what_dovecot_passes_over_is_named() {
        let read = parse(b"customflags\n0 One\n26 Far\n-1 Low\n2 \n3 One\n0 Two\n4 A b\n5 Cut");
        let whats: Vec<u64> = read.faults.first.iter().map(|fault| fault.at).collect();
        assert_eq!(whats, [1, 3, 4, 5, 6, 9]);
        let names: Vec<_> = read.keywords.names.into_iter().collect();
        assert_eq!(names, [(0, b"Two".to_vec()), (4, b"A b".to_vec())]);
    }

    #[test]
    fn what_cannot_be_read_again_is_not_written() {
        let one = |number, name: &[u8]| write(&Keywords { names: BTreeMap::from([(number, name.to_vec())]) });
        assert!(one(25, b"z").is_some());
        for (number, name) in [(26, &b"a"[..]), (0, b""), (0, b"a\nb"), (0, b"a\0"), (0, b"a\r")] {
            assert_eq!(one(number, name), None);
        }
        let twice = BTreeMap::from([(0, b"a".to_vec()), (1, b"a".to_vec())]);
        assert_eq!(write(&Keywords { names: twice }), None);
    }
}
