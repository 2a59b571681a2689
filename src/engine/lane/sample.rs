//! A look around for a limited time, then messages drawn by lot: the lane's side of a triage.
//!
//! Runs in the lane only. Looks level by level and in a random order, so that whatever time allows is a fair part
//! of the whole; names each folder and message before it touches it. Never writes. One error ends a message: the
//! rest of a bad file is for an audit, not for the few seconds that there are.

use super::examine;
use super::gentle::Gentle;
use super::serve::trouble;
use super::storage::Maps;
use crate::model::form::Form;
use crate::model::limits::{COMPANION_MAX, DEPTH_MAX, WINDOW};
use crate::model::message::Encoding;
use crate::model::triage::{Doing, SampleOrder, SampleRoot, Sampled, Seen, Walk};
use crate::model::wire::{Answer, Effort, Place, ReadItem, ReadMode, Trouble};
use crate::model::{Format, RelPath, Verdict};
use crate::store;
use crate::store::codec;
use crate::store::discover;
use crate::store::maildir::name;
use crate::sys::attr;
use crate::sys::dir::Root;
use crate::sys::direct::AlignedBuf;
use crate::sys::fs::Kind;
use crate::verify::checks::{Checks, Claims};
use crate::verify::hashing::Hashing;
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Bytes of one message that are read; few messages are longer.
const READ_MOST: u64 = COMPANION_MAX;
/// Part of the time for listing in which the walk ends, in percent.
const WALK_SHARE: u64 = 60;

/// What the sample works with: the lane's folders, and the way to the parent.
pub(super) struct Desk<'a> {
    pub id: u64,
    pub roots: &'a [Root],
    pub say: &'a dyn Fn(&Answer) -> io::Result<()>,
    pub tick: &'a dyn Fn(u64),
}

/// A folder to look into.
struct Step {
    root: usize,
    path: RelPath,
    /// Index of the account that it belongs to.
    account: Option<usize>,
}

/// Where a message lies.
#[derive(Clone)]
struct Drawn {
    mailbox: usize,
    place: Place,
    name: Vec<u8>,
}

struct Work<'a> {
    desk: &'a Desk<'a>,
    order: &'a SampleOrder,
    rng: fastrand::Rng,
    began: Instant,
    steps: u64,
    walk: Walk,
    /// Root and folder.
    accounts: Vec<(usize, RelPath)>,
    /// Account, folder and format.
    mailboxes: Vec<(usize, RelPath, Format)>,
    uniform: Vec<Drawn>,
    /// One message of each account, and out of how many it was drawn.
    of_account: HashMap<usize, (u64, Drawn)>,
}

/// Takes the sample.
///
/// # Errors
/// Only the way to the parent's.
pub(super) fn sample(desk: &Desk<'_>, order: &SampleOrder) -> io::Result<()> {
    let mut work = Work {
        desk,
        order,
        rng: fastrand::Rng::with_seed(order.seed),
        began: Instant::now(),
        steps: 0,
        walk: Walk::default(),
        accounts: Vec::new(),
        mailboxes: Vec::new(),
        uniform: Vec::new(),
        of_account: HashMap::new(),
    };
    work.look_around()?;
    work.list()?;
    (desk.say)(&Answer::SampleWalk { id: desk.id, walk: work.walk })?;
    work.read()?;
    (desk.say)(&Answer::SampleEnd { id: desk.id })
}

