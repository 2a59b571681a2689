//! The verdict as a table, and the figures against known ones.

use super::*;
use proptest::prelude::*;

fn good(kind: Kind) -> Signs {
    let latency = Latency { reads: 1000, p50: 900, p90: 1_500, p99: 9_000, max: 20_000, stalls: 0 };
    Signs { kind, whole_reads: 1000, latency, ..Signs::default() }
}

fn with(change: impl FnOnce(&mut Signs)) -> Signs {
    let mut signs = good(Kind::Flash);
    change(&mut signs);
    signs
}

fn smart(change: impl FnOnce(&mut Smart)) -> Signs {
    let mut smart = Smart { passed: Some(true), pending: Some(0), reallocated: Some(0), ..Smart::default() };
    change(&mut smart);
    with(|s| s.disks = vec![Disk { name: "sda".into(), smart: Some(smart), ..Disk::default() }])
}

fn in_state(state: &str) -> Signs {
    with(|s| s.disks = vec![Disk { name: "sda".into(), state: Some(state.into()), ..Disk::default() }])
}

fn arrayed(change: impl FnOnce(&mut Array)) -> Signs {
    let mut array = Array { name: "md0".into(), state: "clean".into(), ..Array::default() };
    change(&mut array);
    with(|s| s.arrays = vec![array])
}

