//! Killed at every call that changes a file; then typed once more.

use crate::ground::{Ground, NEEDS, brief};
use crate::kit;
use crate::trace::sample;

#[test]
fn a_repair_killed_at_any_call_loses_nothing_and_the_next_one_finishes_it() {
    if !kit::can("a killed repair", true, &NEEDS) {
        return;
    }
    let mut ground = Ground::new();
    ground.tracer.listening(&ground.tool).run(ground.typed()).expect(1);
    let calls = ground.calls();
    assert!(calls.len() > 60, "a repair changes files: {calls:?}");
    let (mut killed, mut missed) = (0, 0);
    for call in sample(&calls, 19) {
        ground.go_back("damaged");
        let at = format!("killed at {} {}", call.nth, call.text);
        match ground.tracer.at(&ground.tool, call, "signal=KILL").run(ground.typed()).status {
            -1 => killed += 1,
            _ => missed += 1,
        }
        ground.assert_none_lost(&ground.damaged_copies, &at);
        ground.finish(&at);
        ground.take_all_back(&at);
    }
    assert!(killed >= 20 && missed * 20 <= killed, "{killed} killed, {missed} not");
    eprintln!("kills: {killed} of a repair with {} calls; lost 0", calls.len());
}

#[test]
fn an_undo_killed_at_any_call_loses_nothing_and_the_next_one_finishes_it() {
    if !kit::can("a killed undo", true, &NEEDS) {
        return;
    }
    let mut ground = Ground::new();
    ground.repair();
    let typed = ground.typed_undo();
    let before = ground.copies();
    let answer = ground.tracer.listening(&ground.tool).run(typed.clone()).expect(0);
    ground.assert_taken_back(&answer);
    let calls = ground.calls();
    assert!(calls.len() > 20, "an undo changes files: {calls:?}");
    let (mut killed, mut missed) = (0, 0);
    for call in sample(&calls, 9) {
        ground.go_back("repaired");
        let at = format!("killed at {} {}", call.nth, call.text);
        match ground.tracer.at(&ground.tool, call, "signal=KILL").run(typed.clone()).status {
            -1 => killed += 1,
            _ => missed += 1,
        }
        ground.assert_none_lost(&before, &at);
        let answer = ground.tool.run(typed.clone());
        assert_eq!(answer.status, 0, "{at}: {}", brief(&answer));
        ground.assert_taken_back(&answer);
        ground.assert_none_lost(&before, &at);
    }
    assert!(killed >= 10 && missed * 20 <= killed, "{killed} killed, {missed} not");
    eprintln!("kills: {killed} of an undo with {} calls; lost 0", calls.len());
}
