//! Two at once on one store: the second is told who is there, and nothing is left for a human to clear away.

use crate::common::{Run, spec};
use crate::ground::{Ground, NEEDS};
use crate::kit;
use crate::trace::Call;
use std::fs;
use std::time::Duration;

/// A run that was stopped right after one of its calls, and goes on at the end whatever happens.
pub struct Halted {
    pub run: Option<Run>,
    pub pid: u32,
}

impl Halted {
    /// Starts a run under strace and waits until the call stopped it.
    pub fn at(ground: &Ground, call: &Call, typed: Vec<String>) -> Halted {
        Halted::of(ground.tracer.at(&ground.tool, call, "signal=STOP").start(typed))
    }

    /// Waits until a traced run was stopped.
    pub fn of(run: Run) -> Halted {
        // strace is started by a shell: its first children are other programs.
        let ours =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "mailmend");
        let pid = kit::wait_for("the traced process", Duration::from_secs(20), || {
            kit::children(run.pid).into_iter().find(ours)
        });
        let mut seen = 0;
        // A traced process rests for a moment at every call; this one does not go on.
        kit::wait_for("the stop", Duration::from_secs(60), || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let resting = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['t', 'T']));
            seen = if resting { seen + 1 } else { 0 };
            (seen > 40).then_some(())
        });
        Halted { run: Some(run), pid }
    }

    pub fn go_on(mut self) -> crate::common::Answer {
        kit::signal(self.pid, "CONT");
        self.run.take().expect("a run").end()
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        if self.run.is_some() {
            kit::signal(self.pid, "KILL");
            kit::signal(self.pid, "CONT");
        }
    }
}

/// The n-th change of a name.
pub fn rename(nth: u32) -> Call {
    Call { name: "renameat2".into(), nth, text: String::new() }
}

#[test]
fn a_second_repair_and_an_undo_are_kept_out_by_name_and_a_verify_beside_them_is_safe() {
    if !kit::can("two repairs at once", true, &NEEDS) {
        return;
    }
    let ground = Ground::new();
    let first = Halted::at(&ground, &rename(3), ground.typed());
    let runs = fs::read_dir(ground.tool.state.join("runs")).expect("runs");
    let run = runs.flatten().map(|run| run.file_name().into_string().expect("UTF-8")).next().expect("a run");
    for typed in [ground.typed(), ["undo", &run, "--apply"].map(str::to_owned).to_vec()] {
        let second = ground.tool.run(typed);
        assert!(second.status & (8 | 16) != 0 && second.status & 1 == 0, "{second}");
        assert!(second.mentions(&format!("process {}", first.pid)), "it names the other process: {second}");
        assert!(second.mentions("repair"), "and what that is doing: {second}");
    }
    let looks = ["audit", &spec(&ground.store), "--from", &spec(&ground.replica)].map(str::to_owned);
    assert!(ground.tool.run(looks).status & 8 == 0, "whoever only looks needs no lock");
    ground.assert_none_lost(&ground.damaged_copies, "beside a repair");
    // What is half repaired is recorded as it is found, and the repair goes on undisturbed.
    let beside = ground.tool.verify(&ground.store);
    assert!(beside.status & 4 != 0 && beside.status & 16 == 0 && !beside.mentions("panicked"), "{beside}");
    let answer = first.go_on();
    assert_eq!(answer.status, 1, "{answer}");
    ground.assert_healed(&answer);
    ground.tool.verify(&ground.store).expect(0);
    eprintln!("locks: kept out by name, 2; beside it, 2; lost 0");
}

/// The lock of a process that was killed, with its words still in the file.
#[test]
fn a_lock_that_was_left_behind_needs_no_human() {
    if !kit::can("a stale lock", true, &NEEDS) {
        return;
    }
    let ground = Ground::new();
    let call = rename(3);
    let killed = ground.tracer.at(&ground.tool, &call, "signal=KILL").run(ground.typed());
    assert_eq!(killed.status, -1, "{killed}");
    let locks = fs::read_dir(ground.tool.state.join("locks")).expect("locks");
    let left = locks.flatten().any(|lock| lock.metadata().is_ok_and(|meta| meta.len() > 0));
    assert!(left, "the killed run left its words in its lock");
    ground.finish("after a lock that was left behind");
}
