use super::*;
use crate::model::{Assurance, Verdict};
use proptest::prelude::*;

const PLAIN: &[u8] = b"From: a@b\nSubject: s\n\nhello\nworld\n";

fn judged(message: &[u8], claims: Claims, sizes: &[usize]) -> (Evidence, Option<Envelope>) {
    let mut checks = Checks::new(claims);
    let (mut rest, mut sizes) = (message, sizes.iter().cycle());
    while !rest.is_empty() {
        let (window, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
        checks.feed(window);
        rest = tail;
    }
    checks.finish()
}

fn evidence(message: &[u8]) -> Evidence {
    judged(message, Claims::default(), &[1 << 20]).0
}

fn faults(message: &[u8]) -> Vec<(FaultKind, u64, u64)> {
    let evidence = evidence(message);
    evidence.faults().iter().map(|f| (f.kind, f.span.offset, f.span.length)).collect()
}

fn kinds(message: &[u8]) -> Vec<FaultKind> {
    evidence(message).faults().iter().map(|fault| fault.kind).collect()
}

fn multipart(parts: &[&str], closed: bool) -> Vec<u8> {
    let mut text = String::from("From: a@b\nContent-Type: multipart/mixed;\n boundary=\"=_x\"\n\npreamble\n");
    for part in parts {
        text += &format!("--=_x\n{part}\n");
    }
    text += if closed { "--=_x--\nfooter of a list\n" } else { "" };
    text.into_bytes()
}

fn base64_lines(lines: usize) -> String {
    format!("{}\n", "QUJD".repeat(19)).repeat(lines)
}

#[test]
fn sizes_agree_or_are_blamed_where_they_differ() {
    let outcome = |size, crlf| {
        let (evidence, _) = judged(PLAIN, Claims { size, crlf }, &[7]);
        (evidence.get(Check::NativeSize), evidence.faults().first().map(|fault| (fault.kind, fault.span)))
    };
    let (length, lines) = (PLAIN.len() as u64, 5);
    assert_eq!(outcome(None, None), (Outcome::Absent, None));
    assert_eq!(outcome(Some(length), Some(length + lines)), (Outcome::Pass, None));
    assert_eq!(outcome(None, Some(length + lines)), (Outcome::Pass, None));
    let short = (FaultKind::TooShort, Span::new(length, 5));
    assert_eq!(outcome(Some(length + 5), Some(99)), (Outcome::Fail, Some(short)));
    let long = (FaultKind::TooLong, Span::new(length - 3, 3));
    assert_eq!(outcome(Some(length - 3), None), (Outcome::Fail, Some(long)));
    let mismatch = (FaultKind::VirtualSizeMismatch, Span::new(0, length));
    assert_eq!(outcome(Some(length), Some(length)), (Outcome::Fail, Some(mismatch)));
    assert_eq!(outcome(Some(length + lines), Some(length + lines)), (Outcome::Fail, Some(mismatch)));
}

#[test]
fn a_store_with_crlf_on_disk_claims_one_number_twice() {
    let message = b"From: a\r\n\r\nb\r\n";
    let size = Some(message.len() as u64);
    for windows in [1, 2, 9, 100] {
        let (evidence, _) = judged(message, Claims { size, crlf: size }, &[windows]);
        assert_eq!(evidence.verdict(), Verdict::Intact(Assurance::Consistent));
    }
}

#[test]
fn headers_that_are_none() {
    assert_eq!(kinds(b""), [FaultKind::Empty]);
    assert_eq!(kinds(b"no colon here\n\nbody: x\n"), [FaultKind::NotAHeader]);
    assert!(kinds(&[0; 4096]).contains(&FaultKind::NotAHeader));
    assert_eq!(kinds(b"From: a\nSubj"), [FaultKind::HeaderUnended]);
    // Cut at the end of a line: no server keeps a header without the empty line that ends it.
    assert_eq!(faults(b"From: a\nSubject: b\n"), [(FaultKind::HeaderUnended, 8, 11)]);
    assert_eq!(faults(b"From: a\r\nSubject: b\r\n"), [(FaultKind::HeaderUnended, 9, 12)]);
    assert_eq!(kinds(b"From: a\nSubject: b\n\n"), []);
    assert_eq!(kinds(b"From a@b  Thu Jan  1 00:00:00 1970\nFrom: a\n\n"), []);
    assert_eq!(kinds(b"X Odd Name\nFrom: a\nT\xf6: 8 bit\n\nx"), []);
    // One stray line is a mistake; two are another file's. Nor is every file mail whose lines hold colons.
    assert_eq!(faults(b"From: a\nof text\nTo: b\nand more\n\nx"), [(FaultKind::BrokenHeader, 8, 22)]);
    assert_eq!(kinds(b"BEGIN:VCARD\nFN:Ann\nEND:VCARD\n\n"), [FaultKind::BareHeader]);
    assert_eq!(kinds(b"Date: today\n\n"), []);
}

#[test]
fn boundaries_open_and_close() {
    assert_eq!(kinds(&multipart(&["\none", "\ntwo"], true)), []);
    assert_eq!(kinds(&multipart(&["\none", "\ntwo"], false)), [FaultKind::UnclosedMultipart]);
    assert_eq!(kinds(&multipart(&[], false)), [FaultKind::NoParts]);
    assert_eq!(kinds(&multipart(&["\none"], false)), [FaultKind::UnclosedMultipart]);
    // One part of base64 that ends with a line: senders do that; one that breaks off does not.
    let part = format!("Content-Transfer-Encoding: base64\n\n{}", base64_lines(3));
    let lone = multipart(&[&part], false);
    assert_eq!(kinds(&lone), []);
    assert_eq!(evidence(&lone).get(Check::Mime), Outcome::Absent);
    assert_eq!(kinds(&lone[..lone.len() - 2]), [FaultKind::UnclosedMultipart]);
    let nested = "Content-Type: multipart/alternative; boundary=in\n\n--in\n\na\n";
    assert_eq!(kinds(&multipart(&[nested], true)), [FaultKind::UnclosedMultipart]);
    assert_eq!(kinds(&multipart(&[&format!("{nested}--in--")], true)), []);
    let forwarded = format!("Content-Type: message/rfc822\n\nSubject: x\n{nested}");
    assert_eq!(kinds(&multipart(&[&forwarded], true)), [FaultKind::UnclosedMultipart]);
    let bounce = String::from_utf8(multipart(&[&forwarded], true)).unwrap().replace("mixed", "report");
    assert_eq!(kinds(bounce.as_bytes()), []);
}

#[test]
fn deep_nesting_is_bounded_and_not_called_clean() {
    let mut text = String::new();
    for level in 0..200 {
        text += &format!("Content-Type: multipart/mixed; boundary=b{level}x\n\n--b{level}x\n");
    }
    for level in (0..200).rev() {
        text += &format!("\n--b{level}x--\n");
    }
    assert_eq!(evidence(text.as_bytes()).verdict(), Verdict::Suspect);
}

fn base64(body: &str) -> Vec<FaultKind> {
    kinds(format!("From: a\nContent-Transfer-Encoding: base64\n\n{body}").as_bytes())
}

#[test]
fn base64_that_is_whole_or_broken() {
    let data = base64_lines(5);
    assert_eq!(base64(&format!("{data}QQ==\n")), []);
    assert_eq!(base64(&format!("{data}QUI=")), []);
    assert_eq!(base64(&data), []);
    assert_eq!(base64(&data.replace('\n', " \r\n")), []);
    assert_eq!(base64(&format!("{data}\n_______\nlist mailing list\nhttp://x/\n")), [], "a footer");
    assert_eq!(base64(&format!("{data}QQ==\nSent to you by a list\n")), [], "a footer");
    assert_eq!(base64(&format!("{data}QQ\n")), [FaultKind::BrokenBase64]);
    assert_eq!(base64(&format!("{data}QUJDR\n")), [FaultKind::BrokenBase64]);
    assert_eq!(base64(&format!("{data}QU*D{data}")), [FaultKind::BrokenBase64]);
    assert_eq!(base64(&format!("{data}Q%JD\n")), [FaultKind::BrokenBase64]);
    assert_eq!(base64(&format!("{data}some other text\n{data}")), [FaultKind::BrokenBase64]);
    assert_eq!(base64("Plain text, for all that the label says.\n"), []);
}

#[test]
fn base64_lines_of_one_length_but_for_once_or_twice() {
    let (data, short) = (base64_lines(9), "QUJD".repeat(7) + "\n");
    assert_eq!(base64(&format!("{data}{short}")), [], "the last line");
    assert_eq!(base64(&format!("{data}{short}\n")), [], "and an empty one");
    assert_eq!(base64(&format!("{data}{short}{data}")), [FaultKind::BrokenBase64]);
    assert_eq!(base64(&format!("{data}{}{data}", short.repeat(5))), [FaultKind::BrokenBase64], "a stretch of them");
    assert_eq!(base64(&format!("{data}{short}").repeat(3)), [FaultKind::BrokenBase64], "two stretches, and the end");
    assert_eq!(base64(&format!("{data}{short}").repeat(9)), [], "a habit of the software");
    let header = "From: a\nContent-Transfer-Encoding: base64\n\n";
    let message = format!("{header}{data}{short}{short}{data}");
    let start = (header.len() + data.len()) as u64;
    assert_eq!(faults(message.as_bytes()), [(FaultKind::BrokenBase64, start, 2 * short.len() as u64)]);
}

#[test]
fn base64_blames_the_lines_that_are_broken() {
    let mut message = format!("From: a\nContent-Transfer-Encoding: base64\n\n{}", base64_lines(9)).into_bytes();
    let start = message.len() - 4 * 77;
    message[start + 30] = b'!';
    assert_eq!(faults(&message), [(FaultKind::BrokenBase64, start as u64, 77)]);
}

#[test]
fn quoted_printable_that_is_whole_or_broken() {
    let quoted =
        |body: &str| kinds(format!("From: a\nContent-Transfer-Encoding: quoted-printable\n\n{body}").as_bytes());
    assert_eq!(quoted("a=3Db=\nc=c3=A4 =  \nd="), []);
    assert_eq!(quoted("<a href=x?y=z>never quoted</a>\n"), []);
    assert_eq!(quoted(&format!("{}=X1", "=3D".repeat(9))), [FaultKind::BrokenQuotedPrintable]);
    // Software that quoted so far does not stop in the middle.
    assert_eq!(quoted(&("=3D".repeat(20) + &"href=x ".repeat(90))), [FaultKind::BrokenQuotedPrintable]);
    assert_eq!(quoted(&("=3D".repeat(3) + &"href=x ".repeat(90))), []);
    // Nor does it leave single bytes raw; what is raw throughout was only called quoted-printable.
    assert_eq!(quoted(&("=3D".repeat(9) + "\u{e9}")), [FaultKind::BrokenQuotedPrintable]);
    assert_eq!(quoted(&("=3D".repeat(9) + &"\u{e9}".repeat(9))), []);
}

#[test]
fn lines_that_end_with_a_cr_alone() {
    let boundary = "From: a@b\rContent-Type: multipart/mixed;\r boundary=x\r\r--x\r";
    let whole = format!("{boundary}Content-Transfer-Encoding: base64\r\r{}--x--\r", base64_lines(9));
    let whole = whole.replace('\n', "\r");
    assert_eq!(kinds(whole.as_bytes()), []);
    assert_eq!(evidence(whole.as_bytes()).get(Check::Mime), Outcome::Pass);
    assert_eq!(kinds(format!("{boundary}\rtext\r").as_bytes()), [FaultKind::UnclosedMultipart]);
    assert_eq!(kinds(b"From: a\rSubject: b\r"), [FaultKind::HeaderUnended]);
    assert_eq!(kinds(b"From: a\rSubject: b\r\r"), []);
    // A CR within the first line is no end of it.
    assert_eq!(kinds(b"From: a\r\r\nSubject: b\r\n\r\nx"), []);
    assert_eq!(kinds(b"From: a\r"), [FaultKind::HeaderUnended]);
}

#[test]
fn yenc_holds_any_byte_between_its_marks() {
    let mut rng = fastrand::Rng::with_seed(9);
    let mut noise = || -> Vec<u8> { (0..3000).map(|_| rng.u8(1..)).filter(|byte| !b"\r\n=".contains(byte)).collect() };
    let begin = b"From: a\n\ntext\n=ybegin line=128 size=3000 name=x\n";
    let whole = [begin, &noise()[..], b"\n=yend size=3000\n", b"more text\n"].concat();
    assert_eq!(kinds(&whole), []);
    let twice = [&whole[..], b"=ybegin part=2\n", &noise()[..], b"\n=yend size=3000\n"].concat();
    assert_eq!(kinds(&twice), []);
    assert!(kinds(&[&whole[..], &noise()[..]].concat()).contains(&FaultKind::BinaryRegion));
    assert!(kinds(&whole[..].replacen(b"\n=ybegin", b"\n ybegin")).contains(&FaultKind::BinaryRegion));
}

trait Replacen {
    fn replacen(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl Replacen for [u8] {
    fn replacen(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = memchr::memmem::find(self, from).expect("it is there");
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}

#[test]
fn messages_that_end_or_begin_where_disks_do() {
    let text = |length: usize| [&b"From: a\n\n"[..], &b"text ".repeat(2000)].concat()[..length].to_vec();
    assert_eq!(faults(&text(8192)), [(FaultKind::CutAtBlock, 8192, 0)]);
    assert_eq!(kinds(&text(8191)), []);
    assert_eq!(kinds(&[&text(8191)[..], b"\n"].concat()), []);
    // What is closed is not cut off.
    let closed = multipart(&[&format!("\n{}", "x".repeat(4096 - 87 - 20))], false);
    let closed = [&closed[..], &vec![b'\n'; 4096 - 7 - closed.len()], b"--=_x--"].concat();
    assert_eq!((closed.len(), kinds(&closed)), (4096, vec![]));
    // The first sector of another file within a line of this one.
    let mut spliced = text(4096 + 5);
    let other = b"Return-Path: <x@y>\nReceived: from z\n";
    spliced[1023] = b'x';
    spliced[1024..1024 + other.len()].copy_from_slice(other);
    assert_eq!(faults(&spliced), [(FaultKind::ForeignSector, 1024, 24)]);
    spliced[1023] = b'>';
    assert_eq!(kinds(&spliced), [], "quoted");
    spliced[1023] = b'x';
    spliced.remove(20);
    assert_eq!(kinds(&spliced), [], "anywhere");
}

#[test]
fn bytes_that_mail_does_not_contain() {
    let body =
        |bytes: &[u8]| [b"From: a\n\n".as_slice(), &b"text\n".repeat(300), bytes, &b"text\n".repeat(300)].concat();
    assert_eq!(faults(&body(&[0; 700])), [(FaultKind::NulRun, 1509, 700)]);
    assert_eq!(faults(&body(&[0; 3])), [(FaultKind::NulByte, 1509, 3)]);
    assert_eq!(faults(&body(&[0xFF; 700])), [(FaultKind::FfRun, 1509, 700)]);
    assert_eq!(faults(&body(&[0xFF; 40])), []);
    let mut rng = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = (0..512).map(|_| rng.u8(..)).collect();
    let found = evidence(&body(&noise));
    let region = found.faults().iter().find(|fault| fault.kind == FaultKind::BinaryRegion).unwrap();
    assert!(region.span.offset <= 1509 && region.span.end() >= 1509 + 512, "{region:?}");
    // Eight-bit text of any charset, escapes of ISO-2022 and overstriking are text.
    let high: Vec<u8> = (0..4000).map(|_| rng.u8(0x80..0xFF)).collect();
    assert_eq!(faults(&body(&high)), []);
    assert_eq!(faults(&body(&b"\x1b$B8&5f\x1b(B \x0e\x0f N\x08N".repeat(90))), []);
}

#[test]
fn what_is_binary_by_declaration_is_not_blamed() {
    let mut rng = fastrand::Rng::with_seed(5);
    let noise: String = (0..900).map(|_| char::from(rng.u8(..0x80))).filter(|c| *c != '\n').collect();
    let part = format!("Content-Transfer-Encoding: binary\n\n{noise}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(kinds(&multipart(&[&part, "\ntext"], true)), []);
    assert!(!kinds(&multipart(&["\ntext", &format!("\n{noise}")], true)).is_empty());
}

/// `message` with a hole from `start` to `end`.
fn with_hole(message: &[u8], start: usize, end: usize) -> Evidence {
    let mut checks = Checks::new(Claims { size: Some(message.len() as u64), crlf: None });
    checks.feed(&message[..start]);
    checks.hole(Span::new(start as u64, (end - start) as u64), FaultKind::ReadError, Some(5));
    checks.feed(&message[end..]);
    checks.finish().0
}

#[test]
fn a_hole_makes_unknown_and_not_broken() {
    let part = format!("Content-Transfer-Encoding: base64\n\n{}", base64_lines(40));
    let message = multipart(&[&part, "\ntext"], true);
    for start in (0..message.len() - 600).step_by(7) {
        let evidence = with_hole(&message, start, start + 512);
        assert_eq!(evidence.verdict(), Verdict::Unreadable);
        assert_eq!(evidence.get(Check::NativeSize), Outcome::Pass);
        let others = evidence.faults().iter().filter(|fault| fault.check != Check::Read);
        assert_eq!(others.count(), 0, "hole at {start}: {evidence:?}");
        assert_eq!(evidence.get(Check::Encoding), Outcome::Unknown);
        assert_eq!(evidence.faults()[0].errno, Some(5));
    }
}

#[test]
fn what_is_proven_beside_a_hole_stays() {
    let mut message = [b"From: a\n\n".as_slice(), &b"text\n".repeat(900)].concat();
    message[3000..3100].fill(0);
    let evidence = with_hole(&message, 512, 1024);
    assert!(evidence.faults().iter().any(|fault| fault.kind == FaultKind::NulRun));
    assert_eq!(evidence.get(Check::Header), Outcome::Pass);
    assert_eq!(evidence.get(Check::Mime), Outcome::Absent);
    assert_eq!(with_hole(&message, 4, 60).get(Check::Header), Outcome::Unknown);
}

#[test]
fn opaque_content_is_only_read() {
    let mut checks = Checks::opaque(Claims { size: Some(99), crlf: None });
    checks.feed(b"CRYPTED\x03\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let (evidence, envelope) = checks.finish();
    assert_eq!((evidence.verdict(), envelope), (Verdict::Undetermined, None));
    assert!(evidence.opaque && evidence.faults().is_empty());
    assert_eq!(evidence.get(Check::Read), Outcome::Pass);
}

/// What the checks hold of a stream that never ends, as long as its description.
fn held(start: &str, again: &dyn Fn(usize) -> Vec<u8>) -> usize {
    let mut checks = Checks::new(Claims { size: Some(9), crlf: Some(9) });
    checks.feed(start.as_bytes());
    let mut fed = 0;
    for turn in 0.. {
        let bytes = again(turn);
        fed += bytes.len();
        bytes.chunks(4096).for_each(|window| checks.feed(window));
        if fed > 8 << 20 {
            break;
        }
    }
    format!("{checks:?}").len()
}

#[test]
fn memory_does_not_grow_with_the_message() {
    let same = |text: &'static str| move |_: usize| text.repeat(900).into_bytes();
    let nested = |n: usize| format!("Content-Type: multipart/mixed; boundary={n:0900}\n\n--{n:0900}\n").into_bytes();
    let mixed = "Content-Type: multipart/mixed; boundary=x\n\n";
    let encoded = |encoding: &str| format!("Content-Transfer-Encoding: {encoding}\n\n");
    let sizes = [
        ("an endless line", held("", &same("x"))),
        ("an endless header", held("", &same("From: x\nno field\n"))),
        ("an endless field", held("Content-Type: x\n", &same(" ; boundary=x\n"))),
        ("one multipart in another", held("", &nested)),
        ("lines like boundaries", held(mixed, &same("\n--------------------"))),
        ("a line like a boundary", held(&format!("{mixed}\n--"), &same("-"))),
        ("parts", held(mixed, &same("\n--x\n\n-"))),
        ("base64 that breaks", held(&encoded("base64"), &same("QUJD*\n\n"))),
        ("quoted-printable that breaks", held(&encoded("quoted-printable"), &same("=3D=\u{e9}"))),
        ("control bytes", held("From: a\n\n", &same("\x01\0text and more of it, so that it ends\0\0"))),
        ("CRs", held("From: a\rTo: b\r", &same("\r\r--"))),
        ("yEnc", held("From: a\n\n", &same("\n=ybegin \n=yend "))),
    ];
    for (what, size) in sizes {
        assert!(size < 3 << 20, "{what}: {size}");
    }
}

/// Text made of what the checks look for, in any order.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<Vec<u8>> = vec![
        b"From: a@b\n".to_vec(),
        b"From: a@b\rTo: c\r".to_vec(),
        b"\r".to_vec(),
        b"\n=ybegin line=9\n".to_vec(),
        b"\n=yend size=9\r\n".to_vec(),
        b"QUJD\n".to_vec(),
        [vec![b'x'; 500], b"Received: from here and there\n".to_vec()].concat(),
        b"Message-ID: <x@y>\r\n".to_vec(),
        b"Content-Type: multipart/mixed; boundary=bb\n".to_vec(),
        b"Content-Type: multipart/report;\n\tboundary=\"b\"\n".to_vec(),
        b"Content-Type: message/rfc822\n\n".to_vec(),
        b"Content-Transfer-Encoding: base64\n\n".to_vec(),
        b"Content-Transfer-Encoding: quoted-printable\n\n".to_vec(),
        b"Content-Transfer-Encoding: binary\n\n".to_vec(),
        b"\n--bb\n".to_vec(),
        b"\n--b\r\n".to_vec(),
        b"\n--bb--\n".to_vec(),
        b"--b--".to_vec(),
        b"\n-".to_vec(),
        b"\n".to_vec(),
        b"\r\n".to_vec(),
        b"=3D=3D=3D=3D=3D=X".to_vec(),
        b"QQ==\n".to_vec(),
        b"some words here\n".to_vec(),
        base64_lines(2).into_bytes(),
        vec![0; 3],
        vec![0; 20],
        vec![0xFF; 70],
        vec![1; 150],
        vec![b'-'; 1300],
    ];
    let piece = prop::sample::select(pieces);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn windows_do_not_matter(message in message(), sizes in prop::collection::vec(1usize..90, 1..6)) {
        let claims = Claims { size: Some(700), crlf: Some(800) };
        prop_assert_eq!(judged(&message, claims, &[1 << 20]), judged(&message, claims, &sizes));
    }

    /// Where a sector of another message stands within text, wherever the windows end.
    #[test]
    fn windows_do_not_matter_at_a_sectors_edge(fill in 0usize..40, sizes in prop::collection::vec(1usize..600, 1..4)) {
        let mut message = [b"From: a\n\n".as_slice(), &b"some text ".repeat(120)].concat();
        let other = &b"Received: by somebody for somebody else"[..fill.min(39)];
        message[512..512 + other.len()].copy_from_slice(other);
        let claims = Claims::default();
        prop_assert_eq!(judged(&message, claims, &[1 << 20]), judged(&message, claims, &sizes));
    }

    #[test]
    fn blame_lies_within_the_message(message in message()) {
        for fault in evidence(&message).faults() {
            prop_assert!(fault.span.end() <= message.len() as u64, "{:?}", fault);
        }
    }

    #[test]
    fn any_bytes_and_any_hole_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..700), hole in 0usize..700) {
        let start = hole.min(bytes.len());
        let end = (start + 64).min(bytes.len());
        with_hole(&bytes, start, end);
        evidence(&bytes);
    }
}

#[test]
fn zeros_that_nobody_read_are_damage_unless_declared() {
    let judge = |head: &str, gap: Span, tail: &str| {
        let mut checks = Checks::new(Claims::default());
        checks.feed(head.as_bytes());
        let judged = checks.zeros(gap);
        checks.feed(tail.as_bytes());
        (judged, checks.finish().0)
    };
    let header = "From: a\nSubject: b\n\ntext\n";
    let gap = Span::new(header.len() as u64, 1 << 20);
    let (judged, evidence) = judge(header, gap, "more\n");
    assert!(judged && evidence.verdict() == crate::model::Verdict::Damaged, "{evidence:?}");
    assert!(evidence.faults().iter().any(|f| f.kind == FaultKind::NulRun && f.span == gap), "{evidence:?}");
    let (judged, evidence) = judge("", Span::new(0, 1 << 20), "");
    assert!(judged && evidence.verdict() == crate::model::Verdict::Damaged, "{evidence:?}");
    let binary = "From: a\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: binary\n\nx";
    assert!(!judge(binary, Span::new(binary.len() as u64, 1 << 20), "").0);
    let mut opaque = Checks::opaque(Claims::default());
    assert!(!opaque.zeros(Span::new(0, 1 << 20)));
}
