//! Vectors of the standards, and the laws: windows do not matter, no changed byte that counts is overlooked.

use super::*;
use crate::model::Outcome;
use crate::report::base64::encode;
use proptest::prelude::*;
use sha2::Digest as _;

/// The body of RFC 6376 appendix A.2 and RFC 8463 appendix A.3, and its hash in both.
const BODY: &str = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
const HASH: &str = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";

fn judged(message: &[u8], sizes: &[usize]) -> Option<Signed> {
    let mut proof = BodyProof::new();
    let (mut rest, mut sizes) = (message, sizes.iter().cycle());
    while !rest.is_empty() {
        let (window, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
        proof.feed(window);
        rest = tail;
    }
    proof.finish()
}

fn agrees(message: &str) -> Option<Agrees> {
    judged(message.as_bytes(), &[usize::MAX]).map(|signed| signed.agrees)
}

fn signed(tags: &str, body: &str) -> String {
    format!("From: a\r\nDKIM-Signature: v=1; {tags}; d=example.org; b=x\r\n\r\n{body}")
}

/// The canonical form, written for clearness.
fn canonical(body: &[u8], form: Form) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = body.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let count = lines.len();
    for (number, line) in lines.iter_mut().enumerate() {
        if number + 1 < count && line.last() == Some(&b'\r') {
            line.pop();
        }
        if form == Form::Relaxed {
            let mut out: Vec<u8> = Vec::new();
            for &byte in line.iter() {
                match byte {
                    b' ' | b'\t' if out.last() == Some(&b' ') => {}
                    b' ' | b'\t' => out.push(b' '),
                    byte => out.push(byte),
                }
            }
            if out.last() == Some(&b' ') {
                out.pop();
            }
            *line = out;
        }
    }
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    if lines.is_empty() && form == Form::Relaxed {
        return Vec::new();
    }
    [&lines.join(&b"\r\n"[..])[..], b"\r\n"].concat()
}

fn hash(bytes: &[u8]) -> String {
    encode(&sha2::Sha256::digest(bytes))
}

fn tags(form: Form, limit: Option<usize>, body: &[u8]) -> String {
    let bytes = canonical(body, form);
    let hash = hash(&bytes[..limit.unwrap_or(bytes.len())]);
    let name = if form == Form::Simple { "simple" } else { "relaxed" };
    let limit = limit.map(|limit| format!("l={limit}; ")).unwrap_or_default();
    format!("a=rsa-sha256; c=relaxed/{name}; {limit}bh={hash}")
}

#[test]
fn vectors_of_rfc_6376_and_rfc_8463() {
    for tags in [
        format!("a=rsa-sha256; c=simple/simple; bh={HASH}"),
        format!("a=ed25519-sha256; c=relaxed/relaxed; bh={HASH}"),
        format!("a=rsa-sha256; c=relaxed; bh={}\r\n {}", &HASH[..20], &HASH[20..]),
        format!("a=rsa-sha256; bh={HASH}"),
    ] {
        let own = BODY.replace("  ", " ");
        let bodies = [BODY, &own].map(|body| agrees(&signed(&tags, body)));
        assert!(bodies.contains(&Some(Agrees::Whole)), "{tags}");
    }
    // Section 3.4.5.
    let body = " C \r\nD \t E\r\n\r\n\r\n".as_bytes();
    assert_eq!(canonical(body, Form::Relaxed), b" C\r\nD E\r\n");
    assert_eq!(canonical(body, Form::Simple), b" C \r\nD \t E\r\n");
}

