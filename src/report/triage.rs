//! A triage's devices: for people at night, who need to know what to type next, and as JSON lines.
//!
//! Pure. Names of devices, mounts and accounts are strangers' text: made harmless here.

use super::json::SCHEMA;
use super::sanitise::{FIELD, SENTENCE, inline};
use super::words;
use crate::model::triage::{DeviceReport, Disk, Health, Hit, Latency, span};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Accounts of one device that are named.
const NAMES: usize = 5;
/// Accounts that still fit on a command line.
const TYPED: usize = 3;

/// What the next commands need to know of this one.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// As typed.
    pub stores: Vec<String>,
    /// `--config`, `--state` and `--catalog`, as typed.
    pub general: Vec<String>,
    /// The file that the hit accounts were written to.
    pub saved: Option<String>,
}

/// One device.
pub fn device(device: &DeviceReport, verbose: bool) -> String {
    let mut text = String::new();
    let health = device.health.words().to_uppercase();
    let disks: Vec<String> = device.signs.disks.iter().map(disk).collect();
    let line = if disks.is_empty() { inline(&device.name, FIELD) } else { disks.join(" + ") };
    put(&mut text, 0, &format!("{health}  {line}"));
    device.reasons.iter().for_each(|reason| put(&mut text, 2, reason));
    for fs in &device.file_systems {
        put(&mut text, 2, &format!("holds {} ({} {}, {})", fs.mount_point, fs.fs_type, fs.source, fs.device));
    }
    put(&mut text, 2, &accounts(&device.accounts, device.health, verbose));
    put(&mut text, 2, &sample(device));
    if device.signs.latency.reads > 0 {
        put(&mut text, 2, &latency(&device.signs.latency));
    }
    device.notes.iter().for_each(|note| put(&mut text, 2, note));
    text.push('\n');
    text
}

fn put(text: &mut String, indent: usize, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:indent$}{}", "", inline(line, SENTENCE));
}

fn disk(disk: &Disk) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend((!disk.model.is_empty()).then(|| disk.model.clone()));
    parts.extend((disk.bytes > 0).then(|| words::bytes(disk.bytes)));
    parts.extend(disk.backing.as_ref().map(|file| format!("in {file}")));
    let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    inline(&format!("/dev/{}{parts}", disk.name.replace('!', "/")), FIELD * 2)
}

fn accounts(hits: &[Hit], health: Health, verbose: bool) -> String {
    if hits.is_empty() {
        return "no account is known to lie on it".to_owned();
    }
    let shown = if verbose { usize::MAX } else { NAMES };
    let mut names: Vec<String> = hits.iter().take(shown).map(|hit| inline(&hit.account, FIELD)).collect();
    if hits.len() > names.len() {
        names.push("...".to_owned());
    }
    let count = words::count(hits.len() as u64, "account");
    let unseen = hits.iter().filter(|hit| !hit.listed).count() as u64;
    let unseen = match unseen {
        0 => String::new(),
        n => format!("; {} of them not looked into", words::number(n)),
    };
    let hit = if health.is_ill() { " hit" } else { "" };
    format!("{count}{hit}: {}{unseen}", names.join(", "))
}

fn sample(device: &DeviceReport) -> String {
    let sample = &device.sample;
    let read = words::count(sample.checked, "message");
    let of = match sample.walk.complete() {
        true => format!("of {}", words::number(sample.walk.messages)),
        false => format!("drawn from the {} that were listed in the time", words::number(sample.walk.messages)),
    };
    if sample.checked == 0 {
        return format!("no message checked ({of})");
    }
    let damaged = match sample.damaged {
        0 => "none of them damaged".to_owned(),
        n => format!("{} of them damaged or not given", words::number(n)),
    };
    let rest = match sample.upper_per_million {
        _ if sample.is_census() => String::new(),
        Some(upper) => {
            let upper = words::number(upper.ceil() as u64);
            format!("; 95 % sure that fewer than {upper} per million are damaged")
        }
        None => String::new(),
    };
    format!("{read} checked {of}: {damaged}{rest}")
}