impl Work<'_> {
    fn over(&self, after_ms: u64) -> bool {
        self.began.elapsed() >= Duration::from_millis(after_ms)
    }

    /// Says what is about to be touched.
    fn at(&mut self, root: usize, path: &RelPath) -> io::Result<()> {
        self.steps += 1;
        (self.desk.tick)(self.steps);
        let doing = Doing { root: self.order.roots[root].root, path: path.as_bytes().to_vec() };
        (self.desk.say)(&Answer::SampleAt { id: self.desk.id, doing })
    }

    fn trouble(&self, root: usize, path: &RelPath, operation: &str, error: &io::Error) -> io::Result<()> {
        let trouble = trouble(self.order.roots[root].root, path.as_bytes(), operation, error);
        (self.desk.say)(&Answer::Aside { id: self.desk.id, troubles: vec![trouble], symlinks: Vec::new() })
    }

    fn folder(&self, root: usize) -> Option<&Root> {
        self.desk.roots.get(self.order.roots[root].root as usize)
    }

    /// Looks for mailboxes, the shallowest folders first: accounts are near the top.
    fn look_around(&mut self) -> io::Result<()> {
        let mut levels: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
        for root in 0..self.order.roots.len() {
            levels.entry(0).or_default().push(Step { root, path: RelPath::root(), account: None });
        }
        while let Some(mut level) = levels.first_entry() {
            if self.over(self.order.list_ms * WALK_SHARE / 100) {
                break;
            }
            let depth = *level.key();
            let steps = level.get_mut();
            if steps.is_empty() {
                level.remove();
                continue;
            }
            let step = steps.swap_remove(self.rng.usize(..steps.len()));
            let below = self.look(&step)?;
            if depth < DEPTH_MAX {
                levels.entry(depth + 1).or_default().extend(below);
            } else {
                self.walk.folders_left += below.len() as u64;
            }
        }
        self.walk.folders_left += levels.values().map(|steps| steps.len() as u64).sum::<u64>();
        self.walk.took_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Looks into one folder; the folders in it.
    fn look(&mut self, step: &Step) -> io::Result<Vec<Step>> {
        self.at(step.root, &step.path)?;
        self.walk.folders += 1;
        let Some(root) = self.folder(step.root) else { return Ok(Vec::new()) };
        let dir = match root.open_dir(&step.path) {
            Ok(dir) => dir,
            Err(error) => {
                self.trouble(step.root, &step.path, "open folder", &error)?;
                return Ok(Vec::new());
            }
        };
        let (glance, ended) = discover::glance(&dir, step.path.name(), step.account.is_some());
        if let Err(error) = ended {
            self.trouble(step.root, &step.path, "list folder", &error)?;
        }
        self.walk.symlinks += glance.symlinks;
        let mut account = step.account;
        if account.is_none() && glance.begins_account {
            account = Some(self.accounts.len());
            self.accounts.push((step.root, step.path.clone()));
            let root = self.order.roots[step.root].root;
            (self.desk.say)(&Answer::SampleAccount { id: self.desk.id, root, dir: step.path.clone() })?;
        }
        // Beside the mailboxes of a server plain messages are documents of users.
        let own = |format: &Format| step.account.is_none_or(|account| self.is_kin(account, *format));
        if let (Some(account), Some(format)) = (account, glance.mailbox.filter(own)) {
            self.mailboxes.push((account, step.path.clone(), format));
            self.walk.mailboxes += 1;
        }
        let SampleRoot { skip, .. } = &self.order.roots[step.root];
        let below = glance.children.iter().filter_map(|child| step.path.join(child).ok());
        let below = below.filter(|path| !skip.contains(path));
        Ok(below.map(|path| Step { root: step.root, path, account }).collect())
    }

    /// Whether messages of that format may be an account's.
    fn is_kin(&self, account: usize, format: Format) -> bool {
        let others = self.mailboxes.iter().filter(|(of, ..)| *of == account);
        format != Format::Eml || others.into_iter().all(|(_, _, other)| *other == Format::Eml)
    }

    /// Lists mailboxes in a random order, and draws from what they hold.
    fn list(&mut self) -> io::Result<()> {
        let mut order: Vec<usize> = (0..self.mailboxes.len()).collect();
        self.rng.shuffle(&mut order);
        for mailbox in order {
            if self.over(self.order.list_ms) {
                return Ok(());
            }
            let (account, dir, format) = self.mailboxes[mailbox].clone();
            let mut whole = true;
            let places = if format == Format::Maildir { &[Place::Cur, Place::New][..] } else { &[Place::Cur] };
            for &place in places {
                whole &= self.list_place(mailbox, account, (&dir, format), place)?;
            }
            self.walk.mailboxes_listed += u64::from(whole);
        }
        Ok(())
    }

    fn list_place(
        &mut self,
        mailbox: usize,
        account: usize,
        (dir, format): (&RelPath, Format),
        place: Place,
    ) -> io::Result<bool> {
        let root = self.accounts[account].0;
        let path = match format {
            Format::Maildir => dir.join(place.dir()),
            _ => Ok(dir.clone()),
        };
        let Ok(path) = path else { return Ok(true) };
        if self.order.roots[root].skip.contains(&path) {
            return Ok(true);
        }
        self.at(root, &path)?;
        let Some(folder) = self.folder(root) else { return Ok(true) };
        let listing = match folder.open_dir(&path) {
            Ok(listing) => listing,
            Err(error) if crate::sys::dir::nothing_there(&error) => return Ok(true),
            Err(error) => return self.trouble(root, &path, "open folder", &error).map(|()| true),
        };
        let mut late = false;
        let ended = listing.entries(&mut |name, kind, _| {
            if kind != Kind::File || !holds_mail(format, name) {
                return Ok(());
            }
            self.walk.messages += 1;
            if self.walk.messages.is_multiple_of(1024) {
                self.steps += 1;
                (self.desk.tick)(self.steps);
                late = self.over(self.order.list_ms);
                if late {
                    return Err(Errno::CANCELED.into());
                }
            }
            self.draw(mailbox, account, place, name);
            Ok(())
        });
        match ended {
            Err(error) if !late => self.trouble(root, &path, "list folder", &error).map(|()| true),
            _ => Ok(!late),
        }
    }

    /// Every message that was listed is as likely as any other to be among the drawn (Vitter's algorithm R).
    fn draw(&mut self, mailbox: usize, account: usize, place: Place, name: &[u8]) {
        let most = self.order.most as usize;
        let drawn = || Drawn { mailbox, place, name: name.to_vec() };
        if self.uniform.len() < most {
            self.uniform.push(drawn());
        } else {
            let at = self.rng.u64(..self.walk.messages.max(1));
            if let Some(slot) = usize::try_from(at).ok().and_then(|at| self.uniform.get_mut(at)) {
                *slot = drawn();
            }
        }
        let (seen, one) = self.of_account.entry(account).or_insert_with(|| (0, drawn()));
        *seen += 1;
        if *seen > 1 && self.rng.u64(..*seen) == 0 {
            *one = drawn();
        }
    }

    /// Reads what was drawn: of all alike and of each account, in turn.
    fn read(&mut self) -> io::Result<()> {
        let mut uniform = std::mem::take(&mut self.uniform);
        let mut others: Vec<Drawn> = std::mem::take(&mut self.of_account).into_values().map(|(_, one)| one).collect();
        if uniform.len() as u64 == self.walk.messages {
            // All of them: no account has none.
            others.clear();
        }
        self.rng.shuffle(&mut uniform);
        self.rng.shuffle(&mut others);
        let (mut uniform, mut others) = (uniform.into_iter(), others.into_iter());
        let mut buffer = AlignedBuf::new(WINDOW);
        let mut turn = true;
        while uniform.len() + others.len() > 0 && !self.over(self.order.total_ms) {
            turn = if others.len() == 0 { true } else { uniform.len() > 0 && !turn };
            let next = if turn { uniform.next() } else { others.next() };
            let Some(drawn) = next else { continue };
            self.read_one(&drawn, turn, buffer.bytes_mut())?;
        }
        Ok(())
    }

    fn read_one(&mut self, drawn: &Drawn, uniform: bool, buffer: &mut [u8]) -> io::Result<()> {
        let (account, dir, format) = self.mailboxes[drawn.mailbox].clone();
        let (root, account_dir) = self.accounts[account].clone();
        let path = match format {
            Format::Maildir => name::message_path(&dir, drawn.place, &drawn.name),
            _ => dir.join(&drawn.name).ok(),
        };
        let Some(path) = path else { return Ok(()) };
        self.at(root, &path)?;
        let number = self.order.roots[root].root;
        let mut file = Sampled {
            root: number,
            account: account_dir,
            path: path.clone(),
            uniform,
            medium: false,
            size: 0,
            reads: Vec::new(),
            seen: Err(trouble(number, path.as_bytes(), "open", &Errno::BADF.into())),
        };
        let from = if format == Format::Mdbox { Start::Somewhere(self.rng.u64(..)) } else { Start::First };
        let Some(folder) = self.folder(root) else { return Ok(()) };
        let steps = std::cell::Cell::new(self.steps);
        let tick = || {
            steps.set(steps.get() + 1);
            (self.desk.tick)(steps.get());
        };
        file.seen = look_at(folder, &mut file, (format, &drawn.name, from), buffer, &tick)
            .map_err(|(operation, error)| trouble(number, path.as_bytes(), operation, &error));
        self.steps = steps.get();
        // Renamed or deleted since it was listed: nobody's fault, and no part of the sample.
        if matches!(&file.seen, Err(Trouble { errno: Some(2), .. })) {
            return Ok(());
        }
        (self.desk.say)(&Answer::SampleFile { id: self.desk.id, file })
    }
}

