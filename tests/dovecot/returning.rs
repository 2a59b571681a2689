//! Messages come back as the server and its clients knew them: UID, flags, keywords, date, and a count of changes that
//! never falls; and what their owners deleted stays away.

use crate::common::bench::{Bench, assert_same};
use crate::common::spec;
use crate::imap::{Golden, Imap};
use crate::kit;
use crate::server::{Dovecot, give};
use mailmend::drill::{Repair, Undecided, copy, disk};
use mailmend::model::Stamp;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

const MESSAGES: u64 = 24;

/// A mailbox that real clients worked in, its replica and its catalog.
struct World {
    bench: Bench,
    server: Dovecot,
    files: Vec<PathBuf>,
    golden: Golden,
}

/// Whether the server looked between the damage and the repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Stopped,
    Running,
    Noticed,
}

fn world() -> World {
    let bench = kit::empty();
    let inbox = kit::mailbox(&bench.store.join("ann/Maildir"));
    for number in 0..MESSAGES {
        kit::deliver(&inbox, number, 3000);
    }
    give(&bench.store);
    let server = Dovecot::start(&bench.dir.path().join("dovecot"), &bench.store);
    let mut imap = server.imap("ann");
    imap.must("SELECT INBOX (CONDSTORE)");
    imap.must("UID STORE 3:8 +FLAGS (\\Flagged $Forwarded)");
    imap.must("UID STORE 5:14 +FLAGS (\\Answered work)");
    imap.must("UID STORE 20 +FLAGS (\\Deleted)");
    imap.must("UID EXPUNGE 20");
    drop(imap);
    bench.tool.verify(&bench.store).expect(0);
    copy::plain(&bench.store, &bench.replica).expect("a replica");
    let golden = server.imap("ann").golden("INBOX");
    let mut files: Vec<PathBuf> =
        fs::read_dir(inbox.join("cur")).expect("a mailbox").flatten().map(|entry| entry.path()).collect();
    files.sort();
    World { bench, server, files, golden }
}

impl World {
    /// What clients see now, with the server running.
    fn seen(&self) -> Golden {
        self.server.imap("ann").golden("INBOX")
    }

    /// Every message is as it was, and the count of changes did not fall.
    #[track_caller]
    fn assert_golden(&self, why: &str) {
        let seen = self.seen();
        assert_eq!(seen.messages, self.golden.messages, "{why}");
        assert_eq!(seen.uidvalidity, self.golden.uidvalidity, "{why}");
        assert!(seen.modseq >= self.golden.modseq, "{why}: HIGHESTMODSEQ fell to {}", seen.modseq);
    }

    fn repair(&self) -> Repair {
        Repair { sources: vec![spec(&self.bench.replica)], apply: true, undecided: Undecided::Report }
    }
}

/// Each loss, with the server in each state: everything is back as it was, and stays when the server looks and cleans up.
#[test]
fn lost_messages_come_back_under_their_old_uids() {
    if !kit::can("lost messages under Dovecot", true, &["dovecot", "doveadm"]) {
        return;
    }
    for state in [Server::Stopped, Server::Running, Server::Noticed] {
        let mut world = world();
        if state == Server::Stopped {
            world.server.stop();
        }
        for file in [2, 9, 15].map(|nth| &world.files[nth]) {
            fs::remove_file(file).expect("a loss");
        }
        let before = if state == Server::Noticed { Some(world.seen()) } else { None };
        assert!(before.as_ref().is_none_or(|seen| seen.messages.len() + 3 == world.golden.messages.len()));
        if state == Server::Noticed {
            // A session that ends may still write.
            world.server.stop();
        }
        let damaged = world.bench.tree();
        let audit = world.bench.tool.run([
            OsString::from("audit"),
            (&world.bench.store).into(),
            "--from".into(),
            (&world.bench.replica).into(),
        ]);
        assert!(format!("{audit}").contains("would delete 3 whole message(s)"), "{audit}");
        assert_eq!(
            format!("{audit}").contains("3 lost message(s) are still on the server's lists"),
            state != Server::Noticed
        );
        let list = world.bench.store.join("ann/Maildir/dovecot-uidlist");
        let evidence = fs::read(&list).expect("a list of UIDs");
        let mut answer = world.bench.tool.repair(&world.bench.store, &world.repair()).expect(1);
        if state == Server::Noticed {
            world.bench.tool.undo(&answer.run_name()).expect(0);
            assert_same(&damaged, &world.bench.tree(), "indexes and lists are taken back too");
            answer = world.bench.tool.repair(&world.bench.store, &world.repair()).expect(1);
        }
        assert_eq!((answer.count("repaired"), answer.count("held")), (3, 0), "{state:?}: {answer}");
        let uids: BTreeSet<u64> = answer.findings().filter_map(|finding| finding["uid"].as_u64()).collect();
        assert!(uids.len() == 3 && uids.iter().all(|uid| world.golden.messages.contains_key(uid)), "{answer}");
        let back = |before: &Golden| uids.iter().all(|uid| !before.messages.contains_key(uid));
        assert!(before.as_ref().is_none_or(back), "{answer}");
        let kept =
            world.bench.tool.state.join("runs").join(answer.run_name()).join("server/ann/Maildir/dovecot-uidlist");
        assert_eq!(fs::read(&kept).ok(), Some(evidence), "the server's own list as it was, {kept:?}");
        if state != Server::Running {
            world.server.go();
        }
        world.assert_golden(&format!("{state:?}"));
        let seen = world.seen();
        assert!(before.is_none_or(|before| seen.modseq >= before.modseq), "HIGHESTMODSEQ fell to {}", seen.modseq);
        assert!(world.server.doveadm(&["force-resync", "-u", "ann", "*"]).status.success());
        world.assert_golden(&format!("{state:?}, after a force-resync"));
        assert_eq!(world.server.complaints(), Vec::<String>::new(), "{state:?}");
        world.bench.tool.repair(&world.bench.store, &world.repair()).expect(0);
    }
}

