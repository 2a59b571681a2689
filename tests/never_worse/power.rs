//! The power goes at any call that changes a file: what was not synced is gone. Then typed once more.

use crate::ground::{Ground, NEEDS};
use crate::kit;
use crate::trace::{Call, long, sample};
use mailmend::apply::{FileLog, Line, Log};
use mailmend::model::journal::{Change, Intent, Outcome, Record};
use mailmend::model::plan::Action;
use mailmend::model::{Digest, RelPath};
use mailmend::store::sdbox::frame;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Insists that what the journals say is done is on the disk, and counts it.
fn assert_journal_is_true(ground: &Ground, at: &str) -> u32 {
    let runs = ground.tool.state.join("runs");
    let Ok(entries) = fs::read_dir(&runs) else { return 0 };
    let mut proven = 0;
    for run in entries.map(|entry| entry.expect("a run").path()) {
        let Ok(log) = FileLog::open_existing(&run.join("journal.jsonl")) else { continue };
        let mut begun: BTreeMap<u64, Intent> = BTreeMap::new();
        let name = run.file_name().expect("a name");
        for line in log.forward().expect("a readable journal") {
            let Line::Record(record) = line.expect("a readable journal") else {
                panic!("{at}: a line of the journal is damaged");
            };
            match *record {
                Record::Begin(intent) => drop(begun.insert(intent.step.number, *intent)),
                Record::Done { number, outcome: Outcome::Done, at: place, .. } => {
                    let intent = begun.get(&number).unwrap_or_else(|| panic!("{at}: step {number} was never begun"));
                    let place = place.unwrap_or_else(|| intent.at.clone());
                    assert_done(ground, &ground.quarantine().join(name), intent, &place, at);
                    proven += 1;
                }
                _ => {}
            }
        }
    }
    proven
}

fn assert_done(ground: &Ground, slots: &Path, intent: &Intent, place: &RelPath, at: &str) {
    let path = ground.store.join(std::ffi::OsStr::from_bytes(place.as_bytes()));
    match &intent.step.action {
        Action::Restore { content, .. } | Action::Rename { content, .. } | Action::Rebuild { content, .. } => {
            let mut bytes = fs::read(&path).unwrap_or_else(|e| panic!("{at}: {place} is said to be done: {e}"));
            if path.parent().is_some_and(|folder| folder.ends_with("dbox-Mails")) {
                // What counts is the message in its frame.
                let framed = std::mem::take(&mut bytes);
                let read = std::io::Read::read_to_end(&mut frame::Content::new(&framed[..]), &mut bytes);
                read.unwrap_or_else(|e| panic!("{at}: {place} is said to be done: {e}"));
            }
            assert_eq!(Digest::of(&bytes), *content, "{at}: {place} is said to be done");
        }
        _ => assert!(path.exists(), "{at}: {place} is said to be made"),
    }
    if intent.change == Change::Exchange {
        let old = slots.join(intent.slot.as_ref().expect("a slot"));
        let size = fs::metadata(&old).unwrap_or_else(|e| panic!("{at}: what {place} was is gone: {e}")).len();
        assert_eq!(size, intent.replaced.expect("what was replaced").size, "{at}: what {place} was");
    }
}

/// Calls at which something that a cut can take away is under way.
fn moments(calls: &[Call]) -> Vec<&Call> {
    sample(calls, 23)
}

fn cuts(kind: &str, mib: u64, apart: bool) {
    let needs = [&NEEDS[..], &["xfs_io", "mkfs.xfs"]].concat();
    if !kit::can(&format!("a power cut on {kind}"), true, &needs) {
        return;
    }
    let mut ground = Ground::on(kind, mib, &[], apart);
    ground.tracer.listening(&ground.tool).run(ground.typed()).expect(1);
    let calls = ground.calls();
    let (mut cut, mut proven) = (0, 0);
    for call in moments(&calls) {
        ground.go_back("damaged");
        let at = format!("{kind}: power cut at {} {}", call.nth, call.text);
        // A killed process syncs nothing, and nobody else does within the milliseconds until the cut.
        ground.tracer.at(&ground.tool, call, "signal=KILL").run(ground.typed());
        ground.disk.cut();
        ground.disk.power_up();
        cut += 1;
        ground.assert_none_lost(&ground.damaged_copies, &at);
        proven += assert_journal_is_true(&ground, &at);
        ground.finish(&at);
        ground.take_all_back(&at);
    }
    assert!(cut >= 15 && (proven > 0 || !long()), "{cut} cuts, {proven} steps proven");
    eprintln!("power cuts: {cut} on {kind}, state apart: {apart}; {proven} journalled steps there; lost 0");
}

#[test]
fn a_repair_on_ext4_survives_a_power_cut_at_any_call() {
    cuts("ext4", 96, false);
}

#[test]
fn a_repair_on_xfs_survives_a_power_cut_at_any_call() {
    cuts("xfs", 320, false);
}

#[test]
fn a_repair_whose_state_is_elsewhere_survives_a_power_cut_at_any_call() {
    cuts("ext4", 96, true);
}
