//! Messages that no copy holds whole come out of several damaged ones, and nothing else comes out of them.

use crate::common::{Answer, spec};
use crate::kit;
use std::fs;
use std::path::{Path, PathBuf};

const SIZE: usize = 90_000;

/// A store that was verified when it was whole, with two copies of it.
struct House {
    bench: crate::common::bench::Bench,
    copies: [PathBuf; 2],
    message: PathBuf,
    truth: Vec<u8>,
}

impl House {
    fn new() -> House {
        let bench = kit::empty();
        let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
        for number in 0..4 {
            kit::deliver(&inbox, number, SIZE);
        }
        let path = inbox.join("cur").join(kit::name(1, kit::letter(1, SIZE).len()));
        let message = path.strip_prefix(&bench.store).expect("a path").to_owned();
        let truth = fs::read(&path).expect("a message");
        bench.tool.verify(&bench.store).expect(0);
        let copies = ["one", "two"].map(|name| bench.dir.path().join(name));
        for copy in &copies {
            mailmend::drill::copy::plain(&bench.store, copy).expect("a copy");
        }
        House { bench, copies, message, truth }
    }

    fn all(&self) -> [&Path; 3] {
        [&self.bench.store, &self.copies[0], &self.copies[1]]
    }

    /// Damages one copy of the message, silently.
    fn rot(&self, tree: &Path, places: &[usize]) {
        let path = tree.join(&self.message);
        let mut bytes = fs::read(&path).expect("a message");
        let date = fs::metadata(&path).and_then(|meta| meta.modified()).expect("a date");
        places.iter().for_each(|&at| bytes[at] ^= 0x11);
        fs::write(&path, bytes).expect("damage");
        let file = fs::File::options().write(true).open(&path).expect("a message");
        file.set_modified(date).expect("its date");
    }

    fn repair(&self, more: &[&str]) -> Answer {
        let [one, two] = self.copies.each_ref().map(|copy| spec(copy));
        let store = spec(&self.bench.store);
        let args = ["repair", &store, "--from", &one, "--from", &two].into_iter().chain(more.iter().copied());
        self.bench.tool.run(args)
    }

    fn now(&self) -> Vec<u8> {
        fs::read(self.bench.store.join(&self.message)).unwrap_or_default()
    }
}

#[test]
fn one_whole_message_comes_out_of_three_damaged_ones() {
    let house = House::new();
    // In groups of their own, and two in one group.
    for (tree, places) in house.all().into_iter().zip([[1000, 40_000], [17_000, 41_000], [70_000, 42_000]]) {
        house.rot(tree, &places);
    }
    let damaged = house.now();
    let dry = house.repair(&[]).expect(4);
    assert_eq!((dry.count("damaged"), dry.count("repairable")), (1, 1), "{dry}");
    let healed = house.repair(&["--apply"]).expect(1);
    assert_eq!(healed.count("repaired"), 1, "{healed}");
    let finding = healed.findings().next().expect("a finding");
    assert_eq!((&finding["action"]["kind"], &finding["action"]["assurance"]), (&"splice".into(), &"identical".into()));
    assert!(house.now() == house.truth, "{healed}");
    house.bench.tool.verify(&house.bench.store).expect(0);
    // Taken back, it is what it was.
    let run = healed.summary()["run"].as_str().expect("a run").to_owned();
    house.bench.tool.run(["undo", &run, "--apply"]).expect(0);
    assert!(house.now() == damaged);
}

#[test]
fn a_lost_message_comes_out_of_two_damaged_copies() {
    let house = House::new();
    house.rot(&house.copies[0], &[5]);
    house.rot(&house.copies[1], &[80_000]);
    // A deletion would have changed the folder's time.
    let cur = house.bench.store.join("ann/Maildir/cur");
    let date = fs::metadata(&cur).and_then(|meta| meta.modified()).expect("a date");
    fs::remove_file(house.bench.store.join(&house.message)).expect("a loss");
    fs::File::open(&cur).and_then(|dir| dir.set_modified(date)).expect("its date");
    let healed = house.repair(&["--apply", "--undecided", "restore"]);
    assert_eq!(healed.count("repaired"), 1, "{healed}");
    assert!(house.now() == house.truth, "{healed}");
}

#[test]
fn what_is_damaged_everywhere_stays_and_is_said() {
    let house = House::new();
    house.all().into_iter().for_each(|tree| house.rot(tree, &[30_000]));
    let damaged = house.now();
    let answer = house.repair(&["--apply"]).expect(4);
    assert_eq!((answer.count("damaged"), answer.count("repaired")), (1, 0), "{answer}");
    assert!(answer.findings().any(|f| f.to_string().contains("do not make the recorded content")), "{answer}");
    assert!(house.now() == damaged);
}

#[test]
fn an_edited_plan_puts_nobody_elses_mail_together() {
    let house = House::new();
    house.all().into_iter().zip([1000, 17_000, 70_000]).for_each(|(tree, at)| house.rot(tree, &[at]));
    let plan = house.bench.dir.path().join("plan.jsonl");
    house.repair(&["--save-plan", &spec(&plan)]).expect(4);
    let text = fs::read_to_string(&plan).expect("a plan");
    let other = kit::name(2, kit::letter(2, SIZE).len());
    let own = house.message.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let graft = format!("\"source\":null,\"path\":\"ann/Maildir/cur/{own}\"");
    assert!(text.contains(&graft), "{text}");
    let edited = text.replacen(&graft, &graft.replace(&own, &other), 1);
    fs::write(&plan, edited).expect("an edited plan");
    let before = house.now();
    let answer = house.bench.tool.run(["repair", &spec(&house.bench.store), "--plan", &spec(&plan), "--apply"]);
    assert!(answer.status & !1 != 0 && house.now() == before, "{answer}");
}

#[test]
fn the_report_of_losses_names_what_became_of_which_message() {
    let house = House::new();
    house.all().into_iter().for_each(|tree| house.rot(tree, &[30_000]));
    let (other, names) = (kit::name(2, kit::letter(2, SIZE).len()), house.bench.dir.path().join("losses.txt"));
    fs::write(house.bench.store.join("ann/Maildir/cur").join(other), "damage").expect("damage");
    let report = spec(&names);
    let answer = house.repair(&["--apply", "--loss-report", &report]).expect_bits(4);
    let text = fs::read_to_string(&names).expect("a report");
    assert!(text.contains("1 healed, 1 partly there"), "{text}\n{answer}");
    assert!(text.contains("partly there    2023-11-14 22:13  INBOX: letter 1\n"), "{text}");
    assert!(text.contains("healed          2023-11-14 22:13  INBOX: letter 2\n"), "{text}");
    let refused = house.repair(&["--loss-report", &report]);
    assert!(refused.status == 16 && refused.mentions("losses.txt"), "{refused}");
}