#[test]
fn empty_bodies() {
    let simple = "a=rsa-sha256; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=";
    let simple_1 = "a=rsa-sha1; bh=uoq1oCgLlTqpdDX/iUbLy7J1Wic=";
    let relaxed = "a=rsa-sha256; c=simple/relaxed; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let relaxed_1 = "a=rsa-sha1; c=simple/relaxed; bh=2jmj7l5rSw0yVb/vlWAYkK/YBwk=";
    for tags in [simple, simple_1, relaxed, relaxed_1] {
        for body in ["", "\r\n", "\r\n\r\n", "\n\n\n"] {
            assert_eq!(agrees(&signed(tags, body)), Some(Agrees::Whole), "{tags} {body:?}");
        }
        assert_eq!(agrees(&signed(tags, "x")), Some(Agrees::No), "{tags}");
    }
    assert_eq!(agrees(&signed(relaxed, " \t\r\n \r\n")), Some(Agrees::Whole), "white space alone is nothing");
    assert_eq!(agrees(&signed(simple, " \r\n")), Some(Agrees::No));
    let only_fields = signed(simple, "").replace("\r\n\r\n", "\r\n");
    assert_eq!(agrees(&only_fields), Some(Agrees::Whole));
}

#[test]
fn stores_with_lf_are_read_as_crlf() {
    for form in [Form::Simple, Form::Relaxed] {
        let message = signed(&tags(form, None, BODY.as_bytes()), BODY);
        assert_eq!(agrees(&message), Some(Agrees::Whole));
        assert_eq!(agrees(&message.replace("\r\n", "\n")), Some(Agrees::Whole));
        let mixed = message.replacen("Hi.\r\n", "Hi.\n", 1);
        assert_eq!(agrees(&mixed), Some(Agrees::Whole));
        // A CR alone is no line end.
        assert_eq!(agrees(&message.replacen("Hi.\r\n", "Hi.\r", 1)), Some(Agrees::No));
    }
}

#[test]
fn the_best_of_many_signatures_counts() {
    let good = tags(Form::Relaxed, None, BODY.as_bytes());
    let part = tags(Form::Relaxed, Some(4), BODY.as_bytes());
    let bad = tags(Form::Simple, None, b"another");
    let field = |name: &str, tags: &str, d: &str| format!("{name}: {tags}; d={d}\r\n");
    let message = |fields: &[String]| format!("{}\r\n{BODY}", fields.concat());
    let all = message(&[
        field("dkim-SIGNATURE", &bad, "list.example"),
        field("ARC-Message-Signature", &good, "arc.example"),
        field("DKIM-Signature ", &part, "part.example"),
        "DKIM-Signature: garbage\r\n".into(),
    ]);
    let said = judged(all.as_bytes(), &[7]).unwrap();
    assert_eq!(
        (said.agrees, said.domain.as_deref(), said.outcome()),
        (Agrees::Whole, Some("arc.example"), Outcome::Pass)
    );
    let none = judged(message(&[field("DKIM-Signature", &bad, "list.example")]).as_bytes(), &[64]).unwrap();
    assert_eq!((none.agrees, none.domain.as_deref()), (Agrees::No, Some("list.example")));
    assert_eq!(none.outcome(), Outcome::Unknown, "proves nothing");
    let absent = message(&["X-DKIM-Signature: x\r\n".into(), "DKIM-Signature: bh=;\r\n".into()]);
    assert_eq!(judged(absent.as_bytes(), &[64]), None);
    let inner = format!("From: a\r\n\r\n{}", message(&[field("DKIM-Signature", &good, "inner.example")]));
    assert_eq!(judged(inner.as_bytes(), &[64]), None, "only the top header is the message's own");
}

