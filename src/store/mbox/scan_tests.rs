//! Boundaries of mboxes: made ones, harmed ones, and any.

use super::Named;
use super::from_line;
use super::keys::Keys;
use super::scan::{Part, Scanner};
use super::window::Window;
use crate::model::{Span, Zone};
use crate::read::Medium;
use proptest::prelude::*;
use std::io;

/// A file of which the medium does not give a part.
struct Sick<'a>(&'a [u8], Option<Span>);

impl Medium for Sick<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        if self.1.is_some_and(|hole| hole.overlaps(Span::new(offset, got as u64))) {
            return Err(io::Error::from_raw_os_error(5));
        }
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }
}

fn parts_of(medium: &dyn Medium, size: usize, width: usize) -> (Vec<Part>, Vec<Span>) {
    let mut scanner = Scanner::new(Window::new(medium, size as u64, width, &|| ()));
    let parts: Vec<Part> = scanner.by_ref().collect();
    let holes = scanner.window().holes().iter().map(|(span, _)| *span).collect();
    (parts, holes)
}

fn parts(file: &[u8]) -> Vec<Part> {
    parts_of(&Sick(file, None), file.len(), 8192).0
}

fn messages(file: &[u8]) -> Vec<&[u8]> {
    parts(file).iter().map(|part| &file[part.start() as usize..][..part.length as usize]).collect()
}

/// A message as Dovecot stores it: with the length of its body.
fn sized(number: u32, body: &str) -> String {
    format!("From: a@b\nX-UID: {number}\nContent-Length: {}\nSubject: s\n\n{body}", body.len())
}

/// One file, each message behind its line and before an empty one.
fn joined(messages: &[String], line_end: &str) -> Vec<u8> {
    let mut file = String::new();
    for (nth, message) in messages.iter().enumerate() {
        file += &String::from_utf8(from_line::write(b"ann@example.org", 1_700_000_000 + nth as i64)).unwrap();
        file += message;
        file += "\n";
    }
    file.replace('\n', line_end).into_bytes()
}

#[test]
fn lines_that_only_look_like_it_are_no_boundaries() {
    let quoting = "From here on\n\nFrom x@y  Mon Jan  1 00:00:00 2024\nand so on\n\nFrom there\n";
    let forwarded = "see:\n\nFrom x@y  Mon Jan  1 00:00:00 2024\nSubject: told by its length alone\n\nbody\n";
    for line_end in ["\n", "\r\n"] {
        let plain = |body: &str| format!("From: a@b\nSubject: s\n\n{body}");
        let told = [plain(quoting), plain("x\n"), plain(""), plain("\nno end\n\n")];
        let file = joined(&told, line_end);
        let same = told.map(|message| message.replace('\n', line_end));
        assert_eq!(messages(&file), same.iter().map(String::as_bytes).collect::<Vec<_>>());
        let by_length = [sized(1, &forwarded.replace('\n', line_end)), sized(2, "no end")];
        let mut file = joined(&by_length, "\n");
        assert_eq!(messages(&file), by_length.iter().map(String::as_bytes).collect::<Vec<_>>());
        file.pop();
        assert_eq!(messages(&file).len(), 2, "the last empty line may be missing");
    }
}

#[test]
fn odd_beginnings_of_real_archives_are_boundaries() {
    let file = b"From - \nSubject: Netscape's\n\nbody\n\nFrom a@b  Mon Jan  1 00:00:00 2024\n\nno header\n\n\
        From c@d  Mon Jan  1 00:00:00 2024\nSubject: parts\n\n--x--\nFrom c@d  Mon Jan  1 00:00:00 2024\nSubject: y\n\nbody\n\
        From c@d  Mon Jan  1 00:00:00 2024\nReturn-path: <c@d>\n\nFrom: in a body\nFrom c@d  Mon Jan  1 00:00:00 2024\n\
        Subject: of no evidence\n\n";
    let told: [&[u8]; 5] = [
        b"Subject: Netscape's\n\nbody\n",
        b"\nno header\n",
        b"Subject: parts\n\n--x--\n",
        b"Subject: y\n\nbody\n",
        b"Return-path: <c@d>\n\nFrom: in a body\nFrom c@d  Mon Jan  1 00:00:00 2024\nSubject: of no evidence\n",
    ];
    assert_eq!(messages(file), told);
}

#[test]
fn a_length_that_is_not_true_proves_nothing() {
    for wrong in ["3", "4000", "99999999999999999999", "-1", "x"] {
        let lying = format!("From: a@b\nContent-Length: {wrong}\n\nhello\n");
        let told = [lying, sized(2, "b\n")];
        assert_eq!(messages(&joined(&told, "\n")), told.iter().map(String::as_bytes).collect::<Vec<_>>(), "{wrong}");
    }
}

