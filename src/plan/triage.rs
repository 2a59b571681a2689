//! Is it the disk? From the signs of a device to the verdict on it, with the reasons in words; and what a sample says
//! of the rest.
//!
//! Pure and total: no files, no clock. Every reason is judged by itself; the most urgent one is the verdict. What is
//! wrong with a file system whose disks are another machine's is never put down to a disk of this one.

use crate::model::triage::{Array, Disk, Health, Kind, Latency, Signs, Smart, span};

/// A read that takes longer is a disk that tries again and again. Microseconds.
const STALL: u32 = 2_000_000;
/// Fewer reads tell nothing about how fast a device is.
const READS_MIN: u64 = 8;
/// So few are enough where each is so many times as slow as it may be.
const READS_FEW: u64 = 3;
const MUCH: u64 = 4;
/// No folder takes so long on average on a healthy device. Milliseconds.
const FOLDER: u64 = 1_000;
/// Fewer reads have no hundredth part that could be slow.
const READS_TAIL: u64 = 100;
/// So many requests of others for one of ours explain slow answers.
const BUSY: u64 = 3;
/// So many times as slow as the others of its kind is odd.
const PEERS: u64 = 8;
/// The chance that the rest is worse than the sample says.
const DOUBT: f64 = 0.05;

/// What a healthy device of each kind stays below, in microseconds: half of the reads, 99 of 100, and the typical read
/// below which being slower than others means nothing.
fn bounds(kind: Kind) -> (u64, u64, u64) {
    match kind {
        Kind::Flash | Kind::Memory => (10_000, 250_000, 3_000),
        Kind::Rotating | Kind::Unknown => (60_000, 1_000_000, 30_000),
        Kind::Network | Kind::Fuse => (150_000, 2_000_000, 50_000),
    }
}

/// Percentiles of single reads (by nearest rank). Sorts `reads`.
pub fn latency(reads: &mut [u32]) -> Latency {
    reads.sort_unstable();
    let Some(&max) = reads.last() else { return Latency::default() };
    let at = |percent: usize| {
        let rank = (reads.len() * percent).div_ceil(100).max(1);
        u64::from(reads[rank - 1])
    };
    Latency {
        reads: reads.len() as u64,
        p50: at(50),
        p90: at(90),
        p99: at(99),
        max: max.into(),
        stalls: (reads.len() - reads.partition_point(|&took| took <= STALL)) as u64,
    }
}

/// The middle one of the typical reads of other devices.
pub fn peers(mut typical: Vec<u64>) -> Option<u64> {
    typical.sort_unstable();
    typical.get(typical.len().checked_sub(1)? / 2).copied()
}

/// The verdict and its reasons, the most urgent first. There is always a reason.
pub fn judge(signs: &Signs) -> (Health, Vec<String>) {
    let mut reasons = answers(signs);
    reasons.extend(slow(signs));
    reasons.extend(recorded(signs));
    reasons.extend(signs.disks.iter().flat_map(disk));
    reasons.extend(signs.arrays.iter().flat_map(array));
    if signs.kind.is_remote() {
        for (health, _) in reasons.iter_mut().filter(|(health, _)| health.is_ill()) {
            *health = Health::NotTheDisk;
        }
    }
    if signs.damaged > 0 {
        let what = "the device gave them without an error: an earlier crash, bad memory or a program may have done it";
        reasons.push((Health::NotTheDisk, format!("{} of the messages read are damaged; {what}", signs.damaged)));
    }
    if reasons.is_empty() {
        reasons.push(clean(signs));
    }
    // Stable: within one verdict the order above stays.
    reasons.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
    let health = reasons.first().map_or(Health::Unknown, |(health, _)| *health);
    (health, reasons.into_iter().map(|(_, words)| words).collect())
}

type Reason = (Health, String);

fn clean(signs: &Signs) -> Reason {
    match signs.whole_reads {
        0 => (Health::Unknown, "no message was read from it".to_owned()),
        n if signs.latency.reads < READS_MIN => (Health::Healthy, format!("{n} messages read without an error")),
        n => {
            let (half, most) = (span(signs.latency.p50), span(signs.latency.p99));
            let words =
                format!("{n} messages read without an error; half of the reads within {half}, 99 % within {most}");
            (Health::Healthy, words)
        }
    }
}

/// What it gave, and what it did not.
fn answers(signs: &Signs) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let dead = ["offline", "transport-offline", "deleted", "cancel", "dead", "deleting", "deleting (no IO)"];
    for disk in &signs.disks {
        if let Some(state) = disk.state.as_deref().filter(|state| dead.contains(state)) {
            reasons.push((Health::Gone, format!("the kernel has {} as {state}", disk.name)));
        }
    }
    match (signs.hangs, signs.read_after_hang) {
        (0, _) => {}
        (_, 0) => reasons.push((Health::Gone, hung(signs.kind).to_owned())),
        (n, _) => reasons.push((Health::Failing, format!("stopped answering {}, and went on", times(n)))),
    }
    if signs.absent_errors > 0 && signs.whole_reads == 0 {
        reasons.push((Health::Gone, "the kernel says that there is no such device any more".to_owned()));
    } else if signs.absent_errors > 0 {
        reasons.push((Health::Failing, "went away while it was read from".to_owned()));
    }
    if signs.read_errors > 0 {
        let of = signs.whole_reads.saturating_add(signs.read_errors);
        let words = format!("read errors: {} of {of} messages and folders could not be read", signs.read_errors);
        reasons.push((Health::Failing, words));
    }
    if signs.failed_commands > 0 {
        let words = format!("{} commands to the disk failed while it was looked at", signs.failed_commands);
        reasons.push((Health::Failing, words));
    }
    reasons
}