/// What its owner deleted is not brought back, however much of the rest is lost; and what undecided means is less.
#[test]
fn what_a_user_deleted_stays_deleted() {
    if !kit::can("deletions under Dovecot", true, &["dovecot", "doveadm"]) {
        return;
    }
    let mut world = world();
    let mut imap = world.server.imap("ann");
    imap.must("SELECT INBOX");
    imap.must("UID STORE 1:12 +FLAGS (\\Deleted)");
    imap.must("EXPUNGE");
    drop(imap);
    world.server.stop();
    // Enough goes at once that nobody could tell by numbers.
    let kept: Vec<_> = world.files.iter().filter(|file| file.exists()).collect();
    assert_eq!(kept.len(), 11);
    kept.iter().take(6).for_each(|file| fs::remove_file(file).expect("a loss"));
    let answer = world.bench.tool.repair(&world.bench.store, &world.repair()).expect(1);
    assert_eq!((answer.count("repaired"), answer.count("deleted")), (6, 12), "{answer}");
    let restore = Repair { undecided: Undecided::Restore, ..world.repair() };
    let again = world.bench.tool.repair(&world.bench.store, &restore).expect(0);
    assert_eq!(again.count("missing.undecided"), 0, "{again}");
    world.server.go();
    let seen = world.seen();
    let expected = world.golden.messages.iter().filter(|(uid, _)| **uid > 12);
    assert_eq!(seen.messages, expected.map(|(uid, seen)| (*uid, seen.clone())).collect());
    assert_eq!(world.server.complaints(), Vec::<String>::new());
}

/// While a client has the mailbox open, its indexes are not touched: held, said, and done once it is closed.
#[test]
fn an_open_mailbox_is_held() {
    if !kit::can("an open mailbox", true, &["dovecot", "doveadm"]) {
        return;
    }
    let world = world();
    fs::remove_file(&world.files[9]).expect("a loss");
    let mut imap: Imap = world.server.imap("ann");
    imap.must("SELECT INBOX");
    imap.must("NOOP");
    let answer = world.bench.tool.repair(&world.bench.store, &world.repair()).expect_bits(4);
    assert!(answer.count("held") > 0 && answer.count("repaired") == 0, "{answer}");
    assert!(answer.mentions("has this mailbox open"), "{answer}");
    assert!(!world.files[9].exists());
    imap.must("LOGOUT");
    drop(imap);
    let answer = world.bench.tool.repair(&world.bench.store, &world.repair()).expect(1);
    assert_eq!((answer.count("repaired"), answer.count("held")), (1, 0), "{answer}");
    world.assert_golden("after the client left");
    assert_eq!(world.server.complaints(), Vec::<String>::new());
}

