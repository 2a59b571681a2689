//! Asked to end, by SIGINT or SIGTERM: the step in hand is finished, what was done is kept, the next run goes on.

use crate::common::Answer;
use crate::common::bench::{Bench, assert_same};
use crate::common::spec;
use crate::kit;
use mailmend::drill::disk;
use std::fs;
use std::path::Path;
use std::time::Duration;

const MESSAGES: u64 = 3000;

fn blank() -> Bench {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann/Maildir"));
    for number in 0..MESSAGES {
        kit::deliver(&account, number, 2500);
    }
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    bench
}

fn count(cur: &Path) -> u64 {
    fs::read_dir(cur).map_or(0, |entries| entries.count() as u64)
}

/// Sends the signal as soon as `ready` says so.
fn stop(bench: &Bench, args: &[String], signal: &str, ready: impl Fn() -> bool) -> Answer {
    let run = bench.tool.start(args.to_vec());
    kit::wait_for("the first change", Duration::from_secs(60), || ready().then_some(()));
    kit::signal(run.pid, signal);
    run.end()
}

fn stopped(signal: &str) {
    let bench = blank();
    let truth = bench.tree();
    disk::clear(&bench.store).expect("a blank disk");
    let broken = bench.tree();
    let cur = bench.store.join("ann/Maildir/cur");
    let repair = ["repair", &spec(&bench.store), "--from", &spec(&bench.replica), "--apply"].map(str::to_owned);
    let answer = stop(&bench, &repair, signal, || count(&cur) > 0).expect_bits(32);
    let there = count(&cur);
    assert!(there > 0 && there < MESSAGES, "{there} messages are there: {answer}");
    assert_eq!(answer.count("repaired"), there, "what is done is said: {answer}");
    let again = bench.tool.run(repair.to_vec()).expect(1);
    assert_same(&truth, &bench.tree(), "the second run finished the job");

    // The undo of the second, likewise in two parts, and then that of the first.
    let undo = ["undo", &again.run_name(), "--apply"].map(str::to_owned);
    let half = stop(&bench, &undo, signal, || count(&cur) < MESSAGES).expect_bits(32);
    let left = count(&cur);
    assert!(left > there && left < MESSAGES, "{left} messages are left: {half}");
    bench.tool.run(undo.to_vec()).expect(0);
    assert_eq!(count(&cur), there, "the second repair is taken back");
    bench.tool.undo(&answer.run_name()).expect(0);
    assert_same(&broken, &bench.tree(), "both are taken back");
}

#[test]
fn a_repair_and_an_undo_that_are_interrupted_keep_what_they_did_and_go_on() {
    stopped("INT");
}

#[test]
fn a_repair_and_an_undo_that_are_terminated_keep_what_they_did_and_go_on() {
    stopped("TERM");
}
