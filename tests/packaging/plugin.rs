//! The monitoring plugin's line before a strict reader of the Monitoring Plugins' grammar.

use crate::common::{Mailmend, words};
use crate::{place, verify};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One item of performance data: `'label'=value[UOM];[warn];[crit];[min];[max]`.
#[derive(Debug, PartialEq)]
struct Item {
    label: String,
    /// `None`: `U`, the value could not be found out.
    value: Option<f64>,
    unit: String,
    /// Warn, crit, min and max.
    limits: [Option<f64>; 4],
}

/// The items of a line's performance data, or what is wrong with it.
fn perfdata(text: &str) -> Result<Vec<Item>, String> {
    let (mut items, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (label, after) = label(rest)?;
        let (data, after) = after.split_once(' ').map_or((after, None), |(data, rest)| (data, Some(rest)));
        items.push(item(label, data)?);
        rest = match after {
            Some("") => return Err("a blank at the end".to_owned()),
            Some(after) => after,
            None => "",
        };
    }
    let labels: BTreeSet<&str> = items.iter().map(|item| item.label.as_str()).collect();
    if labels.len() == items.len() { Ok(items) } else { Err(format!("a label twice: {text}")) }
}

/// A label with its `=`, and what follows. In quotes, a quote is doubled; without, there is neither quote nor blank.
fn label(text: &str) -> Result<(String, &str), String> {
    let (label, rest) = match text.strip_prefix('\'') {
        None => {
            let end = text.find('=').ok_or(format!("no '=': {text}"))?;
            (text[..end].to_owned(), &text[end..])
        }
        Some(mut rest) => {
            let mut label = String::new();
            loop {
                let end = rest.find('\'').ok_or(format!("an open quote: {text}"))?;
                label.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                let Some(after) = rest.strip_prefix('\'') else { break };
                label.push('\'');
                rest = after;
            }
            (label, rest)
        }
    };
    let quoted = text.starts_with('\'');
    let fit = |c: char| c != '=' && !c.is_control() && (quoted || !matches!(c, ' ' | '\''));
    if label.is_empty() || !label.chars().all(fit) {
        return Err(format!("no label: {label:?}"));
    }
    let rest = rest.strip_prefix('=').ok_or(format!("no '=' after {label}"))?;
    Ok((label, rest))
}

fn item(label: String, data: &str) -> Result<Item, String> {
    let fields: Vec<&str> = data.split(';').collect();
    if fields.len() > 5 {
        return Err(format!("more than five fields: {data}"));
    }
    let at = fields[0].find(|c: char| !(c.is_ascii_digit() || matches!(c, '-' | '.'))).unwrap_or(fields[0].len());
    let (value, unit) = match fields[0] {
        "U" => (None, ""),
        field => (Some(number(&field[..at])?), &field[at..]),
    };
    if !["", "s", "us", "ms", "%", "B", "KB", "MB", "GB", "TB", "c"].contains(&unit) {
        return Err(format!("no unit: {unit:?} in {data}"));
    }
    let mut limits = [None; 4];
    for (limit, field) in limits.iter_mut().zip(&fields[1..]).filter(|(_, field)| !field.is_empty()) {
        *limit = Some(number(field)?);
    }
    Ok(Item { label, value, unit: unit.to_owned(), limits })
}

/// A number of digits, at most one point and a sign in front. Ranges, which are allowed too, we do not use.
fn number(text: &str) -> Result<f64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.ends_with(|c: char| c.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or(format!("no number: {text:?}"))
}

#[test]
fn the_reader_takes_what_the_guidelines_allow_and_nothing_else() {
    for (good, items) in [
        ("", 0),
        ("a=1", 1),
        ("'a b'=1.5s;1;2;0;10 c=U", 2),
        ("'it''s'=-3%;;;0", 1),
        ("/=2643MB;5948;5958;0;5968 /boot=68MB;88;93;0;98", 2),
    ] {
        assert_eq!(perfdata(good).map(|items| items.len()), Ok(items), "{good}");
    }
    assert_eq!(perfdata("'it''s'=1").map(|items| items[0].label.clone()), Ok("it's".to_owned()));
    for bad in [
        "a",
        "=1",
        "a=",
        "a= 1",
        "a=1  b=2",
        "a=1 ",
        " a=1",
        "a b=1",
        "'a=1",
        "'a'1",
        "''=1",
        "'a=b'=1",
        "a=1,5",
        "a=1x",
        "a=1;2;3;4;5;6",
        "a=1;x",
        "a=1 a=2",
        "it's=1",
        "a=U;~",
        "a=1e9",
        "a=.",
        "a=1.",
        "'a'b'=1",
        "a=-",
        "a=1;;;;1s",
        "a=1\n",
    ] {
        assert!(perfdata(bad).is_err(), "{bad:?}: {:?}", perfdata(bad));
    }
}