/// A loss that was noticed and synced is a deletion at the partner: the next sync would delete the message again.
#[test]
fn what_a_sync_partner_has_deleted_is_held() {
    if !kit::can("a loss that was synced", true, &["dovecot", "doveadm"]) {
        return;
    }
    let world = world();
    let partner = world.bench.dir.path().join("partner");
    fs::create_dir_all(partner.join("ann/Maildir")).expect("a partner");
    give(&partner);
    let location = format!("maildir:{}", spec(&partner.join("ann/Maildir")));
    let sync = || assert!(world.server.doveadm(&["sync", "-u", "ann", &location]).status.success());
    sync();
    fs::remove_file(&world.files[9]).expect("a loss");
    world.seen();
    let sources = vec![spec(&world.bench.replica), spec(&partner)];
    let repair = Repair { sources: sources.clone(), ..world.repair() };
    // Noticed, and not yet told to the partner: nothing is in the way.
    let dry = world.bench.tool.repair(&world.bench.store, &Repair { apply: false, ..repair }).expect(4);
    assert_eq!((dry.count("repairable"), dry.count("held")), (1, 0), "{dry}");
    sync();
    let repair = Repair { sources, ..world.repair() };
    let answer = world.bench.tool.repair(&world.bench.store, &repair).expect(4);
    assert_eq!((answer.count("held"), answer.count("repaired")), (1, 0), "{answer}");
    assert!(answer.mentions("the next sync would delete it here again"), "{answer}");
    let insisted = Repair { undecided: Undecided::Restore, ..repair };
    let answer = world.bench.tool.repair(&world.bench.store, &insisted).expect(1);
    assert_eq!((answer.count("held"), answer.count("repaired")), (0, 1), "{answer}");
    world.assert_golden("who insists gets it");
}

/// dsync gives the files of a replica other names, and notes the old ones: messages are found by those, come back under
/// them, and nothing is there twice, with a catalog and without.
#[test]
fn a_replica_that_dsync_made_heals_under_the_old_names() {
    if !kit::can("a replica made by dsync", true, &["dovecot", "doveadm"]) {
        return;
    }
    for catalog in [true, false] {
        let mut world = world();
        let partner = world.bench.dir.path().join("partner");
        fs::create_dir_all(partner.join("ann/Maildir")).expect("a partner");
        give(&partner);
        let location = format!("maildir:{}", spec(&partner.join("ann/Maildir")));
        assert!(world.server.doveadm(&["backup", "-u", "ann", &location]).status.success());
        world.server.stop();
        if !catalog {
            world.bench.forget();
        }
        let truth = world.bench.tree();
        fs::remove_file(&world.files[9]).expect("a loss");
        let half = fs::read(&world.files[3]).expect("a message");
        // dsync makes hard links where it can: the copy would share what is done in place.
        fs::remove_file(&world.files[3]).expect("a message");
        kit::put(&world.files[3], &half[..half.len() / 2]);
        give(&world.files[3]);
        for undecided in [Undecided::Report, Undecided::Restore] {
            let repair = Repair { sources: vec![spec(&partner)], apply: true, undecided };
            let answer = world.bench.tool.repair(&world.bench.store, &repair);
            let first = undecided == Undecided::Report;
            assert_eq!(answer.count("repaired"), if first { 2 } else { 0 }, "catalog {catalog}: {answer}");
            assert_eq!(answer.count("missing.undecided"), 0, "catalog {catalog}: {answer}");
            answer.expect(i32::from(first));
        }
        assert_same(&truth, &world.bench.tree(), &format!("catalog {catalog}"));
        world.server.go();
        world.assert_golden(&format!("catalog {catalog}"));
        assert_eq!(world.server.complaints(), Vec::<String>::new());
    }
}

/// A script that clears old mail away asks no server: what it took is not brought back unasked.
#[test]
fn what_a_script_cleared_away_is_undecided() {
    if !kit::can("a script that clears old mail", true, &["dovecot", "doveadm"]) {
        return;
    }
    let world = world();
    let old = Stamp { sec: kit::RECEIVED.sec - 90 * 86_400, nsec: 0 };
    for file in &world.files[..5] {
        disk::set_mtime(file, old).expect("an older date");
    }
    world.bench.tool.verify(&world.bench.store).expect(0);
    world.files[..5].iter().for_each(|file| fs::remove_file(file).expect("a script"));
    let undecided = |answer: &crate::common::Answer| (answer.count("missing.undecided"), answer.count("repairable"));
    let answer = world.bench.tool.repair(&world.bench.store, &world.repair()).expect(4);
    assert_eq!(undecided(&answer), (5, 0), "the server lists them still: {answer}");
    world.seen();
    let answer = world.bench.tool.repair(&world.bench.store, &world.repair()).expect(4);
    assert_eq!(undecided(&answer), (5, 0), "the server noticed: {answer}");
    assert!(answer.mentions("as a script clears it away"), "{answer}");
}
