//! Disks that hang, die or have bad sectors, and readers that are killed: what is lost is said, the rest is done.

use crate::common::bench::Bench;
use crate::common::device::{self, HangingDisk};
use crate::common::{Answer, must, skip, spec, words};
use crate::kit;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MESSAGES: u64 = 400;
/// Of those in sdbox and MH together.
const OTHERS: u32 = 40;

pub fn possible(test: &str) -> bool {
    if !kit::can(test, true, &["nbdkit", "nbdfuse", "losetup", "mkfs.ext4", "filefrag"]) {
        return false;
    }
    let fuse = Path::new("/dev/fuse").exists();
    if !fuse {
        skip(test, "no /dev/fuse");
    }
    fuse
}

/// A store of large enough messages that a disk has something to do.
fn bench() -> Bench {
    let bench = kit::empty();
    for account in ["ann", "bob"] {
        let account = kit::mailbox(&bench.store.join(account).join("Maildir"));
        for number in 0..MESSAGES / 2 {
            kit::deliver(&account, number, 20_000);
        }
    }
    bench
}

/// A catalog of the image's content while it is healthy, under the path that the sick disk will have.
fn record(bench: &Bench, image: &Path) {
    let mountpoint = bench.dir.path().join("mnt");
    fs::create_dir_all(&mountpoint).expect("a mount point");
    must("mount", &["-o", "loop,ro", &spec(image), &spec(&mountpoint)]);
    let answer = bench.tool.verify(&mountpoint.join("store"));
    must("umount", &[&spec(&mountpoint)]);
    answer.expect(0);
}

fn drop_caches() {
    fs::write("/proc/sys/vm/drop_caches", "3").expect("dropping caches");
}

#[track_caller]
fn assert_nothing_missing(answer: &Answer) {
    for kind in ["lost", "undecided"] {
        assert_eq!(answer.count(&format!("missing.{kind}")), 0, "unread is not absent: {answer}");
    }
    assert_eq!(answer.count("damaged"), 0, "unread is not damaged: {answer}");
}

/// Bytes that the program behind the disk has read for it.
fn served(disk: &HangingDisk) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", disk.server())).expect("its counters");
    let bytes = io.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a counter");
    bytes.parse().expect("a number")
}

#[test]
fn a_disk_that_hangs_in_the_middle_costs_only_what_it_did_not_give() {
    if !possible("a disk that hangs in the middle") {
        return;
    }
    // Slow enough that there is a middle, whoever reads.
    hangs_in_the_middle("flash", &["--filter=delay", "rdelay=3ms"]);
    hangs_in_the_middle("spindle", &["--filter=delay", "rdelay=40ms"]);
}

fn hangs_in_the_middle(kind: &str, slowly: &[&str]) {
    let bench = bench();
    let image = device::image(&bench.store, bench.dir.path(), |_| ());
    record(&bench, &image);
    let image = spec(&image);
    let arguments: Vec<&str> = slowly.iter().copied().chain([&image[..]]).collect();
    let disk = HangingDisk::serving(bench.dir.path(), &arguments);
    drop_caches();
    let (start, store, before) = (Instant::now(), disk.store(), served(&disk));
    let run = bench.tool.start(words(&["verify", "--read-timeout", "2", "--disk", kind]).chain([store.into()]));
    // Once a good part has come from the disk.
    kit::wait_for("reading", Duration::from_secs(60), || {
        (served(&disk) > before + 20_000 * MESSAGES * 6 / 10).then_some(())
    });
    // What was read stays in the cache, as it would.
    kit::signal(disk.server(), "STOP");
    let waker = std::thread::spawn({
        let server = disk.server();
        move || {
            std::thread::sleep(Duration::from_secs(60));
            kit::signal(server, "CONT");
        }
    });
    let answer = run.end();
    let took = start.elapsed();
    disk.go_on();
    drop(waker);
    assert!(took < Duration::from_secs(50), "the run took {took:?}: {answer}");
    assert!(answer.status & (4 | 8) != 0, "{answer}");
    assert_nothing_missing(&answer);
    let identical = answer.count("intact.identical");
    assert!(identical >= MESSAGES / 4, "what was read before the hang counts: {answer}");
    let accounted = identical + answer.count("unreadable") + answer.count("not_checked");
    assert!(accounted >= MESSAGES, "every message is accounted for: {answer}");
    // The disk is back: so is everything.
    bench.tool.verify(&disk.store()).expect(0);
}