/// The plugin's exit status and what its one line says: the text and the performance data.
#[track_caller]
fn check(tool: &Mailmend, stores: &[&Path], more: &[&str]) -> (i32, String, Vec<Item>) {
    let mut command = tool.command();
    let output = command.arg("--state").arg(&tool.state).arg("check").args(stores).args(more).output();
    let output = output.expect("the binary");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    let line = said.strip_suffix('\n').unwrap_or_else(|| panic!("no line: {said:?}"));
    assert!(!line.contains(['\n', '\r']) && output.stderr.is_empty(), "{said}");
    let (text, data) = line.split_once('|').unwrap_or((line, ""));
    let status = output.status.code().expect("no signal");
    let name = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][usize::try_from(status).expect("a status")];
    assert!(text.starts_with(&format!("MAILMEND {name} - ")) && !data.contains('|'), "{status}: {line}");
    let data = data.strip_prefix(' ').unwrap_or(data);
    let items = perfdata(data).unwrap_or_else(|why| panic!("{why}: {line}"));
    (status, text.trim_end().to_owned(), items)
}

const LABELS: [&str; 7] = ["age", "damaged", "lost", "undecided", "not_checked", "device_errors", "messages"];

#[test]
fn all_four_states_are_told_in_the_grammar_of_the_guidelines() {
    let (_dir, store, tool) = place();
    let (status, text, items) = check(&tool, &[&store], &[]);
    assert!(status == 3 && items.is_empty() && text.contains("never verified"), "{text}: {items:?}");
    let selected = words(&["verify", "--accounts", "ann"]).chain([store.clone().into()]);
    tool.run(selected).expect(0);
    let (status, _, items) = check(&tool, &[&store], &[]);
    assert_eq!((status, items[0].value), (3, None), "its age is not known");
    verify(&tool, &store).expect(0);
    let (status, _, items) = check(&tool, &[&store], &[]);
    assert_eq!((status, items.iter().map(|item| item.label.as_str()).collect::<Vec<_>>()), (0, LABELS.to_vec()));
    assert_eq!((items[0].unit.as_str(), items[0].limits), ("s", [Some(129_600.0), Some(259_200.0), Some(0.0), None]));
    assert_eq!((items[6].value, items[6].limits), (Some(3.0), [None, None, Some(0.0), None]));
    let message = store.join("ann/cur/1700000001.M1P1.mx:2,S");
    fs::write(&message, fs::read_to_string(&message).expect("a message").replace("body", "bxdy")).expect("rot");
    verify(&tool, &store).expect(4);
    let (status, _, items) = check(&tool, &[&store], &["--warn-damaged", "0", "--crit-damaged", "1"]);
    assert_eq!((status, items[1].value, items[1].limits), (1, Some(1.0), [Some(0.0), Some(1.0), Some(0.0), None]));
    let (status, _, items) = check(&tool, &[&store], &["--warn-age", "off", "--crit-age", "off"]);
    assert_eq!((status, items[0].limits, items[1].limits[1]), (2, [None, None, Some(0.0), None], Some(0.0)));
}

/// Names of folders may hold all that the grammar gives a meaning, and be longer than a line.
#[test]
fn labels_of_several_stores_are_told_apart_whatever_their_names() {
    let (dir, store, tool) = place();
    let long = dir.path().join("d".repeat(120)).join("e".repeat(120));
    let odd = ["it's = 5;6 | 'x", "ends with '", "a=b", "two\nlines", "\u{1b}[2J"];
    let mut stores: Vec<_> = odd.iter().map(|name| dir.path().join(name)).collect();
    stores.extend(["one", "two"].map(|name| long.join(name)));
    for other in &stores {
        ["cur", "new", "tmp"]
            .iter()
            .for_each(|sub| fs::create_dir_all(other.join("ann").join(sub)).expect("a mailbox"));
        fs::copy(store.join("ann/cur/1700000001.M1P1.mx:2,S"), other.join("ann/cur/1700000001.M1P1.mx:2,S"))
            .expect("mail");
        verify(&tool, other).expect(0);
    }
    verify(&tool, &store).expect(0);
    stores.push(store);
    let stores: Vec<&Path> = stores.iter().map(|store| store.as_path()).collect();
    let (status, text, items) = check(&tool, &stores, &[]);
    assert_eq!((status, items.len()), (0, stores.len() * LABELS.len()), "{text}");
    for (nth, item) in items.iter().enumerate() {
        let label = LABELS[nth % LABELS.len()];
        assert!(item.label.ends_with(&format!(" {label}")), "{item:?} is {label}");
    }
}
