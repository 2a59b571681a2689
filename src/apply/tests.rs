//! What the executor, undo and the quarantine do in single, named situations.

use super::quarantine::{Purged, What, export, inventory, purge};
use super::sim_hands::{SimProver, SimSupply};
use super::sim_world::{World, options, path};
use super::{Applied, ApplyError, Executor, Line, Log, Options, Stop, plan_undo, recover, undo};
use crate::model::journal::{Change, Outcome, Record};
use crate::model::plan::{Action, Fingerprint, Step};
use crate::model::{Digest, RelPath};
use crate::sys::fs::{Fs, Tree};
use crate::sys::simfs::Fault;
use rustix::io::Errno;
use std::cell::Cell;

type Told = Vec<(u64, Outcome, String)>;

/// Runs the given steps; answers what was reported as well.
fn run(world: &World, steps: Vec<Step>, options: Options<'_>) -> (Result<Applied, ApplyError>, Told) {
    let (mut log, mut supply, mut prover) = (world.log(0), SimSupply(&world.truth), SimProver(&world.fs));
    let mut told = Vec::new();
    let executor = Executor::new(&world.fs, &mut log, &mut supply, &mut prover, options);
    let applied = executor.run(&mut steps.into_iter().map(Ok), &mut |step, outcome, detail| {
        told.push((step.number, outcome, detail.to_owned()));
    });
    (applied, told)
}

/// A world whose plan has a step that replaces and one that fills a gap; their places in the plan.
fn world_with_both() -> (World, usize, usize) {
    for seed in 0.. {
        let world = World::new(seed, false);
        let at = |stands: bool| {
            let victims = world.victims();
            let of = |step: &Step| victims.iter().any(|victim| victim.at == step.target && victim.stands == stands);
            world.steps.iter().position(of)
        };
        if let (Some(replaced), Some(fresh)) = (at(true), at(false)) {
            return (world, replaced, fresh);
        }
    }
    unreachable!("some seed has both")
}

#[test]
fn a_full_disk_stops_the_run_and_says_how_much_to_free() {
    let (world, ..) = world_with_both();
    world.fs.set_free(1 << 20);
    let (applied, told) = run(&world, world.steps.clone(), options("repair"));
    let applied = applied.unwrap();
    let Some(Stop::FileSystem(text)) = &applied.stop else { panic!("{applied:?}") };
    assert!(text.contains("No space left on device") && text.contains("free at least 32 MiB"), "{text}");
    assert_eq!(applied.failed, 1);
    assert_eq!(told.len() as u64 + applied.left, world.steps.len() as u64, "every step is accounted for");
    assert_eq!(world.records(0).last(), Some(&Record::Close { complete: false }));
    world.fs.set_free(1 << 40);
    assert_eq!(world.repair().unwrap().stop, None);
    assert_eq!(world.finished(0), Ok(()));
}

#[test]
fn an_exhausted_quota_ends_the_account_and_not_the_run() {
    for seed in 0..200 {
        let world = World::new(seed, false);
        let creating = |step: &&Step| {
            let folder_stands = world.tree.contains_key(&step.target.parent().unwrap_or_default());
            matches!(step.action, Action::Restore { .. })
                && world.is_missing(step)
                && folder_stands
                && world.repairs(step)
                && ["a", "b"].contains(&step.account.as_str())
                && step.needs.is_empty()
        };
        let of = |account: &str| world.steps.iter().filter(creating).filter(|s| s.account == account).count();
        if of("a") < 2 || of("b") == 0 {
            continue;
        }
        let steps: Vec<Step> = world.steps.iter().filter(creating).cloned().collect();
        // Reading the journal, listing the quarantine and the like come first; the quota strikes at the write.
        let struck = (0..40).find_map(|at| {
            let world = World::new(seed, false);
            world.fs.arm(Some(Fault::Fail { at, errno: Errno::DQUOT, forever: false, after: false }));
            let (applied, told) = run(&world, steps.clone(), Options { batch: 100, ..options("repair") });
            told.iter().any(|(_, outcome, _)| *outcome == Outcome::Held).then_some((applied, told))
        });
        let (applied, told) = struck.expect("some operation is the write");
        let applied = applied.unwrap();
        assert_eq!((applied.failed, applied.stop), (1, None));
        assert_eq!(applied.held, of("a") as u64 - 1, "{told:?}");
        assert_eq!(applied.done, of("b") as u64, "{told:?}");
        return;
    }
    panic!("no seed has such a world");
}