fn latency(latency: &Latency) -> String {
    let Latency { reads, p50, p90, p99, max, .. } = *latency;
    let [p50, p90, p99, max] = [p50, p90, p99, max].map(span);
    let reads = words::count(reads, "read");
    format!("{reads} from the medium: half within {p50}, 90 % within {p90}, 99 % within {p99}, the longest {max}")
}

/// What it comes to, and what to type next.
pub fn end(devices: &[DeviceReport], typed: &Typed, exit: u8, elapsed_s: f64) -> String {
    let mut text = String::new();
    let ill: Vec<&DeviceReport> = devices.iter().filter(|d| d.health.is_ill()).collect();
    let other = devices.iter().filter(|d| d.health == Health::NotTheDisk).count();
    let unknown = devices.iter().filter(|d| d.health == Health::Unknown).count();
    let hit = affected(devices);
    let verdict = match (ill.len() as u64, other, unknown) {
        (0, 0, 0) if !devices.is_empty() => "It is not the disk: nothing speaks against any device here".to_owned(),
        (0, _, 0) if !devices.is_empty() => "It is not the disk, and something is wrong: see above".to_owned(),
        (0, ..) => "Not known: not every device could be read from".to_owned(),
        (n, ..) => {
            let names: Vec<String> = ill.iter().map(|d| inline(&d.name, FIELD)).collect();
            let accounts = words::count(hit.len() as u64, "account");
            format!(
                "It is the disk: {} ({} of {}); {accounts} hit",
                names.join("; "),
                n,
                words::count(devices.len() as u64, "device")
            )
        }
    };
    put(&mut text, 0, &format!("{verdict}."));
    for line in next(devices, typed, &hit) {
        put(&mut text, 2, &line);
    }
    put(&mut text, 0, &format!("Took {}. Nothing was changed. Exit status {exit}.", words::duration(elapsed_s)));
    text
}

/// Accounts on devices that are to blame.
pub fn affected(devices: &[DeviceReport]) -> Vec<&Hit> {
    let mut hits: Vec<&Hit> = devices.iter().filter(|d| d.health.is_ill()).flat_map(|d| &d.accounts).collect();
    hits.sort();
    hits.dedup();
    hits
}

fn next(devices: &[DeviceReport], typed: &Typed, hit: &[&Hit]) -> Vec<String> {
    let mut lines = Vec::new();
    let general: String = typed.general.iter().map(|word| format!("{} ", words::quote(word))).collect();
    let stores: Vec<String> = typed.stores.iter().map(|store| words::quote(store)).collect();
    let stores = stores.join(" ");
    for device in devices.iter().filter(|d| d.health >= Health::Failing) {
        for fs in &device.file_systems {
            let at = words::quote(&fs.mount_point);
            lines.push(format!("stop whatever writes there:  mount -o remount,ro {at}"));
        }
        for disk in device.signs.disks.iter().filter(|_| device.health == Health::Failing) {
            let name = &disk.name;
            let copy = format!("ddrescue -d /dev/{name} /mnt/new/{name}.img /mnt/new/{name}.map");
            lines.push(format!("save what it still gives:    {}", inline(&copy, FIELD)));
        }
    }
    if devices.iter().any(|d| d.health == Health::Gone) {
        lines.push("look at cables, power, controller, and the kernel's log:  dmesg -T | tail -50".to_owned());
    }
    if devices.iter().any(|d| d.health == Health::Degrading) {
        lines.push("back up what is on the degrading device now, and have another one ready".to_owned());
    }
    if devices.iter().any(|d| d.health == Health::NotTheDisk && d.signs.kind.is_remote()) {
        lines.push("look at the network and at the server that has the disks".to_owned());
    }
    if let Some(select) = selection(typed, hit) {
        lines.push(format!("see what is damaged:         mailmend {general}audit {stores} {select}"));
    } else if !hit.is_empty() {
        lines.push(format!("name them in a file:         mailmend {general}triage {stores} --save-accounts hit.txt"));
        lines.push(format!("see what is damaged:         mailmend {general}audit {stores} --accounts-file hit.txt"));
    } else if devices.iter().any(|d| d.sample.damaged > 0) {
        lines.push(format!("see what is damaged:         mailmend {general}audit {stores}"));
    } else if !devices.is_empty() && devices.iter().all(|d| d.health == Health::Healthy) {
        lines.push(
            "look next at the network, at the mail server's own log, and at memory and load (free, uptime)".to_owned(),
        );
    }
    lines
}

