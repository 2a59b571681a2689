//! What a disk says of itself, through `smartctl` where that is installed.
//!
//! Never required. Its output is whatever a broken disk's firmware wrote: bounded, and nothing in it is believed to
//! have the right shape. May not wait longer than it was told to: a hung disk hangs smartctl, too.

use crate::model::triage::Smart;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Where it is looked for: never in folders that the environment names.
const PLACES: [&str; 4] = ["/usr/sbin/smartctl", "/usr/bin/smartctl", "/usr/local/sbin/smartctl", "/sbin/smartctl"];
/// Bytes of its answer.
const ANSWER: u64 = 1 << 20;

/// Whether a disk of this name may keep such records: not a loop, nor a disk of a virtual machine's.
pub fn may_have(disk: &str) -> bool {
    ["sd", "hd", "nvme"].iter().any(|kind| disk.starts_with(kind)) && disk.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Asks a disk; `None` where there is no smartctl, it may not, or does not answer in time.
pub fn read(disk: &str, patience: Duration) -> Option<Smart> {
    let program = PLACES.into_iter().find(|path| Path::new(path).exists())?;
    if !may_have(disk) {
        return None;
    }
    let mut command = Command::new(program);
    command.args(["--json", "-H", "-A"]).arg(format!("/dev/{disk}"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let output = child.stdout.take()?;
    let (sender, answer) = mpsc::channel();
    let reading = thread::Builder::new().name("smartctl".to_owned()).spawn(move || {
        let mut text = Vec::new();
        if output.take(ANSWER).read_to_end(&mut text).is_ok() {
            drop(sender.send(text));
        }
    });
    let text = reading.ok().and_then(|_| answer.recv_timeout(patience).ok());
    child.kill().ok();
    // Reaped by a thread of its own: one that hangs in the kernel cannot end.
    drop(thread::Builder::new().name("smartctl-end".to_owned()).spawn(move || child.wait().ok()));
    parse(&text?)
}

/// The parts of smartctl's JSON that tell a sick disk; `None` where it tells nothing of any.
fn parse(text: &[u8]) -> Option<Smart> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let number = |path: &str| value.pointer(path).and_then(Value::as_u64);
    // Vendors pack other numbers into the upper half of some of these.
    let attribute = |id: u64| {
        let table = value.pointer("/ata_smart_attributes/table")?.as_array()?;
        let row = table.iter().find(|row| row.get("id").and_then(Value::as_u64) == Some(id))?;
        row.pointer("/raw/value").and_then(Value::as_u64).map(|raw| raw & 0xffff_ffff)
    };
    let nvme = |name: &str| number(&format!("/nvme_smart_health_information_log/{name}"));
    let smart = Smart {
        passed: value.pointer("/smart_status/passed").and_then(Value::as_bool),
        reallocated: attribute(5).or_else(|| number("/scsi_grown_defect_list")),
        pending: attribute(197),
        uncorrectable: attribute(198).or_else(|| number("/scsi_error_counter_log/read/total_uncorrected_errors")),
        link_errors: attribute(199),
        critical_warning: nvme("critical_warning"),
        media_errors: nvme("media_errors"),
        percent_used: nvme("percentage_used"),
    };
    (smart != Smart::default()).then_some(smart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_kinds_of_disks() {
        let ata = br#"{"smart_status":{"passed":false},"ata_smart_attributes":{"table":[
            {"id":5,"raw":{"value":12}},{"id":197,"raw":{"value":8589934600}},{"id":198,"raw":{"value":0}},{"id":199}]}}"#;
        let is = parse(ata).unwrap();
        assert_eq!((is.passed, is.reallocated, is.pending), (Some(false), Some(12), Some(8)));
        assert_eq!((is.uncorrectable, is.link_errors), (Some(0), None));
        let nvme = br#"{"smart_status":{"passed":true},"nvme_smart_health_information_log":
            {"critical_warning":4,"media_errors":7,"percentage_used":101}}"#;
        let is = parse(nvme).unwrap();
        assert_eq!((is.critical_warning, is.media_errors, is.percent_used), (Some(4), Some(7), Some(101)));
        let scsi = br#"{"scsi_grown_defect_list":3,"scsi_error_counter_log":{"read":{"total_uncorrected_errors":2}}}"#;
        let is = parse(scsi).unwrap();
        assert_eq!((is.reallocated, is.uncorrectable, is.passed), (Some(3), Some(2), None));
        assert_eq!(parse(br#"{"smartctl":{"exit_status":2}}"#), None);
    }

    #[test]
    fn only_disks_that_keep_records_are_asked() {
        assert!(may_have("sda") && may_have("nvme0n1"));
        assert!(!may_have("loop3") && !may_have("vda") && !may_have("sda/../x") && !may_have("sd a") && !may_have(""));
        assert_eq!(read("loop999", Duration::from_millis(1)), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_taken(text in any::<Vec<u8>>()) {
            parse(&text);
        }

        #[test]
        fn values_of_any_shape_are_taken(value in "(null|-1|1e99|\"x\"|\\[\\]|\\{\\}|18446744073709551615)") {
            for name in ["smart_status", "ata_smart_attributes", "nvme_smart_health_information_log", "scsi_grown_defect_list"] {
                parse(format!("{{\"{name}\":{value}}}").as_bytes());
            }
            let row = format!("{{\"ata_smart_attributes\":{{\"table\":[{value},{{\"id\":5,\"raw\":{{\"value\":{value}}}}}]}}}}");
            parse(row.as_bytes());
        }
    }
}
