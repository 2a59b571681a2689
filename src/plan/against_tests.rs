use super::*;
use crate::model::{Check, Evidence, Fault, FaultKind, Span};
use proptest::prelude::*;

fn copy(digest: Option<u8>, fault: Option<FaultKind>) -> CopyFacts {
    let mut evidence = Evidence::default();
    for check in [Check::Read, Check::Header] {
        evidence.set(check, crate::model::Outcome::Pass);
    }
    if let Some(kind) = fault {
        let check = if kind == FaultKind::ReadError { Check::Read } else { Check::Pattern };
        evidence.blame(Fault { check, kind, span: Span::new(512, 512), errno: None });
    }
    CopyFacts { digest: digest.map(|n| Digest([n; 32])), length: 2048, evidence, ..CopyFacts::default() }
}

fn whole(digest: u8) -> CopyFacts {
    copy(Some(digest), None)
}

fn zeroed(digest: u8) -> CopyFacts {
    copy(Some(digest), Some(FaultKind::NulRun))
}

fn judged(here: &CopyFacts, there: &CopyFacts, recorded: Option<u8>) -> Option<Kind> {
    both(&Pair { here, there, recorded: recorded.map(|n| Digest([n; 32])) }).map(|(kind, _)| kind)
}

#[test]
fn the_digest_on_record_decides_between_two_that_look_whole() {
    assert_eq!(judged(&whole(1), &whole(1), Some(1)), None);
    assert_eq!(judged(&whole(1), &whole(2), Some(1)), Some(Kind::Damaged(Side::There)));
    assert_eq!(judged(&whole(2), &whole(1), Some(1)), Some(Kind::Damaged(Side::Here)));
    assert_eq!(judged(&whole(2), &whole(3), Some(1)), Some(Kind::DamagedBoth));
    assert_eq!(judged(&whole(2), &whole(2), Some(1)), Some(Kind::DamagedBoth), "a sync has carried it over");
    assert_eq!(judged(&whole(1), &whole(2), None), Some(Kind::Contents));
}

#[test]
fn without_a_record_the_fault_that_one_side_has_alone_decides() {
    assert_eq!(judged(&zeroed(2), &whole(1), None), Some(Kind::Damaged(Side::Here)));
    assert_eq!(judged(&whole(1), &zeroed(2), None), Some(Kind::Damaged(Side::There)));
    assert_eq!(judged(&zeroed(2), &zeroed(3), None), Some(Kind::DamagedBoth));
    assert_eq!(judged(&zeroed(2), &zeroed(2), None), Some(Kind::DamagedBoth));
    assert_eq!(judged(&copy(None, Some(FaultKind::ReadError)), &whole(1), None), Some(Kind::Damaged(Side::Here)));
    let (_, why) = both(&Pair { here: &zeroed(2), there: &whole(1), recorded: None }).expect("a difference");
    assert!(why.contains("from byte 512"), "{why}");
}

#[test]
fn a_canonical_digest_counts_for_the_stored_one() {
    let crlf = CopyFacts { canonical: Some(Digest([1; 32])), ..whole(9) };
    assert_eq!(judged(&crlf, &whole(1), None), None);
    assert_eq!(judged(&crlf, &whole(1), Some(1)), None);
}

/// One message, gone with nothing that tells.
fn quiet() -> Lack {
    Lack::default()
}

/// What the first of `many` alike is, of 100.
fn first(lack: &Lack, many: usize) -> Gap {
    gaps(vec![lack.clone(); many], 100)[0].0
}