/// Whether a file of this name, where a format keeps them, holds mail.
fn holds_mail(format: Format, name: &[u8]) -> bool {
    match format {
        Format::Maildir => !name.starts_with(b"."),
        Format::Mdbox => name.strip_prefix(b"m.").is_some_and(|number| number.iter().all(u8::is_ascii_digit)),
        _ => store::of(format).place(name) == Some(Place::Cur),
    }
}

/// Where in a file reading begins.
#[derive(Clone, Copy)]
enum Start {
    First,
    /// At a place by lot: the file holds the messages of many, and a part of it is as good as any.
    Somewhere(u64),
}

/// Reads a message past the cache where that is possible, notes how long each read took, and checks the content.
fn look_at(
    root: &Root,
    into: &mut Sampled,
    (format, name, from): (Format, &[u8], Start),
    buffer: &mut [u8],
    tick: &dyn Fn(),
) -> Result<Seen, (&'static str, io::Error)> {
    let direct = root.open_direct(&into.path).map_err(|e| ("open", e))?;
    into.medium = direct.is_some();
    let file = match direct {
        Some(file) => file,
        None => root.open_file(&into.path).map_err(|e| ("open", e))?,
    };
    let stat = attr::fstat(&file).map_err(|e| ("stat", e))?.1;
    into.size = stat.size;
    let (size, crlf) = store::of(format).claims(name);
    let claims = Claims { size, crlf };
    let first = match from {
        Start::First => 0,
        Start::Somewhere(lot) => lot % (into.size.saturating_sub(READ_MOST) + 1) / WINDOW as u64 * WINDOW as u64,
    };
    let read = match windows(&file, into, (claims, first), buffer, tick) {
        // Some file systems refuse it only now.
        Err(error) if into.medium && Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            (into.medium, into.reads) = (false, Vec::new());
            let file = root.open_file(&into.path).map_err(|e| ("open", e))?;
            windows(&file, into, (claims, first), buffer, tick)
        }
        other => other,
    };
    let seen = match read.map_err(|e| ("read", e))? {
        _ if format == Format::Mdbox => Seen { digest: None, verdict: Verdict::Undetermined, faults: Vec::new() },
        Some(seen) if format != Format::Sdbox || into.size > READ_MOST => seen,
        // What stands in it shows only without its coding, or its frame.
        _ => decoded(root, into, (claims, format), tick)?,
    };
    let after = attr::fstat(&file).map_err(|e| ("stat", e))?.1;
    if (after.size, after.mtime) != (stat.size, stat.mtime) {
        return Err(("read", Errno::NOENT.into()));
    }
    Ok(seen)
}

