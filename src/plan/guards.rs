//! What must stop a run, hold a mailbox back, or be said aloud before anybody relies on the result.
//!
//! Pure: facts in, words out. `None` lets the run pass. No guard ever asks; the words name the way on.

use crate::model::Stamp;
use crate::model::limits::FREE_RESERVE;

/// A mailbox of fewer messages says nothing by how many are gone.
const MANY: u64 = 10;
/// No run of this program happened before 2026; a clock that says so was never set. Seconds.
const FIRST_RUN: i64 = 1_767_225_600;
/// Clocks of two machines differ by so much. Seconds.
const SKEW: i64 = 300;

/// Stops: an empty folder under a disk that is not mounted is no loss, and nothing may be restored into it.
pub fn unmounted(store: &str, was_mount: Option<bool>, is_mount: bool) -> Option<String> {
    (was_mount == Some(true) && !is_mount).then(|| {
        format!(
            "{store} was a mount point when it was last verified, and nothing is mounted there now; mount its disk (or \
             a new one) first. If it is to be an ordinary folder from now on, use another --catalog"
        )
    })
}

/// Says: a mounted file system without mail, where the catalog knows mail, is the replaced disk.
pub fn replaced(is_mount: bool, known_before: bool, mailboxes: usize) -> Option<String> {
    (is_mount && known_before && mailboxes == 0).then(|| {
        "another file system is mounted here, and it holds no mailbox: taken for the replaced disk; everything that the \
         catalog and the sources know is missing from it"
            .to_owned()
    })
}

/// What speaks against writing to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ailing {
    /// Read errors of this run.
    pub read_errors: u64,
    /// Errors that the file system has on record since its last check; `None` where it keeps none.
    pub recorded: Option<u64>,
}

impl Ailing {
    /// The signs in words.
    pub fn signs(self) -> Option<String> {
        let recorded = self.recorded.unwrap_or(0);
        let signs = [
            (self.read_errors > 0).then(|| format!("returned {} read error(s) in this run", self.read_errors)),
            (recorded > 0).then(|| format!("has {recorded} file-system error(s) on record")),
        ];
        let signs: Vec<String> = signs.into_iter().flatten().collect();
        (!signs.is_empty()).then(|| signs.join(" and "))
    }
}

/// Stops `--apply`, unless somebody insists: writing to a failing disk may lose what is left.
pub fn sick(ailing: Ailing, insisted: bool) -> Option<String> {
    let signs = ailing.signs().filter(|_| !insisted)?;
    Some(format!(
        "the store's device {signs}: writing to it may lose what is left. Write the result elsewhere with --into DIR, \
         or insist with --write-to-sick-device; nothing was written"
    ))
}

/// Says: what must survive the disk lies on it.
pub fn shared_fate(what: &str, store_dev: u64, dev: u64) -> Option<String> {
    (store_dev == dev).then(|| format!("{what} lies on the store's own device, and fails with it"))
}

/// Stops: too little room for everything, and the reserve that a mail server needs to live, means that nothing is
/// begun. Bytes and files each.
pub fn space(need: (u64, u64), free: (u64, u64)) -> Option<String> {
    let wanted = if need.1 == 0 { 0 } else { need.0.saturating_add(FREE_RESERVE) };
    (free.0 < wanted || free.1 < need.1).then(|| {
        format!(
            "too little space on the target: the plan needs {} MiB and {} files, free are {} MiB and {} files; nothing \
             was written",
            wanted.div_ceil(1 << 20),
            need.1,
            free.0 >> 20,
            free.1
        )
    })
}

/// A mailbox of which messages are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thinned {
    pub known: u64,
    pub gone: u64,
    /// Of the gone, those of which a source holds a copy.
    pub held: u64,
    /// It is empty: what is there of it may come back.
    pub blank: bool,
    /// The administrator said that what is undecided is to come back.
    pub insisted: bool,
}

/// Holds: most of a mailbox that is still in use is gone, and the sources do not know most of that either. The
/// likelier story is another one than a lost disk: mail moved elsewhere, or the wrong source.
pub fn thinned(mailbox: &Thinned) -> Option<String> {
    let Thinned { known, gone, held, blank, insisted } = *mailbox;
    let most = known >= MANY && gone > known / 2;
    (most && held < gone.div_ceil(2) && !blank && !insisted).then(|| {
        format!(
            "held: {gone} of {known} messages of this mailbox are gone, and the sources hold only {held} of them; name \
             a source that explains it, or insist with --undecided restore"
        )
    })
}

/// Warns of a source that can help less than it seems.
pub fn poor_source(label: &str, time: Stamp, now: Stamp, dev: u64, store_dev: u64) -> Option<String> {
    if time.sec > now.sec.saturating_add(SKEW) {
        return Some(format!("source {label} is dated in the future: name its time (NAME@TIME=LOCATION)"));
    }
    (dev == store_dev).then(|| format!("source {label} lies on the store's own device, and fails with it"))
}