/// Every read fails from the moment that the file exists: listings too.
#[test]
fn a_dead_disk_calls_nothing_missing() {
    if !possible("a dead disk") {
        return;
    }
    let bench = bench();
    let image = device::image(&bench.store, bench.dir.path(), |_| ());
    record(&bench, &image);
    let dead = bench.dir.path().join("dead");
    let settings = ["error=EIO".to_owned(), "error-pread-rate=100%".into(), format!("error-file={}", spec(&dead))];
    let mut arguments = vec!["--filter=error".to_owned(), spec(&image)];
    arguments.extend(settings);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let disk = HangingDisk::serving(bench.dir.path(), &arguments);
    drop_caches();
    fs::write(&dead, "").expect("the end");
    let answer = bench.tool.verify(&disk.store()).expect_bits(8);
    assert_nothing_missing(&answer);
    fs::remove_file(&dead).expect("a second life");
    drop_caches();
    bench.tool.verify(&disk.store()).expect(0);
}

/// First block of a file on its disk, by its offset in the file.
pub fn block(file: &Path, offset: u64) -> u64 {
    let map = must("filefrag", &["-b4096", "-v", &spec(file)]);
    let wanted = offset / 4096;
    let extents = map.lines().filter_map(|line| {
        let numbers = line.replace("..", " ").replace(':', " ");
        let numbers: Vec<u64> = numbers.split_whitespace().map_while(|n| n.parse().ok()).collect();
        (numbers.len() >= 6).then(|| (numbers[1], numbers[2], numbers[3]))
    });
    let found = extents.into_iter().find(|(first, last, _)| (*first..=*last).contains(&wanted));
    let (first, _, physical) = found.unwrap_or_else(|| panic!("no block at {offset}: {map}"));
    physical + wanted - first
}

/// ddrescue's map of a disk on which the blocks are bad.
pub fn bad_map(mut blocks: Vec<u64>, size: u64) -> String {
    blocks.sort_unstable();
    let mut map = String::from("# Mapfile\n0x0 ? 1\n");
    let mut at = 0;
    for block in blocks {
        writeln!(map, "{at:#x} {:#x} +", block * 4096 - at).expect("text");
        writeln!(map, "{:#x} 0x1000 -", block * 4096).expect("text");
        at = (block + 1) * 4096;
    }
    writeln!(map, "{at:#x} {:#x} +", size - at).expect("text");
    map
}

#[test]
fn bad_sectors_are_holes_and_are_healed_elsewhere() {
    if !possible("bad sectors") {
        return;
    }
    let bench = bench();
    kit::dbox(&bench.store.join("cid/sdbox"), "INBOX", 500, OTHERS / 2, 20_000);
    let folder = bench.store.join("dan/mh/inbox");
    fs::create_dir_all(&folder).expect("a folder of MH");
    (1..=OTHERS / 2).for_each(|n| kit::put(&folder.join(n.to_string()), &kit::letter(600 + u64::from(n), 20_000)));
    bench.replicate();
    let mut victims: Vec<PathBuf> = [("ann", 3), ("ann", 90), ("bob", 7)]
        .map(|(user, number)| {
            let name = kit::name(number, kit::letter(number, 20_000).len());
            Path::new(user).join("Maildir/cur").join(name)
        })
        .to_vec();
    victims.extend(["cid/sdbox/mailboxes/INBOX/dbox-Mails/u.4", "dan/mh/inbox/6"].map(PathBuf::from));
    let mut bad = Vec::new();
    let image = device::image(&bench.store, bench.dir.path(), |store| {
        bad = victims.iter().map(|victim| block(&store.join(victim), 8192)).collect();
    });
    record(&bench, &image);
    let map = bench.dir.path().join("bad.map");
    fs::write(&map, bad_map(bad, 256 << 20)).expect("a map");
    let arguments = ["--filter=ddrescue", &spec(&image), &format!("ddrescue-mapfile={}", spec(&map))];
    let disk = HangingDisk::serving(bench.dir.path(), &arguments);
    drop_caches();
    let answer = bench.tool.verify(&disk.store()).expect_bits(4);
    assert_eq!(answer.count("unreadable"), 5, "{answer}");
    let others = MESSAGES + u64::from(OTHERS) - 5;
    assert_eq!(answer.count("intact.identical"), others, "everything else is verified: {answer}");
    assert!(answer.count("read_errors") >= 5, "{answer}");
    assert_nothing_missing(&answer);
    for finding in answer.findings() {
        let fault = &finding["faults"][0];
        assert_eq!(finding["verdict"], "unreadable", "{finding}");
        // In sdbox a message begins behind its frame.
        let before = if finding["account"] == "cid" { 46 } else { 0 };
        let hole = (fault["offset"].as_u64(), fault["length"].as_u64());
        assert_eq!(hole, (Some(8192 - before), Some(4096)), "{finding}");
    }

    let (store, replica) = (spec(&disk.store()), spec(&bench.replica));
    let repair = ["repair", &store, "--from", &replica, "--apply"];
    drop_caches();
    let refused = bench.tool.run(repair);
    assert!(refused.status & 8 != 0 && refused.mentions("--write-to-sick-device"), "{refused}");
    drop_caches();
    let into = bench.dir.path().join("into");
    let healed = bench.tool.run(repair.into_iter().chain(["--into", &spec(&into)]));
    assert_eq!(healed.count("repaired"), 5, "{healed}");
    for victim in &victims {
        let is = fs::read(into.join(victim)).unwrap_or_else(|e| panic!("{}: {e}: {healed}", victim.display()));
        assert!(is == fs::read(bench.store.join(victim)).expect("the truth"), "{}: {healed}", victim.display());
    }
    let written = walkdir::WalkDir::new(&into).into_iter().flatten().filter(|e| e.file_type().is_file());
    let written = written.filter(|e| !e.path().to_string_lossy().contains("mailmend")).count();
    assert_eq!(written, 5, "only what was needed: {healed}");
}