#[test]
fn a_length_proves_what_it_covers_and_nothing_behind() {
    for form in [Form::Simple, Form::Relaxed] {
        let whole = canonical(BODY.as_bytes(), form).len();
        for limit in 1..=whole {
            let message = signed(&tags(form, Some(limit), BODY.as_bytes()), BODY);
            let said = judged(message.as_bytes(), &[3]).unwrap();
            let Agrees::UpTo(end) = said.agrees else { panic!("{limit} of {whole}: {said:?}") };
            let kept = &message.as_bytes()[said.body as usize..end as usize];
            let proven = canonical(kept, form);
            let signed = &canonical(BODY.as_bytes(), form)[..limit];
            let text = proven.strip_suffix(b"\r\n").unwrap_or(&proven);
            assert!(signed.starts_with(text), "{limit}: {kept:?} is more than {signed:?}");
            assert_eq!(said.outcome(), Outcome::Unknown, "what follows is not proven, nor that nothing is missing");
            let longer = agrees(&(message.clone() + "-- \r\na list's footer\r\n"));
            assert!(matches!(longer, Some(Agrees::UpTo(_))), "{limit} of {whole}");
        }
        let more = tags(form, None, BODY.as_bytes()).replace("bh=", &format!("l={}; bh=", whole + 1));
        assert_eq!(agrees(&signed(&more, BODY)), Some(Agrees::No), "shorter than what was signed");
    }
    let nothing = format!("a=rsa-sha256; l=0; bh={}", hash(b""));
    assert_eq!(agrees(&signed(&nothing, BODY)), None, "covers no byte, so that it proves none");
}

#[test]
fn a_hole_is_never_jumped() {
    let whole = signed(&tags(Form::Simple, None, BODY.as_bytes()), BODY);
    let part = signed(&tags(Form::Simple, Some(8), BODY.as_bytes()), BODY);
    let with_hole = |message: &str, at: usize, length: usize| {
        let mut proof = BodyProof::new();
        proof.feed(&message.as_bytes()[..at]);
        proof.hole(Span::new(at as u64, length as u64));
        proof.feed(&message.as_bytes()[at + length..]);
        proof.finish().map(|signed| (signed.agrees, signed.header.is_some()))
    };
    for at in 0..whole.len() {
        let said = with_hole(&whole, at, 1);
        assert!(said.is_none_or(|(agrees, _)| agrees == Agrees::Unread), "{at}: {said:?}");
    }
    let body = part.find("Hi.").unwrap();
    assert!(matches!(with_hole(&part, body + 12, 4), Some((Agrees::UpTo(_), true))));
    assert_eq!(with_hole(&part, body + 4, 4), Some((Agrees::Unread, true)));
    assert_eq!(with_hole(&part, body - 3, 1), None, "the signature may go on in the hole");
    let later = part.replace("\r\n\r\nHi.", "\r\nSubject: later\r\nTo: b\r\n\r\nHi.");
    assert_eq!(with_hole(&later, body + 18, 1), Some((Agrees::Unread, false)), "where does the body begin?");
}

#[test]
fn crafted_headers_stay_small() {
    let long = format!("DKIM-Signature: a=rsa-sha256; bh={HASH}; x={}\r\n\r\n{BODY}", "x".repeat(4 * SIGNATURE_MAX));
    let folded = format!(
        "DKIM-Signature: a=rsa-sha256; bh={HASH};\r\n{}\r\n{BODY}",
        " x=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy;\r\n".repeat(1000)
    );
    let window = [1000];
    for message in [&long, &folded] {
        assert_eq!(judged(message.as_bytes(), &window), None);
        assert_eq!(judged(message.as_bytes(), &[usize::MAX]), None);
    }
    let each = |n: usize| format!("DKIM-Signature: a=rsa-sha256; l={}; bh={HASH}\r\n", n + 1);
    let many: String = (0..10_000).map(each).chain(["\r\n".to_owned(), BODY.to_owned()]).collect();
    let mut proof = BodyProof::new();
    proof.feed(many.as_bytes());
    assert!(proof.signatures.len() <= BODY_HASHES_MAX);
    let breaks = signed(&tags(Form::Relaxed, None, b"x"), &"\n".repeat(3 << 20)) + "x";
    assert_eq!(agrees(&breaks), Some(Agrees::No));
    let body = "\n".repeat(70_001) + "x";
    assert_eq!(agrees(&signed(&tags(Form::Simple, None, body.as_bytes()), &body)), Some(Agrees::Whole));
}