/// Reads all windows. `None` for compressed mail, whose content these bytes do not show.
fn windows(
    file: &File,
    into: &mut Sampled,
    (claims, first): (Claims, u64),
    buffer: &mut [u8],
    tick: &dyn Fn(),
) -> io::Result<Option<Seen>> {
    let mut hashing = Hashing::new();
    let mut checks = Checks::new(claims);
    let mut encoding = Encoding::Plain;
    let mut offset = first;
    while offset < into.size.min(first + READ_MOST) {
        tick();
        let began = Instant::now();
        let got = read_at(file, buffer, offset)?;
        if into.medium {
            into.reads.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        if got == 0 {
            break;
        }
        if offset == first {
            encoding = codec::detect(&buffer[..got.min(codec::DETECT)]);
            if encoding == Encoding::Crypted {
                checks = Checks::opaque(claims);
            }
        }
        hashing.feed(&buffer[..got]);
        checks.feed(&buffer[..got]);
        offset += got as u64;
    }
    if into.size > READ_MOST {
        return Ok(Some(Seen { digest: None, verdict: Verdict::Undetermined, faults: Vec::new() }));
    }
    if !matches!(encoding, Encoding::Plain | Encoding::Crypted) {
        return Ok(None);
    }
    let evidence = checks.finish().0;
    let faults = evidence.faults().to_vec();
    Ok(Some(Seen { digest: Some(hashing.finish().digest), verdict: evidence.verdict(), faults }))
}

/// What compressed or framed mail holds.
fn decoded(
    root: &Root,
    into: &Sampled,
    (claims, format): (Claims, Format),
    tick: &dyn Fn(),
) -> Result<Seen, (&'static str, io::Error)> {
    let item = ReadItem {
        id: 0,
        root: into.root,
        path: into.path.clone(),
        mode: ReadMode::Message,
        form: Form::default(),
        format,
        file: None,
        expected: None,
        size_claim: claims.size,
        crlf_claim: claims.crlf,
        envelope: false,
        medium: false,
        effort: Effort::Pages,
        groups: false,
        deep: false,
    };
    let folder = root.open_dir(&into.path.parent().unwrap_or_default()).map_err(|e| ("open folder", e))?;
    let error = |t: Trouble| match t.errno {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(t.detail),
    };
    // What a triage measures is the disk, not our patience.
    let maps = Maps::default();
    let reader = examine::Reader { tick: &|_| tick(), pace: &Gentle::not(), attachments: None, zone: 0, maps: &maps };
    let facts = examine::copy(&folder, &item, &reader).map_err(|t| ("read", error(t)))?;
    let faults = facts.evidence.faults().to_vec();
    Ok(Seen { digest: facts.digest, verdict: facts.evidence.verdict(), faults })
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