#[test]
fn the_table_of_verdicts() {
    use Health::*;
    let remote = |kind, change: fn(&mut Signs)| {
        let mut signs = good(kind);
        change(&mut signs);
        signs
    };
    let table: Vec<(Signs, Health, &str)> = vec![
        (with(|_| ()), Healthy, "1000 messages read without an error; half of the reads within 0.9 ms"),
        (with(|s| (s.whole_reads, s.latency) = (3, Latency::default())), Healthy, "3 messages"),
        (Signs::default(), Unknown, "no message was read"),
        (with(|s| s.read_errors = 1), Failing, "1 of 1001 messages and folders"),
        (with(|s| (s.hangs, s.read_after_hang) = (1, 5)), Failing, "stopped answering once"),
        (with(|s| s.hangs = 2), Gone, "does not answer any more"),
        (with(|s| (s.absent_errors, s.whole_reads) = (1, 0)), Gone, "no such device"),
        (with(|s| s.absent_errors = 1), Failing, "went away"),
        (with(|s| s.failed_commands = 2), Failing, "2 commands"),
        (in_state("offline"), Gone, "sda as offline"),
        (in_state("running"), Healthy, ""),
        (in_state("live"), Healthy, ""),
        (with(|s| s.corrupt = 1), Degrading, "1 place: it needs fsck"),
        (with(|s| s.recorded_errors = 7), Degrading, "on record (7)"),
        (with(|s| s.latency.p50 = 11_000), Degrading, "slow: half of the reads"),
        (with(|s| s.latency.p99 = 300_000), Degrading, "slow: one read in a hundred"),
        (with(|s| (s.latency.p99, s.latency.reads) = (300_000, 99)), Healthy, ""),
        (with(|s| s.latency.stalls = 2), Degrading, "2 reads took longer than 2 s"),
        (with(|s| s.latency.stalls = 1), Healthy, ""),
        (with(|s| (s.latency.p50, s.latency.reads) = (11_000, 7)), Healthy, ""),
        (with(|s| (s.latency.p50, s.latency.reads) = (41_000, 3)), Degrading, "half of only 3 reads"),
        (with(|s| (s.latency.p50, s.latency.reads) = (41_000, 2)), Healthy, ""),
        (with(|s| s.folder_ms = 1_001), Degrading, "a folder took 1.0 s"),
        (with(|s| s.folder_ms = 1_000), Healthy, ""),
        (Signs { none_in_time: true, ..Signs::default() }, Degrading, "so slow that not one message"),
        (with(|s| (s.latency.p50, s.peers_p50) = (4_000, Some(400))), Degrading, "of the others of its kind"),
        (with(|s| (s.latency.p50, s.peers_p50) = (4_000, Some(600))), Healthy, ""),
        (with(|s| (s.latency.p50, s.peers_p50) = (2_000, Some(100))), Healthy, ""),
        (with(|s| (s.latency.p50, s.foreign) = (50_000, Some(3))), NotTheDisk, "look at the load"),
        (with(|s| (s.latency.p50, s.foreign) = (50_000, Some(2))), Degrading, "slow"),
        (with(|s| s.damaged = 2), NotTheDisk, "2 of the messages read are damaged"),
        (with(|s| (s.damaged, s.read_errors) = (2, 1)), Failing, "read errors"),
        (smart(|_| ()), Healthy, ""),
        (smart(|s| s.passed = Some(false)), Failing, "sda itself says"),
        (smart(|s| s.pending = Some(8)), Degrading, "8 sectors that it cannot read"),
        (smart(|s| s.reallocated = Some(3)), Degrading, "3 sectors replaced"),
        (smart(|s| s.media_errors = Some(1)), Degrading, "1 errors of its medium"),
        (smart(|s| s.percent_used = Some(101)), Degrading, "101 % used"),
        (smart(|s| s.percent_used = Some(99)), Healthy, ""),
        (smart(|s| s.critical_warning = Some(4)), Failing, "critical warning (0x4)"),
        (smart(|s| s.critical_warning = Some(1)), Degrading, "critical warning (0x1)"),
        (smart(|s| s.link_errors = Some(9)), Healthy, ""),
        (arrayed(|_| ()), Healthy, ""),
        (arrayed(|a| a.degraded = 1), Degrading, "md0 lacks 1 member"),
        (arrayed(|a| (a.degraded, a.action) = (1, "recover".into())), Degrading, "being rebuilt"),
        (arrayed(|a| a.state = "inactive".into()), Failing, "md0 is inactive"),
        (arrayed(|a| a.bad_members = vec!["sdb".into()]), Degrading, "sdb"),
        (remote(Kind::Network, |s| s.hangs = 1), NotTheDisk, "the network, or the server"),
        (remote(Kind::Fuse, |s| s.hangs = 1), NotTheDisk, "the program behind the mount"),
        (remote(Kind::Network, |s| s.read_errors = 1), NotTheDisk, "read errors"),
        (remote(Kind::Network, |s| s.latency.p50 = 200_000), NotTheDisk, "slow"),
        (remote(Kind::Network, |_| ()), Healthy, ""),
        (remote(Kind::Rotating, |s| s.latency.p50 = 20_000), Healthy, ""),
        (remote(Kind::Rotating, |s| s.latency.p50 = 61_000), Degrading, "slow"),
    ];
    for (signs, health, reason) in table {
        let (is, reasons) = judge(&signs);
        assert_eq!(is, health, "{reasons:?} of {signs:?}");
        assert!(reasons[0].contains(reason), "'{reason}' is not in {reasons:?}");
    }
}

#[test]
fn percentiles_by_nearest_rank() {
    assert_eq!(latency(&mut []), Latency::default());
    let mut hundred: Vec<u32> = (1..=100).rev().collect();
    let is = latency(&mut hundred);
    assert_eq!((is.reads, is.p50, is.p90, is.p99, is.max, is.stalls), (100, 50, 90, 99, 100, 0));
    let one = latency(&mut [7]);
    assert_eq!((one.p50, one.p99, one.max), (7, 7, 7));
    assert_eq!(latency(&mut [2_000_000, 2_000_001, 5_000_000]).stalls, 2);
    assert_eq!([vec![], vec![3], vec![9, 1], vec![9, 1, 4]].map(peers), [None, Some(3), Some(1), Some(4)]);
}