#[test]
fn new_is_only_what_cannot_have_been_there() {
    let at = |sec| Some(Stamp { sec, nsec: 0 });
    let new = Lack { arrived: at(101), changed: at(100), ..quiet() };
    let one = |lack: &Lack| first(lack, 1);
    assert_eq!(one(&new), Gap::New);
    assert_eq!(first(&new, 60), Gap::New, "a day's mail is new however much it is");
    assert_eq!(
        one(&Lack { arrived: at(100), ..new.clone() }),
        Gap::Deleted,
        "in the same second it may have been there"
    );
    assert_eq!(first(&Lack { arrived: at(99), ..new.clone() }, 60), Gap::Undecided);
    assert_eq!(one(&Lack { changed: None, ..new.clone() }), Gap::Deleted);
    let folder = Absence { mailbox_gone: true, ..Absence::default() };
    assert_eq!(one(&Lack { absence: folder.clone(), ..new.clone() }), Gap::Undecided, "its times went with it");
    assert_eq!(one(&Lack { absence: folder.clone(), new_folder: true, ..new.clone() }), Gap::New);
    let deleted = Absence { folder: Fate::Deleted, ..folder };
    assert_eq!(one(&Lack { absence: deleted, new_folder: true, ..new.clone() }), Gap::Deleted);
    assert_eq!(one(&Lack { never_numbered: true, ..quiet() }), Gap::New);
    for server in [Says::Listed, Says::LossNoticed] {
        let absence = Absence { server, ..Absence::default() };
        let known = Lack { absence, never_numbered: true, new_folder: true, ..new.clone() };
        assert_eq!(one(&known), Gap::Lost, "the server knows it: {server:?}");
    }
    let before = |missing| Lack {
        absence: Absence { before: Some(missing), ..Absence::default() },
        was_there: true,
        ..new.clone()
    };
    assert_eq!(one(&before(Missing::Lost)), Gap::Lost, "it was known there");
    assert_eq!(first(&before(Missing::PresumedDeleted), 60), Gap::Deleted, "that was judged when it happened");
    assert_eq!(first(&Lack { was_there: true, ..new }, 60), Gap::Undecided);
}

#[test]
fn new_mail_is_none_of_those_that_are_gone_at_once() {
    let new = Lack { never_numbered: true, ..quiet() };
    let gaps = gaps([vec![new; 60], vec![quiet(); 2]].concat(), 100);
    assert_eq!((gaps[0].0, gaps[60].0), (Gap::New, Gap::Deleted));
}

#[test]
fn only_what_nobody_deleted_is_destroyed_by_a_sync() {
    for gap in [Gap::New, Gap::Deleted] {
        assert!(!sync_deletes(gap, Says::Listed, true) && !sync_deletes(gap, Says::LossNoticed, true));
    }
    for gap in [Gap::Lost, Gap::Undecided] {
        assert!(sync_deletes(gap, Says::Listed, false) && sync_deletes(gap, Says::LossNoticed, false));
        assert!(sync_deletes(gap, Says::Nothing, true));
        assert!(!sync_deletes(gap, Says::Nothing, false), "a server that does not know it takes it for new");
    }
}

fn any_copy() -> impl Strategy<Value = CopyFacts> {
    let fault = prop_oneof![Just(None), Just(Some(FaultKind::NulRun)), Just(Some(FaultKind::ReadError))];
    (prop::option::of(0u8..3), fault).prop_map(|(digest, fault)| copy(digest, fault))
}

fn mirrored(kind: Kind) -> Kind {
    match kind {
        Kind::Damaged(side) => Kind::Damaged(side.other()),
        other => other,
    }
}

proptest! {
    #[test]
    fn neither_side_is_trusted_more(here in any_copy(), there in any_copy(), recorded in prop::option::of(0u8..3)) {
        let one = judged(&here, &there, recorded);
        prop_assert_eq!(one.map(mirrored), judged(&there, &here, recorded));
    }

    #[test]
    fn what_is_damaged_never_passes_for_right(here in any_copy(), there in any_copy(), recorded in prop::option::of(0u8..3)) {
        let kind = judged(&here, &there, recorded);
        let of = |side: Side| if side == Side::Here { &here } else { &there };
        if let Some(right) = kind.and_then(Kind::right) {
            let proven = recorded.is_some_and(|n| of(right).digest == Some(Digest([n; 32])));
            prop_assert!(proven || !is_harmed(of(right)), "{:?}", kind);
        }
        if kind.is_none() {
            prop_assert!(here.digest.is_some() && here.digest == there.digest);
            prop_assert!(recorded.is_some() || !(is_harmed(&here) || is_harmed(&there)));
        }
    }
}