/// The hit accounts as options of an audit, if they fit.
fn selection(typed: &Typed, hit: &[&Hit]) -> Option<String> {
    if let Some(file) = typed.saved.as_ref().filter(|_| !hit.is_empty()) {
        return Some(format!("--accounts-file {}", words::quote(file)));
    }
    let plain = |name: &str| !name.contains(['*', '?', '[', ']', '{', '}', '!', '\\']);
    let fits = !hit.is_empty() && hit.len() <= TYPED && hit.iter().all(|hit| plain(&hit.account));
    let options: Vec<String> = hit.iter().map(|hit| format!("--accounts {}", words::quote(&hit.account))).collect();
    fits.then(|| options.join(" "))
}

/// One device as JSON.
pub fn device_json(run: &str, device: &DeviceReport) -> Value {
    let DeviceReport { signs, sample, .. } = device;
    let Latency { reads, p50, p90, p99, max, stalls } = signs.latency;
    let disks: Vec<Value> = signs.disks.iter().map(disk_json).collect();
    let arrays = signs.arrays.iter().map(|array| {
        json!({ "name": array.name, "state": array.state, "degraded": array.degraded, "mismatches": array.mismatches,
                "action": array.action, "bad_members": array.bad_members })
    });
    let accounts =
        device.accounts.iter().map(|hit| json!({ "store": hit.store, "account": hit.account, "listed": hit.listed }));
    let file_systems = device.file_systems.iter().map(
        |fs| json!({ "mount_point": fs.mount_point, "source": fs.source, "fs_type": fs.fs_type, "device": fs.device }),
    );
    json!({
        "schema": SCHEMA, "run": run, "type": "device", "device": device.name, "kind": signs.kind.name(),
        "verdict": device.health.name(), "reasons": device.reasons, "notes": device.notes,
        "disks": disks, "arrays": arrays.collect::<Vec<_>>(), "file_systems": file_systems.collect::<Vec<_>>(),
        "accounts": accounts.collect::<Vec<_>>(),
        "latency_us": { "reads": reads, "p50": p50, "p90": p90, "p99": p99, "max": max, "stalls": stalls },
        "medium_tested": device.medium_tested, "read_errors": signs.read_errors, "hangs": signs.hangs,
        "recorded_errors": signs.recorded_errors, "not_checked": device.not_checked,
        "sample": {
            "checked": sample.checked, "damaged": sample.damaged, "uniform": sample.uniform,
            "uniform_damaged": sample.uniform_damaged, "upper_per_million": sample.upper_per_million,
            "listed": sample.walk.messages, "complete": sample.walk.complete(), "census": sample.is_census(),
        },
    })
}

fn disk_json(disk: &Disk) -> Value {
    let smart = disk.smart.as_ref().map(|smart| {
        json!({ "passed": smart.passed, "reallocated": smart.reallocated, "pending": smart.pending,
                "uncorrectable": smart.uncorrectable, "link_errors": smart.link_errors,
                "critical_warning": smart.critical_warning, "media_errors": smart.media_errors,
                "percent_used": smart.percent_used })
    });
    json!({ "name": disk.name, "model": disk.model, "bytes": disk.bytes, "rotating": disk.rotating,
            "state": disk.state, "backing": disk.backing, "smart": smart })
}

#[cfg(test)]
#[path = "triage_tests.rs"]
mod tests;