#[test]
fn what_was_a_beginning_is_told_by_the_length_before_it() {
    let told: Vec<String> = (1..=5).map(|n| sized(n, &format!("body {n}\n"))).collect();
    let whole = joined(&told, "\n");
    let third = parts(&whole)[2];
    for bit in 0..third.head as usize * 8 - 8 {
        let mut harmed = whole.clone();
        harmed[third.from as usize + bit / 8] ^= 1 << (bit % 8);
        let now = parts(&harmed);
        assert_eq!(now.len(), 5, "bit {bit}");
        assert_eq!((now[2].from, now[2].start() + now[2].length), (third.from, third.start() + third.length), "{bit}");
    }
    let mut zeroed = whole.clone();
    let end = (third.start() + 40) as usize;
    zeroed[third.from as usize..end].fill(0);
    let now = parts(&zeroed);
    assert_eq!((now.len(), now[2].from, now[2].head, now[2].received), (5, third.from, 0, None));
    assert_eq!(now[3], parts(&whole)[3]);
}

#[test]
fn a_lost_line_merges_two_messages_and_no_more() {
    let told: Vec<String> = (1..=5).map(|n| format!("From: a\n\nbody {n}\n")).collect();
    let mut file = joined(&told, "\n");
    let second = parts(&file)[1];
    file[second.from as usize] = b'G';
    let now = parts(&file);
    assert_eq!(now.len(), 4);
    assert_eq!(now[0].length, second.from + second.head + second.length - now[0].start());
}

#[test]
fn a_hole_hides_only_what_lies_in_it() {
    let told: Vec<String> = (1..=40).map(|n| sized(n, &format!("{}\n", "x".repeat(700)))).collect();
    let file = joined(&told, "\n");
    let whole = parts(&file);
    let (seen, holes) = parts_of(&Sick(&file, Some(Span::new(9000, 10))), file.len(), 8192);
    assert_eq!(holes, [Span::new(8192, 4096)]);
    let apart = |part: &&Part| part.from + part.head + part.length < 8192 || part.from >= 12288 + 900;
    assert!(whole.iter().filter(apart).all(|part| seen.contains(part)), "{seen:?}");
    assert!(seen.len() > 30);
}

#[test]
fn rubbish_is_one_message_without_a_beginning() {
    for rubbish in [&b"\0\0\0\0"[..], b"no mail\n", b"\n\n\n", b"From \n", b"From x"] {
        let parts = parts(rubbish);
        assert_eq!((parts.len(), parts[0].from, parts[0].received), (1, 0, None), "{rubbish:?}");
    }
    assert!(parts(b"").is_empty());
}

/// Pieces of which files are made that are mboxes, or nearly so.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"From a@b  Mon Jan  1 00:00:00 2024\n".to_vec()),
        Just(b"\nFrom a@b  Mon Jan  1 00:00:00 2024\r\nSubject: x\r\n".to_vec()),
        Just(b"Subject: x\nX-UID: 5\nContent-Length: 3\n".to_vec()),
        (0u32..60).prop_map(|n| format!("Content-Length: {n}\n\n").into_bytes()),
        Just(b"\n".to_vec()),
        Just(b"From what\n".to_vec()),
        Just(vec![0; 40]),
        proptest::collection::vec(any::<u8>(), 0..60),
        (1usize..5000).prop_map(|n| vec![b'y'; n]),
    ]
}

fn bodies() -> impl Strategy<Value = Vec<String>> {
    let line = prop_oneof!["[a-z ]{0,30}", Just("From x@y  Mon Jan  1 00:00:00 2024".to_owned()), Just(String::new())];
    let body = proptest::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"));
    proptest::collection::vec(body, 1..12)
}

proptest! {
    #[test]
    fn windows_of_any_width_give_the_same(
        pieces in proptest::collection::vec(piece(), 0..40), width in 1usize..40_000
    ) {
        let file = pieces.concat();
        let (wide, _) = parts_of(&Sick(&file, None), file.len(), 1 << 20);
        prop_assert_eq!(parts_of(&Sick(&file, None), file.len(), width).0, wide.clone());
        // Every byte but separators belongs to one message.
        let mut at = 0;
        for part in wide {
            prop_assert!(part.from >= at && part.from <= at + 2, "{} {:?}", at, part);
            at = part.start() + part.length;
        }
        prop_assert!(at <= file.len() as u64 && at + 2 >= file.len() as u64);
    }

    #[test]
    fn what_is_joined_with_lengths_is_split_again(bodies in bodies()) {
        let told: Vec<String> = bodies.iter().enumerate().map(|(n, body)| sized(n as u32 + 1, body)).collect();
        let file = joined(&told, "\n");
        prop_assert_eq!(messages(&file), told.iter().map(String::as_bytes).collect::<Vec<_>>());
        let mut keys = Keys::default();
        let mut named: Vec<_> = parts(&file).into_iter().filter_map(|part| keys.push(part)).collect();
        named.extend(keys.finish());
        for (nth, (part, uid)) in named.into_iter().enumerate() {
            prop_assert_eq!(uid, Some(nth as u32 + 1));
            let named = Named::of(&part, uid, None, &Zone::utc());
            prop_assert_eq!(Named::parse(&named.name()), Some(named));
            prop_assert_eq!(named.received, Some(1_700_000_000 + nth as i64));
        }
    }
}