/// Known values: 1 - 0.05^(1/n) where none is damaged; tables of Clopper and Pearson (one-sided 95 %) elsewhere.
#[test]
fn the_bound_is_the_exact_one() {
    let near = |is: f64, should: f64| assert!((is - should).abs() <= should * 1e-4, "{is} is not {should}");
    near(upper_per_million(0, 1), 950_000.0);
    near(upper_per_million(0, 10), 258_866.0);
    near(upper_per_million(0, 1000), 2_991.25);
    near(upper_per_million(0, 1_000_000), 2.995_73);
    near(upper_per_million(1, 10), 394_163.0);
    near(upper_per_million(2, 10), 506_901.0);
    near(upper_per_million(5, 10), 777_559.0);
    near(upper_per_million(1, 100), 46_560.1);
    near(upper_per_million(5, 100), 102_253.0);
    assert_eq!([upper_per_million(0, 0), upper_per_million(3, 3), upper_per_million(9, 3)], [1e6; 3]);
}

#[test]
fn spans_read_well() {
    assert_eq!([90, 900, 1_400, 12_600, 2_340_000].map(span), ["0.1 ms", "0.9 ms", "1 ms", "13 ms", "2.3 s"]);
}

fn any_signs() -> impl Strategy<Value = Signs> {
    let kind = prop_oneof![
        Just(Kind::Rotating),
        Just(Kind::Flash),
        Just(Kind::Network),
        Just(Kind::Fuse),
        Just(Kind::Memory),
        Just(Kind::Unknown)
    ];
    let few = || prop_oneof![Just(0), Just(1), any::<u64>()];
    let latency = (few(), few(), few(), few()).prop_map(|(reads, p50, p99, stalls)| Latency {
        reads,
        p50,
        p90: p50,
        p99,
        max: p99,
        stalls,
    });
    let options = (proptest::option::of(few()), proptest::option::of(few()), proptest::option::of(any::<bool>()));
    let words = ("[a-z-]{0,9}", "[a-z]{0,9}");
    (kind, [few(), few(), few(), few(), few(), few(), few(), few(), few()], latency, options, words).prop_map(
        |(kind, n, latency, (peers_p50, foreign, passed), (state, action))| Signs {
            kind,
            whole_reads: n[0],
            hangs: n[1],
            read_after_hang: n[2],
            read_errors: n[3],
            absent_errors: n[4],
            corrupt: n[5],
            damaged: n[6],
            latency,
            none_in_time: n[0] == 0,
            folder_ms: n[1],
            peers_p50,
            foreign,
            recorded_errors: n[7],
            failed_commands: n[8],
            disks: vec![Disk {
                state: Some(state.clone()),
                smart: Some(Smart { passed, pending: peers_p50, critical_warning: foreign, ..Smart::default() }),
                ..Disk::default()
            }],
            arrays: vec![Array { degraded: n[1], state, action, ..Array::default() }],
        },
    )
}

proptest! {
    #[test]
    fn every_device_gets_a_verdict_and_a_reason(signs in any_signs()) {
        let (health, reasons) = judge(&signs);
        prop_assert!(!reasons.is_empty() && reasons.iter().all(|r| !r.is_empty()));
        prop_assert!(!(signs.kind.is_remote() && health.is_ill()), "no disk of ours is blamed for another machine's");
        // No error is ever covered up by anything else.
        if signs.read_errors > 0 && !signs.kind.is_remote() {
            prop_assert!(health >= Health::Failing);
        }
        if signs.damaged > 0 {
            prop_assert!(health >= Health::NotTheDisk);
        }
    }

    #[test]
    fn more_damage_never_looks_better(damaged in 0u64..400, more in 1u64..400, checked in 1u64..25_000) {
        let [less, worse] = [damaged, damaged + more].map(|k| upper_per_million(k, checked));
        prop_assert!(less <= worse && (0.0..=1e6).contains(&less));
        prop_assert!(less + 1e-6 >= 1e6 * damaged.min(checked) as f64 / checked as f64, "the bound lies above what was seen");
        prop_assert!(upper_per_million(damaged, checked * 2) <= less + 1e-6);
    }

    #[test]
    fn percentiles_are_in_order(mut reads in proptest::collection::vec(any::<u32>(), 1..300)) {
        let is = latency(&mut reads);
        prop_assert!(is.p50 <= is.p90 && is.p90 <= is.p99 && is.p99 <= is.max);
    }
}
