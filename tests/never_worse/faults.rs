//! Every call that changes a file fails, once, with an error of the medium or of a full disk; then typed once more.

use crate::common::Answer;
use crate::ground::{Copies, Ground, NEEDS, brief};
use crate::kit;
use crate::trace::{Call, sample};

/// What the system says, by the name of the error.
const ERRORS: [(&str, &str); 2] = [("EIO", "Input/output error"), ("ENOSPC", "No space left on device")];

/// Insists that a run which was hit does not say that all is well unless it is, and says what was hit.
#[track_caller]
fn assert_honest(answer: &Answer, words: &str, at: &str, finished: bool) {
    assert!(answer.status >= 0, "{at}: {}", brief(answer));
    assert!(!answer.mentions("panicked"), "{at}: {}", brief(answer));
    if answer.status & (4 | 8) != 0 {
        // SQLite has words of its own for what happens to its files.
        let told = answer.mentions(words) || at.contains("catalog.db") && answer.mentions("catalog.db");
        assert!(told, "{at}: it does not say what happened: {}", brief(answer));
    } else {
        assert!(matches!(answer.status, 0 | 1) && finished, "{at}: not done, and yet {}", brief(answer));
    }
}

#[derive(Default)]
struct Count {
    faults: u32,
    told: u32,
}

fn repair(error: usize) {
    if !kit::can("a failing repair", true, &NEEDS) {
        return;
    }
    let (name, words) = ERRORS[error];
    let mut ground = Ground::new();
    ground.tracer.listening(&ground.tool).run(ground.typed()).expect(1);
    let calls = ground.calls();
    let mut count = Count::default();
    for call in sample(&calls, 29) {
        ground.go_back("damaged");
        let at = format!("{name} at {} {}", call.nth, call.text);
        let answer = hit(&ground, call, name, ground.typed());
        let finished = ground.healed();
        assert_honest(&answer, words, &at, finished);
        count.faults += 1;
        count.told += u32::from(answer.status & (4 | 8) != 0);
        ground.assert_none_lost(&ground.damaged_copies, &at);
        ground.finish(&at);
        ground.take_all_back(&at);
    }
    assert!(count.told > 10, "hardly anything failed");
    eprintln!("faults: {} x {name} of a repair with {} calls, {} told; lost 0", count.faults, calls.len(), count.told);
}

fn hit(ground: &Ground, call: &Call, error: &str, typed: Vec<String>) -> Answer {
    ground.tracer.at(&ground.tool, call, &format!("error={error}")).run(typed)
}

fn undo(error: usize) {
    if !kit::can("a failing undo", true, &NEEDS) {
        return;
    }
    let (name, words) = ERRORS[error];
    let mut ground = Ground::new();
    ground.repair();
    let typed = ground.typed_undo();
    let before: Copies = ground.copies();
    ground.tracer.listening(&ground.tool).run(typed.clone()).expect(0);
    let calls = ground.calls();
    let mut count = Count::default();
    for call in sample(&calls, 13) {
        ground.go_back("repaired");
        let at = format!("{name} at {} {}", call.nth, call.text);
        let answer = hit(&ground, call, name, typed.clone());
        let finished = ground.taken_back();
        assert_honest(&answer, words, &at, finished);
        count.faults += 1;
        count.told += u32::from(answer.status & (4 | 8) != 0);
        ground.assert_none_lost(&before, &at);
        let again = ground.tool.run(typed.clone());
        assert_eq!(again.status, 0, "{at}: {}\nthen {}", brief(&answer), brief(&again));
        ground.assert_taken_back(&again);
        ground.assert_none_lost(&before, &at);
    }
    assert!(count.told > 5, "hardly anything failed");
    eprintln!("faults: {} x {name} of an undo with {} calls, {} told; lost 0", count.faults, calls.len(), count.told);
}

#[test]
fn a_repair_that_meets_an_error_of_the_medium_at_any_call_says_so_and_is_finished_by_the_next_one() {
    repair(0);
}

#[test]
fn a_repair_that_finds_the_disk_full_at_any_call_says_so_and_is_finished_by_the_next_one() {
    repair(1);
}

#[test]
fn an_undo_that_meets_an_error_of_the_medium_at_any_call_says_so_and_is_finished_by_the_next_one() {
    undo(0);
}

#[test]
fn an_undo_that_finds_the_disk_full_at_any_call_says_so_and_is_finished_by_the_next_one() {
    undo(1);
}