fn hung(kind: Kind) -> &'static str {
    match kind {
        Kind::Network => "does not answer: the network, or the server behind it",
        Kind::Fuse => "does not answer: the program behind the mount",
        _ => "does not answer any more",
    }
}

fn slow(signs: &Signs) -> Option<Reason> {
    let Latency { reads, p50, p99, stalls, .. } = signs.latency;
    let (half, most, floor) = bounds(signs.kind);
    let peers = signs.peers_p50.filter(|&peers| p50 >= floor && p50 >= peers.saturating_mul(PEERS));
    let words = match () {
        () if stalls >= 2 => format!("{stalls} reads took longer than 2 s: a disk that tries again and again"),
        () if signs.none_in_time => "so slow that not one message could be read in the time".to_owned(),
        () if signs.folder_ms > FOLDER => {
            format!("slow: looking into a folder took {} on average", span(signs.folder_ms.saturating_mul(1_000)))
        }
        () if (READS_FEW..READS_MIN).contains(&reads) && p50 > half * MUCH => {
            format!("slow: half of only {reads} reads took longer than {}", span(p50))
        }
        () if reads < READS_MIN => return None,
        () if p50 > half => format!("slow: half of the reads took longer than {}", span(p50)),
        () if p99 > most && reads >= READS_TAIL => {
            format!("slow: one read in a hundred took longer than {}", span(p99))
        }
        () => {
            let words = format!("slow: a typical read took {}, of the others of its kind", span(p50));
            format!("{words} {}", span(peers?))
        }
    };
    Some(match signs.foreign {
        Some(foreign) if foreign >= BUSY => {
            let load = "but others had it read and write much more at the same time: look at the load first";
            (Health::NotTheDisk, format!("{words}; {load}"))
        }
        _ => (Health::Degrading, words),
    })
}

/// What file systems say.
fn recorded(signs: &Signs) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if signs.corrupt > 0 {
        let words = format!("the file system is damaged in {}: it needs fsck, unmounted", places(signs.corrupt));
        reasons.push((Health::Degrading, words));
    }
    if signs.recorded_errors > 0 {
        let words = format!("the file system has errors on record ({})", signs.recorded_errors);
        reasons.push((Health::Degrading, words));
    }
    reasons
}

/// What a disk says of itself.
fn disk(disk: &Disk) -> Vec<Reason> {
    let Some(smart) = &disk.smart else { return Vec::new() };
    let Smart { passed, reallocated, pending, uncorrectable, link_errors: _, .. } = smart;
    let mut reasons = Vec::new();
    let name = &disk.name;
    if *passed == Some(false) {
        reasons.push((Health::Failing, format!("{name} itself says that it is failing (SMART)")));
    }
    if let Some(bits) = smart.critical_warning.filter(|&bits| bits != 0) {
        // Bits 2 and 3: unreliable, and read-only.
        let health = if bits & 0b1100 != 0 { Health::Failing } else { Health::Degrading };
        reasons.push((health, format!("{name} itself gives a critical warning ({bits:#x})")));
    }
    let counts = [
        (pending, "sectors that it cannot read and has not replaced"),
        (uncorrectable, "reads that it could not correct"),
        (&smart.media_errors, "errors of its medium"),
        (reallocated, "sectors replaced"),
    ];
    for (count, what) in counts {
        if let Some(count) = count.filter(|&count| count > 0) {
            reasons.push((Health::Degrading, format!("{name} counts {count} {what} (SMART)")));
        }
    }
    if let Some(used) = smart.percent_used.filter(|&used| used >= 100) {
        reasons.push((Health::Degrading, format!("{name} is past the life that it was made for ({used} % used)")));
    }
    reasons
}

fn array(array: &Array) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let name = &array.name;
    if matches!(array.state.as_str(), "inactive" | "broken" | "clear" | "suspended") {
        reasons.push((Health::Failing, format!("the array {name} is {}", array.state)));
    }
    if array.degraded > 0 {
        let repair = if array.action == "recover" { ", and is being rebuilt" } else { "" };
        let words = format!("the array {name} lacks {}{repair}", count(array.degraded, "member", "members"));
        reasons.push((Health::Degrading, words));
    }
    if !array.bad_members.is_empty() {
        let words = format!("errors of members of the array {name}: {}", array.bad_members.join(", "));
        reasons.push((Health::Degrading, words));
    }
    reasons
}

fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

fn places(n: u64) -> String {
    count(n, "place", "places")
}

/// With `damaged` of `checked` messages, drawn from all alike, one is 95 % sure that fewer than this per million of the rest
/// are damaged: the exact (Clopper-Pearson) upper bound. A million where nothing was checked.
pub fn upper_per_million(damaged: u64, checked: u64) -> f64 {
    if damaged >= checked {
        return 1e6;
    }
    // The chance of so few damaged ones falls with their part of all; the bound is where it becomes small.
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..64 {
        let middle = low.midpoint(high);
        if at_most(damaged, checked, middle) > DOUBT { low = middle } else { high = middle }
    }
    high * 1e6
}

/// The chance that at most `k` of `n` are hit where each is with probability `p`; summed in logarithms.
fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    let odds = p.ln() - (-p).ln_1p();
    let mut term = n as f64 * (-p).ln_1p();
    let mut sum = term.exp();
    let (mut scale, mut scaled) = (term, 1.0_f64);
    for hit in 0..k {
        term += ((n - hit) as f64 / (hit + 1) as f64).ln() + odds;
        if term > scale {
            scaled = scaled * (scale - term).exp() + 1.0;
            scale = term;
        } else {
            scaled += (term - scale).exp();
        }
        sum = (scale + scaled.ln()).exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
#[path = "triage_tests.rs"]
mod tests;
