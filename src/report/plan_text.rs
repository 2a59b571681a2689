//! A plan as people read it: its sources, then one line a step.
//!
//! Pure. A plan file is not trusted, so neither is its text.

use super::sanitise::{FIELD, SENTENCE, inline};
use super::words;
use crate::model::plan::{Action, Header, PlanSource, Step};

/// What the plan is for and where its copies come from.
pub fn header(header: &Header) -> String {
    let mut text =
        format!("plan for {}, made by run {}\n", inline(&header.store, SENTENCE), inline(&header.run, FIELD));
    for source in &header.sources {
        let time = words::minute(source.time).unwrap_or_else(|| "an impossible time".into());
        let (name, path) = (inline(&source.name, FIELD), inline(&source.path, SENTENCE));
        text.push_str(&format!("  source {name}: {path}, taken {time} UTC\n"));
    }
    text
}

/// One step in words, with its line end.
pub fn step(step: &Step, sources: &[PlanSource]) -> String {
    let deed = deed(&step.action, sources);
    let sure = step.assurance.map(|assurance| format!(", {}", assurance.name())).unwrap_or_default();
    let why = if step.why.is_empty() { String::new() } else { format!(": {}", inline(&step.why, SENTENCE)) };
    let key = step.key.as_ref().map_or_else(|| step.target.to_string(), |key| key.to_string());
    format!(
        "{:>6}  {}  {}  {key} ({}): {deed}{sure}{why}\n",
        words::number(step.number),
        inline(&step.account, FIELD),
        inline(&step.mailbox, FIELD),
        step.missing().map_or(step.verdict.name(), |missing| missing.name()),
    )
}

fn deed(action: &Action, sources: &[PlanSource]) -> String {
    match action {
        Action::Restore { from, length, .. } => {
            let source = match from.source {
                None => "the store itself".to_owned(),
                Some(index) => usize::try_from(index)
                    .ok()
                    .and_then(|index| sources.get(index))
                    .map_or_else(|| format!("unknown source {index}"), |source| inline(&source.name, FIELD)),
            };
            format!("restore {} from {source}", words::bytes(*length))
        }
        Action::Rename { from, .. } => format!("give {from} its name back"),
        Action::Write { bytes, .. } => format!("write {} that the plan made", words::bytes(bytes.len() as u64)),
        Action::Rebuild { heals, length, .. } => {
            let messages = words::count(heals.len() as u64, "message");
            format!("put the file together anew ({}), with {messages} from copies", words::bytes(*length))
        }
        Action::Splice { parts, length, .. } => {
            let parts = words::count(parts.len() as u64, "part");
            format!("put it together ({}) from {parts} of damaged copies", words::bytes(*length))
        }
        Action::Quarantine => "move aside; the server makes it again".to_owned(),
        Action::MakeFolder { .. } => "make the folder".to_owned(),
        Action::Report => "nothing can be done".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::{Fingerprint, Location, SCHEMA};
    use crate::model::{Assurance, Attrs, Digest, Encoding, Key, Missing, RelPath, Stamp, Verdict};

    fn sources() -> Vec<PlanSource> {
        vec![PlanSource { name: "daily.0".into(), path: "/backup/daily.0".into(), time: Stamp { sec: 0, nsec: 0 } }]
    }

    fn restore(source: Option<u32>) -> Step {
        let target = RelPath::new(&b"ann/cur/1.M2P3.h:2,S"[..]).unwrap();
        Step {
            number: 1234,
            account: "ann".into(),
            mailbox: "INBOX\u{202e}".into(),
            key: Some(Key(b"1.M2P3.h".to_vec())),
            verdict: Verdict::Missing(Missing::Lost),
            before: Fingerprint::Nothing,
            action: Action::Restore {
                from: Location { source, path: target.clone(), form: Default::default() },
                stored_as: Encoding::Plain,
                attrs: Attrs::default(),
                content: Digest::of(b""),
                length: 4096,
            },
            target,
            assurance: Some(Assurance::Consistent),
            why: "the size in its name agrees".into(),
            needs: Vec::new(),
            details: Default::default(),
        }
    }

    #[test]
    fn a_plan_in_words() {
        let head = Header { schema: SCHEMA.into(), run: "r1".into(), store: "/m".into(), sources: sources() };
        assert_eq!(
            header(&head),
            "plan for /m, made by run r1\n  source daily.0: /backup/daily.0, taken 1970-01-01 00:00 UTC\n"
        );
        assert_eq!(
            step(&restore(Some(0)), &sources()),
            " 1,234  ann  INBOX\u{fffd}  1.M2P3.h (lost): restore 4.1 kB from daily.0, consistent: \
             the size in its name agrees\n"
        );
    }

    #[test]
    fn an_edited_plan_cannot_point_past_its_sources() {
        assert!(step(&restore(Some(9)), &sources()).contains("from unknown source 9"));
        assert!(step(&restore(None), &sources()).contains("from the store itself"));
    }
}
