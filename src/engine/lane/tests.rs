//! Lanes that fall: nothing is lost, nobody innocent is blamed.

use super::*;
use crate::model::Format;
use crate::model::form::Form;
use crate::model::wire::{Effort, ReadMode};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn lane(root: &Path) -> Lane {
    lane_with(root, None, 3)
}

fn lane_with(root: &Path, bwlimit: Option<u64>, seconds: u64) -> Lane {
    let settings = Settings {
        readers: 4,
        read_timeout: Duration::from_secs(seconds),
        in_process: true,
        without_openat2: false,
        bwlimit,
        io_class: IoClass::Normal,
        disk: Disk::Auto,
        attachments: None,
        zone: 0,
    };
    let spec = RootSpec { path: root.as_os_str().as_encoded_bytes().to_vec(), pattern: false };
    Lane::start(vec![spec], settings).unwrap()
}

fn items(root: &Path, count: usize) -> Vec<ReadItem> {
    let item = |n: usize| {
        let name = format!("m{n}");
        fs::write(root.join(&name), format!("Subject: {n}\n\nbody\n")).unwrap();
        ReadItem {
            id: 0,
            root: 0,
            path: RelPath::new(name.into_bytes()).unwrap(),
            mode: ReadMode::Digest,
            form: Form::default(),
            format: Format::default(),
            file: None,
            expected: None,
            size_claim: None,
            crlf_claim: None,
            envelope: false,
            medium: false,
            effort: Effort::Pages,
            groups: false,
            deep: false,
        }
    };
    (0..count).map(item).collect()
}

#[test]
fn a_process_that_is_killed_costs_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut lane = lane(folder.path());
    let all = items(folder.path(), 2000);
    let socket = lane.running.as_ref().unwrap().socket.try_clone().unwrap();
    let mut seen: BTreeMap<RelPath, u32> = BTreeMap::new();
    let begun = Instant::now();
    lane.read_all(
        &mut all.into_iter(),
        &mut |item, result| {
            assert!(result.is_ok(), "{}: {result:?}", item.path);
            *seen.entry(item.path).or_default() += 1;
            if seen.len() == 100 {
                socket.shutdown(std::net::Shutdown::Both).unwrap();
            }
        },
        &|| false,
    );
    assert_eq!((seen.len(), seen.values().max()), (2000, Some(&1)), "one answer for each");
    assert!(begun.elapsed() < Duration::from_secs(3), "no answer of the dead was waited for");
    assert_eq!(lane.left_behind, 0);
}

#[test]
fn only_the_file_on_which_it_dies_alone_is_given_up() {
    let mut flight = Flight::default();
    let folder = tempfile::tempdir().unwrap();
    let mut all = items(folder.path(), 3).into_iter();
    let mut lane = lane(folder.path());
    let mut given_up = Vec::new();
    let first = flight.next_batch(&mut all, &mut || lane.id());
    flight.batches = 1;
    let seat = |lane: &Lane, item: &ReadItem| lane.running.as_ref().unwrap().slots.set(0, item.id, 1).unwrap();
    seat(&lane, &first[1]);
    lane.recover(Fall::Died, &mut flight, &mut |item, _| given_up.push(item.path));
    assert!(given_up.is_empty());
    let alone = flight.next_batch(&mut all, &mut || lane.id());
    assert_eq!(alone.iter().map(|i| i.path.clone()).collect::<Vec<_>>(), [first[1].path.clone()]);
    flight.batches = 1;
    assert!(flight.next_batch(&mut all, &mut || lane.id()).is_empty(), "nothing beside a suspect");
    lane.launch().unwrap();
    seat(&lane, &alone[0]);
    lane.recover(Fall::Died, &mut flight, &mut |item, _| given_up.push(item.path));
    assert_eq!(given_up, [first[1].path.clone()]);
    let rest = flight.next_batch(&mut all, &mut || lane.id());
    assert_eq!(rest.len(), 2);
}

/// Five files of 20 kB at 50 kB/s, whoever of the four readers reads them. A wait is longer than the time-out of one read.
#[test]
fn a_limited_pace_holds_over_all_readers_and_is_no_hang() {
    let folder = tempfile::tempdir().unwrap();
    let all = items(folder.path(), 5);
    for item in &all {
        fs::write(folder.path().join(item.path.to_string()), vec![b'x'; 20_000]).unwrap();
    }
    let took = |bwlimit| {
        let mut lane = lane_with(folder.path(), bwlimit, 1);
        let begun = Instant::now();
        let mut seen = 0;
        let each = &mut |_, result: Reading| {
            result.unwrap();
            seen += 1;
        };
        lane.read_all(&mut all.clone().into_iter(), each, &|| false);
        assert_eq!((seen, lane.left_behind), (5, 0));
        begun.elapsed()
    };
    let (free, limited) = (took(None), took(Some(50_000)));
    // Four readers may come through at once; the fifth file waits until all four are paid for.
    assert!(limited >= Duration::from_millis(1400), "{limited:?}");
    assert!(free < limited, "{free:?} {limited:?}");
}

/// What was asked ahead comes between other answers, and what a dead process was asked nobody waits for.
#[test]
fn mailboxes_asked_ahead_are_answered_in_any_order_or_given_up() {
    let folder = tempfile::tempdir().unwrap();
    for mailbox in ["a", "b"] {
        ["cur", "new", "tmp"].iter().for_each(|sub| fs::create_dir_all(folder.path().join(mailbox).join(sub)).unwrap());
        fs::write(folder.path().join(mailbox).join("cur/1.M1.x:2,S"), "Subject: x\n\nx\n").unwrap();
    }
    fs::File::open(folder.path().join("b/cur")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let mut lane = lane(folder.path());
    let path = |name: &str| RelPath::new(name.as_bytes()).unwrap();
    let listing = lane.list(0, &path("a"), Format::Maildir, true).unwrap();
    let time = |wanted| listing.dirs.iter().find(|(place, _)| *place == wanted).map(|(_, stat)| *stat).unwrap();
    let (new, cur) = (time(crate::model::wire::Place::New), time(crate::model::wire::Place::Cur));
    let times = [new.mtime, new.ctime, cur.mtime, cur.ctime];
    let sealed = |name: &str, times| Sealed { dir: path(name), format: Format::Maildir, times };
    let first = lane.recheck(0, &[sealed("a", times), sealed("b", times)]).unwrap();
    let second = lane.recheck(0, &[sealed("a", times)]).unwrap();
    assert_eq!(lane.list(0, &path("b"), Format::Maildir, false).unwrap().entries.len(), 1, "an answer between them");
    let again = lane.rechecked(second).unwrap();
    assert_eq!((again.len(), again[0].seal, again[0].entries.len()), (1, listing.seal, 0));
    let both = lane.rechecked(first).unwrap();
    assert_eq!((both[0].seal, both[1].seal), (listing.seal, None), "the folders of b have other times");
    let lost = lane.recheck(0, &[sealed("a", times)]).unwrap();
    lane.running.as_ref().unwrap().socket.shutdown(std::net::Shutdown::Both).unwrap();
    let begun = Instant::now();
    assert!(lane.rechecked(lost).is_none() || begun.elapsed() < Duration::from_secs(1));
    lane.abandon(Fall::Died);
    let lost = lane.recheck(0, &[sealed("a", times)]).unwrap();
    lane.abandon(Fall::Died);
    assert!(lane.rechecked(lost).is_none());
    assert_eq!(lane.list(0, &path("a"), Format::Maildir, true).unwrap().seal, listing.seal);
}
