//! Flags and keywords of messages in mbox files that the server's indexes know better than a copy does, as the header fields
//! in which the file keeps them.
//!
//! Pure. What stands in the file itself, as some software may have written it, is never changed by this.

use crate::model::container::OwnField;
use crate::model::server::Recalled;
use crate::store::dovecot::flag;
use std::collections::BTreeSet;

/// Fields of flags, with the letters of flags in them.
const STATUS: (&[u8], &str, &[(u8, u8)]) = (b"status", "Status", &[(flag::SEEN, b'R')]);
const X_STATUS: (&[u8], &str, &[(u8, u8)]) = (
    b"x-status",
    "X-Status",
    &[(flag::ANSWERED, b'A'), (flag::DELETED, b'D'), (flag::FLAGGED, b'F'), (flag::DRAFT, b'T')],
);
const X_KEYWORDS: (&[u8], &str) = (b"x-keywords", "X-Keywords");

/// What the server knows of one message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks<'a> {
    flags: u8,
    keywords: BTreeSet<&'a [u8]>,
}

/// Of the message with a UID, if the server knows it.
pub fn of(recalled: &Recalled, uid: u32) -> Option<Marks<'_>> {
    let has = |uids: &Vec<u32>| uids.binary_search(&uid).is_ok();
    has(&recalled.uids).then(|| Marks {
        flags: recalled.flags.iter().filter(|(_, uids)| has(uids)).fold(0, |all, (flag, _)| all | flag),
        keywords: recalled.keywords.iter().filter(|(_, uids)| has(uids)).map(|(name, _)| &name[..]).collect(),
    })
}

/// Lets the fields say so; those that the file itself tells (`ours`) stay. New ones go to `head`.
pub fn write(fields: &mut Vec<OwnField>, marks: &Marks<'_>, ours: &dyn Fn(&[u8]) -> bool, head: u64, end: &str) {
    for (name, shown, letters) in [STATUS, X_STATUS] {
        let wanted: Vec<u8> = letters.iter().filter(|(flag, _)| marks.flags & flag != 0).map(|(_, l)| *l).collect();
        let is = |text: &[u8]| {
            let value = value(text);
            letters.iter().all(|(_, letter)| value.contains(letter) == wanted.contains(letter))
        };
        // No message that the server has shown to anybody is new.
        let old: &[u8] = if name == STATUS.0 { b"O" } else { b"" };
        let words = [&wanted, old].concat();
        put(fields, (name, shown), &words, &is, (ours(name), head, end));
    }
    let words: Vec<&[u8]> = marks.keywords.iter().copied().collect();
    let is = |text: &[u8]| {
        let there = value(text).split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        there.collect::<BTreeSet<&[u8]>>() == marks.keywords
    };
    put(fields, X_KEYWORDS, &words.join(&b' '), &is, (ours(X_KEYWORDS.0), head, end));
}

fn value(text: &[u8]) -> &[u8] {
    text.iter().position(|&byte| byte == b':').map_or(&[], |colon| &text[colon + 1..])
}

fn put(
    fields: &mut Vec<OwnField>,
    (name, shown): (&[u8], &str),
    words: &[u8],
    is: &dyn Fn(&[u8]) -> bool,
    (ours, head, end): (bool, u64, &str),
) {
    if ours {
        return;
    }
    let there = fields.iter_mut().find(|field| field.name() == name);
    let mut text = [shown.as_bytes(), b": ", words].concat();
    match there {
        Some(field) if is(&field.text) => {}
        Some(field) => {
            // As long as it was, for servers write over it in place.
            let length = field.text.len().saturating_sub(end.len());
            text.resize(text.len().max(length), b' ');
            field.text = [&text, end.as_bytes()].concat();
        }
        None if words.is_empty() => {}
        None => fields.push(OwnField { at: head, text: [&text, end.as_bytes()].concat(), sound: true }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recalled() -> Recalled {
        Recalled {
            uids: vec![3, 7],
            flags: vec![(flag::ANSWERED, vec![7]), (flag::SEEN, vec![3, 7])],
            keywords: vec![(b"urgent".to_vec(), vec![7]), (b"work".to_vec(), vec![7])],
        }
    }

    fn written(uid: u32, texts: &[&str], ours: &[&[u8]]) -> Vec<String> {
        let field = |text: &&str| OwnField { at: 5, text: text.as_bytes().to_vec(), sound: true };
        let mut fields: Vec<OwnField> = texts.iter().map(field).collect();
        let recalled = recalled();
        let marks = of(&recalled, uid).expect("it is known");
        write(&mut fields, &marks, &|name| ours.contains(&name), 9, "\n");
        fields.into_iter().map(|field| format!("{} {}", field.at, String::from_utf8_lossy(&field.text))).collect()
    }

    #[test]
    fn the_server_knows_better_than_a_copy_and_the_file_better_than_the_server() {
        assert_eq!(
            written(7, &["Status: O\n", "X-Keywords: old, and longer       \n"], &[]),
            ["5 Status: RO\n", "5 X-Keywords: urgent work           \n", "9 X-Status: A\n"]
        );
        assert_eq!(written(7, &["Status: O\n"], &[b"status", b"x-status", b"x-keywords"]), ["5 Status: O\n"]);
        assert_eq!(written(3, &["Status: RO\n", "X-Status: AF\n"], &[]), ["5 Status: RO\n", "5 X-Status:   \n"]);
        assert_eq!(of(&recalled(), 4), None);
    }
}
