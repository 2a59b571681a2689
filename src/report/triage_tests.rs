//! What people read of a triage, and that nothing in it acts on their terminal.

use super::*;
use crate::model::triage::{FileSystem, Kind, Sample, Signs, Walk};

fn hit(account: &str, listed: bool) -> Hit {
    Hit { store: "/srv/mail".into(), account: account.into(), listed }
}

fn report(name: &str, health: Health, accounts: Vec<Hit>) -> DeviceReport {
    let walk = Walk { mailboxes: 2, mailboxes_listed: 2, messages: 4_000, ..Walk::default() };
    let disk = Disk { name: name.into(), model: "WDC".into(), bytes: 4_000_000_000_000, ..Disk::default() };
    DeviceReport {
        name: name.into(),
        file_systems: vec![FileSystem {
            mount_point: "/srv/mail".into(),
            source: format!("/dev/{name}1"),
            fs_type: "ext4".into(),
            device: "8:1".into(),
        }],
        signs: Signs {
            kind: Kind::Rotating,
            latency: Latency { reads: 900, p50: 8_100, p90: 12_000, p99: 31_000, max: 2_500_000, stalls: 1 },
            disks: vec![disk],
            ..Signs::default()
        },
        health,
        reasons: vec!["because".into()],
        accounts,
        sample: Sample {
            checked: 900,
            damaged: 0,
            uniform: 899,
            uniform_damaged: 0,
            upper_per_million: Some(3_326.7),
            walk,
        },
        medium_tested: true,
        not_checked: 0,
        notes: vec![],
    }
}

#[test]
fn a_device_in_words() {
    let accounts = (0..7).map(|n| hit(&format!("user{n}"), n != 3)).collect();
    assert_eq!(
        device(&report("sda", Health::Failing, accounts), false),
        "FAILING  /dev/sda (WDC, 4.0 TB)\n  because\n  holds /srv/mail (ext4 /dev/sda1, 8:1)\n  \
         7 accounts hit: user0, user1, user2, user3, user4, ...; 1 of them not looked into\n  \
         900 messages checked of 4,000: none of them damaged; 95 % sure that fewer than 3,327 per million are damaged\n  \
         900 reads from the medium: half within 8 ms, 90 % within 12 ms, 99 % within 31 ms, the longest 2.5 s\n\n"
    );
}

#[test]
fn a_sample_of_all_or_of_nothing_is_called_so() {
    let mut all = report("sda", Health::Healthy, vec![]);
    (all.sample.checked, all.sample.uniform, all.sample.walk.messages) = (9, 9, 9);
    assert_eq!(sample(&all), "9 messages checked of 9: none of them damaged");
    all.sample.walk.folders_left = 1;
    assert!(sample(&all).contains("drawn from the 9 that were listed in the time"));
    all.sample.checked = 0;
    assert!(sample(&all).starts_with("no message checked"));
}

#[test]
fn the_end_says_what_to_type() {
    let typed = Typed { stores: vec!["/srv/my mail".into()], ..Typed::default() };
    let failing = report("sda", Health::Failing, vec![hit("ann", true)]);
    let healthy = report("sdb", Health::Healthy, vec![hit("bob", true)]);
    let text = end(&[failing.clone(), healthy.clone()], &typed, 4, 12.0);
    assert!(text.starts_with("It is the disk: sda (1 of 2 devices); 1 account hit.\n"), "{text}");
    assert!(text.contains("ddrescue -d /dev/sda /mnt/new/sda.img"), "{text}");
    assert!(text.contains("mount -o remount,ro /srv/mail") && !text.contains("sdb"), "{text}");
    assert!(text.contains("mailmend audit '/srv/my mail' --accounts ann\n"), "{text}");
    let many = report("sda", Health::Gone, (0..9).map(|n| hit(&format!("u{n}"), false)).collect());
    let text = end(std::slice::from_ref(&many), &typed, 12, 12.0);
    assert!(text.contains("--save-accounts hit.txt") && !text.contains("ddrescue"), "{text}");
    let saved = Typed { saved: Some("hit".into()), ..typed.clone() };
    assert!(end(&[many], &saved, 12, 1.0).contains("--accounts-file hit\n"));
    let text = end(&[healthy], &typed, 0, 1.0);
    assert!(text.starts_with("It is not the disk: nothing") && text.contains("network"), "{text}");
    assert!(end(&[], &typed, 8, 1.0).starts_with("Not known"));
}

#[test]
fn strangers_names_lose_their_teeth() {
    let mut evil = report("sda", Health::Gone, vec![hit("a\u{1b}[2J\n", true)]);
    evil.reasons = vec!["\u{1b}]0;x\u{7}".into()];
    evil.signs.disks[0].model = "\u{9b}31m".into();
    evil.file_systems[0].source = "\u{202e}x".into();
    let text = device(&evil, true) + &end(&[evil.clone()], &Typed::default(), 4, 1.0);
    assert!(!text.chars().any(|c| c != '\n' && super::super::sanitise::is_dangerous(c)), "{text:?}");
}

#[test]
fn json_has_every_account_and_the_figures() {
    let accounts: Vec<Hit> = (0..50).map(|n| hit(&format!("user{n}"), true)).collect();
    let value = device_json("r", &report("sda", Health::Degrading, accounts));
    assert_eq!(value["type"], "device");
    assert_eq!(value["verdict"], "degrading");
    assert_eq!(value["accounts"].as_array().unwrap().len(), 50);
    assert_eq!(value["latency_us"]["p99"], 31_000);
    assert_eq!(value["sample"]["census"], false);
}