#[test]
fn a_file_whose_attributes_cannot_be_read_stays_until_they_can() {
    for errno in [Errno::IO, Errno::MFILE] {
        let struck = (0..40).find_map(|at| {
            let (world, replaced, _) = world_with_both();
            world.fs.arm(Some(Fault::Fail { at, errno, forever: false, after: false }));
            let (applied, told) = run(&world, vec![world.steps[replaced].clone()], options("repair"));
            let these = told.iter().any(|(_, _, detail)| detail.contains("extended attributes"));
            these.then_some((world, applied, told))
        });
        let (world, applied, told) = struck.expect("some operation reads them");
        assert_eq!((applied.unwrap().failed, told[0].1), (1, Outcome::Failed), "{told:?}");
        assert!(world.fs.tree() == *world.tree, "the old file stands there with all that it has");
        world.fs.disarm();
        world.repair().unwrap();
        assert_eq!(world.finished(0), Ok(()));
    }
}

#[test]
fn an_interrupted_run_finishes_the_batch_in_hand_and_goes_on_later() {
    let (world, ..) = world_with_both();
    let polled = Cell::new(0);
    let interrupt = || {
        polled.set(polled.get() + 1);
        polled.get() == 2
    };
    let (applied, told) = run(&world, world.steps.clone(), Options { interrupt: &interrupt, ..options("repair") });
    let applied = applied.unwrap();
    assert_eq!((applied.stop, told.len()), (Some(Stop::Interrupted), 2));
    assert_eq!(applied.left, world.steps.len() as u64 - 2);
    world.repair().unwrap();
    assert_eq!(world.finished(0), Ok(()));
}

#[test]
fn what_the_source_delivers_must_be_what_the_plan_saw() {
    let (mut world, replaced, fresh) = world_with_both();
    for at in [replaced, fresh] {
        let Action::Restore { content, length, .. } = &mut world.steps[at].action else { unreachable!() };
        // The source has these bytes, and they are not those that the plan counted.
        *length += 1;
        assert!(world.truth.contains_key(content));
    }
    let steps = vec![world.steps[replaced].clone(), world.steps[fresh].clone()];
    let (applied, told) = run(&world, steps, options("repair"));
    assert_eq!(applied.unwrap().failed, 2);
    assert!(told.iter().all(|(.., text)| text.contains("not what the plan saw")), "{told:?}");
    assert_eq!(world.fs.tree(), *world.tree);
    assert!(world.fs.files(Tree::Quarantine).is_empty());
}

#[test]
fn a_plan_is_not_trusted_to_number_its_steps() {
    let (world, replaced, fresh) = world_with_both();
    let mut twin = world.steps[fresh].clone();
    twin.number = world.steps[replaced].number;
    let (applied, told) = run(&world, vec![world.steps[replaced].clone(), twin], options("repair"));
    assert_eq!(applied.unwrap().failed, 1);
    assert!(told[1].2.contains("same number"));
}

#[test]
fn the_same_message_twice_in_a_batch_is_placed_once() {
    let (world, _, fresh) = world_with_both();
    let mut twin = world.steps[fresh].clone();
    twin.number += 1000;
    twin.target = RelPath::new([twin.target.as_bytes(), b"F"].concat()).unwrap();
    let (applied, told) = run(&world, vec![world.steps[fresh].clone(), twin], options("repair"));
    let applied = applied.unwrap();
    assert_eq!((applied.done, applied.conflicts), (1, 1), "{told:?}");
    assert!(told[1].2.contains("already there under"));
}

#[test]
fn what_a_user_deleted_after_its_restore_stays_deleted() {
    let (world, _, fresh) = world_with_both();
    let target = world.steps[fresh].target.clone();
    world.repair().unwrap();
    world.fs.as_other(|state| state.act_delete(&target));
    assert_eq!(world.repair().unwrap().done, 0, "the run did its part");
    assert!(!world.fs.files(Tree::Base).contains_key(&target));
    let undone = world.undo().unwrap();
    assert_eq!((undone.already, undone.conflicts), (1, 0), "and there is nothing left to take back");
}

#[test]
fn a_journal_of_another_run_or_folder_is_refused() {
    let (world, ..) = world_with_both();
    world.repair().unwrap();
    let (applied, _) = run(&world, vec![], options("another"));
    assert!(matches!(applied, Err(ApplyError::Foreign(_))));
    let (mut undone, mut log) = (world.log(0), world.log(1));
    let elsewhere = Options { base: "/srv/other".to_owned(), ..options("undo") };
    let refused = undo(&world.fs, &mut undone, &mut log, &elsewhere, &mut |_, _, _| {});
    assert!(matches!(refused, Err(ApplyError::Foreign(_))));
}

/// A journal with a line that is no record.
struct Scratched<L>(L);

impl<L: Log> Log for Scratched<L> {
    fn append(&mut self, records: &[Record]) -> std::io::Result<()> {
        self.0.append(records)
    }
    fn forward(&self) -> std::io::Result<super::log::Lines<'_>> {
        Ok(Box::new(self.0.forward()?.chain(std::iter::once(Ok(Line::Damaged)))))
    }
    fn backward(&self) -> std::io::Result<super::log::Lines<'_>> {
        Ok(Box::new(std::iter::once(Ok(Line::Damaged)).chain(self.0.backward()?)))
    }
}