/// ddrescue's map of a disk on which these bytes are bad.
fn sector_map(mut sectors: Vec<u64>, size: u64) -> String {
    sectors.sort_unstable();
    let mut map = String::from("# Mapfile\n0x0 ? 1\n");
    let mut at = 0;
    for sector in sectors {
        writeln!(map, "{at:#x} {:#x} +\n{sector:#x} 0x200 -", sector - at).expect("text");
        at = sector + 512;
    }
    writeln!(map, "{at:#x} {:#x} +", size - at).expect("text");
    map
}

/// Every copy of some messages is damaged, one by single sectors that the disk does not give any more.
#[test]
fn a_whole_message_comes_out_of_a_sick_disk_and_a_rotten_replica() {
    if !possible("splicing from a sick disk") {
        return;
    }
    let bench = bench();
    bench.replicate();
    let victims = [3, 90, 120]
        .map(|number| Path::new("ann/Maildir/cur").join(kit::name(number, kit::letter(number, 20_000).len())));
    let mut bad = Vec::new();
    let image = device::image(&bench.store, bench.dir.path(), |store| {
        bad = victims.iter().map(|victim| block(&store.join(victim), 8192) * 4096 + 1024).collect();
    });
    record(&bench, &image);
    // The same page, another sector; and for the last one the same sector, so that nobody has it.
    for (victim, at) in victims.iter().zip([8192 + 512, 8192 + 2048, 8192 + 1100]) {
        let path = bench.replica.join(victim);
        let mut bytes = fs::read(&path).expect("a copy");
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).expect("rot");
    }
    let map = bench.dir.path().join("bad.map");
    fs::write(&map, sector_map(bad, 256 << 20)).expect("a map");
    let arguments = ["--filter=ddrescue", &spec(&image), &format!("ddrescue-mapfile={}", spec(&map))];
    let disk = HangingDisk::serving(bench.dir.path(), &arguments);
    drop_caches();
    let into = bench.dir.path().join("into");
    let (store, replica) = (spec(&disk.store()), spec(&bench.replica));
    let answer = bench.tool.run(["repair", &store, "--from", &replica, "--apply", "--into", &spec(&into)]);
    assert_eq!((answer.count("repaired"), answer.count("unreadable")), (2, 3), "{answer}");
    for (victim, healed) in victims.iter().zip([true, true, false]) {
        let is = fs::read(into.join(victim)).ok();
        let truth = fs::read(bench.store.join(victim)).expect("the truth");
        assert!(is == healed.then_some(truth), "{}: {answer}", victim.display());
    }
    let told = answer.findings().filter(|f| f.to_string().contains("do not make the recorded content")).count();
    assert_eq!(told, 1, "{answer}");
}

/// Readers die in the middle of their work, again and again.
#[test]
fn killed_readers_are_replaced_and_nothing_goes_uncounted() {
    let bench = kit::empty();
    let account = kit::mailbox(&bench.store.join("ann/Maildir"));
    let total = 2000;
    for number in 0..total {
        kit::deliver(&account, number, 15_000);
    }
    let tool = &bench.tool;
    // Known to the catalog, so that each message that a dead reader did not even list is counted.
    tool.verify(&bench.store).expect(0);
    for (kills, pause) in [(1, 40), (4, 15), (40, 3)] {
        let run = tool.start(words(&["verify"]).chain([bench.store.clone().into()]));
        let mut killed = 0;
        while killed < kills && !run.ended() {
            for reader in kit::children(run.pid) {
                std::thread::sleep(Duration::from_millis(pause));
                kit::signal(reader, "KILL");
                killed += 1;
            }
        }
        let answer = run.end();
        answer.summary();
        assert_nothing_missing(&answer);
        let counted = answer.count("messages") + answer.count("not_checked");
        if answer.count("accounts") > 0 {
            assert!(counted >= total, "{killed} killed, only {counted} of {total} are accounted for: {answer}");
        }
        let complete = answer.count("messages") == total && answer.status == 0;
        assert!(complete || answer.status & 8 != 0, "{killed} killed: {answer}");
        // Where the last reader lived the rest was done.
        tool.verify(&bench.store).expect(0);
    }
}

