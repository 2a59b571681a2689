//! Asking a lane for a sample: the parent's side of a triage. Ends at its deadline whatever the lane does.

use super::{Fall, Lane, LaneError, frame};
use crate::model::triage::{Doing, SampleOrder, Sampled, Walk};
use crate::model::wire::{Answer, Request, Trouble};
use crate::model::{RelPath, path};
use crossbeam_channel::RecvTimeoutError;
use std::time::{Duration, Instant};

/// Lanes end on their own well before the deadline: one that has said nothing for so long by then hangs.
const SILENT: Duration = Duration::from_secs(2);
/// How often the readers' records are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a lane tells while it takes a sample.
#[derive(Debug)]
pub enum Told {
    Account(u32, RelPath),
    Trouble(Trouble),
    File(Sampled),
    Walk(Walk),
}

/// How a sample ended.
#[derive(Debug)]
pub enum Ended {
    Done,
    /// The time was over, or the user ended it.
    Late,
    /// It did not answer: what it was about to do.
    Hung(Option<Doing>),
    Died(String),
}

impl Lane {
    /// Takes a sample. A lane that did not end it in time is left behind.
    ///
    /// # Errors
    /// When the request cannot be put.
    pub fn sample(
        &mut self,
        order: &SampleOrder,
        deadline: Instant,
        stop: &dyn Fn() -> bool,
        told: &mut dyn FnMut(Told),
    ) -> Result<Ended, LaneError> {
        let id = self.id();
        let request = Request::Sample { id, order: order.clone() };
        frame::write(&mut &self.running()?.socket, &request).map_err(LaneError::Start)?;
        let mut doing = None;
        let ended = loop {
            match self.sample_answer(deadline, stop) {
                Ok(Answer::SampleAt { id: got, doing: next }) if got == id => doing = Some(next),
                Ok(Answer::SampleAccount { id: got, root, dir }) if got == id => told(Told::Account(root, dir)),
                Ok(Answer::SampleFile { id: got, file }) if got == id => told(Told::File(file)),
                Ok(Answer::Aside { id: got, troubles, .. }) if got == id => {
                    troubles.into_iter().for_each(|trouble| told(Told::Trouble(trouble)));
                }
                Ok(Answer::SampleWalk { id: got, walk }) if got == id => told(Told::Walk(walk)),
                Ok(Answer::SampleEnd { id: got }) if got == id => return Ok(Ended::Done),
                Ok(_) => {}
                Err(Ended::Hung(_)) => break Ended::Hung(doing),
                Err(Ended::Died(_)) => {
                    let at = doing.map(|d| path::escape(&d.path)).unwrap_or_default();
                    break Ended::Died(format!("the reader process ended at '{at}'"));
                }
                Err(other) => break other,
            }
        };
        self.abandon(if matches!(ended, Ended::Hung(_)) { Fall::Hung } else { Fall::Died });
        Ok(ended)
    }

    /// The next answer; else why there will be none.
    fn sample_answer(&self, deadline: Instant, stop: &dyn Fn() -> bool) -> Result<Answer, Ended> {
        let Some(running) = &self.running else { return Err(Ended::Died(String::new())) };
        let (mut last, mut since) = (running.seats(), Instant::now());
        if since >= deadline {
            return Err(Ended::Late);
        }
        loop {
            match running.answers.recv_timeout(LOOK) {
                Ok(Ok(Answer::Broken { .. })) | Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Ended::Died(String::new()));
                }
                Ok(Ok(answer)) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = running.seats();
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() >= self.settings.read_timeout {
                return Err(Ended::Hung(None));
            }
            if stop() {
                return Err(Ended::Late);
            }
            if Instant::now() >= deadline {
                return Err(if since.elapsed() >= SILENT { Ended::Hung(None) } else { Ended::Late });
            }
        }
    }
}