/// Warns of a clock that cannot be right: ages and generations are judged by it.
pub fn clock(now: Stamp, last_run: Option<Stamp>) -> Option<String> {
    if now.sec < FIRST_RUN {
        return Some("this machine's clock was never set: ages and times of this run are wrong".to_owned());
    }
    let last = last_run.filter(|last| last.sec > now.sec.saturating_add(SKEW))?;
    let hours = (last.sec - now.sec) / 3600;
    Some(format!(
        "this machine's clock is {hours} h behind the last run: it was set back, or it was wrong then; ages and times of \
         this run may be wrong"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Stamp = Stamp { sec: 1_800_000_000, nsec: 0 };

    fn later(seconds: i64) -> Stamp {
        Stamp { sec: NOW.sec + seconds, nsec: 0 }
    }

    #[test]
    fn a_disk_that_is_not_mounted_stops_and_a_new_one_goes_on() {
        assert!(unmounted("/m", Some(true), false).is_some());
        for (was, is) in [(Some(true), true), (Some(false), false), (Some(false), true), (None, false), (None, true)] {
            assert_eq!(unmounted("/m", was, is), None, "{was:?} {is}");
        }
        assert!(replaced(true, true, 0).is_some());
        for (is, known, mailboxes) in [(false, true, 0), (true, false, 0), (true, true, 1)] {
            assert_eq!(replaced(is, known, mailboxes), None);
        }
    }

    #[test]
    fn a_sick_device_is_written_to_only_by_who_insists() {
        let read = Ailing { read_errors: 1, recorded: None };
        let recorded = Ailing { read_errors: 0, recorded: Some(3) };
        for ailing in [read, recorded, Ailing { read_errors: 2, recorded: Some(1) }] {
            assert!(
                sick(ailing, false).is_some_and(|text| text.contains("--into") && text.contains("nothing was written"))
            );
            assert_eq!(sick(ailing, true), None);
        }
        assert_eq!(sick(Ailing::default(), false), None);
        assert_eq!(sick(Ailing { read_errors: 0, recorded: Some(0) }, false), None);
    }

    #[test]
    fn a_shared_device_is_told() {
        assert!(shared_fate("the state folder", 7, 7).is_some_and(|text| text.starts_with("the state folder lies on")));
        assert_eq!(shared_fate("the state folder", 7, 8), None);
    }

    #[test]
    fn too_little_space_stops_and_just_enough_passes() {
        assert!(space((1 << 30, 10), (1 << 30, 10)).is_some(), "a reserve stays free");
        assert_eq!(space((1 << 30, 10), ((1 << 30) + FREE_RESERVE, 10)), None);
        assert!(space((1 << 30, 10), (u64::MAX, 9)).is_some());
        assert!(space((1000, 1), (2000, 1)).is_some(), "a small plan, too, leaves the server its room");
        assert_eq!(space((0, 0), (0, 0)), None, "nothing to write needs no room");
        assert!(space((u64::MAX, 1), (u64::MAX - 1, 1)).is_some());
    }

    #[test]
    fn a_mailbox_that_nobody_can_explain_is_held() {
        let thin = Thinned { known: 1000, gone: 900, held: 10, blank: false, insisted: false };
        assert!(thinned(&thin).is_some_and(|text| text.contains("900 of 1000")));
        let honest = [
            Thinned { held: 450, ..thin },
            Thinned { blank: true, ..thin },
            Thinned { insisted: true, ..thin },
            Thinned { gone: 400, ..thin },
            Thinned { known: 9, gone: 9, held: 0, ..thin },
        ];
        for mailbox in honest {
            assert_eq!(thinned(&mailbox), None, "{mailbox:?}");
        }
    }

    proptest! {
        /// More copies never make a guard stricter, and a replica of everything always passes.
        #[test]
        fn sources_only_help(known in 0u64..5000, gone in 0u64..5000, held in 0u64..5000, more in 0u64..5000) {
            let mailbox = Thinned { known, gone, held, blank: false, insisted: false };
            let richer = thinned(&Thinned { held: held + more, ..mailbox });
            prop_assert!(thinned(&mailbox).is_some() || richer.is_none());
            prop_assert_eq!(thinned(&Thinned { held: gone, ..mailbox }), None);
        }
    }

    #[test]
    fn poor_sources_are_named() {
        assert!(poor_source("r", later(4000), NOW, 1, 2).is_some_and(|text| text.contains("future")));
        assert!(poor_source("r", later(-10), NOW, 2, 2).is_some_and(|text| text.contains("own device")));
        assert_eq!(poor_source("r", later(60), NOW, 1, 2), None, "clocks differ a little");
        assert_eq!(poor_source("r", later(-400 * 86_400), NOW, 1, 2), None, "old is not poor");
    }

    #[test]
    fn clocks_that_cannot_be_right_are_named() {
        assert!(clock(Stamp { sec: 0, nsec: 0 }, None).is_some());
        assert!(clock(NOW, Some(later(7200))).is_some_and(|text| text.contains("2 h behind")));
        for last in [None, Some(NOW), Some(later(-86_400 * 400)), Some(later(60))] {
            assert_eq!(clock(NOW, last), None, "{last:?}");
        }
    }
}