#[test]
fn nothing_is_cleared_away_on_the_word_of_a_damaged_journal() {
    let (world, ..) = world_with_both();
    world.repair().unwrap();
    world.fs.create(Tree::Quarantine, &path("777"), &mut |sink| sink(b"whose?")).unwrap();
    world.fs.create(Tree::Quarantine, &path("notes"), &mut |sink| sink(b"an administrator's")).unwrap();
    let recovered = recover(&world.fs, &mut Scratched(world.log(0))).unwrap();
    assert_eq!((recovered.removed, recovered.damaged_lines), (0, 1));
    let recovered = recover(&world.fs, &mut world.log(0)).unwrap();
    assert_eq!(recovered.removed, 1, "a staged file without a record goes, what is not named like one stays");
    let (mut undone, mut log) = (Scratched(world.log(0)), world.log(1));
    let applied = undo(&world.fs, &mut undone, &mut log, &options("undo"), &mut |_, _, _| {}).unwrap();
    assert_eq!(applied.damaged_lines, 1);
}

#[test]
fn undoing_is_planned_without_touching_anything_and_newest_first() {
    let (world, ..) = world_with_both();
    world.repair().unwrap();
    let healed = world.fs.tree();
    let log = world.log(0);
    let planned: Vec<_> = plan_undo(&log).unwrap().map(Result::unwrap).collect();
    assert_eq!(world.fs.tree(), healed);
    assert!(planned.windows(2).all(|pair| pair[0].step.number > pair[1].step.number));
    assert!(planned.iter().any(|step| step.change == Change::Exchange && step.staged.is_some()));
    assert!(planned.iter().any(|step| step.change == Change::Take && step.staged.is_none()));
}

#[test]
fn undo_leaves_alone_what_was_edited_and_follows_what_was_renamed() {
    let (world, replaced, fresh) = world_with_both();
    let (one, two) = (world.steps[replaced].clone(), world.steps[fresh].clone());
    run(&world, vec![one.clone(), two.clone()], options("repair")).0.unwrap();
    let end = one.target.as_bytes().iter().position(|&b| b == b':' || b == b',').unwrap_or_default();
    let stands = |name: &RelPath| name.as_bytes().starts_with(&one.target.as_bytes()[..end]) && end > 0;
    let at = world.fs.files(Tree::Base).into_keys().find(stands).unwrap();
    let renamed = RelPath::new([at.as_bytes(), b"T"].concat()).unwrap();
    world.fs.as_other(|state| {
        state.act_rename(&at, &renamed);
        state.act_write(&two.target, b"edited");
    });
    let undone = world.undo().unwrap();
    assert_eq!((undone.done, undone.conflicts), (1, 1));
    let now = world.fs.files(Tree::Base);
    assert_eq!(now[&two.target].0, b"edited");
    let old = &world.before.values().find(|(_, stat)| stat.same_file(&inode(&one))).unwrap().0;
    assert_eq!(&now[&renamed].0, old, "the old bytes stand under the flags that the user set");
}

fn inode(step: &Step) -> crate::model::Stat {
    match step.before {
        Fingerprint::Inode(stat) => stat,
        _ => unreachable!("the step replaces"),
    }
}

#[test]
fn the_quarantine_tells_what_it_holds_and_keeps_the_last_whole_copy() {
    let (world, replaced, fresh) = world_with_both();
    let steps = vec![world.steps[replaced].clone(), world.steps[fresh].clone()];
    run(&world, steps.clone(), options("repair")).0.unwrap();
    let log = world.log(0);
    let items = inventory(&world.fs, &log).unwrap();
    assert_eq!(items.iter().map(|item| item.what).collect::<Vec<_>>(), [What::Replaced]);
    let folder = tempfile::tempdir().unwrap();
    let to = crate::sys::dir::Root::open(folder.path()).unwrap();
    assert_eq!(export(&world.fs, &items[0], to.top()).unwrap(), items[0].stat.size);
    assert!(export(&world.fs, &items[0], to.top()).is_err(), "never overwrites");

    world.undo().unwrap();
    let items = inventory(&world.fs, &log).unwrap();
    assert_eq!(items.iter().map(|item| item.what).collect::<Vec<_>>(), [What::Removed; 2]);
    let mut prover = SimProver(&world.fs);
    let mut asked = |found: bool| {
        let mut another = move |_: &_, _: &Digest| Ok(found);
        purge(&world.fs, &mut prover, &items[0], &mut another).unwrap()
    };
    assert!(matches!(asked(false), Purged::Kept(text) if text.contains("last known whole copy")));
    assert_eq!(asked(true), Purged::Gone);
    assert!(matches!(asked(true), Purged::Kept(_)), "it is gone");
    let redone = world.redo().unwrap();
    assert_eq!((redone.done, redone.conflicts), (1, 1), "what was purged cannot come back, and that is said");
}
