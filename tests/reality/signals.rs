//! Interrupted by hand, and by a reader of the output that had enough.

use crate::common::bench::{Bench, assert_same};
use crate::common::{spec, words};
use crate::kit;
use mailmend::drill::disk;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

const MESSAGES: u64 = 3000;

fn many() -> Bench {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann/Maildir"));
    for number in 0..MESSAGES {
        kit::deliver(&account, number, 9000);
    }
    bench
}

#[test]
fn an_interrupted_verify_says_so_and_the_next_one_does_it_all() {
    let bench = many();
    let mut interrupted = None;
    // Too early and too late both prove nothing: from late to early until the signal hits the work.
    for wait in [300, 150, 80, 40, 20, 10] {
        let run = bench.tool.start(words(&["verify"]).chain([bench.store.clone().into()]));
        kit::wait_for("a reader", Duration::from_secs(20), || {
            kit::children(run.pid).pop().or(run.ended().then_some(0))
        });
        std::thread::sleep(Duration::from_millis(wait));
        kit::signal(run.pid, "INT");
        let answer = run.end();
        if answer.status != 0 && answer.count("messages") < MESSAGES {
            interrupted = Some(answer);
            break;
        }
        fs::remove_dir_all(&bench.tool.state).expect("a new start");
    }
    let answer = interrupted.expect("one of the runs was interrupted").expect_bits(32);
    assert_eq!(answer.status & !(32 | 8), 0, "an interrupted run finds no damage: {answer}");
    assert!(answer.count("messages") < MESSAGES, "{answer}");
    assert_eq!(answer.count("damaged") + answer.count("missing.lost") + answer.count("missing.undecided"), 0);
    let whole = bench.tool.verify(&bench.store).expect(0);
    assert_eq!(whole.count("messages"), MESSAGES, "{whole}");
}

#[test]
fn an_interrupted_repair_is_finished_by_the_next_one() {
    let bench = many();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let truth = bench.tree();
    disk::clear(&bench.store).expect("a blank disk");
    let args = ["repair".to_owned(), spec(&bench.store), "--from".into(), spec(&bench.replica), "--apply".into()];
    let run = bench.tool.start(args.clone());
    let cur = bench.store.join("ann/Maildir/cur");
    drop(kit::wait_for("a first message", Duration::from_secs(60), || cur.read_dir().ok()?.next()));
    kit::signal(run.pid, "INT");
    let answer = run.end().expect_bits(32);
    answer.summary();
    let there = fs::read_dir(&cur).expect("a folder").count() as u64;
    assert!(there > 0 && there < MESSAGES, "{there} messages are there: {answer}");
    assert_eq!(answer.count("repaired"), there, "what was repaired is what is there: {answer}");
    // Typed again, it goes on where it stopped: what is there already is left alone, and what is not there yet is
    // no less lost because the disk is not blank any more.
    bench.tool.run(args.iter().map(String::as_str)).expect(1);
    assert_same(&truth, &bench.tree(), "the second run finished the job");
    bench.tool.undo(&answer.run_name()).summary();
    let left = fs::read_dir(&cur).expect("a folder").count() as u64;
    assert_eq!(left, MESSAGES - there, "the first run is taken back by itself");
}

/// Killed outright, without a catalog, in the middle of a blank disk: one more run finishes the job.
#[test]
fn a_killed_repair_is_finished_by_the_next_one() {
    let mut bench = many();
    bench.replicate();
    let truth = bench.tree();
    disk::clear(&bench.store).expect("a blank disk");
    bench.forget();
    let args = ["repair".to_owned(), spec(&bench.store), "--from".into(), spec(&bench.replica), "--apply".into()];
    let run = bench.tool.start(args.clone());
    let cur = bench.store.join("ann/Maildir/cur");
    drop(kit::wait_for("a first message", Duration::from_secs(60), || cur.read_dir().ok()?.next()));
    kit::signal(run.pid, "KILL");
    assert!(!run.end().lines.iter().any(|line| line["type"] == "summary"), "a killed run sums nothing up");
    let there = fs::read_dir(&cur).expect("a folder").count() as u64;
    assert!(there > 0 && there < MESSAGES, "{there} messages are there");
    bench.tool.run(args.iter().map(String::as_str)).expect(1);
    assert_same(&truth, &bench.tree(), "the second run finished the job");
    let again = bench.tool.run(["audit", &args[1], "--from", &args[3]]).expect(0);
    assert_eq!(again.count("missing.lost") + again.count("missing.undecided"), 0, "{again}");
}

/// `mailmend audit STORE | head -1`: the reader goes away after the first line.
#[test]
fn a_closed_pipe_ends_nothing_in_a_panic() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann/Maildir"));
    let paths: Vec<PathBuf> = (0..400).map(|number| kit::deliver(&account, number, 3000)).collect();
    bench.tool.verify(&bench.store).expect(0);
    bench.replicate();
    let truth = bench.tree();
    paths.iter().for_each(|path| kit::damage(path, 10));
    let (store, replica) = (spec(&bench.store), spec(&bench.replica));
    let audit: &[&str] = &["audit", &store];
    let repair: &[&str] = &["repair", &store, "--from", &replica, "--apply"];
    for (json, args, expected) in [(true, audit, 4), (false, audit, 4), (true, repair, 1)] {
        let mut command = bench.tool.command();
        command.args(json.then_some("--json")).arg("--state").arg(&bench.tool.state).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut first).expect("a line");
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(expected), "{args:?}: {said}");
    }
    assert_same(&truth, &bench.tree(), "nobody listened, and yet the repair was done");
}