/// How often each of these places was asked for, by nbdkit's log.
fn asked(log: &Path, places: &[u64]) -> Vec<usize> {
    let text = fs::read_to_string(log).expect("a log");
    let number = |word: &str| u64::from_str_radix(word.split_once("=0x")?.1, 16).ok();
    let reads: Vec<(u64, u64)> = text
        .lines()
        .filter_map(|line| {
            let rest = line.split_once(" Read ")?.1;
            let mut words = rest.split_whitespace().filter(|word| !word.starts_with("id="));
            Some((number(words.next()?)?, number(words.next()?)?))
        })
        .collect();
    let count = |at: &u64| reads.iter().filter(|(offset, length)| (*offset..offset + length).contains(at)).count();
    places.iter().map(count).collect()
}

/// Without a copy exactly the bad sectors are missing, and neither then nor with a copy is one of them asked for more often than
/// ddrescue asks for it.
#[test]
fn a_bad_sector_costs_itself_and_few_reads() {
    if !possible("bad sectors one by one") || !kit::can("bad sectors one by one", true, &["ddrescue"]) {
        return;
    }
    let bench = bench();
    kit::dbox(&bench.store.join("cid/sdbox"), "INBOX", 500, 10, 20_000);
    bench.replicate();
    let mut victims = [3, 90, 120]
        .map(|number| Path::new("ann/Maildir/cur").join(kit::name(number, kit::letter(number, 20_000).len())))
        .to_vec();
    victims.push(PathBuf::from("cid/sdbox/mailboxes/INBOX/dbox-Mails/u.4"));
    let mut bad = Vec::new();
    let image = device::image(&bench.store, bench.dir.path(), |store| {
        bad = victims.iter().map(|victim| block(&store.join(victim), 8192) * 4096 + 1024).collect();
    });
    record(&bench, &image);
    let [map, log] = ["bad.map", "log"].map(|name| bench.dir.path().join(name));
    fs::write(&map, sector_map(bad.clone(), 256 << 20)).expect("a map");
    let settings = [format!("ddrescue-mapfile={}", spec(&map)), format!("logfile={}", spec(&log))];
    let arguments = ["--filter=log", "--filter=ddrescue", &spec(&image), &settings[0], &settings[1]];
    let disk = HangingDisk::serving(bench.dir.path(), &arguments);
    let store = spec(&disk.store());
    let forget = || {
        drop_caches();
        fs::write(&log, "").expect("an empty log");
    };
    forget();
    let alone = bench.tool.run(["audit", &store, "--disk", "flash", "--read-from", "disk"]).expect_bits(4);
    let reads = asked(&log, &bad);
    assert_eq!((alone.count("unreadable"), alone.count("not_checked")), (4, 0), "{alone}");
    for finding in alone.findings() {
        let before = if finding["account"] == "cid" { 46 } else { 0 };
        let holes: Vec<(u64, u64)> = finding["faults"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|fault| fault["check"] == "read")
            .map(|fault| (fault["offset"].as_u64().unwrap_or(0), fault["length"].as_u64().unwrap_or(0)))
            .collect();
        assert_eq!(holes, [(8192 + 1024 - before, 512)], "{finding}");
    }
    forget();
    let source = spec(&bench.replica);
    let healed =
        bench.tool.run(["audit", &store, "--disk", "flash", "--read-from", "disk", "--from", &source]).expect_bits(4);
    assert_eq!(healed.count("repairable"), 4, "{healed}");
    let with_copy = asked(&log, &bad);
    forget();
    let [out, its_map] = ["out", "out.map"].map(|name| spec(&bench.dir.path().join(name)));
    must("ddrescue", &["-q", "-d", disk.device(), &out, &its_map]);
    let theirs = asked(&log, &bad);
    assert!(reads[..3].iter().zip(&theirs).all(|(ours, theirs)| ours <= theirs), "{reads:?} against {theirs:?}");
    assert!(with_copy.iter().all(|&ours| ours == 1), "what a copy proves is not read again: {with_copy:?}");
}
