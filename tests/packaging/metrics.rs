//! The metrics file before Prometheus' own checker.

use crate::common::{Mailmend, words};
use crate::{place, possible};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// `promtool check metrics`: whether it accepts them, and what it says.
fn promtool(text: &str) -> (bool, String) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool");
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("the metrics");
    let output = child.wait_with_output().expect("promtool");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), said.trim().to_owned())
}

/// What `verify --metrics` writes, after promtool saw it.
#[track_caller]
fn written(tool: &Mailmend, stores: &[&Path], status: i32) -> String {
    let file = tool.state.with_file_name("mailmend.prom");
    let stores = stores.iter().map(|store| store.as_os_str().to_owned());
    let line = words(&["verify", "--metrics"]).chain([file.clone().into()]).chain(stores);
    tool.run(line).expect(status);
    let text = fs::read_to_string(file).expect("metrics");
    assert_eq!(promtool(&text), (true, String::new()), "{text}");
    text
}

/// After the first night, a clean one, one with damage and loss, and for a store whose name is hostile.
#[test]
fn promtool_accepts_the_metrics_of_clean_and_of_damaged_nights() {
    if !possible("promtool_accepts_the_metrics_of_clean_and_of_damaged_nights", &["promtool"], false) {
        return;
    }
    let (dir, store, tool) = place();
    written(&tool, &[&store], 0);
    let clean = written(&tool, &[&store], 0);
    let message = |n: u32| store.join(format!("ann/cur/170000000{n}.M{n}P1.mx:2,S"));
    fs::write(message(1), fs::read_to_string(message(1)).expect("a message").replace("body", "bxdy")).expect("rot");
    let damaged = written(&tool, &[&store], 4);
    let lines = |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert!(lines(&clean, "mailmend_") > 20 && lines(&clean, "# TYPE") > 20, "{clean}");
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {text}"));
        line.rsplit(' ').next().expect("a value").to_owned()
    };
    assert_eq!(["damaged_messages", "run_exit_status"].map(|n| value(&clean, &format!("mailmend_{n}"))), ["0", "0"]);
    assert_eq!(["damaged_messages", "run_exit_status"].map(|n| value(&damaged, &format!("mailmend_{n}"))), ["1", "4"]);
    let hostile = dir.path().join("mail \"of\" {a=b} \\ und\nsö");
    fs::create_dir_all(hostile.join("ann")).expect("a store");
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir(hostile.join("ann").join(sub)).expect("a mailbox");
    }
    fs::copy(message(2), hostile.join("ann/cur/1700000002.M2P1.mx:2,S")).expect("a message");
    let both = written(&tool, &[&store, &hostile], 4);
    assert_eq!(lines(&both, "mailmend_messages{"), 2, "{both}");
    // The checker can say no.
    for broken in [clean.replace("\"} ", "} "), clean.replace("# TYPE mailmend_messages gauge", "# TYPE x y")] {
        assert!(!promtool(&broken).0, "{broken}");
    }
}