#[test]
fn one_header_and_another_body_refute() {
    let good = signed(&tags(Form::Relaxed, None, BODY.as_bytes()), BODY);
    let say = |message: &str| judged(message.as_bytes(), &[9]).unwrap();
    let rotten = say(&good.replace("hungry", "hungrz"));
    assert!(say(&good).refutes(&rotten) && !rotten.refutes(&say(&good)) && !rotten.refutes(&rotten));
    assert!(!say(&good).refutes(&say(&good)));
    let elsewhere = say(&good.replace("From: a", "From: b").replace("hungry", "hungrz"));
    assert!(!say(&good).refutes(&elsewhere), "another header may be another message");
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let some: [&[u8]; 14] = [
        b"\r\n", b"\n", b"\r", b" ", b"\t", b"  ", b" \t\r\n", b"word", b"a b", b"\0", b"\xFF", b"\r\r\n", b"x ",
        b"\n\n",
    ];
    prop::collection::vec(prop::sample::select(some.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

fn form() -> impl Strategy<Value = Form> {
    prop::sample::select(vec![Form::Simple, Form::Relaxed])
}

proptest! {
    #[test]
    fn windows_do_not_matter(body in pieces(), form in form(), sizes in prop::collection::vec(1usize..30, 1..6), l in 0usize..90) {
        let limit = Some(l).filter(|&l| (1..=canonical(&body, form).len()).contains(&l));
        let message = [signed(&tags(form, limit, &body), "").as_bytes(), &body].concat();
        let once = judged(&message, &[usize::MAX]);
        prop_assert_eq!(judged(&message, &sizes), once.clone());
        match limit {
            None => prop_assert_eq!(once.unwrap().agrees, Agrees::Whole),
            Some(_) => prop_assert!(matches!(once.unwrap().agrees, Agrees::UpTo(_))),
        }
    }

    /// Agreement and an equal canonical form are the same thing.
    #[test]
    fn it_agrees_exactly_where_the_canonical_form_is_equal(
        body in pieces(), form in form(), at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<bool>(),
    ) {
        prop_assume!(!body.is_empty());
        let mut other = body.clone();
        let at = at.index(body.len());
        if cut { other.truncate(at) } else { other[at] ^= flip }
        let message = [signed(&tags(form, None, &body), "").as_bytes(), &other].concat();
        let equal = canonical(&body, form) == canonical(&other, form);
        let said = judged(&message, &[5]).unwrap().agrees;
        prop_assert_eq!(said == Agrees::Whole, equal, "{:?} {:?}", body, other);
    }

    /// What `l=` proves stays proven whatever follows, and no byte before its end may change.
    #[test]
    fn what_a_length_proves_is_what_was_signed(
        body in pieces(), form in form(), l in 1usize..60, at in any::<prop::sample::Index>(), flip in 1u8..=255,
    ) {
        let all = canonical(&body, form);
        prop_assume!(l <= all.len());
        let head = signed(&tags(form, Some(l), &body), "");
        let mut other = body.clone();
        if !other.is_empty() { let at = at.index(other.len()); other[at] ^= flip; }
        let said = judged(&[head.as_bytes(), &other].concat(), &[4]).unwrap();
        let equal = canonical(&other, form).get(..l) == Some(&all[..l]);
        prop_assert_eq!(matches!(said.agrees, Agrees::UpTo(_)), equal);
        if let Agrees::UpTo(end) = said.agrees {
            let kept = &other[..(end - said.body) as usize];
            let kept = canonical(kept, form);
            prop_assert!(all[..l].starts_with(kept.strip_suffix(b"\r\n").unwrap_or(&kept)), "{:?} {:?}", kept, &all[..l]);
        }
    }

    #[test]
    fn any_bytes_and_any_hole_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..400), hole in 0usize..400) {
        let message = [b"DKIM-Signature: a=rsa-sha256; bh=", HASH.as_bytes(), &bytes[..]].concat();
        judged(&message, &[13]);
        let at = hole.min(message.len());
        let mut proof = BodyProof::new();
        proof.feed(&message[..at]);
        proof.hole(Span::new(at as u64, 5));
        proof.feed(&message[at..]);
        let said = proof.finish();
        prop_assert!(said.is_none_or(|signed| signed.agrees == Agrees::Unread));
    }
}
